"""The report: `report.md` from a Jinja template, `report.html` from that Markdown, everything embedded.

This module computes what is to be said and formats numbers; the sentences stand in `reports/report.<language>.md.j2`,
so that every language says the same with the same numbers.
"""

import base64
import html
import re
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markdown_it import MarkdownIt

from parity.compare.comparison import Comparison
from parity.compare.findings import Findings
from parity.compare.limits import limitations
from parity.compare.stats import summary
from parity.errors import UserError
from parity.files import write_text
from parity.measure import turns
from parity.report import headline, index
from parity.report.figures.style import display, look
from parity.report.pipe_table import pipe_table
from parity.report.quality import mistakes
from parity.report.summaries import alignment_summary, conversion_summary, stock_summary, whole_run_summary
from parity.report.tables import differences

TEMPLATES = Path(__file__).resolve().parents[2] / "reports"
LANGUAGES = ("en", "zh")
NOTHING = "–"  # a cell that was not recorded

STYLE = """
body { font: 16px/1.55 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; color: #1d1d1f;
       max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.8rem; line-height: 1.25; } h2 { margin-top: 2.6rem; border-bottom: 1px solid #ddd; }
blockquote { margin: 1.2rem 0; padding: .4rem 1.1rem; border-left: 5px solid #0072B2; background: #f3f7fa; }
table { border-collapse: collapse; font-size: .88rem; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .28rem .7rem; text-align: left; vertical-align: top; }
th { background: #f5f5f7; } td[style*="right"], th[style*="right"] { font-variant-numeric: tabular-nums; }
img { max-width: 100%; } :is(table, p)::-webkit-scrollbar { height: 8px; }
:is(table, p)::-webkit-scrollbar-thumb { background: #b9c4cc; }
code, pre { font-size: .86rem; background: #f5f5f7; } pre { padding: .7rem; overflow-x: auto; }
h1, blockquote, li, p { overflow-wrap: anywhere; }
@media (max-width: 700px) {
  body { margin: 1rem auto; padding: 0 .8rem; } h1 { font-size: 1.5rem; } th, td { padding: .28rem .45rem; }
  blockquote { margin-left: 0; margin-right: 0; padding: .2rem .8rem; } blockquote ul { padding-left: 1.1rem; }
  p:has(> img) { overflow-x: auto; margin-bottom: 0; } p > img { max-width: none; width: 42rem; }
  p:has(> img)::after { content: "\\27F7"; position: sticky; left: 0; display: block; width: 2rem; color: #0072B2; }
  td:first-child, th:first-child { min-width: 6rem; }
}
""".strip()


def language_of(comparison: Comparison) -> str:
    """`report.language` of the configuration. Raises UserError for an unknown one."""
    language = comparison.setting("report", "language", default="en")
    if language not in LANGUAGES:
        raise UserError(f"report.language: {language!r}, expected one of {', '.join(LANGUAGES)}")
    return language


def environment() -> jinja2.Environment:
    """The settings that all templates of reports share."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.filters |= {"num": number, "ms": milliseconds, "fixed": fixed, "signed": signed, "cell": cell}
    made.filters["combine"] = lambda first, second: {**first, **second}
    return made


def render(comparison: Comparison, findings: Findings, tables: dict[str, pd.DataFrame], language: str) -> str:
    """The report as Markdown."""
    template = environment().get_template(f"report.{language}.md.j2")
    text = template.render(context(comparison, findings, tables, language))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def write(comparison: Comparison, findings: Findings, tables: dict[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write report.md and report.html; images are taken from `<folder>/figures`."""
    folder, language = Path(folder), language_of(comparison)
    markdown = render(comparison, findings, tables, language)
    write_text(folder / "report.md", markdown)
    write_text(folder / "report.html", to_html(markdown, folder, language))
    return [folder / "report.md", folder / "report.html"]


