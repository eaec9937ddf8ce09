"""The PyTorch framework: optimiser, clipping, EMA, state, inference stages, and looking inside."""

import numpy as np
import pytest
import torch
from torch import nn

from parity.data.draws import Draws
from parity.errors import UserError
from parity.framework import Group
from torch_impl.framework import TorchFramework
from torch_impl.inspect import count_macs
from torch_impl.layers import FrozenBatchNorm2d, MultiheadAttention
from torch_impl.models.rtdetr.deformable import MSDeformableAttention
from torch_impl.optim import clip_gradients


@pytest.fixture
def framework(options):
    def make(seed: int = 0, dtype: str = "float32", **overrides) -> TorchFramework:
        made = TorchFramework("cpu", 1, {"dtype": dtype})
        made.seed(seed)
        made.build("rtdetr", options(**overrides))
        return made

    return make


def adamw(framework, groups):
    framework.make_optimizer("AdamW", groups, betas=[0.9, 0.999], eps=1e-8)


def set_gradients(framework, gradients):
    for name, parameter in framework.model.named_parameters():
        parameter.grad = torch.from_numpy(gradients[name].copy()) if name in gradients else None


def test_the_norm_of_many_gradients_is_exact():
    """A million squares added in float32 end some 1e-6 away, and every clipped step would be that much longer."""
    values = np.random.default_rng(0).standard_normal((20, 80, 192, 9)).astype(np.float32)
    parameters = [nn.Parameter(torch.zeros(part.shape)) for part in values]
    for parameter, part in zip(parameters, values, strict=True):
        parameter.grad = torch.from_numpy(part)
    exact = float(np.sqrt(np.square(values, dtype=np.float64).sum()))
    assert clip_gradients(parameters, None)[0] == pytest.approx(exact, rel=1e-12)
    assert clip_gradients(parameters, 1.0)[1] == pytest.approx(1 / exact, rel=1e-8)


def test_adamw_and_its_groups_against_the_formula(framework, groups):
    fw = framework()
    two = groups(fw)
    adamw(fw, two)
    rates, decays = [2e-3, 3e-4], [g.weight_decay for g in two]
    rng = np.random.default_rng(0)
    value = {n: fw.state()[n].astype(np.float64) for g in two for n in g.names}
    first, second = ({n: np.zeros_like(v) for n, v in value.items()} for _ in range(2))
    for t in (1, 2, 3):
        gradients = {n: rng.normal(size=v.shape).astype(np.float32) for n, v in value.items()}
        set_gradients(fw, gradients)
        norm, factor = fw.optimizer_step(rates, 0.5)
        want = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients.values()))
        assert norm == pytest.approx(want, rel=1e-5)
        assert factor == pytest.approx(0.5 / want, rel=1e-4)
        for group, lr, decay in zip(two, rates, decays, strict=True):
            for n in group.names:
                g = gradients[n] * factor
                first[n] = 0.9 * first[n] + 0.1 * g
                second[n] = 0.999 * second[n] + 0.001 * g * g
                step = (first[n] / (1 - 0.9**t)) / (np.sqrt(second[n] / (1 - 0.999**t)) + 1e-8)
                value[n] = value[n] * (1 - lr * decay) - lr * step
    state = fw.state()
    assert max(np.abs(state[n] - v).max() for n, v in value.items()) < 2e-6
    assert fw.gradients() == {}


def test_sgd_with_momentum_against_the_formula(framework):
    fw = framework()
    names = [t.name for t in fw.tensors() if t.kind == "parameter"]
    fw.make_optimizer("SGD", [Group(names, 0.1, 0.01)], momentum=0.9)
    name = names[0]
    value, momentum = fw.state()[name].astype(np.float64), 0.0
    for k in (1, 2):
        gradient = np.full(value.shape, float(k), np.float32)
        set_gradients(fw, {name: gradient})
        fw.optimizer_step([0.1], None)
        momentum = 0.9 * momentum + gradient + 0.01 * value
        value = value - 0.1 * momentum
    assert np.allclose(fw.state()[name], value, atol=1e-6)
    assert np.allclose(fw.optimizer_state()[f"{name}/momentum_buffer"], momentum, atol=1e-5)


class ConstantDraws:
    """The same numbers whatever the batch, so that halves of a batch see what the whole sees."""

    def uniform(self, shape):
        return np.full(shape, 0.4, np.float32)

    def integers(self, low, high, shape):
        return np.full(shape, low, np.int64)


def freeze_norms(module):
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features))
        else:
            freeze_norms(child)


