"""The study's report, docs/study/report.md, and the lines of the README: made from the rows alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from parity.report.pipe_table import pipe_table
from parity.study.design import bounds
from parity.study.protocol import Protocol
from parity.study.rows import Row, check_shared, counted
from parity.study.verdict import (
    Judgement,
    Pair,
    companions,
    judge,
    null_interval,
    permutation,
    pooled,
    spreads,
)

NOTHING = "Nothing has been counted yet."
MARKS = ("<!-- study -->", "<!-- end of the study -->")


@dataclass(frozen=True)
class Study:
    """One model's study: its name, the starts that its recipes define, and its rows."""

    name: str
    title: str
    starts: tuple[str, ...]
    rows: list[Row]


def judgements(studies: Sequence[Study], protocol: Protocol) -> dict[tuple[str, str], Judgement]:
    """Verdicts by (study, start). Raises UserError where rows do not belong together."""
    found = {}
    for study in studies:
        for start in study.starts:
            check_shared(counted(study.rows, start), f"docs/study/{study.name}.csv")
            found[study.name, start] = judge(study.rows, protocol, start)
    return found


def readme(studies: Sequence[Study], protocol: Protocol) -> str:
    """The table for the README, with one sentence that says what it is based on."""
    found = judgements(studies, protocol)
    rows = []
    for study in studies:
        for start in study.starts:
            judgement = found[study.name, start]
            if judgement.pairs:
                rows.append([study.title, start, *_values(judgement), judgement.verdict])
    if not rows:
        return NOTHING
    head = ["model", "start", "pairs", "AP PyTorch", "AP Jittor", "Jittor − PyTorch", "interval", "verdict"]
    verdicts = [row[-1] for row in rows]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("equivalent", "different", "inconclusive") if v in verdicts)
    sentence = (
        f"{len(rows)} of {len(found)} studies have counted pairs: {counts}. Margin: the smaller of"
        f" {protocol.margin:g} point and {100 * protocol.margin_relative:g} % of PyTorch's AP."
    )
    return pipe_table(head, rows, left=range(2)) + "\n\n" + sentence


def _values(judgement: Judgement) -> list[str]:
    """Pairs, both means, the estimate and the interval of the last look (of all pairs before the first look)."""
    rows = companions(judgement)
    if not rows:
        return [f"{len(judgement.counted)}", "–", "–", "–", "–"]
    own = rows[0]
    last = judgement.looks[-1] if judgement.looks else None
    interval = f"{last.low:+.2f} to {last.high:+.2f}" if last and np.isfinite(last.low) else "–"
    return [str(own.pairs), f"{own.torch:.2f}", f"{own.jittor:.2f}", f"{own.estimate:+.2f}", interval]


def page(studies: Sequence[Study], protocol: Protocol) -> str:
    """report.md. Nothing in it depends on anything but rows and protocol."""
    found = judgements(studies, protocol)
    lines = ["# The study: verdicts", ""]
    lines.append(
        "Made by `make study-report` from the rows in this folder alone. The protocol: [study.md](../study.md)."
    )
    lines += ["", readme(studies, protocol), ""]
    for study in studies:
        lines += [f"## {study.title}", ""]
        for start in study.starts:
            lines += _start(study, start, found[study.name, start], protocol)
        lines += _pilots(study)
    lines += ["## All models together", "", *_pooled(studies, found)]
    return "\n".join(lines).rstrip() + "\n"


def _start(study: Study, start: str, judgement: Judgement, protocol: Protocol) -> list[str]:
    """The section of one start."""
    lines = [f"### Start: {start}", "", f"**{judgement.verdict}**: {judgement.reason}.", ""]
    rows = counted(study.rows, start)
    lines += _failed(rows)
    if not judgement.pairs:
        return lines
    lines += [f"![pairs and looks]({study.name}-{start}.png)", ""] if companions(judgement) else []
    lines += _looks(judgement)
    lines += _pairs(judgement)
    lines += _null(judgement, protocol)
    lines += _companions(judgement)
    machines = sorted({row.machine for row in rows})
    seconds = [row.seconds for row in rows if row.done and row.seconds is not None]
    lines.append(
        f"{len(rows)} runs on {'; '.join(machines)}; {fmean(seconds) / 60 if seconds else 0:.1f} minutes a run. Code"
        f" (PyTorch, Jittor) {', '.join(_one(rows, name) for name in ('torch', 'jittor'))}; versions:"
        f" {'; '.join(sorted({row.versions for row in rows if row.versions}))}."
    )
    return [*lines, ""]


