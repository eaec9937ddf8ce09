"""The report on one or two imported logs: figures, tables, `report.md` and `report.html` in English and Chinese."""

import re
from collections.abc import Iterable
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from parity.data.entries import AP_METRICS
from parity.files import atomic, write_text
from parity.logs import audit as audits
from parity.logs import signs as looks
from parity.logs import spans, speed
from parity.logs.names import RECALLS
from parity.logs.record import Run
from parity.report.figures import imported as figures
from parity.report.figures.imported import Pair
from parity.report.pipe_table import pipe_table
from parity.report.report import environment, to_html

LANGUAGES = {"en": "", "zh": ".zh"}  # language: what stands between `report` and the ending of its files
EPOCH_ROWS = 40  # rows of the per-epoch table in the page; the CSV has all


def make(runs: list[Run], names: list[str], title: str, folder: Path) -> tuple[list[Path], audits.Audit]:
    """Write everything about one or two runs; returns the files of the report, and the audit."""
    folder = Path(folder)
    pair = Pair(title, names, runs, _speed(runs))
    found = looks.signs(runs)
    audit = audits.audit(runs, any(sign.code in ("same file", "same numbers") for sign in found))
    figures.draw_all(pair, folder / "figures")
    tables = make_tables(pair, audit)
    for stem, table in tables.items():
        with atomic(folder / "tables" / f"{stem}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.8g", lineterminator="\n")
    written = []
    for language, middle in LANGUAGES.items():
        template = environment().get_template(f"imported.{language}.md.j2")
        text = template.render(context(pair, audit, found, tables))
        markdown = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
        for suffix, content in (("md", markdown), ("html", to_html(markdown, folder, language))):
            path = folder / f"report{middle}.{suffix}"
            write_text(path, content)
            written.append(path)
    return written, audit


def _speed(runs: list[Run]) -> speed.Speed:
    if len(runs) == 2:
        return speed.compare(*runs)
    return speed.Speed([speed.timing(run) for run in runs], None, None, None, None)


def make_tables(pair: Pair, audit: audits.Audit) -> dict[str, pd.DataFrame]:
    """Every table as a data frame; losses and metrics in one row per epoch."""
    return {
        "per_epoch": per_epoch(pair),
        "best_last": best_last(pair),
        "per_class": per_class(pair),
        "audit": pd.DataFrame(
            [
                {"row": row.name, "decides": row.matters, "status": row.status}
                | {n: None if c is None else c.value for n, c in zip(pair.names, row.cells, strict=True)}
                | {f"{n}: line": None if c is None else c.line for n, c in zip(pair.names, row.cells, strict=True)}
                for row in audit.rows
            ]
        ),
    }


def per_epoch(pair: Pair) -> pd.DataFrame:
    """Mean losses, last learning rate, seconds and metrics of each epoch, a column per side."""
    rows: dict[float, dict[str, Any]] = {}
    for name, run in zip(pair.names, pair.runs, strict=True):
        quantities = [*(["loss"] if "loss" in run.epochs else []), *run.losses(), "lr", "train_s", "val_s"]
        quantities += [n for n in run.epochs.names() if n.startswith("val ")]
        for row in run.epochs.rows():
            cells = rows.setdefault(row["epoch"], {})
            cells |= {f"{name}: {quantity}": row[quantity] for quantity in quantities if quantity in row}
        for row in run.evaluations.rows():
            if "epoch" in row:
                cells = rows.setdefault(row["epoch"], {})
                cells |= {f"{name}: {m} (points)": 100 * row[m] for m in (*AP_METRICS, *RECALLS) if m in row}
    return pd.DataFrame([{"epoch": int(epoch)} | cells for epoch, cells in sorted(rows.items())])