def test_accumulated_halves_are_the_whole_batch_where_nothing_depends_on_it(framework, batch):
    fw = framework(dtype="float64")
    freeze_norms(fw.model)
    fw.model.double()
    whole = batch((2, 2, 2, 2))
    fw.forward_backward(whole, ConstantDraws(), 0)
    want = fw.gradients()
    fw.model.zero_grad()
    for half in (slice(0, 2), slice(2, 4)):
        part = type(whole)(
            whole.images[half],
            whole.sizes[half],
            whole.boxes[2 * half.start : 2 * half.stop],
            whole.labels[2 * half.start : 2 * half.stop],
            whole.counts[half],
        )
        fw.forward_backward(part, ConstantDraws(), 0, scale=0.5)
    got = fw.gradients()
    assert list(got) == list(want)
    assert all(np.allclose(got[n], want[n], rtol=1e-6, atol=1e-9) for n in want)


def test_groups_must_hold_every_parameter_once(framework, groups):
    fw = framework()
    two = groups(fw)
    wrong = [
        [Group(two[0].names, 1e-3, 0.0)],
        [*two, Group([two[0].names[0]], 1e-3, 0.0)],
        [*two, Group(["encoder.none"], 1e-3, 0.0)],
    ]
    for case in wrong:
        with pytest.raises(UserError, match="parameter groups"):
            adamw(fw, case)
    with pytest.raises(UserError, match="Lion"):
        fw.make_optimizer("Lion", two)


def test_optimizer_state_that_does_not_fit_is_refused(framework, groups):
    fw = framework()
    adamw(fw, groups(fw))
    name = groups(fw)[0].names[0]
    with pytest.raises(UserError, match="other/exp_avg"):
        fw.load_optimizer_state({"step": np.array([1]), "other/exp_avg": np.zeros(1)})
    with pytest.raises(UserError, match="step"):
        fw.load_optimizer_state({})
    with pytest.raises(UserError, match=r"has shape \[1\]"):
        fw.load_optimizer_state(
            {"step": np.array([1]), f"{name}/exp_avg": np.zeros(1), f"{name}/exp_avg_sq": np.zeros(1)}
        )


def test_extras_have_their_official_names(framework, batch):
    fw = framework()
    extras = fw.forward_backward(batch(), Draws(0), 0, extras=True).extras
    assert extras["output/pred_logits"].shape == (2, 20, 3)
    assert extras["topk_ind"].shape == (2, 20)
    assert extras["match/aux_2/img1/tgt"].dtype == np.int64
    assert sorted(extras["match/main/img1/tgt"].tolist()) == [0, 1, 2]


def test_outputs_have_their_official_names_and_every_query_and_class_is_a_candidate(framework, batch):
    fw = framework()
    inputs = fw.to_device(batch())
    outputs = fw.forward(inputs)
    assert set(fw.raw_outputs(outputs)) == {"pred_logits", "pred_boxes", "topk_ind"}
    assert fw.postprocess(outputs, inputs)[0].boxes.shape == (60, 4)


def test_float64_computes_what_float32_does(framework, batch):
    single, double = framework(), framework(dtype="float64")
    double.load_state(single.state())
    inputs = single.to_device(batch())
    a = single.raw_outputs(single.forward(inputs))
    b = double.raw_outputs(double.forward(double.to_device(batch())))
    assert b["pred_logits"].dtype == np.float64
    assert np.array_equal(a["topk_ind"], b["topk_ind"])
    assert np.abs(a["pred_logits"] - b["pred_logits"]).max() < 1e-4
    losses = [fw.forward_backward(batch(), Draws(0), 0) for fw in (single, double)]
    assert losses[0].total == pytest.approx(losses[1].total, rel=1e-3)


def test_layers_are_recorded_under_module_paths(framework, batch):
    fw = framework()
    with fw.record_layers() as recorded:
        fw.forward(fw.to_device(batch()))
    assert recorded["encoder[0]"].shape == (2, 32, 8, 8)
    assert recorded["encoder.encoder.0"].shape == (2, 4, 32)
    assert recorded["decoder.decoder.layers.0.self_attn[0]"].shape == (2, 20, 32)
    assert recorded["decoder.query_pos_head#2"].shape == (2, 20, 32)
    assert "decoder.query_pos_head#3" not in recorded
    count = len(recorded)
    fw.forward(fw.to_device(batch()))
    assert len(recorded) == count


