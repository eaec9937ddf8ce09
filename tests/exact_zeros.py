"""Are the exact zeros of untouched initial weights special, and do both frameworks share what follows from them?

    .venvs/torch/bin/python tests/exact_zeros.py record --config torch.run.yaml --weights init.safetensors --out t.npz
    .venvs/jittor/bin/python tests/exact_zeros.py record --config jittor.run.yaml --weights init.safetensors --out j.npz
    .venvs/torch/bin/python tests/exact_zeros.py compare t.npz j.npz

`record` takes the first steps of a training from untouched weights, and from weights whose last bits are changed: in
all values that are zero, in all others, each twice with other signs. `compare` prints three tables.

*Gradients of the first step that are exactly zero.* A weight of exactly zero makes the gradients behind it exactly
zero, and Adam leaves such parameters alone. With +-2^-29 in its place they get a gradient, however small, and Adam
moves them. A framework that rounds where the other has exact zeros would differ here.

*How far a run is from PyTorch's untouched one after some steps*, as a share of the way that the latter has gone. If
exact zeros are special, `zeros` lies further off than `nonzeros`. If both frameworks share them, Jittor's untouched run
stays as near as PyTorch with other last bits in the nonzero values does.

*How far each run is from all others*, in the mean, after the last step. A special run lies apart from all others.
"""

import argparse
import importlib
import sys
from itertools import islice
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from parity.align.probe import learning_rates  # noqa: E402
from parity.config.run import load_run  # noqa: E402
from parity.data.draws import Draws  # noqa: E402
from parity.errors import UserError  # noqa: E402
from parity.report.pipe_table import pipe_table  # noqa: E402
from parity.train import loaders  # noqa: E402
from parity.train.given import framework_of  # noqa: E402
from parity.train.prepare import prepare_training  # noqa: E402
from parity.weights import formats  # noqa: E402
from parity.weights.last_bits import nudge  # noqa: E402

STARTS = (("none", 0), ("zeros", 1), ("zeros", 2), ("nonzeros", 1), ("nonzeros", 2))
SHOWN = (1, 2, 3, 5, 10, 20)  # steps after which the starts are compared


def record(args: argparse.Namespace) -> None:
    """Gradients of the first step, and parameters after each of SHOWN, from every start."""
    settings = load_run(args.config)
    module = importlib.import_module(f"{settings.framework}_impl.framework")
    framework = framework_of(settings, getattr(module, f"{settings.framework.capitalize()}Framework"), args.config)
    framework.build(settings.model, settings.options)
    initial, data = formats.read(args.weights), loaders.train_loader(settings)
    names = [info.name for info in framework.tensors() if info.kind != "buffer"]
    factors, batches = learning_rates(settings, data), list(islice(data.batches(1), max(SHOWN)))
    if len(batches) < max(SHOWN) or settings.train.accumulate != 1:
        raise UserError(f"{args.config}: an epoch of at least {max(SHOWN)} batches without accumulation is expected")
    arrays = {f"start/{name}": np.asarray(initial[name]) for name in names}
    for kind, seed in STARTS:
        place = f"{kind}{seed}"
        framework.load_state(nudge(initial, kind, seed))
        rates = [group.lr for group in prepare_training(framework, settings)]
        for number, batch in enumerate(batches, 1):
            framework.forward_backward(batch, Draws(settings.seed, number - 1, 0), 0)
            if number == 1:
                arrays |= {f"{place}/grad/{name}": value for name, value in framework.gradients().items()}
            framework.optimizer_step([rate * factors[number - 1] for rate in rates], settings.train.clip_norm)
            if number in SHOWN:
                state = framework.state()
                arrays |= {f"{place}/{number}/{name}": state[name] for name in names}
        print(f"{settings.framework} {settings.model}: {place} done", flush=True)
    np.savez(args.out, **arrays)


