"""The pages of released checkpoints: one for one checkpoint, and the table over all of them."""

from typing import Any

from parity.data.entries import AP_METRICS
from parity.report.pipe_table import pipe_table
from parity.weights.zoo import Released

TITLES = {"torch": "PyTorch", "jittor": "Jittor"}
WHOLE = 5000  # images of val2017, on which published AP is measured


def page(released: Released, result: dict[str, Any]) -> str:
    """Markdown of one checkpoint. `result` is what `workflow/scripts/reproduce.py report` wrote beside it."""
    names = list(result["frameworks"])
    whole = result["images"] == WHOLE and result["whole"]
    lines = [f"# {released.model} {released.variant}: the released weights, nothing trained", ""]
    lines.append(
        f"`{result['weights']['input']}` (SHA-256 `{result['weights']['input_sha256']}`; {released.licence}; its AP"
        f" needed {released.trained}) on {result['images']:,} images of val2017"
        f"{'' if whole else ', a part of it or other images'}, with the official pre- and post-processing, one image"
        f" at a time on {result['device']}."
    )
    head = ["", "published", *map(_title, names), *_difference_title(names)]
    lines += ["", pipe_table(head, _rows(result, names)), ""]
    lines += [_sentence(_title(name), result, name, whole) for name in names]
    lines += ["", "## Do both frameworks detect the same?", "", *_agreement(result, names)]
    lines += ["", "## Time per image", "", _times(result, names)]
    lines += ["", "## What was not in the file", "", *_missing(result["weights"])]
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    return TITLES.get(name, name)


def _difference_title(names: list[str]) -> list[str]:
    return [f"{_title(names[1])} − {_title(names[0])}"] if len(names) > 1 else []


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _rows(result: dict[str, Any], names: list[str]) -> list[list[str]]:
    rows = []
    for metric in [*AP_METRICS, "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]:
        values = [result["frameworks"][name]["metrics"][metric] for name in names]
        row = [metric, _number(result["published"].get(metric), 1), *map(_number, values)]
        if len(names) > 1:
            row.append(_number(values[1] - values[0], 3) if None not in values[:2] else "–")
        rows.append(row)
    return rows


def _sentence(title: str, result: dict[str, Any], name: str, whole: bool) -> str:
    own = result["frameworks"][name]
    (low, high), published = own["AP_interval"], result["published"]["AP"]
    if low is None or high is None:
        return f"- {title}: AP is not defined on these images."
    text = f"- {title}: AP {_number(own['metrics']['AP'])}, 95 % interval over images {low:.2f} to {high:.2f}"
    text += f" ({own['samples']} resamples)"
    if whole and published is not None:
        where = "lies inside it" if low <= published <= high else "lies outside of it"
        return f"{text}; the published {published:.1f} {where}."
    return f"{text}. Whether the published AP lies inside is said on the whole of val2017 only."


def _agreement(result: dict[str, Any], names: list[str]) -> list[str]:
    if "agreement" not in result:
        return ["Only one framework was asked for."]
    found, difference = result["agreement"], result["difference"]
    alone = found["first_only"] + found["second_only"]
    low, high = difference["interval"]
    lines = [
        f"{found['matched']:,} pairs of detections with a score from {found['from_score']} on (same image, same class,"
        f" IoU from 0.5 on); {alone:,} without a partner. Largest difference of a score in a pair:"
        f" {found['score']:.1e}; of a box corner: {found['box']:.1e} pixels.",
    ]
    if low is not None:
        lines.append(
            f"\nAP differs by {difference['AP']:+.3f} ({_title(names[1])} − {_title(names[0])}), 95 % interval over"
            f" images {low:+.3f} to {high:+.3f}."
        )
    return lines


def _times(result: dict[str, Any], names: list[str]) -> str:
    stages = ("preprocess", "forward", "postprocess")
    rows = [
        [_title(name), *(_number(1000 * result["frameworks"][name]["seconds"][stage], 1) for stage in stages)]
        for name in names
    ]
    note = "Median in milliseconds, images read from the disk included; not a benchmark, `make bench` measures."
    return note + "\n\n" + pipe_table(["", *stages], rows)


def _missing(weights: dict[str, Any]) -> list[str]:
    drawn, unused = weights["drawn"], weights["unused_source"]
    lines = [f"{weights['taken']} tensors of the model come from the file" + (
        f", found under `{weights['wrapper']}`." if weights["wrapper"] else "."
    )]  # fmt: skip
    if drawn:
        lines.append(
            f"- {len(drawn)} tensors of the part that only training uses (`{drawn[0]}` to `{drawn[-1]}`) are not in"
            " it. They are drawn from seed 0; detection does not use them."
        )
    if weights["filled"]:
        lines.append(f"- {len(weights['filled'])} counters of batches are not in it; they start at 0.")
    if unused:
        lines.append(f"- {len(unused)} tensors of the file are not used, for instance `{unused[0]}`.")
    if not (drawn or unused or weights["filled"]):
        lines.append("Nothing was missing, and nothing is left over.")
    return lines


def zoo_page(rows: list[tuple[Released, dict[str, Any] | None]], folder: str) -> str:
    """Markdown of the table over all released checkpoints; a checkpoint without a file has a row that says so."""
    names = list(dict.fromkeys(name for _, result in rows if result for name in result["frameworks"]))
    head = ["model", "variant", "images", "published AP", *map(_title, names), *_difference_title(names), "file"]
    cells = []
    for released, result in rows:
        row = [released.model, released.variant]
        if result is None:
            row += ["–", _number(released.published["AP"], 1), *["–"] * (len(head) - 5)]
            row.append(f"`{released.file}` is not in {folder}")
        else:
            values = [result["frameworks"].get(name, {}).get("metrics", {}).get("AP") for name in names]
            row += [f"{result['images']:,}", _number(released.published["AP"], 1), *map(_number, values)]
            if len(names) > 1:
                row.append(_number(values[1] - values[0], 3) if None not in values[:2] else "–")
            row.append(f"[report](../{released.model}/reproduce/{released.variant}/report.md)")
        cells.append(row)
    done = sum(result is not None for _, result in rows)
    about = (
        f"{done} of {len(rows)} released checkpoints have their file here. AP in points on val2017; nothing trained."
    )
    return f"# Released checkpoints\n\n{about}\n\n{pipe_table(head, cells)}\n"
