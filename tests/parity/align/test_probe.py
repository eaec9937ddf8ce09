"""The ladder between two probes of the NumPy stand-in: the second whole, or with one mistake after the gradients."""

from contextlib import contextmanager

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity import cli
from parity.align.files import Probe
from parity.align.ladder import climb
from parity.framework import Group
from parity.weights import formats


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.full(2, 0.2, np.float32)}
    formats.write(folder / "init.safetensors", arrays | {"norm.running_mean": np.full(2, 0.1, np.float32)})
    run = make_run(make_dataset(folder / "data"), folder / "init.safetensors")
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    return folder


def probe(folder, framework, out, *more) -> Probe:
    arguments = ["probe", "--config", folder / "run.yaml", "--weights", folder / "init.safetensors", "--out", out]
    assert cli.main(framework, [*map(str, arguments), "--trajectory", "9", *more]) == 0
    return Probe(out)


@pytest.fixture(scope="module")
def reference(folder):
    return probe(folder, NumpyFramework, folder / "first")


class Mistaken(NumpyFramework):
    """The stand-in with one mistake."""

    fault = ""

    def optimizer_step(self, lrs, clip_norm):
        late, self.late = getattr(self, "late", lrs), lrs
        return super().optimizer_step(late if self.fault == "rate one step late" else lrs, clip_norm)

    def forward_backward(self, batch, draws, epoch, scale=1.0, extras=False):
        epoch_matters = self.fault == "changes with the epoch" and epoch > 0
        result = super().forward_backward(batch, draws, epoch, scale, extras)
        factor = 2.0 if epoch_matters else 1.02 if self.fault == "one gradient two percent too large" else 1.0
        self.grads["score.weight"] = self.grads["score.weight"] * np.float32(factor)
        if self.fault == "sign":
            self.grads["box.weight"] = -self.grads["box.weight"]
        return result

    def update_ema(self, decay):
        before = self.ema["norm.running_mean"]
        super().update_ema(decay)
        if self.fault == "average without statistics":
            self.ema["norm.running_mean"] = before

    @contextmanager
    def ema_weights(self):
        if self.fault == "average not used":
            yield
        else:
            with super().ema_weights():
                yield


def climbed(folder, reference, tmp_path, fault):
    framework = type("Second", (Mistaken,), {"fault": fault})
    return climb(reference, probe(folder, framework, tmp_path / "second", "--reference", str(reference.folder)))


def test_two_equal_probes_agree_and_say_how_much_they_compared(folder, reference, tmp_path):
    alignment = climbed(folder, reference, tmp_path, "")
    verdicts = {rung["rung"]: rung["verdict"] for rung in alignment["rungs"]}
    assert [number for number, verdict in verdicts.items() if verdict == "fail"] == []
    assert verdicts[6] == verdicts[7] == verdicts[8] == verdicts[9] == "pass"
    counts = {rung["rung"]: rung["compared"] for rung in alignment["rungs"]}
    assert counts[6] == {"parameters": 2, "batches": 5, "elements": 30}
    assert counts[7]["parameters"] == 10 and counts[7]["averages"] == 15 and counts[7]["statistics"] == 5


@pytest.mark.parametrize(
    ("fault", "rung", "where"),
    [
        ("rate one step late", 7, "step1/delta"),
        ("average without statistics", 7, "step0/ema norm.running_mean"),
        ("average not used", 7, "evaluated with the average: box"),
        ("changes with the epoch", 6, "on one batch: score.weight"),
        ("one gradient two percent too large", 6, "score.weight"),
        ("sign", 6, "box.weight"),
    ],
)
def test_a_mistake_in_the_steps_is_seen_and_named(folder, reference, tmp_path, fault, rung, where):
    found = climbed(folder, reference, tmp_path, fault)["rungs"][rung]
    assert found["verdict"] == "fail"
    assert where in "".join(found["details"]["failures"])


def test_what_is_fed_takes_the_place_of_every_gradient():
    framework = NumpyFramework()
    framework.build("any", {"num_classes": 2})
    framework.make_optimizer("SGD", [Group(["box.weight"], 1.0, 0.0)])
    framework.grads = {"score.weight": np.ones(2, np.float32)}
    framework.set_gradients({"box.weight": np.full(4, 2, np.float32)})
    assert list(framework.gradients()) == ["box.weight"]