def best_last(pair: Pair) -> pd.DataFrame:
    """Each metric at the best epoch by AP, at the last one, and the highest it ever was."""
    rows = []
    for metric in (*AP_METRICS, *RECALLS):
        row: dict[str, Any] = {"metric": metric}
        for name, run in zip(pair.names, pair.runs, strict=True):
            moments = {"best epoch": spans.best_row(run), "last epoch": spans.last_row(run)}
            for moment, found in moments.items():
                row[f"{name}: {moment}"] = 100 * found[metric] if found and metric in found else None
            highest = spans.best(run, metric)
            row[f"{name}: highest"] = None if highest is None else 100 * highest
        if any(value is not None for key, value in row.items() if key != "metric"):
            rows.append(row)
    return pd.DataFrame(rows)


def per_class(pair: Pair) -> pd.DataFrame:
    """AP50 and AP of each class (points) where a log has a table of classes."""
    classes = dict.fromkeys(c for run in pair.runs for c in run.classes)
    rows = []
    for label in classes:
        row: dict[str, Any] = {"class": label}
        for name, run in zip(pair.names, pair.runs, strict=True):
            if label in run.classes:
                row |= {f"{name}: AP50": run.classes[label][0], f"{name}: AP": run.classes[label][1]}
        rows.append(row)
    return pd.DataFrame(rows)


def shown_epochs(pair: Pair, table: pd.DataFrame) -> pd.DataFrame:
    """The per-epoch table for the page: loss, learning rate, AP and AP50, evenly thinned when it is long."""
    wanted = [f"{n}: {q}" for q in ("loss", "lr", "AP (points)", "AP50 (points)") for n in pair.names]
    if table.empty:
        return table
    shown = table[["epoch", *(c for c in wanted if c in table.columns)]]
    step = -(-len(shown) // EPOCH_ROWS)
    places = sorted({*range(0, len(shown), step), len(shown) - 1})
    return shown.iloc[places]


def context(
    pair: Pair, audit: audits.Audit, found: list[looks.Sign], tables: dict[str, pd.DataFrame]
) -> dict[str, Any]:
    """Everything a template may use."""
    sides = list(zip(pair.names, pair.runs, pair.speed.timings, strict=True))
    return {
        "title": pair.title,
        "names": pair.names,
        "runs": pair.runs,
        "sides": sides,
        "audit": audit,
        "signs": found,
        "speed": pair.speed,
        "inference": [spans.inference(run) for run in pair.runs],
        "mean_loss": [spans.mean_loss(run) for run in pair.runs],
        "last_loss": [spans.last_loss(run) for run in pair.runs],
        "best": [spans.best_row(run) for run in pair.runs],
        "last": [spans.last_row(run) for run in pair.runs],
        "tables": tables,
        "epochs": shown_epochs(pair, tables["per_epoch"]),
        "nine": figures.NINE,
        "stems": list(figures.DRAW),
        "held": [held(run) for run in pair.runs],
        "lines": line_text,
        "md": markdown_table,
    }


def held(run: Run) -> dict[str, bool]:
    """The content of a log, one row for each quantity."""
    return {
        "loss": "loss" in run.steps or "loss" in run.epochs,
        "components": bool(run.losses()),
        "AP": "AP" in run.evaluations,
        "AR": any(name in run.evaluations for name in RECALLS),
        "lr": "lr" in run.steps or "lr" in run.epochs,
        "time": "time" in run.steps,
        "stamps": "stamp" in run.steps,
        "epoch time": "train_s" in run.epochs,
        "inference": bool(len(run.inference)),
        "classes": bool(run.classes),
    }


def line_text(lines: Iterable[tuple[int, int]]) -> str:
    """ "63–389, 402" for stretches of lines."""
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in lines)


def markdown_table(table: pd.DataFrame, header: dict[str, str]) -> str:
    """A data frame as Markdown; numbers with five significant digits, a dash for what is missing."""
    cell = environment().filters["cell"]

    def text(value: Any) -> str:
        if value is None or (isinstance(value, float) and isnan(value)):
            return "–"
        return f"{value:.5g}" if isinstance(value, float) else cell(value)

    def head(column: str) -> str:
        for english, word in header.items():
            column = re.sub(rf"(^|: ){re.escape(english)}$", rf"\g<1>{word}", column)
        return cell(column)

    if table.empty:
        return ""
    rows = (map(text, row) for row in table.itertuples(index=False))
    return pipe_table([head(c) for c in table.columns], rows, left=())
