"""Two probes of one small model, and the ladder between them: the second one whole, or with one thing broken."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from parity import cli
from parity.align.files import Probe, names
from parity.align.ladder import climb, failures
from parity.align.shake import shake
from parity.config.models import model_config
from parity.data.build import build
from parity.framework import Group
from torch_impl.framework import TorchFramework

MODEL = {"base_width": 16, "hidden_dim": 32, "decoder_hidden_dim": 32, "encoder_ffn": 32, "decoder_ffn": 32}
MODEL |= {"csp_blocks": 1, "decoder_layers": 2, "num_queries": 20, "num_denoising": 8, "batch_size": 2, "epochs": 2}
NORM = "encoder.pan_blocks.0.bottlenecks.0.conv1.norm"


class Broken(TorchFramework):
    """PyTorch with one mistake in the model; `mistake` is called with it after it was built."""

    mistake = staticmethod(lambda model: None)

    def build(self, model, options):
        super().build(model, options)
        self.mistake(self.model)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Folder with a dataset, run.yaml and init.safetensors."""
    folder = tmp_path_factory.mktemp("inputs")
    build({"source": "synthetic", "train_images": 6, "val_images": 3, "image_size": [64, 80]}, folder / "data")
    run = model_config("rtdetr", "tiny", 7, MODEL).plain()
    run["preprocess"]["size"] = 64
    run |= {"framework": "torch", "seed": 0, "device": "cpu", "threads": 1, "precision": "float32", "workers": 0}
    run |= {"evaluate": {"max_detections": 100, "batch_size": 3, "score_threshold": 0.0}, "log_seconds": 5}
    run |= {"data": {"id": "d", "root": str(folder / "data"), "num_classes": 7}, "framework_options": {}}
    run["weights"] = str(folder / "init.safetensors")
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    changed = [f"{key}={value}" for key, value in run["options"].items() if key in MODEL]
    arguments = ["--variant", "tiny", "--num-classes", "7", "--seed", "0", "--out", run["weights"], "--set", *changed]
    assert cli.main(TorchFramework, ["init", "--model", "rtdetr", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def reference(inputs):
    torch.set_num_threads(1)
    return probe(inputs, TorchFramework, inputs / "first")


def probe(inputs, framework, out, *more: str) -> Probe:
    arguments = ["probe", "--config", inputs / "run.yaml", "--weights", inputs / "init.safetensors", "--out", out]
    assert cli.main(framework, [*map(str, arguments), "--steps", "5", "--trajectory", "4", *more]) == 0
    return Probe(out)


def ladder(inputs, reference, tmp_path, mistake):
    framework = type("Mistaken", (Broken,), {"mistake": staticmethod(mistake)})
    second = probe(inputs, framework, tmp_path / "second", "--reference", str(reference.folder))
    return climb(reference, second)


def test_two_equal_probes_pass_every_rung(inputs, reference, tmp_path):
    alignment = ladder(inputs, reference, tmp_path, lambda model: None)
    assert [rung["verdict"] for rung in alignment["rungs"]] == ["pass"] * 10 + ["incomplete"]
    assert "AP50 is 0.0" in failures(alignment)[0]  # after four steps nothing is detected
    counts = [(rung["expected"], rung["compared"]) for rung in alignment["rungs"]]
    assert all(expected == compared for expected, compared in counts)
    assert alignment["trajectory"]["relative_difference"] == [0.0] * 4  # beyond the first epoch
    forward = alignment["rungs"][3]
    assert forward["compared"]["modules"] == forward["compared"]["modules fed"] > 200
    assert {"parameters", "moments", "averages", "outputs of the average"} <= set(alignment["rungs"][7]["compared"])


LOGS = {"trajectory.jsonl", "shadow.jsonl"}  # for people; no other job opens them


def test_a_probe_writes_the_files_that_the_workflow_declares(inputs, reference, tmp_path):
    single = type("Single", (TorchFramework,), {"dtypes": ("float32",)})
    fed = ("--reference", str(reference.folder))
    second = probe(inputs, TorchFramework, tmp_path / "second", *fed)
    short = probe(inputs, single, tmp_path / "short", "--trajectory", "0")
    for found, kind in ((reference, (True, True)), (second, (False, True)), (short, (True, False))):
        assert {file.name for file in found.folder.iterdir()} - LOGS == set(names(*kind))
    assert reference.referee is not None
    assert short.referee is None and len(short.nudged) == 3


def test_a_wrong_epsilon_in_one_norm_is_named(inputs, reference, tmp_path):
    def mistake(model):
        model.get_submodule(NORM).eps = 1e-3

    alignment = ladder(inputs, reference, tmp_path, mistake)
    found = alignment["first_divergence"]
    assert (found["module"], found["kind"], found["cause"]) == (NORM, "batch norm", True)
    assert "epsilon" in found["hint"]
    assert all(NORM.startswith(f"{path}.") for path in found["also_to_blame"])  # only what holds the norm
    assert found["carried_over"] >= 5
    assert NORM in failures(alignment)[0]
    assert not alignment["passed"]


def test_a_wrong_activation_is_named(inputs, reference, tmp_path):
    def mistake(model):
        model.encoder.encoder[0].layers[0].act = nn.GELU(approximate="tanh")

    found = ladder(inputs, reference, tmp_path, mistake)["first_divergence"]
    assert found["module"] == "encoder.encoder.0.layers.0.act"
    assert "GELU" in found["hint"]


def test_arithmetic_between_modules_blames_the_module_it_stands_in(inputs, reference, tmp_path):
    def mistake(model):
        block = model.encoder.fpn_blocks[0]
        block.forward = lambda x: block.conv3(block.bottlenecks(block.conv1(x)) + 0.99 * block.conv2(x))

    found = ladder(inputs, reference, tmp_path, mistake)["first_divergence"]
    assert (found["module"], found["kind"], found["cause"]) == ("encoder.fpn_blocks.0", "block", True)
    assert "residual" in found["hint"]


def test_what_only_training_shows_fails_from_there_on(inputs, reference, tmp_path):
    def mistake(model):
        model.get_submodule(NORM).momentum = 0.2

    alignment = ladder(inputs, reference, tmp_path, mistake)
    assert next(rung["rung"] for rung in alignment["rungs"] if rung["verdict"] == "fail") == 7
    assert f"buffer {NORM}.running" in failures(alignment)[0]


class Optimising(TorchFramework):
    """PyTorch with one mistake in what follows the gradients."""

    fault = ""

    def make_optimizer(self, kind, groups, **options):
        if self.fault == "no weight decay":
            groups = [Group(group.names, group.lr, 0.0) for group in groups]
        super().make_optimizer(kind, groups, **options)

    def optimizer_step(self, lrs, clip_norm):
        if self.fault == "rate one step late":
            late, self.late = getattr(self, "late", lrs), lrs
            lrs = late
        return super().optimizer_step(lrs, clip_norm)

    def update_ema(self, decay):
        before = self.ema_state()
        super().update_ema(decay)
        if self.fault == "average without statistics":
            self.load_ema(self.ema_state() | {n: a for n, a in before.items() if "running" in n})

    @contextmanager
    def ema_weights(self):
        if self.fault == "average not used":
            yield
        else:
            with super().ema_weights():
                yield


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        ("no weight decay", "decay "),
        ("rate one step late", "step1/delta "),
        ("average without statistics", "step0/ema "),
        ("average not used", "evaluated with the average:"),
    ],
)
def test_a_mistake_after_the_gradients_is_seen(inputs, reference, tmp_path, fault, where):
    framework = type("Mistaken", (Optimising,), {"fault": fault})
    second = probe(inputs, framework, tmp_path / "second", "--reference", str(reference.folder))
    rung = climb(reference, second)["rungs"][7]
    assert rung["verdict"] == "fail"
    assert any(place.startswith(where) for place in rung["details"]["failures"])


def test_shaken_weights_are_a_function_of_name_and_seed():
    arrays = {"zero": np.zeros((3, 4), np.float32), "bn.running_var": np.ones(50, np.float32), "n": np.int64(3)}
    first, second, other = shake(arrays, 0), shake(arrays, 0), shake(arrays, 1)
    assert all(first[name].tobytes() == second[name].tobytes() for name in arrays)
    assert not np.array_equal(first["zero"], other["zero"])
    assert first["zero"].dtype == np.float32 and 0.005 < first["zero"].std() < 0.05
    assert (first["bn.running_var"] > 0).all() and first["n"] == 3
