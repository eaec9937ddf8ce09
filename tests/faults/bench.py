"""Runs so small that a probe takes seconds: one for every model, and one for the NumPy stand-in.

They are the tiny variants, narrower, with whatever a mistake needs to be seen: groups with other rates and decay,
frozen stages, dropout, accumulated batches, an average. The first framework's probe is made once and reused.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from small_run import make_dataset, make_run

from parity import cli
from parity.align.files import Probe
from parity.align.ladder import climb
from parity.config.models import model_config
from parity.config.run import RunConfig, load_run
from parity.data.draws import Draws
from parity.files import read_json, write_json
from parity.framework import Framework
from parity.train import loaders
from parity.train.prepare import prepare_training
from parity.weights import formats
from parity.weights.initialize import initialize

# Optimiser steps from given states, and steps of training. One step shows what is wrong in the forward pass, losses,
# the detections or one update; five are what rung 6 wants; the first framework keeps states before three of the four.
PROBES = {"one step": (1, 0), "steps": (5, 0), "whole": (5, 4)}
# From released weights units switch on and off at so many states that a median over three says nothing: ten are kept.
RELEASED_TRAJECTORY = 12
NORMS = "^(?=.*(?:encoder|decoder))(?=.*(?:norm|bias)).*$"
TRAINED = {"epochs": 2, "batch_size": 2, "eval_every": 1, "multi_scale": [], "augment": {"kind": "rtdetr", "flip": 0.5}}
COSINE = {"kind": "cosine", "warmup_steps": 3, "warmup_factor": 0.1, "final_factor": 0.1}
AVERAGE = {"decay": 0.9, "warmups": 5}
OVERRIDES: dict[str, dict[str, Any]] = {
    "rtdetr": {
        "options": {
            **{"num_queries": 20, "num_denoising": 12, "hidden_dim": 32, "decoder_hidden_dim": 32, "base_width": 8},
            **{"decoder_layers": 2, "csp_blocks": 1, "freeze_at": 0},
        },
        "groups": [{"pattern": NORMS, "weight_decay": 0.0}, {"pattern": "backbone", "lr": 1e-4}],
        "train": {"clip_norm": 0.1, "ema": AVERAGE},
    },
    "detr": {
        "options": {"base_width": 8, "hidden_dim": 32, "ffn": 64, "num_queries": 10, "dropout": 0.1, "heads": 4},
        "groups": [{"pattern": "backbone", "lr": 5e-5}],
        "train": {"clip_norm": 0.1},
    },
    "gfocalv2": {
        "options": {
            **{"base_width": 8, "fpn_channels": 16, "head_channels": 16, "norm_groups": 8, "reg_channels": 16},
            **{"norm_eval": True, "frozen_stages": 1},
        },
        "groups": [],
        "train": {"clip_norm": 1.0},
    },
    "nanodet": {
        "options": {"stage_channels": [8, 16, 32, 64], "channels": 16, "aux_groups": 8, "detach_epoch": 1},
        "groups": [],
        "size": 128,  # the coarsest level then has more than one place for BatchNorm
        "train": {"epochs": 3, "accumulate": 2, "clip_norm": 0.5, "ema": AVERAGE | {"offset": 1, "integers": True}},
    },
}
RELEASED = {"model": "nanodet", "variant": "plus-m_320", "classes": 80}  # what `Released` weights are for
# Two epochs of six steps with two batches of two: the auxiliary part is detached in the second one.
PHOTOGRAPHS = 24
# NanoDet-Plus is so deep that with fresh statistics nothing of the image is left in the scores: all of them tie, and
# rounding picks which detections are suppressed. It is trained a little first.
TRAINED_FIRST, ROUNDS = ("nanodet",), 30
LIKELY = {"gfocalv2": ("bbox_head.gfl_cls.bias",)}  # class scores raised, so that it detects something untrained


@dataclass(frozen=True)
class Released:
    """A file of released weights, and a prepared dataset (a folder `results/data/<name>-<hash>`).

    The dataset has the classes of the weights and PHOTOGRAPHS images to train on.
    """

    weights: Path
    data: Path


class Bench:
    """One model with one seed in `folder`: its configuration, its weights and the first framework's probe.

    probe     a key of PROBES
    released  start from these weights, in the official variant and on those images
    """

    def __init__(self, model: str, folder: Path, seed: int = 3, probe: str = "whole", released: Released | None = None):
        self.model, self.folder, self.seed, self.released = model, folder, seed, released
        self.settings = PROBES[probe]
        if released and self.settings[1]:
            self.settings = (self.settings[0], RELEASED_TRAJECTORY)

    @property
    def reference(self) -> Probe:
        return Probe(self.folder / "first")

    @property
    def made(self) -> bool:
        return (self.folder / "first/probe.json").exists()

    def make(self, first: type[Framework]) -> "Bench":
        """Write configuration, weights and the first framework's probe."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.released is None:
            self._draw(first)
        else:
            self._take(first, self.released)
        self.probe(first, self.folder / "first")
        return self

    def _take(self, first: type[Framework], released: Released) -> None:
        """Released weights on a dataset of photographs; what the file lacks is drawn."""
        weights = self.folder / "init.safetensors"
        run = make_released(released.data, weights) | {"seed": self.seed, "framework": first.name}
        (self.folder / "run.yaml").write_text(yaml.safe_dump(run))
        words = ["init", "--model", RELEASED["model"], "--variant", RELEASED["variant"], "--part", "detector"]
        words += ["--num-classes", RELEASED["classes"], "--seed", self.seed]
        words += ["--weights", released.weights, "--out", weights]
        if status := cli.main(first, [str(word) for word in words]):
            raise RuntimeError(f"init ended with {status}")

    def _draw(self, first: type[Framework]) -> None:
        """Weights drawn from the seed on a few drawn images."""
        data, weights = self.folder / "data", self.folder / "init.safetensors"
        if not (data / "manifest.json").exists():
            make_dataset(data, train=8, val=2) if self.model == "numpy" else make_objects(data)
        run = make_stand_in(data, weights) if self.model == "numpy" else make_model(self.model, data, weights)
        (self.folder / "run.yaml").write_text(yaml.safe_dump(run | {"seed": self.seed, "framework": first.name}))
        settings, whole = load_run(self.folder / "run.yaml"), first("cpu", 1)
        whole.build(settings.model, settings.options)
        if self.model == "numpy":
            arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.float32([0.2, 0.1])}
            arrays["norm.running_mean"] = np.full(2, 0.1, np.float32)
        else:
            arrays = initialize(settings.model, whole.tensors(), self.seed, settings.options)
        if self.model in TRAINED_FIRST:
            arrays = trained(whole, settings, arrays)
        for name in LIKELY.get(self.model, ()):
            arrays[name] = arrays[name] * 0 + np.float32(-0.5)
        formats.write(weights, arrays)

    def probe(self, framework: type[Framework], out: Path, *more: str) -> Probe:
        """Run the verb `probe`. Raises RuntimeError where it ends with an error."""
        config = self.folder / f"run.{framework.name}.yaml"
        run = yaml.safe_load((self.folder / "run.yaml").read_text())
        config.write_text(yaml.safe_dump(run | {"framework": framework.name}))
        arguments = ["--config", config, "--weights", self.folder / "init.safetensors", "--out", out]
        arguments += ["--steps", self.settings[0], "--trajectory", self.settings[1], *more]
        status = cli.main(framework, ["probe", *map(str, arguments)])
        if status:
            raise RuntimeError(f"probe ended with {status}")
        return Probe(out)

    def climb(self, framework: type[Framework], kept: Path | None = None) -> dict[str, Any]:
        """alignment.json of the first framework and this one, whose probe stays in the folder `kept`."""
        with tempfile.TemporaryDirectory() as out:
            probe = self.probe(framework, kept or Path(out), "--reference", str(self.folder / "first"))
            return climb(self.reference, probe)

    def climb_again(self, kept: Path) -> dict[str, Any]:
        """alignment.json of a second probe that was kept: after a rung was changed nothing needs to be probed anew."""
        return climb(self.reference, Probe(kept))


