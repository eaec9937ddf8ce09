"""What a person sees of a run: plain lines, and a word when gradients explode."""

import io

from parity.train.progress import GradientWatch, Progress


def test_lines_show_the_gradient_norm():
    stream = io.StringIO()
    progress = Progress("[run]", 10, every_seconds=0, stream=stream)
    progress.skip(4)
    progress.step(1, 2.5, 1e-4, 12.25, 0.001, 0.5)
    assert stream.getvalue().startswith("[run] 5/10 epoch 1 loss 2.5 lr 0.0001 grad 12.2 data 1 ms step 0.500 s ETA ")


def test_an_exploding_gradient_is_said_on_a_line_of_its_own():
    stream = io.StringIO()
    progress = Progress("[run]", 100, every_seconds=1e9, stream=stream)
    for _ in range(20):
        progress.step(1, 1.0, 1e-4, 2.0, 0.0, 0.1)
    assert stream.getvalue() == ""
    progress.step(1, 1.0, 1e-4, 300.0, 0.0, 0.1)
    assert stream.getvalue() == "[run] step 21: gradient norm 300, 150 times the usual 2\n"


def test_the_first_steps_and_a_new_level_are_no_explosion():
    watch = GradientWatch(factor=10, window=10, least=5)
    assert [watch.see(norm) for norm in (1, 100, 1, 1, 1)] == [None] * 5
    assert watch.see(50) is not None
    seen = [watch.see(50) for _ in range(12)]
    assert seen[0] is not None and seen[-1] is None  # what lasts is the usual
    assert GradientWatch(least=1).see(0.0) is None