def to_html(markdown: str, folder: Path, language: str = "en") -> str:
    """One self-contained page, with the figures in it, and the tables to be saved.

    Links to the figures' SVG files are left out, because they lead nowhere when the page is sent on. Raises UserError
    when a figure that the Markdown shows is missing.
    """
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)

    def embed(match: re.Match) -> str:
        path = folder / html.unescape(match[1])
        try:
            data = base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise UserError(f"{path}: is shown in the report but cannot be read: {error.strerror}") from error
        return f'<img src="data:image/png;base64,{data}"'

    def attach(match: re.Match) -> str:
        path = folder / html.unescape(match[1])
        if not path.is_file():
            return match[0]
        data = base64.b64encode(path.read_bytes()).decode()
        return f'<a download="{html.escape(path.name)}" href="data:text/csv;base64,{data}">'

    body = re.sub(r'<img src="([^":]+\.png)"', embed, body)
    body = re.sub(r'<a href="([^":]+\.csv)">', attach, body)
    body = re.sub(r' ?<a href="[^":]+\.svg">SVG</a>', "", body)
    title = html.escape(next((line[2:] for line in markdown.splitlines() if line.startswith("# ")), "Report"))
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>\n{STYLE}\n</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def context(
    comparison: Comparison, findings: Findings, tables: dict[str, pd.DataFrame], language: str
) -> dict[str, Any]:
    """Everything a template may use."""
    suffix = "_ZH" if language == "zh" else ""
    present = [name for name in comparison.frameworks if comparison.of(name)]
    manifests = [run.manifest for run in comparison.runs if run.manifest]
    settled, unsettled = headline.verdicts(findings, comparison.frameworks)
    return {
        "c": comparison,
        "findings": findings,
        "audit": findings.audit,
        "tables": tables,
        "present": present,
        "plain": {name: look(name).label for name in comparison.frameworks},
        "names": {name: called(name, comparison, language) for name in [*comparison.frameworks, *comparison.profiles]},
        "manifest": manifests[0] if manifests else {},
        "manifests": manifests,
        "key_rows": key_rows(comparison),
        "learning": learning(comparison),
        "limits": limitations(comparison, findings),
        "training": training_rows(comparison, tables["training"]),
        "performance": performance_rows(comparison, tables["performance"]),
        "figure_captions": getattr(index, f"FIGURES{suffix}"),
        "table_captions": getattr(index, f"TABLES{suffix}"),
        "turns": turns.report(comparison.profiles),
        "same": headline.same_weights(findings),
        "ladder": headline.ladder(comparison.alignment),
        "faults": headline.faults(),
        "settled": settled,
        "unsettled": unsettled,
        "frame": frame,
        "mistakes": mistakes,
        "conversion": conversion_summary(comparison.conversion),
        "alignment": alignment_summary(comparison),
        "whole_run": whole_run_summary(comparison.whole_run),
        "stock": stock_summary(comparison.stock),
    }


def called(name: str, comparison: Comparison, language: str) -> str:
    """A setting's name in the report's language, e.g. "Jittor (fast operators)"."""
    text = display(name, comparison)
    if language == "zh":
        text = text.replace(" (fast operators)", "（快速算子）").replace(" (stock operators)", "（原版算子）")
    return text


