"""Ground truth and detections side by side on the same validation images."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from parity.compare.comparison import Comparison, Run
from parity.compare.findings import Findings
from parity.data.fonts import Lettering, lettering
from parity.data.loader import decode
from parity.draw.sheet import evenly
from parity.errors import UserError
from parity.files import read_json
from parity.report.figures.style import canvas, display, empty

IMAGES, SCORE = 4, 0.5  # when `figures` in the configuration does not say
LOWER = (0.3, 0.1, 0.05)  # tried in turn when a framework has nothing to show; the one that is used is stated
CLASS_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")  # Okabe-Ito


def choose(truth: dict, count: int) -> list[dict]:
    """Images with annotations, evenly spaced by id, so that nobody picked the pretty ones."""
    annotated = {a["image_id"] for a in truth["annotations"] if not a.get("iscrowd")}
    images = sorted((i for i in truth["images"] if i["id"] in annotated), key=lambda i: i["id"])
    return evenly(images, count)


def threshold(found: dict[str, list[dict]], ids: set[int], wanted: float) -> float:
    """`wanted`, or the highest of LOWER at which every framework has a detection on the chosen images."""
    best = [max((d["score"] for d in entries if d["image_id"] in ids), default=0.0) for entries in found.values()]
    tried = [wanted, *(t for t in LOWER if t < wanted)]
    return next((t for t in tried if best and min(best) >= t), tried[-1])


def detections(comparison: Comparison, findings: Findings) -> Figure:
    title = "ground truth and detections"
    try:
        truth = _truth(comparison)
    except UserError as error:
        figure, ((axis,),) = canvas(comparison, title)
        empty(axis, str(error))
        return figure
    images = choose(truth, comparison.setting("figures", "images", default=IMAGES))
    runs = {name: comparison.of(name)[0] for name in comparison.frameworks if comparison.of(name)}
    found, notes = _load(runs)
    wanted = comparison.setting("figures", "score_threshold", default=SCORE)
    limit = threshold(found, {i["id"] for i in images}, wanted)
    if not images:
        figure, ((axis,),) = canvas(comparison, title)
        empty(axis, "no validation image has annotations")
        return figure
    seeds = ", ".join(f"seed {s}" for s in dict.fromkeys(run.seed for run in runs.values()))
    title += f" with score ≥ {limit:g} ({seeds})" if runs else ""
    columns = 1 + len(comparison.frameworks)
    ratio = float(np.median([i["height"] / i["width"] for i in images]))
    size = (2.9 * columns, 2.9 * ratio * len(images) + 0.9)
    figure, axes = canvas(comparison, title, len(images), columns, size)
    letters = lettering({c["id"]: c["name"] for c in truth["categories"]})
    names = letters.names
    palette = {c: CLASS_COLORS[i % len(CLASS_COLORS)] for i, c in enumerate(sorted(names))}
    by_image: dict[int, list[dict]] = {}
    for annotation in truth["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    for row, image in zip(axes, images, strict=True):
        path = comparison.dataset_dir / "images" / "val" / image["file_name"]
        boxes = [by_image.get(image["id"], [])]
        for name in comparison.frameworks:
            mine = [d for d in found.get(name, []) if d["image_id"] == image["id"] and d["score"] >= limit]
            boxes.append(mine if name in found else None)
        for axis, entries, who in zip(row, boxes, ["", *comparison.frameworks], strict=True):
            _picture(axis, path, image)
            if entries is None:
                axis.text(0.5, 0.5, notes.get(who, "not run"), transform=axis.transAxes, ha="center", va="center",
                          fontsize=8, backgroundcolor="white", wrap=True)  # fmt: skip
                continue
            for entry in entries:
                _box(axis, entry, letters, palette)
        row[0].set_ylabel(f"image {image['id']}", fontsize=8)
    for axis, column in zip(axes[0], ["ground truth", *(display(n) for n in comparison.frameworks)], strict=True):
        axis.set_title(column, fontsize=10)
    return figure


def _truth(comparison: Comparison) -> dict:
    if comparison.dataset_dir is None:
        raise UserError("no dataset is named in comparison.json")
    truth = read_json(comparison.dataset_dir / "annotations" / "val.json")
    return {key: truth.get(key) or [] for key in ("images", "annotations", "categories")}


def _load(runs: dict[str, Run]) -> tuple[dict[str, list[dict]], dict[str, str]]:
    """Detections by framework, and why there are none where they are missing."""
    found, notes = {}, {}
    for name, run in runs.items():
        try:
            found[name] = read_json(run.detections)
        except UserError:
            notes[name] = "detections.json is missing"
    return found, notes


def _picture(axis: Axes, path: Path, image: dict) -> None:
    try:
        axis.imshow(decode(path, image.get("white")), extent=(0, image["width"], image["height"], 0))
    except UserError:
        axis.set_facecolor("#eeeeee")
        axis.text(0.5, 0.05, "image file is missing", transform=axis.transAxes, ha="center", fontsize=7)
    axis.set(xlim=(0, image["width"]), ylim=(image["height"], 0), xticks=[], yticks=[], aspect="equal")
    axis.grid(False)


def _box(axis: Axes, entry: dict, letters: Lettering, palette: dict[int, str]) -> None:
    """One box, with its class name so that colour is not the only cue; crowd regions are dashed and hatched."""
    x, y, w, h = entry["bbox"]
    color = palette.get(entry["category_id"], "#000000")
    crowd = bool(entry.get("iscrowd"))
    axis.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor="black", linewidth=2.4, alpha=0.55))
    axis.add_patch(
        Rectangle((x, y), w, h, fill=False, edgecolor=color, linewidth=1.4, linestyle="--" if crowd else "-",
                  hatch="///" if crowd else None)
    )  # fmt: skip
    label = letters.names.get(entry["category_id"], str(entry["category_id"])) + (" (crowd)" if crowd else "")
    if "score" in entry:
        label += f" {entry['score']:.2f}"
    dark = np.dot(to_rgb(color), (0.299, 0.587, 0.114)) < 0.45
    above = y > 0.07 * axis.get_ylim()[0]  # the vertical axis points down; near the top edge the label goes inside
    axis.text(
        max(x, 0), max(y, 0), label, fontsize=6, family=letters.families, va="bottom" if above else "top", ha="left",
        clip_on=True, color="white" if dark else "black",
        bbox={"facecolor": color, "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )  # fmt: skip
