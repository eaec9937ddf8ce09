"""A trained model made ready to detect: that of a run, or of a weight file with its model and variant named."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parity.config.layers import read_yaml
from parity.config.model import ModelConfig
from parity.config.models import ROOT, model_config
from parity.config.run import load_run
from parity.data.coco import label_map
from parity.errors import UserError
from parity.files import read_json
from parity.framework import Framework
from parity.weights import coverage, formats

COCO = ROOT / "config/classes/coco.yaml"
DETECTIONS = 100  # detections kept per image where no run says otherwise, as in COCO's evaluation


@dataclass
class Detector:
    """A model, ready to detect. `category_of` maps the head's class index to a category id, `names` id to name."""

    config: ModelConfig
    weights: Path
    category_of: Mapping[int, int]
    names: Mapping[int, str]
    max_detections: int = DETECTIONS


def of_run(folder: Path, weights: Path | None = None) -> Detector:
    """The final weights of a run (or `weights`), with the classes of its dataset.

    Raises UserError when the folder is no finished run, or when its dataset is gone.
    """
    run = load_run(folder / "run.yaml")
    weights = weights or folder / read_json(folder / "run.json")["final_weights"]
    about = read_json(Path(run.data.root) / "annotations/val.json")
    names = {int(entry["id"]): str(entry["name"]) for entry in about["categories"]}
    labels = label_map(sorted(names), run.label_space)
    category_of = {label: category for category, label in labels.items()}
    return Detector(run, weights, category_of, names, run.evaluate.max_detections)


def of_weights(weights: Path, model: str, variant: str | None, names: Path | None = None) -> Detector:
    """Released weights: COCO's 80 classes, or those of `names`, a YAML or JSON file with ids and names.

    Raises UserError for an unknown model or variant, and for a file without names.
    """
    classes = class_names(names or COCO)
    file = model_config(model, variant, len(classes))
    labels = label_map(sorted(classes), file.label_space)
    if file.label_space == "coco_id":
        file = model_config(model, variant, max(labels.values()) + 1)
    return Detector(file, weights, {label: category for category, label in labels.items()}, classes)


def class_names(path: Path) -> dict[int, str]:
    """{category id: name} of a YAML or JSON file: a mapping of ids to names, or a list of names counted from 1."""
    content = read_yaml(path)
    if isinstance(content, list):
        content = dict(enumerate(content, 1))
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: expected a list of class names or a mapping of ids to names")
    for key in content:
        if not str(key).isdigit():
            raise UserError(f"{path}: {key!r} is no class id, expected a whole number")
    return {int(key): str(name) for key, name in content.items()}


def load(framework: Framework, detector: Detector) -> list[str]:
    """Build the model and load its weights; returns the tensors that the file lacks because only training uses them.

    Raises UserError when anything that detection needs is missing or has another shape.
    """
    framework.seed(0)
    framework.build(detector.config.model, detector.config.options)
    loaded = formats.load(detector.weights)
    account = coverage.match(
        str(detector.weights), loaded, framework.tensors(), detector.config.model, "detector", draw_missing=True
    )
    framework.load_state(framework.state() | account.arrays)
    return account.drawn
