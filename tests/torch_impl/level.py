"""Is the PyTorch side level with an implementation that is not ours: the official code, or `transformers`?

    PYTHONPATH=<the official code> .venvs/torch/bin/python tests/torch_impl/level.py nanodet --beside official \\
        --data results/data/<name>-<hash>

What has to be on PYTHONPATH: `peers.py`. Both models are the official variant with the same number of parameters, of
which the same number is trained. They take turns in one process: training steps (forward, losses, backward, clipping,
the same fused optimiser, and the average where the model has one) on the same batches, and inference on one image.

An official code gets our weights under its own names, and both losses of the first batch have to be the same: that says
that both do the same work. Only what draws numbers of its own is left out of this: RT-DETR's noised boxes in the check,
DETR's dropout with `--dropout 0` in the check and in the timing (ours is given its numbers by NumPy). `transformers`
has other names and losses of its own.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from official_step import VARIANTS, Ours, first_batches, make_config, round_of  # noqa: E402
from peers import Peer, make_peer  # noqa: E402
from torch import nn  # noqa: E402
from turns import in_turns, processor_seconds  # noqa: E402

from parity.config.run import RunConfig  # noqa: E402
from parity.data.draws import Draws  # noqa: E402
from parity.framework import Batch, Framework  # noqa: E402
from parity.train import loaders  # noqa: E402
from parity.train.schedule import ema_decay  # noqa: E402
from torch_impl.framework import TorchFramework  # noqa: E402

SAME_LOSS = 1e-5  # relative: what float32 leaves of two orders of summation


def trained(module: nn.Module) -> tuple[int, int]:
    """Numbers of all parameters and of those that are trained."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)


def take_weights(module: nn.Module, framework: Framework) -> None:
    """Our weights under the same names; a parameter that only one side has ends the script."""
    state = {name: torch.from_numpy(np.array(array)) for name, array in framework.state().items()}
    ours = {info.name for info in framework.tensors() if info.kind != "buffer"}
    theirs = {name for name, _ in module.named_parameters()}
    if ours != theirs:
        sys.exit(f"parameters of one side only: {', '.join(sorted(ours ^ theirs))}")
    module.load_state_dict(state, strict=False)


def same_loss(here: float, there: float) -> str:
    """Both losses, in words; the script ends if they differ."""
    said = f"loss of the first batch: {here:.6f} here, {there:.6f} there"
    if not math.isclose(here, there, rel_tol=SAME_LOSS):
        sys.exit(f"{said}: not the same work")
    return said


def first_losses(run: RunConfig, ours: Ours, peer: Peer, batch: Batch) -> tuple[float, float]:
    """The losses of a batch, here and there, without the noised boxes of RT-DETR, which each side draws for itself."""
    peer.module.train()  # the official GFocalV2 freezes its statistics here
    here, there = ours.framework.model, peer.module
    if run.model == "rtdetr":
        noised, here.options["num_denoising"], there.decoder.num_denoising = there.decoder.num_denoising, 0, 0
    losses = ours.framework.forward_backward(batch, Draws(run.seed, 1), 0).total, peer.loss(batch).item()
    if run.model == "rtdetr":
        here.options["num_denoising"] = there.decoder.num_denoising = noised
    return losses


class Loop:
    """A peer in a plain training loop."""

    def __init__(self, run: RunConfig, peer: Peer):
        self.run, self.peer = run, peer
        learning = [parameter for parameter in peer.module.parameters() if parameter.requires_grad]
        settings = run.train.optimizer
        extra = {"momentum": settings.momentum} if settings.kind == "SGD" else {}
        self.optimizer = getattr(torch.optim, settings.kind)(
            learning, lr=settings.lr, weight_decay=settings.weight_decay, fused=True, **extra
        )
        self.live = [t for t in peer.module.state_dict(keep_vars=True).values() if t.is_floating_point()]
        self.average = [tensor.detach().clone() for tensor in self.live]

    def step(self, number: int, batch: Batch) -> None:
        self.peer.module.train()
        loss = self.peer.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.run.train.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.peer.module.parameters(), self.run.train.clip_norm)
        self.optimizer.step()
        if self.run.train.ema:
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.live, 1 - ema_decay(self.run.train.ema, number))

    @torch.no_grad()
    def detect(self, batch: Batch) -> None:
        self.peer.module.eval()
        self.peer.outputs(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=VARIANTS)
    parser.add_argument("--beside", choices=("official", "transformers"), default="official")
    parser.add_argument("--data", required=True, type=Path, help="A prepared dataset, results/data/<name>-<hash>.")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--dropout", type=float, help="DETR's, in both; 0.1 if absent.")
    args = parser.parse_args()
    run = make_config(args.model, args.data, args.dropout)
    ours, peer = Ours(run, TorchFramework), make_peer(args.beside, run)
    counts = trained(peer.module)
    if trained(ours.framework.model) != counts:
        sys.exit(f"all and trained parameters: {trained(ours.framework.model)} here, {counts} there")
    print(f"{args.model} {run.variant}: {counts[0]} parameters, {counts[1]} trained, in both")
    batches = first_batches(run)
    if peer.same_names:
        take_weights(peer.module, ours.framework)
    if peer.same_names and not run.options.get("dropout"):
        print(same_loss(*first_losses(run, ours, peer, batches[0])))
    loop = Loop(run, peer)
    steps = in_turns(round_of(ours.step, batches), round_of(loop.step, batches), args.rounds)
    print(f"training, ours / {args.beside}: {steps}", flush=True)
    image = next(loaders.val_loader(run).eval_batches(1))
    looks = [(lambda side=side: processor_seconds(lambda: side.detect(image))) for side in (ours, loop)]
    print(f"inference, one image: {in_turns(*looks, 4 * args.rounds)}", flush=True)


if __name__ == "__main__":
    main()
