"""The matching cost of RT-DETR's classes (rtdetr_pytorch/src/zoo/rtdetr/matcher.py)."""

from torch import Tensor

from torch_impl.models.matching import Matcher


class HungarianMatcher(Matcher):
    """The class cost is the focal loss of the class if the query had it, minus that if it had not."""

    def __init__(self, costs: dict[str, float], alpha: float, gamma: float):
        super().__init__(costs)
        self.alpha, self.gamma = alpha, gamma

    def class_cost(self, logits: Tensor, labels: Tensor) -> Tensor:
        p = logits.sigmoid()[:, labels]
        negative = (1 - self.alpha) * p**self.gamma * -(1 - p + 1e-8).log()
        positive = self.alpha * (1 - p) ** self.gamma * -(p + 1e-8).log()
        return positive - negative
