"""Checks of the values under `train.augment`, each raising UserError with the key's name."""

from typing import Any

from parity.errors import UserError


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def probability(key: str, value: Any) -> None:
    """A number from 0 to 1."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise UserError(f"train.augment.{key}: {value!r}, expected a probability")


def size(key: str, value: Any) -> None:
    """A number of at least 0."""
    if not _is_number(value) or value < 0:
        raise UserError(f"train.augment.{key}: {value!r}, expected a size")


def limits(key: str, value: Any, least: float = 0.0) -> None:
    """[smallest, largest], both above `least`."""
    pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))
    if not pair or not least < value[0] <= value[1]:
        raise UserError(f"train.augment.{key}: {value!r}, expected [smallest, largest]")


def lengths(key: str, value: Any) -> None:
    """A list of lengths in pixels; an empty one is allowed."""
    if not isinstance(value, list | tuple) or not all(_is_number(v) and v >= 1 for v in value):
        raise UserError(f"train.augment.{key}: {value!r}, expected a list of lengths in pixels")
