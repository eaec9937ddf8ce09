"""The matching cost of DETR's classes (detr/models/matcher.py)."""

from torch import Tensor

from torch_impl.models.matching import Matcher


class HungarianMatcher(Matcher):
    """The class cost is minus the probability of the class."""

    def class_cost(self, logits: Tensor, labels: Tensor) -> Tensor:
        return -logits.softmax(-1)[:, labels]
