"""What a configuration cannot train is refused before the first step."""

from types import SimpleNamespace

import pytest

from parity.config.model import UserModel
from parity.config.models import model_config
from parity.errors import UserError
from parity.framework import TensorInfo
from parity.train.prepare import refuse_lone_values


def framework(*names):
    tensors = [TensorInfo(f"{name}.running_var", (4,), "float32", "buffer") for name in names]
    return SimpleNamespace(tensors=lambda: tensors)


def config(model, batch, size, **options):
    user = {"preprocess": {"size": size}, "train": {"batch_size": batch, "multi_scale": []}, "options": options}
    return model_config(model, None, 3, user=UserModel(**user))


@pytest.mark.parametrize(
    ("model", "batch", "size", "names", "refused"),
    [
        ("nanodet", 1, 64, ["backbone.a", "head.b"], True),
        ("nanodet", 2, 64, ["backbone.a", "head.b"], False),
        ("nanodet", 1, 96, ["backbone.a", "head.b"], False),
        ("rtdetr", 1, 64, ["backbone.a", "encoder.b"], False),
        ("rtdetr", 1, 32, ["backbone.a", "encoder.b"], True),
        ("detr", 1, 32, ["backbone.a"], True),
        ("detr", 1, 32, [], False),
    ],
)
def test_one_value_for_a_batch_normalisation_is_refused(model, batch, size, names, refused):
    if not refused:
        return refuse_lone_values(framework(*names), config(model, batch, size))
    with pytest.raises(UserError, match=rf"train\.batch_size: 1 image of {size} pixels"):
        refuse_lone_values(framework(*names), config(model, batch, size))


def test_a_backbone_that_keeps_its_statistics_has_none_to_learn():
    frozen = config("detr", 1, 32, freeze_norm=True)
    refuse_lone_values(framework("backbone.a"), frozen)
    assert frozen.options["freeze_norm"] is True