class Record:
    """What `record` wrote. Vectors hold all parameters, in the order of their names."""

    def __init__(self, path: Path):
        with np.load(path) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.names = sorted(name.removeprefix("start/") for name in self.arrays if name.startswith("start/"))

    def vector(self, prefix: str) -> np.ndarray:
        """All parameters under a prefix, float64."""
        return np.concatenate([self.arrays[f"{prefix}/{name}"].ravel().astype(np.float64) for name in self.names])

    def zero(self, place: str) -> np.ndarray:
        """Which gradients of the first step are exactly zero; a parameter without a gradient counts as zero."""
        found = {name: self.arrays.get(f"{place}/grad/{name}") for name in self.names}
        shapes = {name: self.arrays[f"start/{name}"].shape for name in self.names}
        whole = [np.zeros(shapes[name]) if value is None else value for name, value in found.items()]
        return np.concatenate([value.ravel() == 0 for value in whole])


def compare(args: argparse.Namespace) -> None:
    """Print the tables."""
    here, there = Record(args.torch), Record(args.jittor)
    start = here.vector("start")
    if here.names != there.names or not np.array_equal(start, there.vector("start")):
        raise UserError(f"{args.jittor}: does not start from the weights of {args.torch}")
    print(f"{len(start):,} parameters, {(start == 0).sum():,} of them start at exactly zero\n")
    print(zero_gradients(here, there), end="\n\n")
    print(from_untouched(here, there), end="\n\n")
    print(from_each_other(here, there))


def runs(here: Record, there: Record) -> dict[str, tuple[Record, str]]:
    """Every recorded run by its name in a table; PyTorch's untouched one comes first."""
    sides = {"PyTorch": here, "Jittor": there}
    return {f"{name}, {kind}{seed}": (side, f"{kind}{seed}") for name, side in sides.items() for kind, seed in STARTS}


def zero_gradients(here: Record, there: Record) -> str:
    """How many gradients of the first step are exactly zero."""
    rows = []
    for kind, seed in STARTS:
        ours, theirs = here.zero(f"{kind}{seed}"), there.zero(f"{kind}{seed}")
        row = [ours.sum(), theirs.sum(), (ours & ~theirs).sum(), (theirs & ~ours).sum()]
        rows.append([f"{kind}{seed}", *(f"{number:,}" for number in row)])
    return pipe_table(["start", "zero in PyTorch", "zero in Jittor", "only in PyTorch", "only in Jittor"], rows)


def from_untouched(here: Record, there: Record) -> str:
    """How far each run is from PyTorch's untouched one, as a share of the way of that one."""
    (first, _), *others = (found := runs(here, there)).items()
    rows = {label: [label] for label, _ in others}
    for step in SHOWN:
        base = here.vector(f"none0/{step}")
        way = np.linalg.norm(base - here.vector("start"))
        for label, row in rows.items():
            side, place = found[label]
            row.append(f"{np.linalg.norm(side.vector(f'{place}/{step}') - base) / way:.1e}")
    return pipe_table([f"from {first}, after step", *SHOWN], rows.values())


def from_each_other(here: Record, there: Record) -> str:
    """How far each run is from the others after the last step, as a share of the way of PyTorch's untouched one."""
    ends = {label: side.vector(f"{place}/{SHOWN[-1]}") for label, (side, place) in runs(here, there).items()}
    way, rows = np.linalg.norm(here.vector(f"none0/{SHOWN[-1]}") - here.vector("start")), []
    for label, end in ends.items():
        apart = [np.linalg.norm(end - other) / way for name, other in ends.items() if name != label]
        rows.append([label, f"{np.mean(apart):.3f}", f"{min(apart):.3f}", f"{max(apart):.3f}"])
    return pipe_table([f"from the other {len(ends) - 1}, after step {SHOWN[-1]}", "mean", "nearest", "furthest"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    sub = steps.add_parser("record", help=record.__doc__)
    sub.set_defaults(step=record)
    sub.add_argument("--config", required=True, help="The resolved configuration of a run, run.yaml.")
    sub.add_argument("--weights", required=True, help="Initial weights, the same file for both frameworks.")
    sub.add_argument("--out", required=True, type=Path)
    sub = steps.add_parser("compare", help=compare.__doc__)
    sub.set_defaults(step=compare)
    sub.add_argument("torch", type=Path)
    sub.add_argument("jittor", type=Path)
    args = parser.parse_args()
    try:
        args.step(args)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
