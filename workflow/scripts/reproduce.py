"""Steps of `make reproduce`: the images, the file of weights, the report, and the table over the whole zoo.

python workflow/scripts/reproduce.py data --coco /data/coco --images 500 --out results/reproduce/val
python workflow/scripts/reproduce.py take --model nanodet --variant plus-m_416 --out results/.../source.txt
python workflow/scripts/reproduce.py report --model nanodet --variant plus-m_416 --out report.md ...
python workflow/scripts/reproduce.py zoo --weights data/weights --out results/zoo/report.md RESULT ...
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

import numpy as np
import yaml
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.compare.reproduce import reproduce
from parity.config.messages import refusal
from parity.config.resolve import resolve
from parity.config.run import load_run
from parity.config.workflow import WorkflowConfig
from parity.data.coco import read_document
from parity.data.entries import Document
from parity.errors import UserError
from parity.files import digest, read_json, write_json, write_text
from parity.report.reproduce import page, zoo_page
from parity.weights import zoo

SEED = 0  # of the images that are drawn
COCO = {"name": "val2017", "source": "coco", "num_classes": 80, "max_category_id": 90}


def data(args: argparse.Namespace) -> None:
    """Write `annotations/val.json` and `images/val`: the whole of val2017, or as many images of it as asked for."""
    source, images = args.coco / "annotations/instances_val2017.json", args.coco / "val2017"
    if not images.is_dir():
        raise UserError(f"{images}: no such folder; COCO has to hold annotations/instances_val2017.json and val2017/")
    small, of = choose(source, images, args.images, args.out)
    about = {"coco": str(args.coco), "images": len(small["images"]), "whole": len(small["images"]) == of}
    write_json(args.out / "about.json", about | {"digest": digest(small)})
    print(f"{args.out}: {len(small['images'])} of {of} images", file=sys.stderr)


def choose(source: Path, images: Path, count: int | None, out: Path) -> tuple[Document, int]:
    """Write `annotations/val.json` with `count` images of `source`, or all, and link `images` as `images/val`.

    Returns the document, without outlines of objects, and how many images `source` has. Raises UserError where it has
    fewer.
    """
    document = read_document(source)
    entries = document["images"]
    if count is not None and count > len(entries):
        raise UserError(f"IMAGES={count}: {source} lists {len(entries)} images")
    if count is not None and count < len(entries):
        ranked = sorted(entry["id"] for entry in entries)
        chosen = set(np.random.default_rng(SEED).permutation(ranked)[:count].tolist())
        entries = [entry for entry in entries if entry["id"] in chosen]
    ids = {entry["id"] for entry in entries}
    kept = [
        {key: value for key, value in annotation.items() if key != "segmentation"}
        for annotation in document["annotations"]
        if annotation.get("image_id") in ids
    ]
    link = out / "images/val"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.abspath(images))
    small = {"images": entries, "annotations": kept, "categories": document["categories"]}
    write_json(out / "annotations/val.json", small, indent=None)
    return small, len(document["images"])


def take(args: argparse.Namespace) -> None:
    """Find or fetch the file of weights, and write down where it is."""
    path = zoo.take(zoo.find(args.model, args.variant), args.weights, args.folder)
    write_text(args.out, f"{path}\n")


def run(args: argparse.Namespace) -> None:
    """Write run.yaml: the variant as its authors evaluate it, on the images that `data` chose."""
    try:
        settings = WorkflowConfig(
            variant=args.variant, device=args.device, threads=args.threads, data=COCO, jittor={"ops": args.ops}
        )
    except ValidationError as error:
        raise refusal(error, WorkflowConfig, {}, "reproduce") from None
    resolved = resolve(settings, args.model).run(args.framework, SEED, str(args.weights))
    place = resolved.data.but(id=read_json(args.data / "about.json")["digest"], root=str(args.data))
    write_text(args.out, yaml.safe_dump(resolved.but(data=place).plain(), sort_keys=False, allow_unicode=True))
    load_run(args.out)


def report(args: argparse.Namespace) -> None:
    """Evaluate both frameworks' detections and write report.md, with result.json beside it."""
    released = zoo.find(args.model, args.variant)
    detections = dict(pair.split("=", 1) for pair in args.detections)
    result = reproduce(
        args.data / "annotations/val.json", {k: Path(v) for k, v in detections.items()}, released.published
    )
    for name, path in detections.items():
        result["frameworks"][name]["seconds"] = _seconds(Path(path))
    weights = read_json(args.weights_report)["pretrained"]
    result |= {"whole": read_json(args.data / "about.json")["whole"], "device": args.device, "weights": weights}
    write_json(args.out.with_name("result.json"), result)
    write_text(args.out, page(released, result))


def _seconds(detections: Path) -> dict[str, float]:
    """Median seconds of each stage from the timing lines beside the detections."""
    lines = detections.with_name(f"{detections.stem}.timing.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {key: statistics.median(line[key] for line in found) for key in ("preprocess", "forward", "postprocess")}


def table(args: argparse.Namespace) -> None:
    """Write the table over every released checkpoint; `results` are those that have a result."""
    found = {}
    for path in args.results:
        found[path.parent.parent.parent.name, path.parent.name] = read_json(path)
    rows = [(released, found.get(key)) for key, released in zoo.read_zoo().items()]
    write_text(args.out, zoo_page(rows, str(args.folder)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)

    def step(name, function):
        sub = steps.add_parser(name, help=function.__doc__)
        sub.set_defaults(step=function)
        sub.add_argument("--out", required=True, type=Path, help="What to write.")
        return sub

    sub = step("data", data)
    sub.add_argument("--coco", required=True, type=Path, help="Folder with annotations/ and val2017/.")
    sub.add_argument("--images", type=int, help="How many images, drawn by seed 0; all if absent.")
    sub = step("take", take)
    sub.add_argument("--weights", help="This file instead of the released one.")
    sub.add_argument("--folder", required=True, type=Path, help="Where released files lie, or are downloaded to.")
    third = step("run", run)
    third.add_argument("--framework", required=True, help="Name of the framework.")
    third.add_argument("--weights", required=True, type=Path, help="The converted weights.")
    third.add_argument("--threads", required=True, type=int, help="CPU threads.")
    third.add_argument("--ops", default="fast", help="Jittor's operators: fast or stock.")
    other = step("report", report)
    other.add_argument("--weights-report", required=True, type=Path, help="init.safetensors.report.json.")
    other.add_argument("detections", nargs="+", metavar="FRAMEWORK=FILE", help="Detections of each framework.")
    for each in (third, other):
        each.add_argument("--data", required=True, type=Path, help="The folder that `data` wrote.")
        each.add_argument("--device", required=True, help="What the detections are made on.")
    for each in (sub, third, other):
        each.add_argument("--model", required=True, help="Name of the model.")
        each.add_argument("--variant", required=True, help="Name of its variant.")
    sub = step("zoo", table)
    sub.add_argument("--folder", required=True, type=Path, help="Where released files lie.")
    sub.add_argument("results", nargs="*", type=Path, help="result.json of each checkpoint that has one.")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse()
    try:
        asked.step(asked)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
