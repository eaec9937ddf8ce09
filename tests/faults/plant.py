"""Plant every mistake of the catalogue and write down which rung of the ladder sees it.

    python tests/faults/plant.py torch --references  # the first framework's probes of every model and seed
    python tests/faults/plant.py jittor [--clean]    # every mistake in Jittor; or clean runs, five seeds of each model
    python tests/faults/plant.py torch               # in PyTorch the mistakes that every framework can have
    python tests/faults/plant.py numpy [--clean]     # the same for the stand-in, which needs no framework
    python tests/faults/plant.py again               # judge the probes of `--keep` anew, after a rung was changed
    python tests/faults/plant.py page --out docs/faults.md

With `--weights FILE --data FOLDER` the mistakes of NanoDet-Plus are planted in its official variant, which starts from
these released weights, on the images of a prepared dataset (`results/data/<name>-<hash>`; `train_images: 24`). Results
and page are apart:

    python tests/faults/plant.py torch --references --weights FILE --data FOLDER
    python tests/faults/plant.py jittor [--clean] --weights FILE --data FOLDER
    python tests/faults/plant.py page --weights FILE --data FOLDER --out docs/faults-released.md

`make faults` runs all of them, each in the environment of its framework. The result of every mistake is a file under
`results/faults`, so that a command that was killed goes on where it stopped. Delete the folder to begin anew.
"""

import argparse
import itertools
import os
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/parity"), str(ROOT / "tests/faults")]

from bench import OVERRIDES, PHOTOGRAPHS, PROBES, RELEASED, Bench, Released  # noqa: E402
from catalogue import FAULTS  # noqa: E402
from page import write_page  # noqa: E402
from planting import Fault  # noqa: E402

from parity.files import read_json, write_json  # noqa: E402
from parity.framework import Framework  # noqa: E402

SEEDS = (3, 4, 5, 6, 7)  # of the clean runs; mistakes are planted with the first one
MODELS = tuple(OVERRIDES)


def framework_of(name: str) -> type[Framework]:
    """The whole framework of that name."""
    if name == "numpy":
        from numpy_framework import NumpyFramework

        return NumpyFramework
    if name == "torch":
        from torch_impl.framework import TorchFramework

        return TorchFramework
    from jittor_impl.framework import JittorFramework

    return JittorFramework


@dataclass(frozen=True)
class Place:
    """Where results lie, and the released weights that everything starts from, if any."""

    results: Path
    released: Released | None = None

    def bench(self, model: str, seed: int = SEEDS[0], probe: str = "whole") -> Bench:
        """The bench of one model and seed; the stand-in always has the whole ladder."""
        probe = "whole" if model == "numpy" else probe
        return Bench(model, self.results / model / f"seed{seed} {probe}", seed, probe, self.released)


def failing(alignment: dict[str, Any]) -> list[dict[str, Any]]:
    """Of every rung that fails: its number, its name, its place, and the other places it lists."""
    return [
        {"rung": r["rung"], "name": r["name"], "where": r["where"], "failures": r["details"].get("failures", [])}
        for r in alignment["rungs"]
        if r["verdict"] == "fail"
    ]


def plant(bench: Bench, framework: type[Framework], fault: Fault, kept: Path | None = None) -> dict[str, Any]:
    """What the ladder says of this mistake in that framework; `ends` says why where the probe ends with an error.

    The probe stays in the folder `kept`, if there is one.
    """
    try:
        with fault.plant(framework) as mistaken:
            return {"failing": failing(bench.climb(mistaken, kept))}
    except Exception as error:  # a mistake may end the second framework: seen, but by no rung
        return {"failing": [], "ends": f"{type(error).__name__}: {error}"[:200]}


