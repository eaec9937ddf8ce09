"""The data of a run: its manifest, its two splits, and the loaders of training and validation batches."""

from pathlib import Path

from parity.config.run import RunConfig
from parity.data.chains import make_augment
from parity.data.coco import Dataset, open_split
from parity.data.loader import Loader
from parity.data.plan import BatchPlan
from parity.data.transforms import make_preprocess
from parity.errors import UserError
from parity.files import read_json
from parity.train.record import DatasetManifest

CACHE_BYTES = 1 << 30  # decoded images kept by each loader


def load_manifest(run: RunConfig) -> DatasetManifest:
    """The manifest of a run's dataset, whose class count must be the configured one."""
    root = Path(run.data.root)
    about = read_json(root / "manifest.json")
    if len(about["classes"]) != run.data.num_classes:
        raise UserError(
            f"{root}/manifest.json: has {len(about['classes'])} classes, the configuration says data.num_classes"
            f" {run.data.num_classes}"
        )
    return about


def open_data(run: RunConfig, split: str) -> Dataset:
    """One split of a run's dataset. Raises UserError where a class has no place in the model's head."""
    dataset = open_split(run.data.root, split, run.label_space)
    largest, places = max(dataset.class_names), int(run.options["num_classes"])
    if largest >= places:
        raise UserError(
            f"data.max_category_id: {run.model} has places for the category ids up to {places - 1}, but the class"
            f" {dataset.class_names[largest]} has the id {largest}; set it to {largest}"
        )
    return dataset


def train_loader(run: RunConfig, cache_bytes: int = CACHE_BYTES) -> Loader:
    """The training batches of a run: a pure function of its configuration, whatever the number of workers."""
    settings = run.train
    dataset = open_data(run, "train")
    plan = BatchPlan(dataset.ids, settings.batch_size, settings.epochs, run.seed, sizes=settings.multi_scale)
    preprocess, augment = make_preprocess(run.preprocess.plain()), make_augment(settings.augment)
    return Loader(dataset, plan, preprocess, augment, run.seed, run.workers, cache_bytes=cache_bytes)


def val_loader(run: RunConfig, cache_bytes: int = CACHE_BYTES) -> Loader:
    """The validation images of a run, without augmentation."""
    dataset = open_data(run, "val")
    preprocess = make_preprocess(run.preprocess.plain())
    return Loader(dataset, None, preprocess, workers=run.workers, cache_bytes=cache_bytes)
