"""The reports of one model trained on subsets of several sizes.

    python workflow/scripts/sweep.py --model rtdetr --sizes 50 100 500 -- --configfile my.yaml

Without --sizes the sizes are those of `data.subset` in the last configuration file that has some. Snakemake makes one
report after the other, with what follows `--` and the size laid over it; smaller subsets are parts of larger ones, and
images, results of their checks and initial weights are shared. Each report goes to results/<model>/sweep/<size>/ and
stays there.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.config.layers import read_yaml
from parity.errors import UserError
from parity.files import write_text

FILES = ("--configfile", "--configfiles")


def config_files(arguments: list[str]) -> tuple[int, list[str]]:
    """(position behind the configuration files among Snakemake's arguments, those files)."""
    start = next((i for i, word in enumerate(arguments) if word in FILES), None)
    if start is None:
        return 0, []
    end = next((i for i in range(start + 1, len(arguments)) if arguments[i].startswith("-")), len(arguments))
    return end, arguments[start + 1 : end]


def with_size(arguments: list[str], overlay: str) -> list[str]:
    """Snakemake's arguments with one more configuration file, which the others do not overrule."""
    end, files = config_files(arguments)
    return [*arguments[:end], *([] if files else [FILES[0]]), overlay, *arguments[end:]]


def configured(arguments: list[str], key: str) -> object:
    """`data.subset` or a key of the top level, from the last file that has it; None where none has."""
    found = None
    for file in ["config/config.yaml", *config_files(arguments)[1]]:
        content = read_yaml(file) or {}
        found = ((content.get("data") or {}) if key == "subset" else content).get(key, found)
    return found


def main(model: str, sizes: list[int], arguments: list[str]) -> None:
    """Make every report; raises UserError for a wrong size, and when Snakemake fails."""
    sizes = sizes or configured(arguments, "subset") or []
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes) or len(set(sizes)) != len(sizes):
        raise UserError(f'data.subset: {sizes}, expected numbers of images, each once (SIZES="50 100")')
    results = Path(str(configured(arguments, "results") or "results"))
    dry = any(word in ("-n", "--dry-run", "--dryrun") for word in arguments)
    for size in sorted(sizes):
        folder = results / model / "sweep" / str(size)
        overlay = folder.with_suffix(".yaml")
        write_text(overlay, json.dumps({"data": {"subset": [size]}}) + "\n")
        print(f"sweep: {model} on {size} training images", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "snakemake", str(results / model / "report.md")]
        if subprocess.run([*command, *with_size(arguments, str(overlay))]).returncode:
            raise UserError(f"{folder}: Snakemake did not make the report (see above)")
        if not dry:
            keep(results / model, folder)


def keep(report: Path, folder: Path) -> None:
    """Copy a report with its figures and tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("report.md", "report.html"):
        shutil.copy2(report / name, folder / name)
    for name in ("figures", "tables"):
        shutil.copytree(report / name, folder / name, dirs_exist_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="The model whose reports are made.")
    parser.add_argument("--sizes", nargs="*", type=int, default=[], help="Numbers of training images.")
    parser.add_argument("snakemake", nargs="*", help="Arguments of Snakemake, after `--`.")
    args = parser.parse_args()
    try:
        main(args.model, args.sizes, args.snakemake)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
