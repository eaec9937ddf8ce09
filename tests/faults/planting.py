"""How a mistake is planted: in the process that probes, by replacing what a name stands for, never in a model's file.

Every function here returns a `Plant`: a context manager that takes a framework's class and gives the class to probe
with. When it ends, every name stands for what it stood for before.

A place is written `models.rtdetr.criterion:SetCriterion.head_losses`: a module of the framework's own package, so that
it means the same outline in PyTorch and in Jittor, and what it holds. `parity.` begins a module of the shared part.
"""

import importlib
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from parity.framework import Framework, Group

Plant = Callable[[type[Framework]], AbstractContextManager[type[Framework]]]


@dataclass(frozen=True)
class Fault:
    """One mistake.

    name    what is wrong, in words
    plant   see above
    named   regular expressions of what names the cause: the module, the parameter or the key; one is enough
    models  where it is planted; "numpy" is the stand-in
    probe   how much of the ladder is needed, a key of `bench.PROBES`; the stand-in has all of it
    """

    name: str
    plant: Plant
    named: tuple[str, ...]
    models: tuple[str, ...]
    probe: str = "one step"

    @property
    def anywhere(self) -> bool:
        """Whether it is planted by way of the interface `Framework` alone, so that every framework can have it."""
        return getattr(self.plant, "anywhere", False)

    def planted_in(self, framework: str) -> tuple[str, ...]:
        """The models where it is planted in that framework: all in Jittor; in PyTorch one, if it can have it."""
        if framework == "numpy":
            return tuple(model for model in self.models if model == "numpy")
        models = tuple(model for model in self.models if model != "numpy")
        return models if framework == "jittor" else models[:1] if self.anywhere else ()


def method(name: str, body: Callable[..., Any]) -> Plant:
    """Replace a method of the `Framework`; `body` is called with the original, the framework and the arguments."""

    @contextmanager
    def plant(base: type[Framework]) -> Iterator[type[Framework]]:
        def call(self, *args, **kwargs):
            return body(lambda *a, **k: getattr(base, name)(self, *a, **k), self, *args, **kwargs)

        yield type("Mistaken", (base,), {name: call, "__module__": base.__module__})

    plant.anywhere = True
    return plant


def together(*plants: Plant) -> Plant:
    """Several replacements that make one mistake."""

    @contextmanager
    def plant(base: type[Framework]) -> Iterator[type[Framework]]:
        with ExitStack() as stack:
            for one in plants:
                base = stack.enter_context(one(base))
            yield base

    return plant


def package(base: type[Framework]) -> str:
    """`jittor_impl` for a framework of that package."""
    return base.__module__.partition(".")[0]


@contextmanager
def standing_for(place: str, make: Callable[[Any], Any], inside: str) -> Iterator[None]:
    """While inside, what is at `place` is `make` of what it was."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module if module.startswith("parity.") else f"{inside}.{module}")
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = owner.__dict__[name]
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def replaced(place: str, make: Callable[[Any], Any]) -> Plant:
    """Replace what is at `place` by `make` of it."""

    @contextmanager
    def plant(base: type[Framework]) -> Iterator[type[Framework]]:
        with standing_for(place, make, package(base)):
            yield base

    return plant


def operator(module: str, name: str, make: Callable[[Any], Any]) -> Plant:
    """Replace one operator of `ops`, as one module uses it."""

    def changed(ops: Any) -> SimpleNamespace:
        return SimpleNamespace(**{**vars(ops), name: make(getattr(ops, name))})

    return replaced(f"{module}:ops", changed)


def built(change: Callable[[Any], None]) -> Plant:
    """Change the model after it was built."""

    def build(original, self, *args):
        original(*args)
        change(self.model)

    return together(method("build", build))


def altered(name: str, line: str, body: Callable[..., Any]) -> Plant:
    """Replace a method of Jittor's tensors where the source line that calls it holds `line`.

    `body` is called with the original, the tensor and the arguments. Raises LookupError where no such line was run: a
    mistake that was not made would look like one that nobody sees.
    """
    hits = []

    def change(original):
        def call(self, *args, **kwargs):
            frame = sys._getframe(1)
            while frame.f_code is call.__code__:  # another line's replacement of the same method
                frame = frame.f_back
            if line in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
                hits.append(frame.f_lineno)
                return body(original, self, *args, **kwargs)
            return original(self, *args, **kwargs)

        return call

    @contextmanager
    def plant(base: type[Framework]) -> Iterator[type[Framework]]:
        tensor = importlib.import_module(f"{package(base)}.runtime").jt.Var
        original = getattr(tensor, name)
        setattr(tensor, name, change(original))
        hits.clear()
        try:
            yield base
        finally:
            setattr(tensor, name, original)
        if not hits:
            raise LookupError(f"no {name} was called on a line with {line!r}: the mistake was not planted")

    return plant


def attached(line: str) -> Plant:
    """Leave out the `detach` of that source line."""
    return altered("detach", line, lambda original, tensor: tensor)


def option(path: str, value: Any) -> Plant:
    """Build the model with another option than the configuration's; `path` may have a dot."""

    def build(original, self, model, options):
        options = dict(options)
        first, _, rest = path.partition(".")
        options[first] = {**options[first], rest: value} if rest else value
        return original(model, options)

    return method("build", build)


def groups(change: Callable[[list[Group]], list[Group]]) -> Plant:
    """Make the optimiser from other groups than the configuration's."""
    return method("make_optimizer", lambda f, self, kind, given, **options: f(kind, change(given), **options))


def optimizer(**changed: Any) -> Plant:
    """Make the optimiser with other settings than the configuration's."""
    return method("make_optimizer", lambda f, self, kind, given, **options: f(kind, given, **options | changed))


def gradient(change: Callable[[dict], dict]) -> Plant:
    """Change the gradients after every backward pass."""

    def backward(original, self, *args, **kwargs):
        result = original(*args, **kwargs)
        self.set_gradients(change(self.gradients()))
        return result

    return method("forward_backward", backward)


def targets(change: Callable[[Any], dict]) -> Plant:
    """Change the targets of every training batch."""
    return method(
        "forward_backward", lambda f, self, batch, *args, **kwargs: f(replace(batch, **change(batch)), *args, **kwargs)
    )


def images(change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """Change the pixels [B, 3, H, W] of every batch on their way into the framework."""
    return method("to_device", lambda f, self, batch: f(replace(batch, images=change(batch.images))))


def detections(change: Callable[[Any], Any]) -> Plant:
    """Change the detections of every image."""
    return method("postprocess", lambda f, self, *args: [change(found) for found in f(*args)])
