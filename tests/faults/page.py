"""The pages docs/faults.md and docs/faults-released.md.

What was planted, which rung saw it, what was named, and what was not seen.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from catalogue import REASONS
from planting import Fault

from parity.files import read_json, write_text

HEAD = """# Planted faults

Made by {made}. Each row is one mistake, planted in the second of two frameworks,
never in a model's file: the process that probes replaces a function, a method or an option while it runs. The files
`tests/faults/*_faults.py` hold the mistakes. The first framework is PyTorch and the second is Jittor with the mistake,
on {models} (`tests/faults/bench.py`).

{elsewhere}A mistake is given as much of the ladder as it needs: one training step where it is in the forward pass,
the losses, the detections or one update; five steps where the gradients of several batches decide; the whole ladder
where steps of the training do. The clean pairs climb the whole ladder.

The rung is the lowest one that fails. The cause is named where the ladder's message holds the module, the parameter or
the key that is wrong. The message shown is the one that names it, with its rung in front if that is a higher one.
"""

TINY = """the tiny variants made narrower: images of 64 pixels, two in a batch, four steps of training; NanoDet-Plus
with 128 pixels, from a state that was trained a little, because nothing of an image reaches its fresh scores"""
ELSEWHERE = """Mistakes that need nothing but the interface `parity.framework.Framework` are planted in PyTorch too,
then with PyTorch on both sides; "numpy" is the stand-in framework of the tests, likewise.

"""
RELEASED = """NanoDet-Plus plus-m_320 that starts from `{file}`: 24 photographs of 320 pixels, two batches
of two in a step, two epochs, ten of the twelve steps taken from the same states too"""


def judge(found: dict[str, Any], fault: Fault) -> tuple[int | None, str]:
    """The lowest rung that fails (None: none does), and the message that names the cause ("": none does)."""
    rungs = found["failing"]
    lines = [(rung["rung"], line) for rung in rungs for line in (rung["where"], *rung["failures"])]
    named = [(number, line) for number, line in lines if any(re.search(part, line) for part in fault.named)]
    number, told = named[0] if named else (None, "")
    lowest = rungs[0]["rung"] if rungs else None
    return lowest, told if number in (None, lowest) else f"rung {number}: {told}"


def write_page(
    out: Path, results: Path, faults: list[Fault], pairs: list[tuple[str, int]], released: str | None = None
) -> None:
    """Write the page from the results that are there; what has none is listed as not run.

    `pairs` are models and seeds of the clean runs. `released` names the file of weights that everything started from;
    mistakes are then planted in Jittor only.
    """
    rows, missed, waiting, counts = [], [], [], Counter()
    frameworks = ("jittor",) if released else ("jittor", "torch", "numpy")
    caught: dict[str, bool] = {}
    known = [read_json(file) for file in sorted(results.glob("*/*/*.json"))]
    found = {(f["fault"], f["framework"], f["model"]): f for f in known if "fault" in f}
    for fault in faults:
        for framework, model in [(f, m) for f in frameworks for m in fault.planted_in(f)]:
            result = found.get((fault.name, framework, model))
            if result is None:
                waiting.append(f"{fault.name} ({framework}, {model})")
                continue
            rung, named = judge(result, fault)
            verdict = "yes" if rung is not None and named else "cause not named" if rung is not None else "no"
            shown = named or (result["failing"][0]["where"] if result["failing"] else result.get("ends", ""))
            cells = (fault.name, framework, model, "" if rung is None else rung, cut(shown), verdict)
            rows.append("| " + " | ".join(map(str, cells)) + " |")
            counts[verdict] += 1
            caught[fault.name] = caught.get(fault.name, True) and verdict == "yes"
            if verdict != "yes":
                reason = REASONS.get((fault.name, model), REASONS.get(fault.name, "not explained"))
                missed.append(f"- {fault.name} ({framework}, {model}), {verdict}: {reason}")
    clean = [f for f in known if "clean" in f and (f["model"], f["clean"]) in pairs]
    alarms = [f"{f['model']} seed {f['clean']}: {f['failing'][0]['where']}" for f in clean if f["failing"]]
    if released:
        made = "`tests/faults/plant.py --weights`"
        lines = [HEAD.format(made=made, models=RELEASED.format(file=released), elsewhere="")]
    else:
        lines = [HEAD.format(made="`make faults` (`tests/faults/plant.py`)", models=TINY, elsewhere=ELSEWHERE)]
    lines += [
        f"Caught with the cause named: {sum(caught.values())} of {len(caught)} mistakes, wherever they were planted"
        f" ({len(rows)} plantings: {counts['yes']} with the cause named, {counts['cause not named']} without,"
        f" {counts['no']} not caught).\n"
    ]
    lines += [
        f"Clean pairs, PyTorch and Jittor: {len(clean)} of {len(pairs)} were run,"
        f" {len(alarms)} false alarms{': ' + '; '.join(alarms) if alarms else ''}.{_too_little(clean)}\n"
    ]
    lines += [f"Not run: {'; '.join(waiting) or 'none'}.\n"]
    lines += ["| fault | framework | model | rung | named cause | caught |", "|---|---|---|---|---|---|", *rows]
    lines += ["\n## What is not caught, and why\n", *(missed or ["Nothing."])]
    write_text(out, "\n".join(lines) + "\n")


def _too_little(clean: list[dict[str, Any]]) -> str:
    """A sentence on the rungs that had too little to compare in some clean pairs: they say nothing of these rungs."""
    short = Counter(rung for found in clean for rung in found["incomplete"])
    told = [f"rung {rung} in {count} of {len(clean)}" for rung, count in sorted(short.items())]
    return f" There was too little to compare at {', '.join(told)}." if told else ""


def cut(text: str, length: int = 140) -> str:
    """A message as one cell of a table."""
    text = text.replace("|", "/").replace("\n", " ")
    return text if len(text) <= length else text[: length - 1] + "…"
