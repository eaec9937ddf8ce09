"""Decide whether a training run continues or starts afresh.

    run_folder.py begin FOLDER SOURCES...       # before training
    run_folder.py finish FOLDER                 # after it

An interrupted run continues from its checkpoints. A finished run that is asked for again, because code changed or
because the user forces it, starts afresh: from its last checkpoint there would be nothing to do. Checkpoints that other
code wrote are removed as well; an edited comment does not make other code. Of the project this uses only modules that
need little more than the standard library, because it runs in every framework's environment.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.errors import UserError
from parity.files import locked, write_text
from parity.sources import code_digest

CODE = "code.sha256"  # inside checkpoints/: the code that wrote them; beside run.json once the run is finished


def code_of(sources: list[str]) -> str:
    """Digest of what the source files do. The workflow names them relative to the working directory."""
    return code_digest(Path(), map(Path, sources))


def begin(folder: Path, sources: list[str]) -> None:
    """Keep checkpoints of an interrupted run of the same code, remove any others together with their metrics.

    Raises UserError while another process trains into the folder.
    """
    code, checkpoints = code_of(sources), folder / "checkpoints"
    mark = checkpoints / CODE
    with locked(folder):
        if mark.exists() and mark.read_text().strip() == code:
            return
        if checkpoints.exists():
            print(f"{checkpoints}: of a finished run or of other code, starting afresh", file=sys.stderr)
            shutil.rmtree(checkpoints)
            (folder / "metrics.jsonl").unlink(missing_ok=True)
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        write_text(mark, f"{code}\n")


def finish(folder: Path) -> None:
    """Mark the run as finished; its checkpoints stay, so that a person can go on from them by hand."""
    (folder / "checkpoints" / CODE).replace(folder / CODE)


def made_by(folder: Path, sources: list[str]) -> bool:
    """Whether the run is finished and was made by this code."""
    mark = folder / CODE
    return (folder / "run.json").exists() and mark.exists() and mark.read_text().strip() == code_of(sources)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["begin", folder, *sources]:
            try:
                begin(Path(folder), sources)
            except UserError as problem:
                print(f"error: {problem}", file=sys.stderr)
                sys.exit(2)
        case ["finish", folder]:
            finish(Path(folder))
        case _:
            sys.exit(__doc__)
