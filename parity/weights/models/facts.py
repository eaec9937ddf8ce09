"""Facts about a model that are not in its layers."""

from dataclasses import dataclass

from parity.weights.init_rules import Rule


@dataclass(frozen=True)
class ModelFacts:
    """One per model, in `parity/weights/models/<model>.py`. Patterns are regular expressions over whole tensor names.

    rules            how tensors start, first match wins; what no rule claims has PyTorch's default
    shared           replaces part of a name before it seeds the tensor's generator: layers that the official code
                     makes with `copy.deepcopy` start equal
    backbone_prefix  where the model keeps the layers of an ImageNet backbone
    class_heads      tensors whose shape depends on the number of classes
    tables           tensors that official files store and that the model computes
    training_only    tensors that only training uses; deployed files lack all of them
    box_bins         name of a tensor with one entry per bin of a box side: the last 4 x bins rows of the class heads in
                     `box_heads` give box sides and do not depend on the number of classes
    """

    rules: list[tuple[str, Rule]]
    shared: tuple[tuple[str, str], ...] = ()
    backbone_prefix: str = "backbone."
    class_heads: str | None = None
    tables: str | None = None
    training_only: str | None = None
    box_bins: str | None = None
    box_heads: str | None = None
