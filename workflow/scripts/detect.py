"""Detection on the user's own images, in one framework or in several that are then set side by side.

    python workflow/scripts/detect.py --frameworks torch,jittor --out detected -- --run FOLDER --source photos/

Everything behind `--` goes to the verb `detect` of each framework (`python -m torch_impl detect --help`). One framework
writes straight into the folder. Two write into a folder each, and the drawn pictures are put side by side.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from interpreters import interpreter
from make_venv import ROOT
from PIL import Image

from parity.compare.agreement import agreement
from parity.draw import boxes, fonts
from parity.errors import UserError
from parity.files import atomic, read_json, write_json

KNOWN = ("torch", "jittor")


def call(framework: str, out: Path, arguments: list[str]) -> int:
    """Call the verb in the framework's own environment; returns its exit status."""
    command = [str(interpreter(framework)), "-m", f"{framework}_impl", "detect", "--out", str(out), *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode


def side_by_side(out: Path, first: str, second: str) -> str:
    """Join the pictures of two frameworks; write the first one's detections and the differences. Returns a line."""
    about = {name: read_json(out / name / "images.json") for name in (first, second)}
    found = {name: read_json(out / name / "detections.json") for name in (first, second)}
    drawn = {name: {i["file_name"]: i.get("drawn") for i in about[name]["images"]} for name in about}
    both = [file for file in drawn[first] if file in drawn[second]]
    for file in both:
        if drawn[first][file] is None:  # a frame of a video
            continue
        pictures = []
        for name in (first, second):
            picture = Image.open(drawn[name][file]).convert("RGB")
            font, _ = fonts.font_for([name], boxes.text_size(np.asarray(picture)))
            pictures.append(boxes.titled(picture, name, font))
        with atomic(out / Path(drawn[first][file]).name) as temporary:
            boxes.beside(pictures).save(temporary, format="PNG")
    differs = agreement(found[first], found[second], len(both))
    write_json(out / "detections.json", found[first], indent=None)
    write_json(out / "difference.json", {"first": first, "second": second, **vars(differs)})
    return differs.line(first, second)


def main() -> int:
    parser = argparse.ArgumentParser(description="Detection on your own images, in one or two frameworks.")
    parser.add_argument("--frameworks", default="torch", help="torch, jittor, or both: torch,jittor")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures and detections.json")
    parser.add_argument("arguments", nargs="*", help="what goes to the verb, behind --")
    options = parser.parse_args()
    names = options.frameworks.split(",")
    try:
        if not 1 <= len(names) <= 2 or len(set(names)) < len(names) or not set(names) <= set(KNOWN):
            raise UserError(f"FRAMEWORKS: {options.frameworks!r}, expected torch, jittor, or torch,jittor")
        for name in names:
            status = call(name, options.out / name if len(names) > 1 else options.out, options.arguments)
            if status:
                return status
        if len(names) > 1:
            print(side_by_side(options.out, *names))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"pictures and detections.json are in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
