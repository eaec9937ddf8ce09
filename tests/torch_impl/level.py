"""Is the PyTorch side level with an implementation that is not ours? RT-DETR and DETR beside `transformers`.

    .venvs/torch/bin/pip install --target peers transformers==5.24.0 numpy==1.26.4
    PYTHONPATH=peers .venvs/torch/bin/python tests/torch_impl/level.py rtdetr --data results/data/<name>-<hash>

Both models are the official variant, drawn anew, with the same number of parameters, of which the same number is
trained. They take turns in one process: training steps (forward, losses, backward, clipping, fused AdamW, and the
average where the model has one) on the same batches, and inference on one image. `transformers` is no official code of
these models. It has its own losses, and its dropout draws its own numbers, whereas ours is given them (`--dropout 0`
leaves it out of both). It has neither GFocalV2 nor NanoDet-Plus.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
import transformers  # noqa: E402
from official_step import VARIANTS, Ours, first_batches, make_config, round_of  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from turns import in_turns, processor_seconds  # noqa: E402

from parity.config.run import RunConfig  # noqa: E402
from parity.data.targets import batch_targets, normalised  # noqa: E402
from parity.framework import Batch  # noqa: E402
from parity.train import loaders  # noqa: E402
from parity.train.schedule import ema_decay  # noqa: E402
from torch_impl.framework import TorchFramework  # noqa: E402


def make_peer(model: str, classes: int, dropout: float | None) -> nn.Module:
    """The same variant in `transformers`: the same layers are frozen, and nothing is fetched."""
    names = {number: str(number) for number in range(classes)}
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    if model == "rtdetr":
        backbone = transformers.RTDetrResNetConfig(
            hidden_sizes=[64, 128, 256, 512],
            depths=[2, 2, 2, 2],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        )
        return transformers.RTDetrForObjectDetection(
            transformers.RTDetrConfig(
                backbone_config=backbone,
                encoder_in_channels=[128, 256, 512],
                hidden_expansion=0.5,
                decoder_layers=3,
                freeze_backbone_batch_norms=False,
                **labels,
            )
        )
    options = labels if dropout is None else labels | {"dropout": dropout}
    backbone = transformers.ResNetConfig(out_features=["stage4"])
    peer = transformers.DetrForObjectDetection(
        transformers.DetrConfig(use_timm_backbone=False, backbone_config=backbone, auxiliary_loss=True, **options)
    )
    for (
        name,
        parameter,
    ) in peer.named_parameters():  # as the official code: only the stem and the first stage stand still
        if any(f"stages.{stage}." in name for stage in (1, 2, 3)):
            parameter.requires_grad_(True)
    return peer


def trained(module: nn.Module) -> tuple[int, int]:
    """Numbers of all parameters and of those that are trained."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)


class Peer:
    """The model of `transformers` in a plain training loop."""

    def __init__(self, run: RunConfig, module: nn.Module):
        self.run, self.module = run, module
        learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
        train = run.train.optimizer
        self.optimizer = torch.optim.AdamW(learning, lr=train.lr, weight_decay=train.weight_decay, fused=True)
        self.live = [t for t in module.state_dict(keep_vars=True).values() if t.is_floating_point()]
        self.average = [tensor.detach().clone() for tensor in self.live]

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        images = torch.from_numpy(batch.images)
        if self.run.model != "detr":
            return {"pixel_values": images}
        mask = torch.zeros(len(images), *images.shape[2:], dtype=torch.long)
        for image, (height, width) in zip(mask, batch.sizes, strict=True):
            image[:height, :width] = 1
        return {"pixel_values": images, "pixel_mask": mask}

    def step(self, number: int, batch: Batch) -> None:
        self.module.train()
        pairs = zip(*normalised(batch_targets(batch)), strict=True)
        labels = [{"boxes": torch.from_numpy(b), "class_labels": torch.from_numpy(c)} for b, c in pairs]
        loss = self.module(**self.inputs(batch), labels=labels).loss
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.run.train.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.run.train.clip_norm)
        self.optimizer.step()
        if self.run.train.ema:
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.live, 1 - ema_decay(self.run.train.ema, number))

    @torch.no_grad()
    def detect(self, batch: Batch) -> None:
        self.module.eval()
        self.module(**self.inputs(batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=VARIANTS)
    parser.add_argument("--data", required=True, type=Path, help="A prepared dataset, results/data/<name>-<hash>.")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--dropout", type=float, help="DETR's, in both; 0.1 if absent.")
    args = parser.parse_args()
    run = make_config(args.model, args.data, args.dropout)
    ours = Ours(run, TorchFramework)
    peer = Peer(run, make_peer(args.model, run.options["num_classes"], args.dropout))
    if trained(ours.framework.model) != trained(peer.module):
        raise SystemExit(
            f"all and trained parameters: {trained(ours.framework.model)} here, {trained(peer.module)} there"
        )
    print(
        f"{args.model} {run.variant}: {trained(peer.module)[0]} parameters, {trained(peer.module)[1]} trained, in both"
    )
    batches = first_batches(run)
    steps = in_turns(round_of(ours.step, batches), round_of(peer.step, batches), args.rounds)
    print(f"training, ours / transformers: {steps}", flush=True)
    image = next(loaders.val_loader(run).eval_batches(1))
    looks = [(lambda side=side: processor_seconds(lambda: side.detect(image))) for side in (ours, peer)]
    print(f"inference, one image: {in_turns(*looks, 4 * args.rounds)}", flush=True)


if __name__ == "__main__":
    main()