def trained(framework: Framework, settings: RunConfig, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state after ROUNDS passes over the training images, at the full rate."""
    framework.load_state(arrays)
    groups, loader = prepare_training(framework, settings), loaders.train_loader(settings)
    every = (batch for _ in range(ROUNDS) for batch in loader.batches(1))
    for step, batch in enumerate(every):
        framework.forward_backward(batch, Draws(settings.seed, step, 0), 0)
        framework.optimizer_step([group.lr for group in groups], settings.train.clip_norm)
    return framework.state()


def make_objects(root: Path) -> None:
    """The images of `make_dataset`, two to four boxes of other sizes and classes in each, and one as wide as the image.

    A side of the whole image is where the inverse sigmoid is clipped.
    """
    make_dataset(root, train=8, val=2)
    rng = np.random.default_rng(1)
    for split in ("train", "val"):
        file = root / f"annotations/{split}.json"
        document = read_json(file)
        document["annotations"] = []
        for image in document["images"]:
            boxes = [(*rng.uniform(1, 18, 2), *rng.uniform(6, 13, 2)) for _ in range(int(rng.integers(2, 5)))]
            for x, y, w, h in [*boxes, (0, rng.uniform(1, 18), image["width"], rng.uniform(6, 13))]:
                x, y, w, h = map(float, (x, y, w, h))
                about = {"id": len(document["annotations"]) + 1, "image_id": image["id"], "iscrowd": 0}
                about |= {"category_id": int(rng.integers(1, 3)), "bbox": [x, y, w, h], "area": w * h}
                document["annotations"].append(about)
        write_json(file, document)


def make_stand_in(data: Path, weights: Path) -> dict[str, Any]:
    """The configuration of the NumPy stand-in's run."""
    run = make_run(data, weights)
    return run | {"train": run["train"] | {"accumulate": 2, "batch_size": 2}}


def make_released(data: Path, weights: Path) -> dict[str, Any]:
    """The configuration of the official variant: its own sizes and augmentation, and every option of the tiny one.

    Steps have four images. With two, a single unit that switches on in one framework only moves a gradient by more than
    a mistake would.
    """
    plain = model_config(RELEASED["model"], RELEASED["variant"], RELEASED["classes"], {"detach_epoch": 1}).plain()
    train = plain["train"] | {key: TRAINED[key] for key in ("epochs", "eval_every", "batch_size")}
    train |= {"optimizer": plain["train"]["optimizer"] | {"lr": 1e-4}, "schedule": COSINE}
    train |= {key: OVERRIDES[RELEASED["model"]]["train"][key] for key in ("accumulate", "clip_norm", "ema")}
    run = make_run(data.absolute(), weights, "torch")
    run |= {key: plain[key] for key in ("model", "variant", "label_space", "options", "preprocess")}
    about = {"id": data.name, "root": str(data.absolute()), "num_classes": RELEASED["classes"]}
    return run | {"groups": [], "train": train, "data": about}


def make_model(model: str, data: Path, weights: Path) -> dict[str, Any]:
    """The configuration of one model's run: images of 64 pixels or `size`, two epochs of four batches of two images."""
    changes = OVERRIDES[model]
    classes = 3 if model == "detr" else 2  # DETR's classes are category ids, 1 and 2 here
    plain = model_config(model, "tiny", classes, changes["options"]).plain()
    train = plain["train"] | TRAINED | {"schedule": COSINE} | changes["train"]
    preprocess = plain["preprocess"] | {"size": changes.get("size", 64)}
    run = make_run(data, weights, "torch") | {k: plain[k] for k in ("model", "variant", "label_space", "options")}
    return run | {"groups": changes["groups"], "train": train, "preprocess": preprocess}
