"""Small generators of every log format that is read: made here, after the public tools' habits, with known numbers.

Every generator writes the same training (`truth`), as far as its format can say it, so that one test can hold all
readers to the same record.
"""

import json
import random
from dataclasses import dataclass, field

AP = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass
class Step:
    epoch: int  # from 1
    iteration: int  # within the epoch, from 1
    loss_cls: float
    loss_bbox: float
    lr: float
    time: float
    moment: float  # seconds since the start

    @property
    def loss(self) -> float:
        return round(self.loss_cls + self.loss_bbox, 4)


@dataclass
class Truth:
    """A training of `epochs` epochs of `per_epoch` iterations, a line every `every`."""

    epochs: int = 3
    per_epoch: int = 50
    every: int = 10
    seed: int = 0
    speed: float = 0.2
    batch: int = 4
    steps: list[Step] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self):
        rng, moment = random.Random(self.seed), 0.0
        for epoch in range(1, self.epochs + 1):
            for iteration in range(self.every, self.per_epoch + 1, self.every):
                time = round(self.speed * (1 + 0.02 * rng.random()) + (0.5 if not self.steps else 0), 4)
                moment += time * self.every
                progress = (epoch - 1) * self.per_epoch + iteration
                loss = 3 / (1 + progress / 60)
                self.steps.append(
                    Step(
                        epoch,
                        iteration,
                        round(loss * (0.6 + 0.1 * rng.random()), 4),
                        round(loss * (0.4 + 0.1 * rng.random()), 4),
                        0.01 if epoch < 3 else 0.001,
                        time,
                        moment,
                    )
                )
            moment += 5
            self.metrics.append({name: round(0.05 * epoch + 0.01 * place, 3) for place, name in enumerate(AP)})

    def of(self, epoch: int) -> list[Step]:
        return [step for step in self.steps if step.epoch == epoch]

    def mean(self, epoch: int, name: str = "loss") -> float:
        values = [getattr(step, name) for step in self.of(epoch)]
        return sum(values) / len(values)


def clock(moment: float, form: str = "iso") -> str:
    """A time of day on 3 March 2024 after 10:00:00."""
    whole, milli = int(moment), round(1000 * (moment % 1)) % 1000
    hour, minute, second = 10 + whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hour:02}:{minute:02}:{second:02}"
    return {"iso": f"2024-03-03 {text},{milli:03}", "mmengine": f"03/03 {text}", "nanodet": f"03-03 {text}"}[form]


def coco_table(metrics: dict[str, float]) -> list[str]:
    lines = []
    for kind, name, iou, area, most in (
        ("Precision", "AP", "0.50:0.95", "   all", 100),
        ("Precision", "AP50", "0.50     ", "   all", 100),
        ("Precision", "AP75", "0.75     ", "   all", 100),
        ("Precision", "APs", "0.50:0.95", " small", 100),
        ("Precision", "APm", "0.50:0.95", "medium", 100),
        ("Precision", "APl", "0.50:0.95", " large", 100),
        ("Recall   ", "AR1", "0.50:0.95", "   all", 1),
        ("Recall   ", "AR10", "0.50:0.95", "   all", 10),
        ("Recall   ", "AR100", "0.50:0.95", "   all", 100),
        ("Recall   ", "ARs", "0.50:0.95", " small", 100),
        ("Recall   ", "ARm", "0.50:0.95", "medium", 100),
        ("Recall   ", "ARl", "0.50:0.95", " large", 100),
    ):
        code = "AP" if kind.startswith("P") else "AR"
        lines.append(
            f" Average {kind}  ({code}) @[ IoU={iou} | area={area} | maxDets={most:>3} ] = {metrics[name]:0.3f}"
        )
    return lines


CONFIG = [
    "model = dict(",
    "    backbone=dict(depth=50, type='ResNet'),",
    "    bbox_head=dict(num_classes=20, type='GFLHead'),",
    "    type='GFL')",
    "optim_wrapper = dict(",
    "    optimizer=dict(lr=0.01, momentum=0.9, type='SGD'))",
    "param_scheduler = [",
    "    dict(begin=0, by_epoch=True, end=3, gamma=0.1, milestones=[2], type='MultiStepLR'),",
    "]",
    "train_cfg = dict(max_epochs=3, type='EpochBasedTrainLoop')",
    "train_dataloader = dict(batch_size=4, num_workers=2)",
]


