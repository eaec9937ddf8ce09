"""Recording the modules inside a model: names for their inputs and outputs, and feeding them other inputs.

A framework supplies a hook that is called after every module. It also says what a tensor is, how to store one and how
to make one from an array. The rest is here. `Framework.record_layers` describes the names.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def tensors_in(name: str, value: Any, tensor: type) -> Iterator[tuple[str, Any]]:
    """`name` for a tensor; `name[i]` and `name[key]` for what tuples, lists and dicts hold, at any depth."""
    if isinstance(value, tensor):
        yield name, value
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            yield from tensors_in(f"{name}[{i}]", item, tensor)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors_in(f"{name}[{key}]", item, tensor)


def fed(name: str, value: Any, tensor: type, feed: dict[str, np.ndarray], like: Callable) -> Any:
    """`value` with every tensor replaced by `like(array, tensor)`; `array` is the one of that name in `feed`.

    Names are those of `tensors_in`. Raises LookupError where `feed` has no array of that name and shape.
    """
    if isinstance(value, tensor):
        array = feed.get(name)
        if array is None or array.shape != tuple(value.shape):
            raise LookupError(name)
        return like(array, value)
    if isinstance(value, tuple | list):
        items = [fed(f"{name}[{i}]", item, tensor, feed, like) for i, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: fed(f"{name}[{key}]", item, tensor, feed, like) for key, item in value.items()}
    return value


@dataclass
class Recorder:
    """A hook that is called after every call of a module, as `recorder(path, module, inputs, output)`.

    tensor: the framework's type of tensors
    keep: `keep(name, tensor)` is called for everything that is recorded
    like: `like(array, tensor)` is the array as a tensor, of that tensor's type and on its device
    inputs, feed: see `Framework.record_layers`
    """

    tensor: type
    keep: Callable[[str, Any], None]
    like: Callable[[np.ndarray, Any], Any]
    inputs: bool = False
    feed: dict[str, np.ndarray] | None = None
    calls: Counter[str] = field(default_factory=Counter)
    feeding: bool = False

    def __call__(self, path: str, module: Callable, given: tuple, output: Any) -> None:
        if self.feeding:  # calls inside a module that is being fed are not the model's own
            return
        name = f"{path}#{self.calls[path]}" if self.calls[path] else path
        self.calls[path] += 1
        self._keep_all(name, output)
        if self.inputs:
            for i, value in enumerate(given):
                self._keep_all(f"{name}@in{i}", value)
        if self.feed is not None:
            self._feed(name, module, given)

    def _feed(self, name: str, module: Callable, given: tuple) -> None:
        """Call the module again with the inputs of `feed`; do nothing where `feed` lacks one of them."""
        try:
            replaced = [fed(f"{name}@in{i}", value, self.tensor, self.feed, self.like) for i, value in enumerate(given)]
        except LookupError:
            return
        self.feeding = True
        try:
            self._keep_all(f"{name}@fed", module(*replaced))
        finally:
            self.feeding = False

    def _keep_all(self, name: str, value: Any) -> None:
        for key, tensor in tensors_in(name, value, self.tensor):
            self.keep(key, tensor)
