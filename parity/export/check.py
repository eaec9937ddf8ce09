"""Does an exported file compute what both frameworks compute? Raw tensors, detections and AP, one framework at a time.

Tolerances are those of the alignment ladder (`parity.align.tolerances`: output, detections, AP). A check that compares
nothing is incomplete, never a pass: no image, no annotation, or a model that detects next to nothing, so that every AP
is alike.
"""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from parity.align.compare import compare
from parity.align.files import Arrays
from parity.align.queries import match_queries
from parity.align.tolerances import TOLERANCES
from parity.arrays import read_npz
from parity.compare.agreement import agreement
from parity.files import read_json
from parity.train.evaluate import evaluate

FRAMEWORKS = ("torch", "jittor")
ONNX = "onnx"
PREFIX, PLACES = "output/", "output/topk_ind"


@dataclass
class Answer:
    """What one side computes: raw outputs of a batch, detections of every image with their AP, median milliseconds."""

    raw: Arrays
    detections: list[dict[str, Any]]
    metrics: dict[str, float | None]
    milliseconds: float | None


@dataclass
class Against:
    """The exported file against one framework.

    tensors: raw tensors compared; images: of them; largest: difference of a value, `share` relative to the largest
    value of its tensor; reordered: queries that stand at another rank; left_out: images of the batch that picked
    other queries at a tie; ap: difference of AP, 0..1; matched, unmatched: detections.
    """

    framework: str
    tensors: int = 0
    images: int = 0
    largest: float | None = None
    share: float | None = None
    reordered: int = 0
    left_out: int = 0
    ap: float | None = None
    matched: int = 0
    unmatched: int = 0
    score: float = 0.0
    box: float = 0.0
    problems: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


@dataclass
class Check:
    """The verdict: "pass", "fail" or "incomplete", and what it rests on."""

    verdict: str
    images: int
    metadata: dict[str, str]
    answers: dict[str, Answer]
    against: list[Against]
    megabytes: float | None = None

    @property
    def reasons(self) -> list[str]:
        """Everything that keeps it from passing."""
        return [f"{one.framework}: {text}" for one in self.against for text in one.problems + one.open]

    def record(self) -> dict[str, Any]:
        """As JSON, without arrays and detections."""
        sides = {
            name: {"metrics": answer.metrics, "milliseconds": answer.milliseconds}
            for name, answer in self.answers.items()
        }
        return {
            "verdict": self.verdict, "images": self.images, "reasons": self.reasons, "megabytes": self.megabytes,
            "file": self.metadata, "sides": sides, "against": [asdict(one) for one in self.against],
        }  # fmt: skip


def read_answer(folder: Path, annotations: Path) -> Answer:
    """Read what `python -m parity.export`, or `trace` and `predict`, wrote into a folder. Raises UserError."""
    detections = read_json(folder / "detections.json")
    metrics = evaluate(annotations, detections)["metrics"]
    lines = (folder / "detections.timing.jsonl").read_text().splitlines()
    seconds = [line["forward"] + line["postprocess"] for line in map(json.loads, lines)]
    later = seconds[1:]  # the first image includes work that is done only once
    return Answer(read_npz(folder / "raw.npz"), detections, metrics, 1000 * statistics.median(later) if later else None)


def check(folder: Path, annotations: Path, file: Path) -> Check:
    """Compare the answers in `folder`/torch, jittor and onnx. Raises UserError for a folder that lacks any of them."""
    answers = {name: read_answer(folder / name, annotations) for name in (*FRAMEWORKS, ONNX)}
    images = len(read_json(annotations)["images"])
    against = [compared(name, answers[name], answers[ONNX], images) for name in FRAMEWORKS]
    verdict = "pass"
    if any(one.open for one in against):
        verdict = "incomplete"
    if any(one.problems for one in against):
        verdict = "fail"
    metadata = read_json(folder / ONNX / "metadata.json")
    return Check(verdict, images, metadata, answers, against, file.stat().st_size / 1e6)


def compared(name: str, reference: Answer, exported: Answer, images: int) -> Against:
    """One framework's answers against the file's."""
    result = Against(name)
    _tensors(result, reference.raw, exported.raw)
    _detections(result, reference, exported, images)
    return result


