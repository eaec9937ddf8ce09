"""A framework made ready for its first step: optimiser, parameter groups and average."""

from math import ceil

from parity.config.model import ModelConfig
from parity.errors import UserError
from parity.framework import Framework, Group
from parity.train.groups import parameter_groups

STRIDE = 32  # pixels of the input to a pixel of the smallest map of every backbone


def refuse_lone_values(framework: Framework, model: ModelConfig) -> None:
    """Raise UserError where a training batch would give a batch normalisation one value per channel.

    Its mean is that value and its variance 0: PyTorch refuses it, Jittor goes on with nothing but the shift.
    """
    options, train = model.options, model.train
    backbone_keeps = options.get("freeze_norm") or options.get("norm_eval")
    learnt = [info.name for info in framework.tensors() if info.name.endswith("running_var")]
    learnt = [name for name in learnt if not (backbone_keeps and name.startswith("backbone."))]
    if not learnt:
        return
    beyond = any(not name.startswith("backbone.") for name in learnt)
    stride = max([STRIDE, *(options.get("strides") or [])]) if beyond else STRIDE
    size = min([model.preprocess.size, *train.multi_scale])
    if train.batch_size * ceil(size / stride) ** 2 == 1:
        raise UserError(
            f"train.batch_size: 1 image of {size} pixels leaves a batch normalisation of {model.model} one value per"
            f" channel (stride {stride}); expected at least 2 images or more than {stride} pixels"
        )


def prepare_training(framework: Framework, model: ModelConfig) -> list[Group]:
    """Give the framework the optimiser, parameter groups and EMA that the model's configuration asks for."""
    options = model.train.optimizer.plain()
    kind, lr, decay = options.pop("kind"), options.pop("lr"), options.pop("weight_decay")
    groups = parameter_groups(framework.tensors(), model.groups, lr, decay)
    framework.make_optimizer(kind, groups, **options)
    if model.train.ema:
        framework.start_ema(model.train.ema.integers)
    return groups
