"""Write a model as ONNX files, and compare them with both frameworks on validation images.

    python workflow/scripts/export.py --out exported -- --run results/nanodet/runs/torch/e12-0123abcd-s0
    python workflow/scripts/export.py --out exported --data /data/coco -- --model nanodet --weights W

Everything behind `--` goes to `python -m torch_impl.export`. The images of the check are those of the run's validation
split, or of `--data`: a dataset folder of this project, or COCO's. Beside the files it leaves check.md, check.json and
the folder check/ with everything that was compared. Ends with 0, 1 (the check fails or is incomplete) or 2 (bad input).
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import run_job
import yaml
from interpreters import interpreter
from reproduce import choose

from parity.arrays import write_npz
from parity.config.model import ModelConfig
from parity.config.run import EvaluateConfig, RunConfig
from parity.data.coco import class_names, read_document
from parity.data.loader import Loader
from parity.detect.model import Detector, of_run, of_weights
from parity.errors import UserError
from parity.export import check, contract
from parity.files import write_json, write_text
from parity.train.loaders import val_loader

BATCH = 8  # images whose raw tensors are compared
AUTO, YES, NO = "auto", "1", "0"  # of --check: where images are known; always; never
LAYOUTS = (  # annotations and images of the validation split in a folder of this project, and in COCO's
    ("annotations/val.json", "images/val"),
    ("annotations/instances_val2017.json", "val2017"),
)


def call(environment: str, words: list, threads: int | None = None) -> None:
    """Run a module in an environment. Raises SystemExit with its status where it fails; it has already said why."""
    command = [str(word) for word in (interpreter(environment), "-m", *words)]
    status = subprocess.run(command, env=run_job.environment(threads, os.environ)).returncode
    if status:
        sys.exit(status)


def detector_of(words: list[str]) -> Detector:
    """The detector that the arguments of the export name."""
    parser = argparse.ArgumentParser()
    for name in ("run", "weights", "names"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("model", "variant"):
        parser.add_argument(f"--{name}")
    args, _ = parser.parse_known_args(words)
    if args.run is not None:
        return of_run(args.run, args.weights)
    return of_weights(args.weights, args.model, args.variant, args.names)


def images_of(detector: Detector, data: Path | None, count: int | None, out: Path) -> Path | None:
    """A folder with annotations/val.json and images/val for the check, `count` of them; None where none are known.

    Raises UserError for a folder without validation images, and for one with other classes than the detector's.
    """
    root = data or (Path(detector.config.data.root) if isinstance(detector.config, RunConfig) else None)
    if root is None:
        return None
    found = next(((root / a, root / i) for a, i in LAYOUTS if (root / a).is_file()), None)
    if found is None or not found[1].is_dir():
        places = " or ".join(f"{a} with {i}/" for a, i in LAYOUTS)
        raise UserError(f"{root}: holds no validation images, expected {places}")
    classes = class_names(found[0])
    if set(classes) != set(detector.names):
        raise UserError(
            f"{found[0]}: has {len(classes)} classes, the model {len(detector.names)}; the check needs the same ids"
        )
    if count is None and found[0].name == "val.json":
        return root
    choose(*found, count, out)
    return out


def configuration(detector: Detector, framework: str, data: Path, weights: Path, threads: int) -> RunConfig:
    """The run whose `predict` answers for a framework: the detector's model on the images of `data`."""
    model = {key: getattr(detector.config, key) for key in ModelConfig.model_fields}
    run = detector.config if isinstance(detector.config, RunConfig) else None
    evaluation = run.evaluate if run else EvaluateConfig(max_detections=detector.max_detections)
    place = {"id": "check", "root": str(data), "num_classes": len(detector.names)}
    return RunConfig.model_validate(
        {
            **model, "evaluate": evaluation, "data": place, "device": "cpu", "threads": threads, "workers": 0,
            "log_seconds": 30, "framework": framework, "seed": 0, "weights": str(weights),
            "framework_options": {"ops": "fast"} if framework == "jittor" else {},
        }
    )  # fmt: skip