def _tensors(result: Against, reference: Arrays, exported: Arrays) -> None:
    names = [key for key in reference if key.startswith(PREFIX) and key != PLACES]
    if set(names) != {key for key in exported if key != PLACES}:
        result.problems.append(f"raw outputs are {', '.join(sorted(exported))}, expected {', '.join(names)}")
        return
    queries = match_queries(reference, exported)
    result.images = len(next(iter(exported.values()))) if exported else 0
    if queries is not None:
        result.reordered = queries.ties + queries.errors
        result.left_out = int((~queries.complete).sum())
        result.images -= result.left_out
    worst = None
    for key in names:
        pair = (reference[key], exported[key]) if queries is None else queries.pair(reference[key], exported[key])
        if pair is None or not pair[0].size:
            continue
        found = compare(key.removeprefix(PREFIX), *pair, TOLERANCES["output"])
        result.tensors += 1
        result.largest = max(result.largest or 0.0, found.max_abs)
        result.share = max(result.share or 0.0, found.peak)
        if worst is None or found.ratio > worst.ratio:
            worst = found
    if worst is None or not result.images:
        result.open.append("no raw tensor was compared")
    elif not worst.ok:
        limit = TOLERANCES["output"]
        result.problems.append(f"{worst}; allowed is {limit.limit:g}, and {limit.peak:g} of the largest value")


def _detections(result: Against, reference: Answer, exported: Answer, images: int) -> None:
    agree = agreement(reference.detections, exported.detections, images)
    result.matched, result.unmatched = agree.matched, agree.first_only + agree.second_only
    result.score, result.box = agree.score, agree.box
    total = agree.matched + result.unmatched
    if not total:
        result.open.append(f"no detections in {images} images: nothing was compared")
    elif result.unmatched > TOLERANCES["detections"].limit * total:
        result.problems.append(f"{result.unmatched} of {total} detections have no partner")
    scores = [side.metrics["AP"] for side in (reference, exported)]
    if None in scores:
        result.open.append("AP is not defined: no object is annotated")
        return
    result.ap = scores[1] - scores[0]
    if abs(result.ap) > TOLERANCES["AP"].limit:
        result.problems.append(f"AP is {100 * scores[1]:.2f}, in {result.framework} {100 * scores[0]:.2f}")
    elif (reference.metrics["AP50"] or 0.0) < TOLERANCES["least AP50"].limit:
        result.open.append(
            f"AP50 is {100 * (reference.metrics['AP50'] or 0.0):.1f}: where next to nothing is detected, equal AP says"
            " nothing"
        )


HEADER = (
    "model", "opset", "MB", "tensors", "largest difference", "AP torch / Jittor / ONNX", "detections matched",
    "ms per image torch / Jittor / ONNX", "verdict",
)  # fmt: skip


def row(found: Check) -> tuple[str, ...]:
    """The row of a check in a table under HEADER."""
    about = found.metadata
    sides = [found.answers[name] for name in (*FRAMEWORKS, ONNX)]
    aps = " / ".join("-" if side.metrics["AP"] is None else f"{100 * side.metrics['AP']:.2f}" for side in sides)
    times = " / ".join("-" if side.milliseconds is None else f"{side.milliseconds:.1f}" for side in sides)
    worst = " / ".join("-" if one.largest is None else f"{one.largest:.1e}" for one in found.against)
    matched = " / ".join(f"{one.matched} of {one.matched + one.unmatched}" for one in found.against)
    images = min(one.images for one in found.against)
    tensors = f"{min(one.tensors for one in found.against)} of {images} images"
    return (
        f"{about['model']} {about['variant']}", about["opset"], f"{found.megabytes:.1f}", tensors, worst, aps, matched,
        times, f"{found.verdict} ({found.images} images)",
    )  # fmt: skip


def markdown(found: Check) -> str:
    """The check as a page: one table, and what the numbers mean."""
    lines = [f"| {' | '.join(cells)} |" for cells in (HEADER, ["---"] * len(HEADER), row(found))]
    about, limit = found.metadata, TOLERANCES["output"]
    if found.reasons:
        lines += ["", *(f"- {reason}" for reason in found.reasons)]
    lines += [
        "",
        f"Largest difference and matched detections: against torch / against Jittor. Allowed: {limit.limit:g} of a"
        f" tensor's norm and {limit.peak:g} of its largest value; 0.1 points of AP; 1 % of the detections without a"
        f" partner. torch {about['torch']}, onnx {about['onnx']}, onnxruntime {about['onnxruntime']}, CPU.",
    ]
    return "\n".join(lines) + "\n"


def text(found: Check) -> str:
    """The check for the terminal: a line per number, the verdict last."""
    width = max(map(len, HEADER))
    lines = [f"{name:<{width}}  {cell}" for name, cell in zip(HEADER, row(found), strict=True)]
    return "\n".join([*lines, *found.reasons])
