"""Finished runs of very small models, as their files: what `make export` and `make detect` read."""

import json
from pathlib import Path

import yaml
from small_models import small
from small_run import make_dataset, make_run

from parity.weights import formats
from torch_impl.state import to_arrays

PREPROCESS = {  # every kind of resizing, one per model
    "nanodet": {"kind": "square", "size": 64, "normalize": "bgr"},
    "rtdetr": {"kind": "square", "size": 64},
    "detr": {"kind": "short_side", "size": 64, "max_size": 96},
    "gfocalv2": {"kind": "keep_ratio", "size": 64, "max_size": 96, "pad_multiple": 32},
}


def small_run(folder: Path, name: str, framework: str = "torch", **overrides) -> Path:
    """The folder of a finished run of `framework` whose weights are noise."""
    model, config = small(name, **overrides)
    folder.mkdir(parents=True)
    if not (folder.parent / "data").exists():
        make_dataset(folder.parent / "data")
    run = make_run(folder.parent / "data", folder / "init.safetensors", framework)
    kept = ("model", "variant", "options", "groups", "label_space", "train")
    run |= {key: config.plain()[key] for key in kept} | {"preprocess": PREPROCESS[name]}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    (folder / "run.json").write_text(json.dumps({"final_weights": "last.safetensors"}))
    formats.write(folder / "last.safetensors", to_arrays(model.state_dict()))
    return folder