def slug(text: str) -> str:
    """A file's name for a mistake."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def plant_all(name: str, models: list[str], faults: list[Fault], place: Place, only: str, keep: bool) -> None:
    """Plant every mistake that has no result yet in the framework `name`."""
    framework = framework_of(name)
    cheap_first = sorted(faults, key=lambda fault: list(PROBES).index(fault.probe))
    for fault, model in itertools.product(cheap_first, models):
        file = place.results / model / name / f"{slug(fault.name)}.json"
        if model not in fault.planted_in(name) or only not in fault.name or (file.exists() and not only):
            continue
        start = time.monotonic()
        found = plant(place.bench(model, probe=fault.probe), framework, fault, file.with_suffix("") if keep else None)
        about = {"fault": fault.name, "framework": name, "model": model, "probe": fault.probe}
        about["seconds"] = round(time.monotonic() - start, 1)
        write_json(file, about | found)
        first = found["failing"][0] if found["failing"] else found.get("ends", "no rung fails")
        print(f"{about['seconds']} s {model}: {fault.name}: {first}", flush=True)


def run_clean(name: str, models: list[str], place: Place, keep: bool) -> None:
    """The ladder of clean runs of every model, five seeds each."""
    framework = framework_of(name)
    for model in models:
        for seed in SEEDS[:1] if model == "numpy" or place.released else SEEDS:
            file = place.results / model / name / f"clean-{seed}.json"
            if file.exists():
                continue
            alignment = place.bench(model, seed).climb(framework, file.with_suffix("") if keep else None)
            found = {"clean": seed, "framework": name, "model": model} | verdicts(alignment)
            write_json(file, found)
            print(f"clean: {model}, seed {seed}: {found}", flush=True)


def verdicts(alignment: dict[str, Any]) -> dict[str, Any]:
    """The rungs of a clean run that are incomplete, and those that fail."""
    open_rungs = [rung["rung"] for rung in alignment["rungs"] if rung["verdict"] == "incomplete"]
    return {"incomplete": open_rungs, "failing": failing(alignment)}


def climb_again(models: list[str], place: Place) -> None:
    """Judge every probe that was kept anew, and say whose verdict is another one now."""
    for file in sorted(file for model in models for file in place.results.glob(f"{model}/*/*.json")):
        kept, before = file.with_suffix(""), read_json(file)
        if not (kept / "probe.json").exists():
            continue
        seed, probe = before.get("clean", SEEDS[0]), before.get("probe", "whole")
        alignment = place.bench(before["model"], seed, probe).climb_again(kept)
        found = before | (verdicts(alignment) if "clean" in before else {"failing": failing(alignment)})
        write_json(file, found)
        if [rung["rung"] for rung in found["failing"]] != [rung["rung"] for rung in before["failing"]]:
            print(f"{file}: {before['failing'][:1]} before, {found['failing'][:1]} now", flush=True)


def make_references(name: str, models: list[str], place: Place) -> None:
    """The first framework's probes that are not there yet, those that mistakes are planted against first."""
    framework = framework_of(name)
    planted = [(SEEDS[0], probe) for probe in PROBES] if name == "torch" else [(SEEDS[0], "whole")]
    clean = [(seed, "whole") for seed in SEEDS[1:]] if name == "torch" and place.released is None else []
    for seed, probe in [*planted, *clean]:
        for model in models:
            bench = place.bench(model, seed, probe)
            if not bench.made:
                bench.make(framework)
                print(f"reference: {model}, seed {seed}, {probe}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=["torch", "jittor", "numpy", "again", "page"], help="Who is wrong, or the page."
    )
    parser.add_argument("--models", nargs="+", default=None, choices=MODELS, help="Where to plant; everywhere.")
    parser.add_argument("--only", default="", help="A part of the names of the mistakes to plant, again if need be.")
    parser.add_argument("--references", action="store_true", help="Probe with the first framework and plant nothing.")
    parser.add_argument("--clean", action="store_true", help="Run the clean pairs and plant nothing.")
    parser.add_argument("--keep", action="store_true", help="Keep the probes: some megabytes for every mistake.")
    parser.add_argument("--results", type=Path, default=ROOT / "results/faults", help="Folder of all results.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/faults.md", help="The page to write.")
    parser.add_argument("--weights", type=Path, help="Released weights of NanoDet-Plus that everything starts from.")
    parser.add_argument("--data", type=Path, help="The prepared dataset that goes with them.")
    args = parser.parse_args()
    if (args.weights is None) != (args.data is None):
        parser.error("--weights and --data go together")
    models, place, faults = args.models or list(MODELS), Place(args.results), FAULTS
    if args.weights:
        models = [RELEASED["model"]]
        place = Place(args.results / "released", Released(args.weights, args.data))
        faults = [replace(fault, models=(models[0],)) for fault in FAULTS if models[0] in fault.models]
        found = len(read_json(args.data / "annotations/train.json")["images"])
        if found != PHOTOGRAPHS:
            parser.error(f"--data {args.data}: {found} images to train on, {PHOTOGRAPHS} are needed (`train_images`)")
    elif args.what == "numpy" and not args.models:
        models = ["numpy"]
    if args.what == "again":
        climb_again(models, place)
        return 0
    if args.what == "page":
        seeds = SEEDS[:1] if args.weights else SEEDS
        pairs = [(model, seed) for model in models for seed in seeds]
        write_page(args.out, place.results, faults, pairs, args.weights.name if args.weights else None)
        return 0
    if args.references or args.what == "numpy":
        make_references(args.what, models, place)
    if args.clean:
        run_clean(args.what, models, place, args.keep)
    elif not args.references:
        plant_all(args.what, models, faults, place, args.only, args.keep)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # Jittor's own end takes seconds
