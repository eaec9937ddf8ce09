"""Plant every fault of the catalogue and write down which rung of the ladder sees it.

    python tests/faults/plant.py --out docs/faults.md [--models numpy rtdetr]

`make faults` runs it with PyTorch. The first framework is whole, the second one is the same framework with one mistake,
so that nothing but the mistake differs. A clean second run of each model is the control.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/parity"), str(ROOT / "tests/faults")]

import numpy as np  # noqa: E402
from catalogue import FAULTS, Fault  # noqa: E402
from small_run import make_dataset, make_rtdetr_run, make_run  # noqa: E402

from parity import cli  # noqa: E402
from parity.align.files import Probe  # noqa: E402
from parity.align.ladder import climb  # noqa: E402
from parity.config.run import load_run  # noqa: E402
from parity.files import write_text  # noqa: E402
from parity.framework import Framework  # noqa: E402
from parity.weights import formats  # noqa: E402
from parity.weights.initialize import initialize  # noqa: E402

HEAD = """# Planted faults

Made by `make faults` (`python tests/faults/plant.py`). Each row is one mistake, planted in the second of two runs of
the same framework through the interface `parity.framework.Framework`, never in a model; `tests/faults/catalogue.py`
holds them. "numpy" is the stand-in framework of the tests; "rtdetr" is a very small RT-DETR in PyTorch. The rung is the
lowest one that fails. The cause is named where a message of the ladder holds the part that is wrong. A clean second run
of each model is the control.
"""


class Bench:
    """One model: its framework, its inputs, and the first framework's probe."""

    def __init__(self, model: str, folder: Path):
        self.model, self.folder = model, folder
        folder.mkdir(parents=True, exist_ok=True)
        data, weights = make_dataset(folder / "data"), folder / "init.safetensors"
        if model == "numpy":
            from numpy_framework import NumpyFramework

            self.framework: type[Framework] = NumpyFramework
            run = make_run(data, weights)
            run["train"] = run["train"] | {"accumulate": 2, "batch_size": 2}
            arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.float32([0.2, 0.1])}
            formats.write(weights, arrays | {"norm.running_mean": np.full(2, 0.1, np.float32)})
        else:
            from torch_impl.framework import TorchFramework

            self.framework = TorchFramework
            run = make_rtdetr_run(data, weights, "torch")
        (folder / "run.yaml").write_text(yaml.safe_dump(run))
        if not weights.exists():
            settings, whole = load_run(folder / "run.yaml"), self.framework("cpu", 1)
            whole.build(settings.model, settings.options)
            formats.write(weights, initialize(settings.model, whole.tensors(), 0, settings.options))
        self.reference = self.probe(self.framework, folder / "first")

    def probe(self, framework: type[Framework], out: Path, *more: str) -> Probe:
        arguments = ["--config", self.folder / "run.yaml", "--weights", self.folder / "init.safetensors", "--out", out]
        status = cli.main(framework, ["probe", *map(str, arguments), "--trajectory", "4", *more])
        if status:
            raise RuntimeError(f"probe ended with {status}")
        return Probe(out)

    def climb(self, framework: type[Framework]) -> dict:
        """alignment.json of the first framework and this one."""
        with tempfile.TemporaryDirectory() as out:
            return climb(self.reference, self.probe(framework, Path(out), "--reference", str(self.reference.folder)))


def judge(alignment: dict, fault: Fault) -> tuple[int | None, str]:
    """The lowest rung that fails, and the message that names the cause; "" where none does."""
    failing = [rung for rung in alignment["rungs"] if rung["verdict"] == "fail"]
    told = [place for rung in failing for place in [rung["where"], *rung["details"].get("failures", [])]]
    named = next((place for place in told if any(part in place for part in fault.named)), "")
    return (failing[0]["rung"] if failing else None), named


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="The page to write.")
    parser.add_argument("--models", nargs="+", default=["numpy", "rtdetr"], help="Where to plant.")
    args = parser.parse_args()
    rows, controls, found, planted = [], [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            bench = Bench(model, Path(folder) / model)
            alarms = [r["rung"] for r in bench.climb(bench.framework)["rungs"] if r["verdict"] == "fail"]
            controls.append(f"{model}: {'no false alarm' if not alarms else f'rungs {alarms} fail'}")
            for fault in (fault for fault in FAULTS if model in fault.models):
                planted += 1
                try:
                    rung, named = judge(bench.climb(fault.plant(bench.framework)), fault)
                except Exception as error:  # a mistake may also end the second framework: seen, but by no rung
                    rung, named = None, f"the run ends: {type(error).__name__}: {error}"
                caught = "yes" if rung is not None and named else "yes, cause not named" if rung is not None else "no"
                found += caught == "yes"
                cell = named.replace("|", "/")[:110]
                rows.append(f"| {fault.name} | {model} | {'' if rung is None else rung} | {cell} | {caught} |")
                print(rows[-1], flush=True)
    left = [fault.name for fault in FAULTS if not set(fault.models) & set(args.models)]
    lines = [HEAD, f"Planted in: {', '.join(args.models)}. Not planted here: {', '.join(left) or 'none'}.\n"]
    lines += [f"Caught with the cause named: {found} of {planted}. Controls: {'; '.join(controls)}.\n"]
    lines += ["| fault | model | rung | named cause | caught |", "|---|---|---|---|---|", *rows]
    write_text(args.out, "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
