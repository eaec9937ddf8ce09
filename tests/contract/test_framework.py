"""What `parity.framework.Framework` promises, for every framework: each environment runs this with its own."""

import numpy as np
import pytest

from parity.data.draws import Draws
from parity.errors import UserError
from parity.framework import Group

EMBEDDING = "decoder.denoising_class_embed.weight"  # of RT-DETR; a batch without boxes does not reach it
COUNTER = "num_batches_tracked"  # integer entries of a state; the stand-in has none


def adamw(framework, groups):
    framework.make_optimizer("AdamW", groups, betas=[0.9, 0.999], eps=1e-8)


def equal(a, b):
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)


def test_state_is_a_copy_in_the_order_of_tensors_and_goes_back_exactly(framework):
    one, two = framework(seed=1), framework(seed=2)
    state = one.state()
    assert [t.name for t in one.tensors()] == list(state)
    assert all(t.shape == state[t.name].shape and t.dtype == str(state[t.name].dtype) for t in one.tensors())
    assert not equal(one.state(), two.state())
    for name in state:
        if name.endswith(COUNTER):
            state[name] = np.array(2**40)  # more than 32 bits hold
    two.load_state(state)
    assert equal(two.state(), state)
    name = next(t.name for t in one.tensors() if t.kind == "parameter")
    state[name][:] = 7
    assert not any((made.state()[name] == 7).any() for made in (one, two))


@pytest.mark.parametrize("fault", ["is missing", "not an entry", r"has shape \[", "is int64"])
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(framework, fault):
    fw = framework()
    state = fw.state()
    name = next(t.name for t in fw.tensors() if t.kind == "parameter")
    arrays = {key: value + 1 for key, value in state.items()}
    if fault == "is missing":
        del arrays[name]
    elif fault == "not an entry":
        arrays["more"] = np.zeros(1, np.float32)
    elif fault == "is int64":
        arrays[name] = np.zeros(state[name].shape, np.int64)
    else:
        arrays[name] = np.zeros((1, 2, 3), np.float32)
    with pytest.raises(UserError, match=fault):
        fw.load_state(arrays)
    assert equal(fw.state(), state)


def test_sgd_with_momentum_is_the_formula(framework, groups):
    fw = framework()
    two = groups(fw)
    fw.make_optimizer("SGD", two, momentum=0.9)
    value, momentum = {n: v.astype(np.float64) for n, v in fw.state().items()}, {}
    for k in (1, 2):
        fw.set_gradients({n: np.full(value[n].shape, k, np.float32) for group in two for n in group.names})
        fw.optimizer_step([0.1, 0.2], None)
        for group, lr in zip(two, (0.1, 0.2), strict=True):
            for n in group.names:
                momentum[n] = 0.9 * momentum.get(n, 0.0) + np.full(value[n].shape, k)
                value[n] = value[n] - lr * momentum[n]
    held, state = fw.optimizer_state(), fw.state()
    assert all(np.allclose(state[n], value[n], atol=1e-6) for n in value)
    assert all(np.allclose(held[f"{n}/momentum_buffer"], m, atol=1e-6) for n, m in momentum.items())
    assert held["step"].tolist() == [2]


@pytest.mark.parametrize(("limit", "factor"), [(1.0, 0.2), (4.0, 0.8), (10.0, 1.0), (None, 1.0)])
def test_clipping_is_by_the_norm_of_everything(framework, groups, limit, factor):
    fw = framework()
    two = groups(fw)
    fw.make_optimizer("SGD", two, momentum=0.0)
    before, names = fw.state(), [group.names[0] for group in two]
    arrays = {name: np.zeros(before[name].shape, np.float32) for name in names}
    for array, value in zip(arrays.values(), (3, 4), strict=True):
        array.flat[0] = value
    fw.set_gradients(arrays)
    assert fw.optimizer_step([1.0, 1.0], limit) == pytest.approx((5.0, factor), rel=1e-5)
    after = fw.state()
    for name in names:
        assert np.allclose(before[name] - after[name], factor * arrays[name], atol=1e-5)


