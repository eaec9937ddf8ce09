"""The matching cost of DETR's classes (detr/models/matcher.py)."""

from jittor_impl import ops
from jittor_impl.models.matching import Matcher
from jittor_impl.runtime import jt

Var = jt.Var


class HungarianMatcher(Matcher):
    """The class cost is minus the probability of the class."""

    def class_cost(self, logits: Var, labels: Var) -> Var:
        return -ops.softmax(logits)[:, :, labels]
