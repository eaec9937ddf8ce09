import pytest

from parity.config.train import GroupConfig
from parity.errors import UserError
from parity.framework import TensorInfo
from parity.train.groups import parameter_groups

TENSORS = [
    TensorInfo("backbone.conv.weight", (2,), "float32", "parameter"),
    TensorInfo("backbone.norm.weight", (2,), "float32", "parameter"),
    TensorInfo("backbone.stem.weight", (2,), "float32", "frozen"),
    TensorInfo("backbone.norm.running_mean", (2,), "float32", "buffer"),
    TensorInfo("head.weight", (2,), "float32", "parameter"),
]


def test_groups_take_patterns_in_order_and_leave_the_rest_last():
    patterns = [{"pattern": "backbone.*norm", "weight_decay": 0.0}, {"pattern": "backbone.conv", "lr": 1e-5}]
    groups = parameter_groups(TENSORS, [GroupConfig(**pattern) for pattern in patterns], 1e-4, 1e-3)
    assert [(g.names, g.lr, g.weight_decay) for g in groups] == [
        (["backbone.norm.weight"], 1e-4, 0.0),
        (["backbone.conv.weight"], 1e-5, 1e-3),
        (["head.weight"], 1e-4, 1e-3),
    ]


def test_a_parameter_in_two_groups_is_an_error():
    with pytest.raises(UserError, match=r"backbone\.norm\.weight matches both 'backbone' and 'norm'"):
        parameter_groups(TENSORS, [GroupConfig(pattern="backbone"), GroupConfig(pattern="norm")], 1e-4, 0)
