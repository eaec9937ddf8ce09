"""The table format x what is read in docs/logs.md is what the readers do on generated logs."""

from pathlib import Path

import generated_logs as generated
from generated_logs import Truth

from parity.logs.read import read
from parity.report.imported import held

DOCS = Path(__file__).resolve().parents[3] / "docs" / "logs.md"
TITLES = {
    "mmengine": "MMDetection 3 text",
    "mmcv": "MMDetection 2 text",
    "mmengine_json": "MMDetection 3 `scalars.json`",
    "mmcv_json": "MMDetection 2 `.log.json`",
    "jittordet": "jittordet text",
    "detr_log": "DETR, RT-DETR `log.txt`",
    "detr_console": "DETR, RT-DETR console",
    "nanodet": "NanoDet text",
    "lightning_csv": "PyTorch Lightning `metrics.csv`",
    "plain_csv": "CSV, TSV with named columns",
    "json_lines": "JSON lines with named values",
    "own": "`metrics.jsonl` of this project",
    "tensorboard": "TensorBoard event files",
    "key_values": "console, `name: value`",
    "progress_bar": "console, progress bars",
}
COLUMNS = ("loss", "components", "AP", "AR", "lr", "time", "stamps", "epoch time", "inference", "classes")
HEADS = ("loss", "components", "AP", "AR", "learning rate", "iteration time", "times of day", "epoch time",
         "evaluation time", "AP of classes", "facts")  # fmt: skip


def table(folder: Path) -> list[str]:
    """The table as Markdown lines; a dot is something that the format says and the reader reads."""
    lines = ["| format | " + " | ".join(HEADS) + " |", "| --- |" + " --- |" * len(HEADS)]
    truth = Truth()
    for name, title in TITLES.items():
        path = folder / name
        if name == "tensorboard":
            generated.events(truth, path)
        else:
            content = generated.progress_bar(truth) if name == "progress_bar" else generated.TEXT[name](truth)
            generated.write(path, content)
        run = read(str(path))
        found = held(run)
        dots = ["●" if found[column] else "" for column in COLUMNS]
        lines.append(f"| {title} | " + " | ".join([*dots, ", ".join(sorted(run.facts)) or "–"]) + " |")
    return lines


def test_the_documented_table_is_what_is_read(tmp_path):
    documented = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    start = documented.index(next(line for line in documented if line.startswith("| format | loss")))
    expected = table(tmp_path)
    assert documented[start : start + len(expected)] == expected