def mmengine(truth: Truth, table: bool = True) -> list[str]:
    """MMDetection 3."""
    lines = [
        "03/03 09:59:50 - mmengine - INFO - ",
        "-" * 20,
        "System environment:",
        "    GPU 0: Tesla V100-SXM2-16GB",
        "    PyTorch: 1.10.1",
        "    GPU number: 1",
        "-" * 20,
        "03/03 09:59:51 - mmengine - INFO - Config:",
        *CONFIG,
        "",
    ]
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            lines.append(
                f"{clock(s.moment, 'mmengine')} - mmengine - INFO - Epoch(train)  [{epoch}][{s.iteration}/"
                f"{truth.per_epoch}]  lr: {s.lr:.4e}  eta: 0:01:00  time: {s.time:.4f}  data_time: 0.0100  memory: 3271"
                f"  loss: {s.loss:.4f}  loss_cls: {s.loss_cls:.4f}  loss_bbox: {s.loss_bbox:.4f}"
            )
        metrics, when = truth.metrics[epoch - 1], clock(s.moment + 2, "mmengine")
        lines.append(
            f"{when} - mmengine - INFO - Epoch(val)  [{epoch}][10/20]    eta: 0:00:01  time: 0.0500  memory: 583  "
        )
        lines += coco_table(metrics) if table else []
        names = dict(zip(("", "_50", "_75", "_s", "_m", "_l"), AP, strict=False))
        values = "  ".join(f"coco/bbox_mAP{k}: {metrics[n]:.4f}" for k, n in names.items())
        lines.append(
            f"{when} - mmengine - INFO - Epoch(val) [{epoch}][20/20]    {values}  data_time: 0.0032  time: 0.0424"
        )
    return lines


def mmcv(truth: Truth) -> list[str]:
    """MMDetection 2."""
    lines = [
        "2024-03-03 09:59:50,000 - mmdet - INFO - Environment info:",
        "GPU 0: Tesla V100-SXM2-16GB",
        "PyTorch: 1.8.0",
        "2024-03-03 09:59:51,000 - mmdet - INFO - Config:",
        "model = dict(type='GFL', bbox_head=dict(num_classes=20))",
        "data = dict(samples_per_gpu=4, workers_per_gpu=2)",
        "optimizer = dict(type='SGD', lr=0.01)",
        "lr_config = dict(policy='step', warmup='linear', warmup_iters=500, step=[2])",
        "runner = dict(type='EpochBasedRunner', max_epochs=3)",
        "",
    ]
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            lines.append(
                f"{clock(s.moment)} - mmdet - INFO - Epoch [{epoch}][{s.iteration}/{truth.per_epoch}]\tlr: {s.lr:.3e}, "
                f"eta: 1 day, 2:03:04, time: {s.time:.4f}, data_time: 0.010, memory: 3900, loss_cls: {s.loss_cls:.4f}, "
                f"loss_bbox: {s.loss_bbox:.4f}, loss: {s.loss:.4f}"
            )
        m = truth.metrics[epoch - 1]
        lines += ["", *coco_table(m)]
        lines.append(
            f"{clock(s.moment + 2)} - mmdet - INFO - Epoch(val) [{epoch}][20]\tbbox_mAP: {m['AP']:.4f}, bbox_mAP_50: "
            f"{m['AP50']:.4f}, bbox_mAP_75: {m['AP75']:.4f}, bbox_mAP_s: {m['APs']:.4f}, bbox_mAP_m: {m['APm']:.4f}, "
            f"bbox_mAP_l: {m['APl']:.4f}, bbox_mAP_copypaste: 0.1 0.2 0.3 0.1 0.2 0.3"
        )
    return lines


