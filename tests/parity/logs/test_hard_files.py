"""What log files go through: encodings, line ends, colours, restarts, several processes, torn ends, NaN."""

import math
import tracemalloc
from itertools import pairwise

import generated_logs as generated
import pytest
from generated_logs import Truth

from parity.errors import UserError
from parity.logs.read import read, read_file, state
from parity.logs.table import ROWS, Table
from parity.logs.text import TextFile, rank_of


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth()


def codes(run) -> list[str]:
    return [note.code for note in run.notes]


def same(run, truth: Truth) -> bool:
    """Whether a run holds all of the truth's losses and AP."""
    losses = run.steps.column("loss") == pytest.approx([s.loss for s in truth.steps], rel=1e-4)
    return losses and run.evaluations.column("AP") == pytest.approx([m["AP"] for m in truth.metrics], abs=6e-4)


@pytest.mark.parametrize("name", ["mmengine", "nanodet", "key_values", "own", "lightning_csv", "detr_console"])
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("gb18030"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-32"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: "".join(f"\x1b[38;5;2m{line}\x1b[m\n" for line in text.splitlines()).encode(),
    ],
    ids=["BOM", "GBK", "UTF-16", "UTF-16BE bare", "UTF-16LE bare", "UTF-32", "CRLF", "colours"],
)
def test_encodings_and_line_ends(name, encode, truth, tmp_path):
    (tmp_path / "x").write_bytes(encode("\n".join(generated.TEXT[name](truth)) + "\n"))
    assert same(read(str(tmp_path / "x")), truth)


def test_line_numbers_are_those_of_an_editor(tmp_path):
    (tmp_path / "x").write_bytes(b"one\r\n\r\nthree a\rthree b\r\nfour")
    text = TextFile(tmp_path / "x")
    assert list(text) == [(1, "one"), (3, "three a"), (3, "three b"), (4, "four")]
    assert (text.lines, text.torn) == (4, True)


def test_torn_last_line_is_left_out_and_said(truth, tmp_path):
    whole = "\n".join(generated.own(truth))
    (tmp_path / "x").write_text(whole[: len(whole) - 40])
    run = read(str(tmp_path / "x"))
    assert {"torn", "damaged"} <= set(codes(run))
    assert len(run.evaluations) == truth.epochs - 1
    assert len(run.steps) == len(truth.steps)


def test_a_number_torn_in_its_digits_is_the_worst_that_a_cut_can_do(truth, tmp_path):
    """Every cut of a text log reads, and never yields a step that is not in the whole one."""
    whole = "\n".join(generated.mmengine(truth))
    steps = {(s.epoch, s.iteration) for s in truth.steps}
    for end in range(len(whole) - 400, len(whole), 7):
        (tmp_path / "x").write_text(whole[:end])
        run = read(str(tmp_path / "x"))
        assert set(zip(run.steps.column("epoch"), run.steps.column("iter"), strict=True)) <= steps


def test_nan_is_kept_as_a_gap_and_counted(truth, tmp_path):
    lines = [line.replace(f"loss: {truth.steps[3].loss:.4f}", "loss: nan") for line in generated.mmengine(truth)]
    run = read(generated.write(tmp_path / "x", lines))
    assert [i for i, v in enumerate(run.steps.column("loss")) if math.isnan(v)] == [3]
    note = next(n for n in run.notes if n.code == "not a number")
    assert note.numbers["count"] == 1 and "loss: nan" in lines[note.lines[0] - 1]
    assert math.isfinite(run.epochs.column("loss")[0])


@pytest.mark.parametrize("name", ["mmengine", "mmcv_json", "jittordet", "detr_log", "own", "plain_csv", "nanodet"])
def test_restart_replaces_what_it_repeats(name, truth, tmp_path):
    """A run that was stopped in its third epoch and went on from its second."""
    other = Truth(seed=5)
    lines, again = generated.TEXT[name](truth), generated.TEXT[name](other)
    first = TRAINING_OF[name]
    cut = next(i for i, line in enumerate(lines) if first(line, 3)) + 1
    back = next(i for i, line in enumerate(again) if first(line, 2))
    run = read(generated.write(tmp_path / "x", [*lines[:cut], *again[back:]]))
    assert (run.index, run.of) == (1, 1)
    assert "restart" in codes(run)
    assert run.epochs.column("loss") == pytest.approx([truth.mean(1), other.mean(2), other.mean(3)], rel=1e-3)
    assert len(run.evaluations) == 3


TRAINING_OF = {
    "mmengine": lambda line, e: f"Epoch(train)  [{e}]" in line,
    "mmcv_json": lambda line, e: f'"mode": "train", "epoch": {e},' in line,
    "jittordet": lambda line, e: f"Epoch [ {e}/3]" in line,
    "detr_log": lambda line, e: f'"epoch": {e - 1},' in line,
    "own": lambda line, e: f'"kind": "step", "epoch": {e},' in line,
    "plain_csv": lambda line, e: line.startswith(f"{e},"),
    "nanodet": lambda line, e: f"Train|Epoch{e}/" in line,
}


@pytest.mark.parametrize("name", list(generated.TEXT))
def test_several_runs_in_one_file(name, tmp_path):
    first, second = Truth(epochs=2), Truth(epochs=3, seed=9)
    path = generated.write(tmp_path / "x", [*generated.TEXT[name](first), *generated.TEXT[name](second)])
    runs = read_file(tmp_path / "x")
    assert len(runs) == 2
    assert [len(run.epochs) for run in runs] == [2, 3]
    assert runs[0].last_line < runs[1].first_line
    fullest = read(path)
    assert fullest.index == 2 and "several runs" in codes(fullest)
    assert len(read(f"{path}#1").epochs) == 2
    with pytest.raises(UserError, match="has 2 runs, there is no run 3"):
        read(f"{path}#3")


@pytest.mark.parametrize("mark", ["[rank{}]: ", "[1,{}]<stdout>:", "rank {}: ", "{}: "])
def test_ranks_that_say_who_they_are(mark, truth, tmp_path):
    lines = [mark.format(rank) + line for line in generated.mmcv(truth)[10:] for rank in (0, 1)]
    run = read(generated.write(tmp_path / "x", lines))
    assert same(run, truth)
    assert next(n for n in run.notes if n.code == "ranks").numbers == {"count": 2, "kept": 0}


def test_ranks_that_do_not_say_who_they_are(truth, tmp_path):
    lines = generated.mmcv(truth)
    doubled = [copy for line in lines for copy in ([line, line] if "Epoch [" in line else [line])]
    run = read(generated.write(tmp_path / "x", doubled))
    assert same(run, truth)
    assert next(n for n in run.notes if n.code == "repeated").numbers["count"] == len(truth.steps)
    # one process lags by two lines
    steps = [line for line in lines if "Epoch [" in line]
    lagging = [
        line for i in range(len(steps) + 2) for line in (steps[i : i + 1] + (steps[i - 2 : i - 1] if i > 1 else []))
    ]
    run = read(generated.write(tmp_path / "y", lagging))
    assert run.steps.column("loss") == pytest.approx([s.loss for s in truth.steps])


def test_two_lines_run_into_one(truth, tmp_path):
    lines = generated.mmcv(truth)
    places = [i for i, line in enumerate(lines) if "Epoch [" in line]
    merged = [*lines[: places[0]], lines[places[0]] + lines[places[1]], *lines[places[1] + 1 :]]
    assert same(read(generated.write(tmp_path / "x", merged)), truth)


def test_rank_marks():
    assert rank_of("[rank3]: loss: 1") == (3, "loss: 1")
    assert rank_of("2024-01-01 10: x") == (None, "2024-01-01 10: x")
    assert rank_of("10:00:00 loss: 1")[0] is None


def test_folder_takes_the_fullest_log(truth, tmp_path):
    generated.write(tmp_path / "notes.txt", "nothing to see here\n")
    generated.write(tmp_path / "a.log", generated.mmengine(Truth(epochs=1)))
    generated.write(tmp_path / "b", generated.mmengine(truth))
    run = read(str(tmp_path))
    assert run.source.path.name == "b" and same(run, truth)


def test_second_file_fills_in_what_the_first_lacks(truth, tmp_path):
    steps = [line for line in generated.mmengine(truth) if "Epoch(val)" not in line and "Average" not in line]
    first, second = generated.write(tmp_path / "a", steps), generated.write(tmp_path / "b", generated.detr_log(truth))
    run = read(f"{first},{second}")
    assert same(run, truth)
    assert next(n for n in run.notes if n.code == "merged").numbers["what"] == ["evaluations"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"hello\nworld\n", "no line of it is a record"), (bytes(range(256)) * 50, "no line of it")],
)
def test_what_is_no_log_is_refused_in_one_line(content, words, tmp_path):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read(str(tmp_path / "x"))
    assert str(tmp_path / "x") in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_stated_facts(truth, tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read(str(tmp_path / "none"))
    run = read(generated.write(tmp_path / "x", generated.mmengine(truth)))
    state(run, "training images", "200")
    assert run.fact("training images") == 200 and run.facts["training images"].line == 0
    with pytest.raises(UserError, match=r"8 was given, but .* says 4"):
        state(run, "batch size", "8")
    with pytest.raises(UserError, match="expected a whole number"):
        state(run, "validation images", "many")


def test_a_table_never_grows_beyond_its_bound_and_stays_even():
    table = Table("x")
    for i in range(5 * ROWS):
        table.add({"x": float(i), "y": 2.0 * i})
    assert len(table) <= ROWS and table.stride == 8 and table.seen == 5 * ROWS
    x = table.column("x")
    assert {b - a for a, b in pairwise(x)} == {8.0}
    assert table.column("y") == [2 * v for v in x]


def test_memory_stays_flat(tmp_path, monkeypatch):
    """Eight times the lines take the same memory, once the tables are full."""
    monkeypatch.setattr("parity.logs.table.ROWS", 300)
    monkeypatch.setattr("parity.logs.text.BLOCK", 1 << 14)

    def peak(lines: int) -> int:
        with open(tmp_path / "x", "w") as handle:
            handle.writelines(f"step {i} loss: {1 + i % 7}.5 time: 0.25\n" for i in range(lines))
        tracemalloc.start()
        run = read(str(tmp_path / "x"))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert run.steps.seen == lines
        return size

    peak(100)  # what is made once and kept
    assert peak(16_000) < 1.1 * peak(2_000) + 50_000


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
    with open(tmp_path / "x", "wb") as handle:
        for i in range(40_000):
            handle.write(f"\rEpoch 1/2: 10%| {i + 1}/50000 [00:10<00:15, 5.00it/s, loss={3 - i / 40000:.4f}]".encode())
    run = read(str(tmp_path / "x"))
    assert run.steps.seen == 40_000 and run.source.lines == 1
