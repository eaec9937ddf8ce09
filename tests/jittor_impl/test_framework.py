"""The Jittor framework: optimiser, clipping, EMA, state, reach of gradients, inference stages, and looking inside."""

import numpy as np
import pytest

from jittor_impl.framework import JittorFramework, reached_gradients
from jittor_impl.inspect import count_macs
from jittor_impl.layers import BatchNorm2d, MultiheadAttention
from jittor_impl.models.rtdetr.deformable import MSDeformableAttention
from jittor_impl.runtime import jt
from parity.data.draws import Draws
from parity.errors import UserError
from parity.framework import Group

nn = jt.nn
EMBEDDING = "decoder.denoising_class_embed.weight"


def adamw(framework, groups):
    framework.make_optimizer("AdamW", groups, betas=[0.9, 0.999], eps=1e-8)


def set_gradients(framework, gradients):
    framework.accumulated = {name: jt.array(value) for name, value in gradients.items()}


@pytest.mark.parametrize("setting", ["fast", "stock"])
def test_adamw_and_its_groups_against_the_formula(framework, groups, setting):
    fw = framework(ops=setting)
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


def test_only_reached_parameters_have_gradients():
    a, b, c, d = (jt.array(np.full(3, k, np.float32)) for k in (1, 2, 3, 4))
    loss = (a * c.detach()).sum() + (d * 0).sum() + b.sum()
    found = reached_gradients(loss, {"c": c, "a": a, "d": d, "b": b})
    assert {n: g.numpy().tolist() for n, g in found.items()} == {"a": [3, 3, 3], "d": [0, 0, 0], "b": [1, 1, 1]}


@pytest.mark.parametrize(("counts", "denoising"), [((0, 0), 12), ((2, 1), 0), ((2, 1), 12)])
def test_without_boxes_or_denoising_only_the_class_embedding_is_not_reached(framework, batch, counts, denoising):
    fw = framework(num_denoising=denoising)
    result = fw.forward_backward(batch(counts), Draws(0), 0, extras=True)
    gradients = fw.gradients()
    missing = [t.name for t in fw.tensors() if t.kind == "parameter" and t.name not in gradients]
    noisy = denoising > 0 and sum(counts) > 0
    assert missing == ([] if noisy else [EMBEDDING])
    assert any("_dn_" in name for name in result.losses) == noisy
    assert all(np.isfinite(g).all() for g in gradients.values())
    if noisy:
        assert not gradients[EMBEDDING][3].any()  # the row that pads
    if counts == (0, 0):
        assert result.losses["loss_bbox"] == 0
        assert result.losses["loss_vfl"] > 0
        assert result.extras["match/main/img0/src"].shape == (0,)


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


def test_training_leaves_no_growing_graph_behind(framework, batch, groups):
    fw = framework()
    adamw(fw, groups(fw))
    fw.start_ema()
    alive = []
    for step in range(4):
        fw.forward_backward(batch(), Draws(step), 0)
        fw.optimizer_step([1e-3, 1e-3], 0.1)
        fw.update_ema(0.9)
        alive.append(jt.liveness_info()["lived_vars"])
    assert alive[3] == alive[2]
    assert all(t.kind == "parameter" for t in fw.tensors() if t.kind != "buffer")


def test_extras_have_their_official_names(framework, batch):
    fw = framework()
    extras = fw.forward_backward(batch(), Draws(0), 0, extras=True).extras
    assert extras["output/pred_logits"].shape == (2, 20, 3)
    assert extras["topk_ind"].shape == (2, 20)
    assert extras["topk_ind"].dtype == np.int64
    assert extras["match/aux_2/img1/tgt"].dtype == np.int64
    assert sorted(extras["match/main/img1/tgt"].tolist()) == [0, 1, 2]


def test_outputs_have_their_official_names_and_every_query_and_class_is_a_candidate(framework, batch):
    fw = framework()
    inputs = fw.to_device(batch())
    outputs = fw.forward(inputs)
    assert set(fw.raw_outputs(outputs)) == {"pred_logits", "pred_boxes", "topk_ind"}
    assert fw.postprocess(outputs, inputs)[0].boxes.shape == (60, 4)


def test_stock_operators_compute_what_fast_ones_do(framework, batch):
    fast, results = framework(), []
    state = fast.state()
    for setting in ("fast", "stock"):
        fw = framework(ops=setting)
        fw.load_state(state)
        results.append((fw.forward_backward(batch(), Draws(0), 0), fw.gradients(), fw.state()))
        assert fw.versions()["operators"] == setting
    (a, ga, sa), (b, gb, sb) = results
    assert a.total == pytest.approx(b.total, rel=1e-4)
    assert list(ga) == list(gb)
    errors = [np.linalg.norm(ga[n] - gb[n]) / np.linalg.norm(ga[n]) for n in ga if np.linalg.norm(ga[n]) > 1e-3]
    assert np.median(errors) < 1e-2
    assert all(np.allclose(sa[n], sb[n], rtol=1e-3, atol=1e-4) for n in sa)


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
    ("make", "inputs", "macs"),
    [
        (lambda: nn.Conv2d(4, 6, 3, 2, 1, groups=2), lambda: (jt.zeros((1, 4, 8, 8)),), 6 * 4 * 4 * 2 * 9),
        (lambda: nn.Linear(5, 7), lambda: (jt.zeros((3, 5)),), 3 * 5 * 7),
        # three input projections and the output's, then query * key and weight * value
        (
            lambda: MultiheadAttention(8, 2),
            lambda: [jt.zeros((1, 5, 8))] * 3,
            4 * 5 * 8 * 8 + 2 * 5 * 5 * 8,
        ),
        # 6 queries, 10 positions: offsets, weights, values, output; then 5 per sampled value
        (
            lambda: MSDeformableAttention(8, 2, 1, 3),
            lambda: (jt.zeros((1, 6, 8)), jt.zeros((1, 6, 4)) + 0.5, jt.zeros((1, 10, 8)), [(5, 2)]),
            6 * 8 * 12 + 6 * 8 * 6 + 10 * 64 + 6 * 64 + 6 * 8 * 3 * 5,
        ),
        (lambda: BatchNorm2d(4), lambda: (jt.zeros((1, 4, 2, 2)),), 0),
    ],
)
def test_macs_by_hand(make, inputs, macs):
    model = One(make())
    assert count_macs(model, lambda: model.inner(*inputs())) == macs


def test_macs_of_the_model_grow_with_the_batch(framework, batch):
    fw = framework()
    assert fw.macs(batch((0, 0))) == 2 * fw.macs(batch((0,)))


def test_versions_device_and_memory(framework):
    fw = framework()
    assert next(iter(fw.versions())) == "jittor"
    assert fw.versions()["onednn"].startswith("2.6")
    assert fw.device_memory() is None
    with pytest.raises(UserError, match="device: tpu"):
        JittorFramework("tpu")
    with pytest.raises(UserError, match="cuda is not there"):
        JittorFramework("cuda")
    with pytest.raises(UserError, match="dtype: float64"):
        JittorFramework("cpu", 1, {"dtype": "float64"})
    with pytest.raises(UserError, match="ops='slow'"):
        JittorFramework("cpu", 1, {"ops": "slow"})


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