def mmcv_json(truth: Truth) -> list[str]:
    """`.log.json` of MMDetection 2."""
    start = {
        "env_info": "GPU 0: Tesla V100-SXM2-16GB\nPyTorch: 1.8.0",
        "seed": 7,
        "exp_name": "gfl.py",
        "config": "data = dict(samples_per_gpu=4)\nrunner = dict(max_epochs=3)\n",
    }
    lines = [json.dumps(start)]
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            record = {
                "mode": "train",
                "epoch": epoch,
                "iter": s.iteration,
                "lr": s.lr,
                "memory": 3900,
                "data_time": 0.01,
            }
            record |= {"loss_cls": s.loss_cls, "loss_bbox": s.loss_bbox, "loss": s.loss, "time": s.time}
            lines.append(json.dumps(record))
        m = truth.metrics[epoch - 1]
        record = {"mode": "val", "epoch": epoch, "iter": 20, "lr": s.lr, "bbox_mAP": m["AP"], "bbox_mAP_50": m["AP50"]}
        lines.append(json.dumps(record | {"bbox_mAP_75": m["AP75"]}))
    return lines


def mmengine_json(truth: Truth) -> list[str]:
    """`scalars.json` of MMDetection 3: `iter` and `step` count over the whole run."""
    lines = []
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            at = (epoch - 1) * truth.per_epoch + s.iteration
            record = {"lr": s.lr, "data_time": 0.01, "loss": s.loss, "loss_cls": s.loss_cls, "loss_bbox": s.loss_bbox}
            lines.append(json.dumps(record | {"time": s.time, "epoch": epoch, "iter": at, "memory": 3271, "step": at}))
        m = truth.metrics[epoch - 1]
        lines.append(json.dumps({"coco/bbox_mAP": m["AP"], "coco/bbox_mAP_50": m["AP50"], "time": 0.04, "step": epoch}))
    return lines


def jittordet(truth: Truth) -> list[str]:
    """Its time is a mean since the start; its tables come last, from another stream."""
    lines = ["\x1b[38;5;2m[i 0303 09:59:50.573394 40 compiler.py:956] Jittor(1.3.9.14) src: /x/jittor\x1b[m"]
    total, at = 0.0, 0
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            total, at = total + s.time * truth.every, at + truth.every
            lines.append(
                f"{clock(s.moment)} - jittordet - INFO - Epoch [ {epoch}/{truth.epochs}] Iter [{s.iteration}/"
                f"{truth.per_epoch}]  eta: 0 day 00:05:30  time: {total / at:.4f}  lr: {s.lr:.4e}  loss: {s.loss:.4f}  "
                f"loss_cls: {s.loss_cls:.4f}  loss_bbox: {s.loss_bbox:.4f}"
            )
        m, when = truth.metrics[epoch - 1], clock(s.moment + 2)
        lines.append(f"{when} - jittordet - INFO - (val) [1/1][10/20]  eta: 0 day 00:00:03  time: 0.0889")
        line = "  ".join(
            f"bbox_mAP{k}: {m[n]:.3f}" for k, n in zip(("", "_50", "_75", "_s", "_m", "_l"), AP, strict=False)
        )
        lines += [f"{when} - jittordet - INFO - {line}"] * 2
    for m in truth.metrics:
        lines += coco_table(m)
    return lines


def detr_log(truth: Truth) -> list[str]:
    lines = []
    for epoch in range(1, truth.epochs + 1):
        record = {
            "train_lr": truth.of(epoch)[-1].lr,
            "train_class_error": 90.0,
            "train_loss": truth.mean(epoch),
            "train_loss_cls": truth.mean(epoch, "loss_cls"),
            "train_loss_bbox": truth.mean(epoch, "loss_bbox"),
            "train_loss_bbox_unscaled": 0.1,
            "test_loss": 2 * truth.mean(epoch),
            "test_class_error": 80.0,
            "test_coco_eval_bbox": [truth.metrics[epoch - 1][name] for name in AP],
            "epoch": epoch - 1,
            "n_parameters": 41302368,
        }
        lines.append(json.dumps(record))
    return lines