def key_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The small table on top: code of the quantity, decimals, and a value per column (framework or profile setting)."""
    columns = list(dict.fromkeys([*comparison.frameworks, *comparison.profiles]))

    def metric(name: str):
        def read(column: str) -> float | None:
            values = [v for run in comparison.of(column) if (v := run.final(name)) is not None]
            return 100 * float(np.mean(values)) if values else None

        return read

    def loss(column: str) -> float | None:
        totals = [run.epochs[-1].get("total") for run in comparison.of(column) if run.epochs]
        totals = [v for v in totals if v is not None]
        return float(np.mean(totals)) if totals else None

    def profile(*path: str, scale: float = 1.0, median: bool = False):
        def read(column: str) -> float | None:
            value: Any = comparison.profiles.get(column) or {}
            for key in path:
                value = (value or {}).get(key)
            value = summary(value or [])["p50"] if median else value
            return None if value is None else scale * value

        return read

    rows = [
        ("AP", 2, metric("AP")),
        ("AP50", 2, metric("AP50")),
        ("AR100", 2, metric("AR100")),
        ("loss", 3, loss),
        ("latency", 2, profile("latency", "total", scale=1000, median=True)),
        ("step", 1, profile("train", "step", scale=1000, median=True)),
        ("memory_inference", 0, profile("memory", "inference_peak_mb")),
        ("memory_train", 0, profile("memory", "train_peak_mb")),
        ("parameters", 0, profile("parameters", "trainable")),
    ]
    table = [{"code": code, "digits": digits, "values": {c: read(c) for c in columns}} for code, digits, read in rows]
    return [row for row in table if any(v is not None for v in row["values"].values())]


def training_rows(comparison: Comparison, table: pd.DataFrame) -> pd.DataFrame:
    """The training table for reading: means over seeds; every seed stays in the CSV."""
    if table.empty:
        return table
    columns = [c for c in table.columns if c not in ("seed", "quantity", "relative (%)")]
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    mean = numbers.groupby(table["quantity"], sort=False).mean().reset_index()
    return differences(mean[["quantity", *(n for n in comparison.frameworks)]], comparison)


def performance_rows(comparison: Comparison, table: pd.DataFrame) -> pd.DataFrame:
    """The performance table for reading: one row per metric, means over seeds, the three moments side by side."""
    seed = "mean" if len(comparison.seeds) > 1 else str(next(iter(comparison.seeds), ""))
    table = table[table["seed"] == seed]
    result = pd.DataFrame({"metric": list(dict.fromkeys(table["metric"]))})
    for moment in dict.fromkeys(table["moment"]):
        part = table[table["moment"] == moment].reset_index(drop=True)
        for name in comparison.frameworks:
            result[(moment, name)] = pd.to_numeric(part[name])
        if moment == "final weights" and len(comparison.frameworks) > 1:
            first, second = comparison.frameworks[:2]
            result[(moment, "difference")] = result[(moment, second)] - result[(moment, first)]
    return result


def learning(comparison: Comparison) -> list[dict[str, Any]]:
    """Per framework: AP50 (points) of the first and last evaluated epoch, mean over seeds, and whether it rose."""
    result = []
    for name in comparison.frameworks:
        curves = [run.curve("AP50") for run in comparison.of(name)]
        curves = [(epochs, values) for epochs, values in curves if values]
        if curves:
            first, last = (100 * float(np.mean([values[i] for _, values in curves])) for i in (0, -1))
            result.append(
                {"framework": name, "first": first, "last": last, "from": curves[0][0][0], "to": curves[0][0][-1]}
                | {"once": curves[0][0][0] == curves[0][0][-1], "rose": last > first}
            )
    return result


def frame(
    table: pd.DataFrame,
    words: dict[str, str] | None = None,
    columns: list[str] | None = None,
    digits: int | None = None,
    rows: str | None = None,
) -> str:
    """A data frame as a Markdown table.

    `words` renames headers and text cells, `digits` fixes the decimals of floats, `rows` is a pattern that the first
    column must match. A header that is a tuple has its parts translated one by one. `DataFrame.to_markdown` has one
    format per column and escapes no cell, so that a class name with a bar would break the table.
    """
    words, columns = words or {}, columns or list(table.columns)
    if rows is not None:
        table = table[table[columns[0]].str.fullmatch(rows)]
    if table.empty:
        return f"*{words.get('nothing recorded', 'nothing recorded')}*"

    def header(column: Any) -> str:
        if isinstance(column, tuple):
            return ", ".join(words.get(part, part) for part in column)
        parts = [words.get(part, part) for part in re.split(r"( - | / )", column)]
        return words.get(column, "".join(parts).replace(" - ", " − "))

    def content(value: Any) -> str:
        text = fixed(value, digits) if digits is not None and isinstance(value, float) else number(value)
        return cell(words.get(text, text))

    texts = [i for i, c in enumerate(columns) if 2 * sum(_is_number(v) or _blank(v) for v in table[c]) <= len(table)]
    cells = zip(*(map(content, table[c]) for c in columns), strict=True)
    return pipe_table([cell(header(c)) for c in columns], cells, left=texts)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def number(value: Any) -> str:
    """A value for reading: about four significant digits, thousands separated, a dash for what is missing."""
    if _blank(value):
        return NOTHING
    if not _is_number(value):
        return str(value)
    size = abs(value)
    if value == int(value) and size < 1e15:
        return f"{int(value):,}" if size >= 10_000 else str(int(value))
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 10 else f"{value:.4g}"


def fixed(value: Any, digits: int = 2) -> str:
    """Fixed decimals; a dash for what is missing."""
    return NOTHING if _blank(value) else f"{value:,.{digits}f}"


def signed(value: Any, digits: int = 2) -> str:
    """Fixed decimals with a sign, a true minus and no sign on zero."""
    if _blank(value):
        return NOTHING
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def milliseconds(seconds: Any, digits: int = 1) -> str:
    """Seconds as milliseconds."""
    return NOTHING if _blank(seconds) else f"{1000 * seconds:,.{digits}f}"


def cell(text: Any) -> str:
    """Text that cannot break out of a Markdown table cell."""
    text = " ".join(str(text).split())
    return re.sub(r"([|\\`*_<\[\]])", r"\\\1", text)
