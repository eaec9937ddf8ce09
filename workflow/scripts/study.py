"""The study: are detectors trained in the two frameworks equally good? docs/study.md is its protocol.

python workflow/scripts/study.py run rtdetr                    # pairs, from where it stood; `all` for every model
python workflow/scripts/study.py run rtdetr --start checkpoint --again      # repeats runs that failed
python workflow/scripts/study.py pilot rtdetr --pilot long --seeds 4 --last-bits all zeros
python workflow/scripts/study.py report [--check]              # docs/study/report.md, figures, README's table
python workflow/scripts/study.py design                        # the table of the design in docs/study.md
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import run_job
from interpreters import interpreter

from parity.config.layers import read_yaml
from parity.config.models import model_file, model_names
from parity.errors import UserError
from parity.files import write_text
from parity.study import design, figures, page
from parity.study.protocol import Protocol, read_protocol, read_recipes, study_names
from parity.study.rows import read_rows
from parity.study.runner import Place, Study
from parity.study.verdict import companions

ROOT = Path(__file__).resolve().parents[2]
DESIGN = ("<!-- design, made by workflow/scripts/study.py design -->", "<!-- end of the design -->")


class Children:
    """The verbs that run now. A study that is stopped stops them: Ctrl-C reaches them by itself, `kill` does not."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen] = set()
        self.stopping = False

    def call(self, command: list[str], **options: Any) -> int:
        """The exit status of a command."""
        process = subprocess.Popen(command, **options)
        self.running.add(process)
        if self.stopping:
            process.terminate()
        try:
            return process.wait()
        finally:
            self.running.discard(process)

    def stop(self, *_: Any) -> None:
        """Handler of SIGTERM."""
        self.stopping = True
        for process in list(self.running):
            process.terminate()
        raise KeyboardInterrupt


CHILDREN = Children()


def caller(root: Path, config: Path, threads: int):
    """The function that starts a verb in the framework's own Python, with the log and the environment of every job."""
    settings = read_yaml(config / "config.yaml") or {}
    machine = ["--device", settings.get("device", "cpu"), "--threads", threads]

    def call(framework: str, words: list[str], log: Path) -> int:
        job = [interpreter(framework, root), ROOT / "workflow/scripts/run_job.py", *machine, log]
        words = [*job, "-m", f"{framework}_impl", *words]
        environment = run_job.environment(None, os.environ)
        return CHILDREN.call([str(word) for word in words], cwd=root, env=environment)

    return call


def studies(names: list[str], args: argparse.Namespace, protocol: Protocol) -> list[Study]:
    """The studies that are asked for."""
    call, found = caller(args.root, args.root / "config", protocol.threads), []
    for name in names:
        rows = args.root / f"docs/study/{name}.csv"
        place = Place(args.root, args.root / "config", args.root / "results/study", rows)
        found.append(Study(name, protocol, read_recipes(args.root / "config/study", name), place, call))
    return found


def run(args: argparse.Namespace, protocol: Protocol) -> None:
    """Train and score pairs until a look decides."""
    if args.jobs < 1:
        raise UserError(f"JOBS={args.jobs}: expected 1 or more")
    names = study_names(args.root / "config/study") if args.model == "all" else [args.model]
    if args.model == "all":
        names = [name for name in names if name in model_names()]  # others need files that are not in the project
    for study in studies(names, args, protocol):
        for start in study.recipes.starts if args.start is None else [args.start]:
            if start not in study.recipes.starts:
                raise UserError(f"--start {start}: expected one of {', '.join(study.recipes.starts)}")
            study.run(start, args.again, args.jobs)
    report(args, protocol)


def pilot(args: argparse.Namespace, protocol: Protocol) -> None:
    """Try a recipe with PyTorch alone, on pilot seeds."""
    for study in studies([args.model], args, protocol):
        study.pilot(args.pilot, args.seeds, args.last_bits)
    report(args, protocol)


def report(args: argparse.Namespace, protocol: Protocol) -> None:
    """Write report.md, its figures and the README's table from the rows alone; with --check only compare."""
    folder, found = args.root / "docs/study", []
    for name in study_names(args.root / "config/study"):
        recipes = read_recipes(args.root / "config/study", name)
        title = recipes.title or model_file(recipes.model).title
        found.append(page.Study(name, title, tuple(recipes.starts), read_rows(folder / f"{name}.csv")))
    verdicts = page.judgements(found, protocol)
    text, readme = page.page(found, protocol), (args.root / "README.md").read_text(encoding="utf-8")
    placed = page.place(readme, page.readme(found, protocol))
    if args.check:
        written = (folder / "report.md").read_text(encoding="utf-8") if (folder / "report.md").exists() else ""
        stale = ["docs/study/report.md"] * (written != text) + ["README.md"] * (placed not in (None, readme))
        if placed is None and any(judgement.pairs for judgement in verdicts.values()):
            raise UserError(f"README.md: lacks the line {page.MARKS[0]}, expected around the table of counted studies")
        if stale:
            raise UserError(f"{stale[0]}: does not say what the rows say; `make study-report` writes it anew")
        return
    write_text(folder / "report.md", text)
    for study in found:
        for start in study.starts:
            judgement = verdicts[study.name, start]
            if companions(judgement):
                figure = figures.draw(f"{study.title}, {start}: {judgement.verdict}", judgement, protocol)
                figures.write(folder / f"{study.name}-{start}.png", figure)
    if placed is not None and placed != readme:
        write_text(args.root / "README.md", placed)
    print(page.readme(found, protocol))


def draw_design(args: argparse.Namespace, protocol: Protocol) -> None:
    """Write the table of the design into docs/study.md."""
    file = args.root / "docs/study.md"
    level = design.level_of_look(protocol.looks)
    text = design.page(protocol.looks, protocol.level, protocol.margin)
    text += f"\nThe largest level that keeps the error of the whole procedure at {design.ERROR:g}: {level:.5f}.\n"
    placed = page.place(file.read_text(encoding="utf-8"), text, DESIGN)
    if placed is None:
        raise UserError(f"{file}: lacks the line {DESIGN[0]}")
    write_text(file, placed)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)  # tests have a copy
    parser.set_defaults(check=False)
    steps = parser.add_subparsers(required=True)
    for name, function in (("run", run), ("pilot", pilot), ("report", report), ("design", draw_design)):
        sub = steps.add_parser(name, help=function.__doc__)
        sub.set_defaults(step=function)
        if name in ("run", "pilot"):
            sub.add_argument("model", help="Name of the study; `all`: those of the four models.")
        if name == "run":
            sub.add_argument("--start", help="This start only; all of them one after the other if absent.")
            sub.add_argument("--jobs", type=int, default=1, help="Runs of one pair that are made at a time (1).")
            sub.add_argument("--again", action="store_true", help="Repeat runs that failed.")
        if name == "pilot":
            sub.add_argument("--pilot", required=True, help="The recipe to try, by its name in the file of recipes.")
            sub.add_argument("--seeds", type=int, default=2, help="How many pilot seeds (2).")
            kinds = ["all", "zeros", "nonzeros"]
            sub.add_argument("--last-bits", nargs="*", default=["all"], choices=kinds, help="What to change (all).")
        if name == "report":
            sub.add_argument("--check", action="store_true", help="Only compare; fails where a page and rows disagree.")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse()
    signal.signal(signal.SIGTERM, CHILDREN.stop)
    try:
        asked.step(asked, read_protocol(asked.root / "config/study"))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same call goes on", file=sys.stderr)
        sys.exit(130)