def detr_console(truth: Truth) -> list[str]:
    lines = [
        "Not using distributed mode",
        "Namespace(lr=0.01, batch_size=4, epochs=3, num_classes=None, seed=42)",
        "number of params: 41302368",
        "Start training",
    ]
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            lines.append(
                f"Epoch: [{epoch - 1}]  [{s.iteration:>3}/{truth.per_epoch}]  eta: 0:00:33  lr: {s.lr:.6f}  class_error: "  # noqa: E501
                f"97.63  loss: {s.loss:.4f} (9.0000)  loss_cls: {s.loss_cls:.4f} (9.0000)  loss_bbox: {s.loss_bbox:.4f} "  # noqa: E501
                f"(9.0000)  time: {s.time:.4f}  data: 0.0123  max mem: 3456"
            )
        lines += [
            f"Epoch: [{epoch - 1}] Total time: 0:00:{10 + epoch} (0.2000 s / it)",
            "Averaged stats: loss: 1.0 (1.0)",
        ]
        lines.append(
            "Test:  [ 0/10]  eta: 0:00:03  class_error: 97.63  loss: 3.0000 (3.0000)  time: 0.1000  data: 0.01"
        )
        lines += ["Test: Total time: 0:00:02 (0.2 s / it)", "IoU metric: bbox", *coco_table(truth.metrics[epoch - 1])]
    return lines


def nanodet(truth: Truth) -> list[str]:
    lines = ["[NanoDet][03-03 09:59:50]INFO: Setting up data..."]
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            at = (epoch - 1) * truth.per_epoch + s.iteration
            lines.append(
                f"[NanoDet][{clock(s.moment, 'nanodet')}]INFO: Train|Epoch{epoch}/{truth.epochs}|Iter{at}({s.iteration}/"  # noqa: E501
                f"{truth.per_epoch})| mem:3.2G| lr:{s.lr:.2e}| loss_cls:{s.loss_cls:.4f}| loss_bbox:{s.loss_bbox:.4f}| "
            )
        m, when = truth.metrics[epoch - 1], clock(s.moment + 2, "nanodet")
        lines.append(
            f"[NanoDet][{when}]INFO: Val|Epoch{epoch}/{truth.epochs}|Iter{at}(1/20)| mem:3.2G| lr:1e-2| loss_cls:9.0| "
        )
        lines += [f"[NanoDet][{when}]INFO: ", *coco_table(m)]
        lines += [
            f"[NanoDet][{when}]INFO: ",
            "| class   | AP50   | mAP   | class   | AP50   | mAP   |",
            "|:--------|:-------|:------|:--------|:-------|:------|",
            "| person  | 63.8   | 35.9  | bicycle | 36.6   | 17.4  |",
            "| car     | 50.1   | 27.2  |         |        |       |",
        ]
        names = dict(zip(("mAP", "AP_50", "AP_75", "AP_small", "AP_m", "AP_l"), AP, strict=False))
        lines.append(f"[NanoDet][{when}]INFO: Val_metrics: { {k: m[n] for k, n in names.items()} }")
    return lines


def lightning_csv(truth: Truth) -> list[str]:
    lines = ["epoch,lr-SGD,step,train_loss_epoch,train_loss_step,train_loss_cls_step,val_loss,val_mAP"]
    for epoch in range(truth.epochs):
        for s in truth.of(epoch + 1):
            at = epoch * truth.per_epoch + s.iteration
            lines += [f",{s.lr},{at},,,,,", f"{epoch},,{at},,{s.loss},{s.loss_cls},,"]
        lines += [f"{epoch},,{at},,,,2.5,{truth.metrics[epoch]['AP']}", f"{epoch},,{at},{truth.mean(epoch + 1)},,,,"]
    return lines


def plain_csv(truth: Truth) -> list[str]:
    """One row per epoch; AP in points."""
    lines = ["epoch,train_loss,loss_cls,lr,epoch_time,mAP,AP50"]
    for epoch in range(1, truth.epochs + 1):
        m = truth.metrics[epoch - 1]
        lines.append(
            f"{epoch},{truth.mean(epoch)},{truth.mean(epoch, 'loss_cls')},{truth.of(epoch)[-1].lr},{10 + epoch},"
            f"{100 * m['AP']:.1f},{100 * m['AP50']:.1f}"
        )
    return lines