def _one(rows: Sequence[Row], framework: str) -> str:
    return next((f"`{row.code}`" for row in rows if row.framework == framework), "–")


def _failed(rows: Sequence[Row]) -> list[str]:
    failed = [row for row in rows if not row.done]
    if not failed:
        return []
    told = [f"- {row.framework} seed {row.seed} draw {row.draw}: {row.reason}" for row in failed]
    return ["Failed runs:", "", *told, ""]


def _looks(judgement: Judgement) -> list[str]:
    if not judgement.looks:
        return []
    head = ["look after", "pairs with a value", "Jittor − PyTorch", "interval", "margin", "outcome"]
    rows = [
        [str(e.pairs), str(e.used), f"{e.estimate:+.2f}", f"{e.low:+.2f} to {e.high:+.2f}", f"±{e.margin:g}",
         e.outcome + (f" ({e.note})" if e.note else "")]
        for e in judgement.looks
    ]  # fmt: skip
    return [pipe_table(head, rows, left=()), ""]


def _pairs(judgement: Judgement) -> list[str]:
    head = [
        "seed",
        "PyTorch, draw by draw",
        "Jittor, draw by draw",
        "Jittor − PyTorch",
        "PyTorch − itself",
        "Jittor − itself",
    ]
    rows = []
    for place, pair in enumerate(judgement.pairs):
        later = " (after the verdict)" if judgement.decided and place >= len(judgement.counted) else ""
        cells = [_draws(pair, "torch"), _draws(pair, "jittor")]
        values = [pair.difference(), pair.null("torch"), pair.null("jittor")]
        rows.append([f"{pair.seed}{later}", *cells, *("–" if v is None else f"{v:+.2f}" for v in values)])
    text = "Every pair; none is dropped. Draw 0 is the main run, the others are the null arm."
    return [text, "", pipe_table(head, rows), ""]


def _draws(pair: Pair, framework: str) -> str:
    runs = [row for (name, _), row in sorted(pair.runs.items()) if name == framework]
    return ", ".join("failed" if row is None else f"{row.AP:.2f}" for row in runs)


def _null(judgement: Judgement, protocol: Protocol) -> list[str]:
    """How far chance alone reaches: each framework against itself, the permutation test, standard deviations."""
    lines = []
    for name, title in (("torch", "PyTorch"), ("jittor", "Jittor")):
        low, high = null_interval(judgement.counted, protocol.level, name)
        if np.isfinite(low):
            leans = "" if low <= 0 <= high else ", which leaves 0 out: **the null arm leans**"
            lines.append(f"{title} against itself (other last bits − main): {low:+.2f} to {high:+.2f}{leans}.")
    if spread := spreads(judgement):
        single = [
            f"{title} {value:.2f}"
            for title, value in (("PyTorch", spread.torch), ("Jittor", spread.jittor))
            if value is not None
        ]
        own = f"; of two runs of one framework {', '.join(single)}" if single else ""
        lines.append(
            f"Standard deviation in points: of the paired difference {spread.paired:.2f}, of single runs of two"
            f" frameworks {spread.between:.2f}{own}."
        )
    if permuted := permutation(judgement):
        lines.append(
            f"Labels permuted within {permuted.seeds} seeds: shift {permuted.shift:+.2f}, p = {permuted.shift_p:.3f};"
            f" distance between frameworks beyond that within one {permuted.distance:+.2f},"
            f" p = {permuted.distance_p:.3f}."
        )
    return [*lines, ""] if lines else []


def _companions(judgement: Judgement) -> list[str]:
    """The secondary metrics, with 90 % intervals."""
    found = companions(judgement)
    if not found:
        return []
    rows = []
    for entry in found:
        digits = 4 if entry.metric == "loss" else 2
        interval = "–" if entry.low is None else f"{entry.low:+.{digits}f} to {entry.high:+.{digits}f}"
        values = [f"{entry.torch:.{digits}f}", f"{entry.jittor:.{digits}f}", f"{entry.estimate:+.{digits}f}"]
        rows.append([entry.metric, str(entry.pairs), *values, interval])
    head = ["metric", "pairs", "PyTorch", "Jittor", "Jittor − PyTorch", "90 % interval"]
    text = "Secondary: the same pairs in other metrics. The verdict stands on AP alone, by the interval of its look."
    return [text, "", pipe_table(head, rows), ""]