def test_a_step_moves_what_has_a_gradient_and_forgets_it(framework, groups):
    fw = framework()
    two = groups(fw)
    adamw(fw, two)
    before, name = fw.state(), two[1].names[0]
    fw.set_gradients({two[0].names[0]: np.ones_like(before[two[0].names[0]])})
    fw.set_gradients({name: np.ones_like(before[name])})  # takes the place of all that was there
    assert list(fw.gradients()) == [name]
    fw.optimizer_step([1e-2, 1e-2], None)
    assert fw.gradients() == {}
    assert [n for n, v in fw.state().items() if not np.array_equal(v, before[n])] == [name]


def test_gradients_that_a_step_has_taken_return_with_no_other_call(framework, batch, groups):
    fw = framework()
    state = fw.state()
    adamw(fw, groups(fw))
    fw.forward_backward(batch(), Draws(0), 0)
    fresh = fw.gradients()
    fw.optimizer_step([1e-3, 1e-3], None)
    adamw(fw, groups(fw))  # a new optimiser for the same model
    fw.load_state(state)
    fw.forward_backward(batch(), Draws(0), 0)
    assert equal(fw.gradients(), fresh)
    fw.optimizer_step([1e-3, 1e-3], None)
    fw.set_gradients(fresh)
    assert equal(fw.gradients(), fresh)


def test_accumulation_adds_scaled_gradients_and_counts_one_step(framework, batch, groups):
    fw = framework()
    state = fw.state()
    adamw(fw, groups(fw))
    found = []
    for scales in ((1.0,), (0.25,), (0.25, 0.75)):
        fw.load_state(state)  # with the same running statistics too
        fw.set_gradients({})
        for scale in scales:
            fw.forward_backward(batch(), Draws(0), 0, scale=scale)
        found.append(fw.gradients())
    whole, quarter, both = found
    top = max(np.abs(g).max() for g in whole.values())
    assert top > 0
    assert list(whole) == list(quarter) == list(both)
    assert all(np.allclose(quarter[n], 0.25 * g, atol=1e-5 * top) for n, g in whole.items())
    assert all(np.allclose(both[n], g, atol=1e-5 * top) for n, g in whole.items())
    fw.optimizer_step([1e-3, 1e-3], 0.1)
    assert fw.optimizer_state()["step"].tolist() == [1]


def test_the_optimiser_says_what_it_holds(framework, groups):
    fw = framework()
    two = groups(fw)
    fw.make_optimizer("SGD", two, momentum=0.75)
    fw.set_gradients({name: np.ones_like(fw.state()[name]) for name in two[0].names})
    fw.optimizer_step([2e-3, 3e-4], 0.25)
    held = fw.optimizer_settings()
    assert (held["kind"], held["clip_norm"], fw.threads_in_use()) == ("SGD", 0.25, 1)
    assert held["groups"] == [
        {"names": group.names, "lr": lr, "weight_decay": 0.0, "momentum": 0.75}
        for group, lr in zip(two, [2e-3, 3e-4], strict=True)
    ]


def test_the_average_is_the_formula_for_every_floating_entry(framework, batch, groups):
    fw = framework()
    adamw(fw, groups(fw))
    fw.start_ema()
    want = {n: v.astype(np.float64) for n, v in fw.state().items()}
    for step, decay in enumerate((0.5, 0.9)):
        fw.forward_backward(batch(), Draws(step), 0)
        fw.optimizer_step([1e-2, 1e-2], 0.1)
        fw.update_ema(decay)
        for name, value in fw.state().items():
            if value.dtype.kind == "f":
                want[name] = decay * want[name] + (1 - decay) * value
    ema, state = fw.ema_state(), fw.state()
    assert list(ema) == list(state)
    assert all(np.allclose(ema[n], want[n], atol=1e-6) for n in ema)
    assert any(n.endswith("running_mean") and not np.allclose(ema[n], state[n], atol=1e-6) for n in ema)
    assert {(int(ema[n]), int(state[n])) for n in state if n.endswith(COUNTER)} <= {(0, 2)}


def test_the_average_is_inside_only_while_inside(framework):
    fw = framework()
    fw.start_ema()
    own = fw.state()
    fw.load_ema({n: v + 1 for n, v in own.items()})
    with pytest.raises(RuntimeError, match="stop"), fw.ema_weights():
        inside = fw.state()
        raise RuntimeError("stop")
    assert equal(inside, {n: v + 1 for n, v in own.items()})
    assert equal(fw.state(), own)