def json_lines(truth: Truth) -> list[str]:
    lines = []
    for s in truth.steps:
        at = (s.epoch - 1) * truth.per_epoch + s.iteration
        lines.append(
            json.dumps({"step": at, "epoch": s.epoch, "train": {"loss": s.loss, "loss_cls": s.loss_cls}, "lr": s.lr})
        )
        if s.iteration == truth.per_epoch:
            m = truth.metrics[s.epoch - 1]
            lines.append(json.dumps({"step": at, "epoch": s.epoch, "val": {"mAP": m["AP"], "mAP_50": m["AP50"]}}))
    return lines


def own(truth: Truth) -> list[str]:
    lines = []
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            at = (epoch - 1) * truth.per_epoch + s.iteration
            record = {"kind": "step", "epoch": epoch, "step": at, "total": s.loss, "lr": [s.lr, s.lr], "grad_norm": 1.0}
            record |= {"losses": {"loss_cls": s.loss_cls, "loss_bbox": s.loss_bbox}, "images": 4}
            lines.append(json.dumps(record | {"seconds": {"step": s.time, "data": s.time / 4}}))
        record = {
            "kind": "epoch",
            "epoch": epoch,
            "steps": 5,
            "total": truth.mean(epoch),
            "metrics": truth.metrics[epoch - 1],
        }
        record |= {
            "losses": {"loss_cls": truth.mean(epoch, "loss_cls")},
            "seconds": {"train": 10.0 + epoch, "evaluate": 2.0},
        }
        lines.append(json.dumps(record))
    return lines


def progress_bar(truth: Truth) -> str:
    """tqdm on stdout: states of the bar behind carriage returns, one end of line per epoch."""
    text = ""
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            share = 100 * s.iteration // truth.per_epoch
            text += (
                f"\rEpoch {epoch}/{truth.epochs}: {share:3}%|████      | {s.iteration}/{truth.per_epoch} "
                f"[00:10<00:15, {1 / s.time:.2f}it/s, loss={s.loss:.4f}, loss_cls={s.loss_cls:.4f}, lr={s.lr}]"
            )
        m = truth.metrics[epoch - 1]
        text += f"\n[val] epoch={epoch} AP={m['AP']:.4f} | AP50={m['AP50']:.4f} | AP75={m['AP75']:.4f}\n"
    return text


def key_values(truth: Truth) -> list[str]:
    lines = ["开始训练"]
    for epoch in range(1, truth.epochs + 1):
        for s in truth.of(epoch):
            lines.append(
                f"Epoch [{epoch}/{truth.epochs}], Step [{s.iteration}/{truth.per_epoch}], Loss: {s.loss:.4f}, "
                f"学习率: {s.lr}, time: {s.time:.4f}s"
            )
        m = truth.metrics[epoch - 1]
        lines.append(f"验证 epoch {epoch}: mAP: {m['AP']:.4f}, mAP50: {m['AP50']:.4f}")
    return lines


def events(truth: Truth, folder) -> None:
    """A TensorBoard folder; AP at the global step, with the epoch beside it."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for s in truth.steps:
            at = (s.epoch - 1) * truth.per_epoch + s.iteration
            wall = 1_700_000_000 + s.moment
            for tag, value in (
                ("train/loss", s.loss),
                ("train/loss_cls", s.loss_cls),
                ("train/lr", s.lr),
                ("train/time", s.time),
                ("epoch", s.epoch),
            ):
                writer.add_scalar(tag, value, at, walltime=wall)
            if s.iteration == truth.per_epoch:
                for name in ("AP", "AP50"):
                    writer.add_scalar(f"val/{name}", truth.metrics[s.epoch - 1][name], at, walltime=wall + 1)


TEXT = {
    "mmengine": mmengine,
    "mmcv": mmcv,
    "mmcv_json": mmcv_json,
    "mmengine_json": mmengine_json,
    "jittordet": jittordet,
    "detr_log": detr_log,
    "detr_console": detr_console,
    "nanodet": nanodet,
    "lightning_csv": lightning_csv,
    "plain_csv": plain_csv,
    "json_lines": json_lines,
    "own": own,
    "key_values": key_values,
}


def write(path, lines: list[str] | str) -> str:
    """Write lines; returns the path as text."""
    path.write_text(lines if isinstance(lines, str) else "\n".join(lines) + "\n", encoding="utf-8")
    return str(path)