def first_images(loader: Loader, count: int, path: Path) -> None:
    """Write the first `count` images as the batch of `trace`."""
    batch = loader.eval_batch(loader.dataset.ids[:count])
    write_npz(path, {"images": batch.images, "sizes": batch.sizes})


def compared(detector: Detector, out: Path, data: Path, state: Path, threads: int) -> check.Check:
    """Let both frameworks and the files answer on the same images, and compare."""
    config, folder = detector.config, out / "check"
    files = {name: out / contract.file_name(config.model, config.variant, name) for name in ("detections", "raw")}
    inputs = folder / "inputs.npz"
    for name in check.FRAMEWORKS:
        run = configuration(detector, name, data, state, threads)
        write_text(folder / name / "run.yaml", yaml.safe_dump(run.plain(), sort_keys=False, allow_unicode=True))
        if name == check.FRAMEWORKS[0]:
            first_images(val_loader(run, cache_bytes=0), BATCH, inputs)
        (folder / name / "detections.json").unlink(missing_ok=True)
        options = [f"{key}={json.dumps(value)}" for key, value in run.options.items() if key != "num_classes"]
        trace = [f"{name}_impl", "trace", "--model", run.model, "--variant", run.variant, "--threads", threads]
        trace += ["--num-classes", run.options["num_classes"], "--weights", state, "--inputs", inputs]
        call(name, [*trace, "--out", folder / name / "raw.npz", "--set", *options], threads)
        predict = [f"{name}_impl", "predict", "--config", folder / name / "run.yaml", "--weights", state]
        call(name, [*predict, "--out", folder / name / "detections.json"], threads)
    answer = ["parity.export", "--detections", files["detections"], "--raw", files["raw"], "--inputs", inputs]
    call("export", [*answer, "--config", folder / "torch/run.yaml", "--out", folder / check.ONNX], threads)
    return check.check(folder, data / "annotations/val.json", files["detections"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--check", default=AUTO, help="1: compare; 0: do not; auto: where validation images are known")
    parser.add_argument("--data", type=Path, help="folder with other validation images than the run's")
    parser.add_argument("--images", help="so many of the validation images, drawn by seed 0")
    parser.add_argument("--threads", type=int, help="CPU threads of the check; what the machine offers by default")
    parser.add_argument("arguments", nargs="*", help="what goes to torch_impl.export, behind --")
    options = parser.parse_args()
    state = options.out / "check/weights.safetensors"
    try:
        if options.check not in (AUTO, YES, NO):
            raise UserError(f"CHECK: {options.check!r}, expected 1, 0 or auto")
        if options.images is not None and not (options.images.isdigit() and int(options.images)):
            raise UserError(f"IMAGES: {options.images!r}, expected a number of images from 1 on")
        checked = [] if options.check == NO else ["--state", state]
        call("export", ["torch_impl.export", "--out", options.out, *checked, *options.arguments])
        if options.check == NO:
            print("not compared with the frameworks: CHECK=0")
            return 0
        detector = detector_of(options.arguments)
        count = int(options.images) if options.images else None
        data = images_of(detector, options.data, count, options.out / "check/data")
        if data is None or not read_document(data / "annotations/val.json")["images"]:
            why = "no validation images are known; DATA=folder names some" if data is None else f"{data}: has no image"
            print(f"incomplete: not compared with the frameworks: {why}", file=sys.stderr)
            return 0 if options.check == AUTO and data is None else 1
        threads = options.threads or len(os.sched_getaffinity(0))
        found = compared(detector, options.out, data, state, threads)
        write_json(options.out / "check.json", found.record())
        write_text(options.out / "check.md", check.markdown(found))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(check.text(found))
    return 0 if found.verdict == "pass" else 1


if __name__ == "__main__":
    sys.exit(main())
