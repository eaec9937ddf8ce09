"""Derive the configuration of one model, with every value, from the workflow's configuration."""

from parity.config import ids
from parity.config.model import ModelConfig
from parity.config.models import model_config, model_file
from parity.config.run import MACHINE_KEYS, DataPlace, ResolvedConfig
from parity.config.workflow import WorkflowConfig


def resolve(config: WorkflowConfig, model: str) -> ResolvedConfig:
    """Everything a run of `model` needs to know, except framework, seed and paths to weights."""
    data = config.data
    resolved = model_config(model, config.variant, data.num_classes, user=config.models.get(model))
    options, train = resolved.options, resolved.train
    if resolved.label_space == "coco_id":
        options = options | {"num_classes": (data.max_category_id or data.num_classes) + 1}
    if config.epochs is not None:
        train = train.but(epochs=config.epochs)
    identity = ids.dataset_id(data)
    own = {key: getattr(resolved, key) for key in ModelConfig.model_fields} | {"options": options, "train": train}
    shared = ("evaluate", "init", "jittor", "threads", "continue_from", *MACHINE_KEYS)
    return ResolvedConfig(
        **own,
        title=model_file(model).title,
        data=DataPlace(id=identity, root=f"{config.results}/data/{identity}", num_classes=data.num_classes),
        device=config.device.partition(":")[0],  # a job sees one card only, whichever it is
        precision="float32",
        **{key: getattr(config, key) for key in shared},
    )