class One(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner


@pytest.mark.parametrize(
    ("module", "inputs", "macs"),
    [
        (nn.Conv2d(4, 6, 3, 2, 1, groups=2), (torch.zeros(1, 4, 8, 8),), 6 * 4 * 4 * 2 * 9),
        (nn.Linear(5, 7), (torch.zeros(3, 5),), 3 * 5 * 7),
        # three input projections and the output's, then query * key and weight * value
        (MultiheadAttention(8, 2), [torch.zeros(1, 5, 8)] * 3, 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8),
        # 6 queries, 10 positions: offsets, weights, values, output; then 5 per sampled value
        (
            MSDeformableAttention(8, 2, 1, 3),
            (torch.zeros(1, 6, 8), torch.full((1, 6, 4), 0.5), torch.zeros(1, 10, 8), [(5, 2)]),
            6 * 8 * 12 + 6 * 8 * 6 + 10 * 64 + 6 * 64 + 6 * 8 * 3 * 5,
        ),
        (nn.BatchNorm2d(4), (torch.zeros(1, 4, 2, 2),), 0),
    ],
)
def test_macs_by_hand(module, inputs, macs):
    model = One(module)
    assert count_macs(model, lambda: model.inner(*inputs)) == macs


def test_macs_of_the_model_grow_with_the_batch(framework, batch):
    fw = framework()
    assert fw.macs(batch((0, 0))) == 2 * fw.macs(batch((0,)))


def test_versions_device_and_memory(framework):
    fw = framework()
    assert next(iter(fw.versions())) == "torch"
    assert fw.versions()["torch"] == torch.__version__
    assert fw.device_memory() is None
    with pytest.raises(UserError, match="device: tpu"):
        TorchFramework("tpu")
    with pytest.raises(UserError, match="cuda:99"):
        TorchFramework("cuda:99")
    with pytest.raises(UserError, match="dtype: int8"):
        TorchFramework("cpu", 1, {"dtype": "int8"})


def test_the_optimiser_says_what_it_holds(framework, groups):
    fw = framework()
    two = groups(fw)
    adamw(fw, two)
    set_gradients(fw, {name: np.ones_like(fw.state()[name]) for name in two[0].names})
    fw.optimizer_step([2e-3, 3e-4], 0.25)
    held = fw.optimizer_settings()
    assert (held["kind"], held["clip_norm"]) == ("AdamW", 0.25)
    assert held["groups"] == [
        {"names": group.names, "lr": lr, "weight_decay": group.weight_decay, "betas": [0.9, 0.999], "eps": 1e-8}
        for group, lr in zip(two, [2e-3, 3e-4], strict=True)
    ]


def test_gradients_stay_in_memory_until_the_first_backward_pass_of_the_next_step(framework, batch, groups):
    fw = framework()
    adamw(fw, groups(fw))
    fw.forward_backward(batch(), Draws(0, 1), 0, 0.5)
    fw.forward_backward(batch(), Draws(0, 1), 0, 0.5)
    whole = fw.gradients()
    fw.optimizer_step([0.0, 0.0], None)
    kept = {name: p.grad for name, p in fw.model.named_parameters() if p.grad is not None}
    assert len(kept) == len(whole) and fw.gradients() == {}
    fw.forward_backward(batch(), Draws(0, 1), 0, 1.0)
    again = fw.gradients()
    assert all(np.allclose(again[name], whole[name], rtol=1e-3, atol=1e-4) for name in whole)  # and not twice that


def test_a_tuned_framework_takes_the_same_steps_up_to_rounding(framework, batch, groups, options):
    plain, tuned = framework(), TorchFramework("cpu", 1, {"tuned": True})
    tuned.build("rtdetr", options())
    tuned.load_state(plain.state())
    assert not torch.are_deterministic_algorithms_enabled()
    clips = []
    for fw in (plain, tuned):
        adamw(fw, groups(fw))
        fw.forward_backward(batch(), Draws(0, 1), 0)
        clips.append(fw.optimizer_step([0.0, 0.0], 0.1))  # a norm far above 0.1
        fw.start_ema()
        fw.forward_backward(batch(), Draws(0, 1), 0)
        assert (fw.optimizer_step([1e-3, 1e-4], None, norm=False)[0]) is None
        fw.update_ema(0.9)
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert np.allclose(clips[0], clips[1], rtol=1e-4) and clips[1][1] < 1
    assert tuned.optimizer.torch.defaults["fused"] and not plain.optimizer.torch.defaults["fused"]
    for first, second in ((plain.state(), tuned.state()), (plain.ema_state(), tuned.ema_state())):
        gap = [np.abs(first[name] - second[name]).max() for name in first if first[name].dtype == np.float32]
        assert max(gap) < 5e-3 and np.median(gap) < 1e-6
