"""What the project knows about a model apart from its layers."""

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
    """

    rules: list[tuple[str, Rule]]
    shared: tuple[tuple[str, str], ...] = ()
    backbone_prefix: str = "backbone."
    class_heads: str | None = None
    tables: str | None = None
