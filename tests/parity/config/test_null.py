"""A null in a layer: an empty section changes nothing, a null that is a value replaces the section below it."""

from parity.config.model import UserModel
from parity.config.models import model_config


def test_null_takes_the_average_away():
    assert model_config("rtdetr", "tiny", 3).train.ema is not None
    user = UserModel.model_validate({"train": {"ema": None, "evaluate_with_ema": False}})
    assert model_config("rtdetr", "tiny", 3, user=user).train.ema is None


def test_an_empty_section_changes_nothing():
    user = UserModel.model_validate({"train": None, "options": None})
    assert model_config("rtdetr", "tiny", 3, user=user) == model_config("rtdetr", "tiny", 3)