def test_training_continues_exactly_from_saved_state(framework, batch, groups):
    one, two = framework(seed=1), framework(seed=2)
    for fw in (one, two):
        adamw(fw, groups(fw))
        fw.start_ema()
    for step, counts in enumerate([(0, 0), (2, 1)]):
        one.forward_backward(batch(counts), Draws(step), 0)
        one.optimizer_step([1e-3, 1e-3], 0.1)
        one.update_ema(0.9)
    two.load_state(one.state())
    two.load_optimizer_state(one.optimizer_state())
    two.load_ema(one.ema_state())
    saved = one.optimizer_state()
    assert saved["step"].tolist() == [2]
    late = {name: int(steps[0]) for name, steps in saved.items() if name.endswith("/step")}
    assert late == {f"{t.name}/step": 1 for t in one.tensors() if t.name == EMBEDDING}
    totals = []
    for fw in (one, two):
        totals.append(fw.forward_backward(batch((1, 2), seed=5), Draws(9), 0).total)
        fw.optimizer_step([1e-3, 1e-3], 0.1)
        fw.update_ema(0.9)
    assert totals[0] == totals[1]
    assert equal(one.state(), two.state())
    assert equal(one.ema_state(), two.ema_state())
    assert equal(one.optimizer_state(), two.optimizer_state())


def test_evaluation_between_steps_changes_no_training(framework, batch, groups):
    one, two = framework(seed=1), framework(seed=2)
    two.load_state(one.state())
    totals = []
    for fw in (one, two):
        adamw(fw, groups(fw))
        fw.start_ema()
        for step in range(2):
            totals.append(fw.forward_backward(batch(), Draws(step), 0).total)
            fw.optimizer_step([1e-3, 1e-3], 0.1)
            fw.update_ema(0.9)
            if fw is two:
                with fw.ema_weights():
                    fw.predict(batch())
    assert totals[:2] == totals[2:]
    assert equal(one.state(), two.state())


def test_losses_sum_to_the_total_and_extras_come_when_asked_for(framework, batch):
    result = framework().forward_backward(batch(), Draws(0), 0)
    assert result.extras == {}
    assert len(result.losses) > 1
    assert sum(result.losses.values()) == pytest.approx(result.total, rel=1e-5)


def test_prediction_is_the_three_stages_and_leaves_the_state_alone(framework, batch):
    fw = framework()
    before, data = fw.state(), batch()
    inputs = fw.to_device(data)
    found, again = fw.postprocess(fw.forward(inputs), inputs), fw.predict(data)
    assert len(found) == len(again) == 2
    for image, other in zip(found, again, strict=True):
        assert image.boxes.shape == (len(image.scores), 4)
        assert (image.boxes.dtype, image.scores.dtype, image.labels.dtype) == (np.float32, np.float32, np.int64)
        assert len(image.scores) > 0
        assert all(np.array_equal(getattr(image, part), getattr(other, part)) for part in ("boxes", "scores", "labels"))
    assert equal(fw.state(), before)


def test_layers_are_recorded_while_inside_and_answer_to_what_is_fed(framework, batch):
    fw = framework()
    with fw.record_layers(inputs=True) as own:
        fw.forward(fw.to_device(batch()))
    count, feed = len(own), {key: value for key, value in own.items() if "@in" in key}
    fw.forward(fw.to_device(batch()))
    assert len(own) == count
    with fw.record_layers(feed=feed) as same:
        fw.forward(fw.to_device(batch()))
    fed = [key for key in same if "@fed" in key]
    assert fed
    # not bit for bit: what is fused with what depends on what is asked for
    assert all(np.allclose(same[key], own[key.replace("@fed", "")], rtol=1e-4, atol=1e-5) for key in fed)
    name = next(n for n in own if f"{n}@fed" in same and f"{n}@in0" in own and f"{n}@in1" not in own)
    with fw.record_layers(feed={f"{name}@in0": feed[f"{name}@in0"] * 2}) as other:
        fw.forward(fw.to_device(batch()))
    assert [key for key in other if "@fed" in key] == [f"{name}@fed"]
    assert not np.allclose(other[f"{name}@fed"], other[name])


def test_groups_are_kept_as_they_were_given(framework, groups):
    fw = framework()
    names = [name for group in groups(fw) for name in group.names]
    fw.make_optimizer("SGD", [Group(names, 0.1, 0.5)], momentum=0.9)
    assert fw.optimizer_settings()["groups"] == [{"names": names, "lr": 0.1, "weight_decay": 0.5, "momentum": 0.9}]
