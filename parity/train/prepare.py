"""A framework made ready for its first step: optimiser, parameter groups and average."""

from parity.config.model import ModelConfig
from parity.framework import Framework, Group
from parity.train.groups import parameter_groups


def prepare_training(framework: Framework, model: ModelConfig) -> list[Group]:
    """Give the framework the optimiser, parameter groups and EMA that the model's configuration asks for."""
    options = model.train.optimizer.plain()
    kind, lr, decay = options.pop("kind"), options.pop("lr"), options.pop("weight_decay")
    groups = parameter_groups(framework.tensors(), model.groups, lr, decay)
    framework.make_optimizer(kind, groups, **options)
    if model.train.ema:
        framework.start_ema(model.train.ema.integers)
    return groups