def _pilots(study: Study) -> list[str]:
    """Costs and results of the pilots, which run in PyTorch alone and are never counted."""
    rows = [row for row in study.rows if row.arm == "pilot"]
    if not rows:
        return []
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.recipe, row.start, row.configuration, row.framework), []).append(row)
    table = []
    for (recipe, start, configuration, framework), own in groups.items():
        done = [row for row in own if row.done]
        spread, width = _pilot_spread(done)
        minutes = fmean(row.seconds for row in done) / 60 if done else None
        cost = spread**2 * minutes if spread is not None and minutes is not None else None
        values = [fmean(row.AP for row in done) if done else None, spread, minutes, cost]
        cells = ["–" if value is None else f"{value:.2f}" for value in values]
        table.append([recipe, start, f"`{configuration}`", framework, f"{len(done)} of {len(own)}", *cells, width])
    head = ["pilot", "start", "configuration", "framework", "runs that ended", "AP", "sd of two runs", "minutes a run"]
    head += ["sd² × minutes", "other last bits − untouched"]
    text = (
        "Pilots, on seeds of their own and never counted. The sd is that of two runs of one seed with other last bits."
    )
    return ["### Pilots", "", text, "", pipe_table(head, table, left=range(4)), ""]


def _pilot_spread(rows: Sequence[Row]) -> tuple[float | None, str]:
    """(sd of the difference of two runs of one seed, mean move by kind of last bits as text)."""
    seeds: dict[int, list[float]] = {}
    moves: dict[str, list[float]] = {}
    untouched = {row.seed: row.AP for row in rows if row.last_bits == "none"}
    for row in rows:
        seeds.setdefault(row.seed, []).append(row.AP)
        if row.last_bits != "none" and row.seed in untouched:
            moves.setdefault(row.last_bits, []).append(row.AP - untouched[row.seed])
    several = [np.var(values, ddof=1) for values in seeds.values() if len(values) > 1]
    text = ", ".join(f"{kind} {fmean(values):+.2f} ({len(values)})" for kind, values in sorted(moves.items()))
    return (float(np.sqrt(2 * np.mean(several))) if several else None), text or "–"


def _pooled(studies: Sequence[Study], found: Mapping[tuple[str, str], Judgement]) -> list[str]:
    """The mean over models for each start; it replaces none of the verdicts."""
    lines = []
    for start in dict.fromkeys(start for study in studies for start in study.starts):
        result = pooled([judgement for (_, name), judgement in found.items() if name == start])
        if result:
            lines.append(
                f"- {start}: {result.estimate:+.2f} points, 90 % interval {result.low:+.2f} to {result.high:+.2f}, mean"
                f" over {result.models} models. It replaces none of the verdicts above."
            )
    return [*lines, ""] if lines else ["Fewer than two models have two pairs or more.", ""]


def place(text: str, content: str, marks: tuple[str, str] = MARKS) -> str | None:
    """`text` with `content` between the two marks; None where it has no such marks."""
    first, last = map(re.escape, marks)
    pattern = re.compile(f"({first}\n).*?({last})", re.S)
    return (
        pattern.sub(lambda match: match[1] + content.rstrip("\n") + "\n" + match[2], text)
        if pattern.search(text)
        else None
    )


def progress(judgement: Judgement, protocol: Protocol, seconds: Mapping[str, float]) -> str:
    """One line after a pair: estimate, interval at the look's level, next look, time left."""
    pairs = judgement.pairs
    ahead = next((n for n in protocol.looks if n > len(pairs)), protocol.looks[-1])
    values = companions(Judgement(judgement.start, "", "", pairs))
    text = f"{judgement.start}: {len(pairs)} pair{'s' * (len(pairs) != 1)}"
    if values:
        own = values[0]
        text += f", Jittor − PyTorch {own.estimate:+.2f}"
        if own.pairs > 1:
            differences = np.array([d for pair in pairs if (d := pair.difference()) is not None])
            low, high = bounds(differences, protocol.level)
            text += f" ({low:+.2f} to {high:+.2f} at the level of a look)"
    if judgement.decided:
        return f"{text}; {judgement.verdict}: {judgement.reason}"
    each = (protocol.draws + 1) * sum(seconds.values())
    left = [
        f"{_duration(each * (n - len(pairs)))} to {name}"
        for n, name in ((ahead, "it"), (protocol.looks[-1], "the last"))
    ]
    return f"{text}; {judgement.verdict}, next look after {ahead}, {', '.join(left)}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
