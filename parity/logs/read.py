"""A log of unknown origin becomes records: the format is found by looking at the content, never at the name."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from parity.errors import UserError
from parity.logs.builder import Builder
from parity.logs.formats import (
    capture,
    columns,
    detr_console,
    detr_log,
    jittordet,
    mmdetection,
    mmdetection_json,
    nanodet,
    own,
    tensorboard,
)
from parity.logs.formats.common import whole
from parity.logs.record import Fact, Note, Run, Source
from parity.logs.text import TextFile, rank_of

LOOKED_AT = 30_000  # lines at the beginning among which a format is looked for; a captured configuration is long
ENOUGH = 20  # recognised lines settle it
FILES = 200  # of a folder


@dataclass(frozen=True)
class Format:
    """A format: its name, whether a line is one of its records, and the reader that takes lines one by one."""

    name: str
    recognise: Callable[[str], bool]
    reader: Callable[[Builder], Any]
    processes: bool


# special formats first: one line of an earlier format outweighs those of later ones
FORMATS = (
    *(
        Format(m.NAME, m.recognise, m.Reader, m.Reader.processes)
        for m in (own, detr_log, mmdetection_json, nanodet, jittordet, mmdetection, detr_console)
    ),
    *(Format(c.NAME, c.recognise, c, c.processes) for c in (columns.CsvReader, columns.JsonReader)),
    Format(capture.NAME, capture.recognise, capture.Reader, capture.Reader.processes),
)


def detect(path: Path) -> Format | None:
    """The format of a text file; None when no line of its beginning is a record of any."""
    hits = dict.fromkeys(range(len(FORMATS)), 0)
    for _, text in islice(TextFile(path), LOOKED_AT):
        text = rank_of(text)[1]
        for place, known in enumerate(FORMATS):
            if known.recognise(text):
                hits[place] += 1
                break  # a record of a special format also looks like one of a general format
        if max(hits.values()) >= ENOUGH:
            break
    particular = [place for place in range(len(FORMATS) - 1) if hits[place]]
    if particular:
        return FORMATS[max(particular, key=lambda place: (hits[place], -place))]
    return FORMATS[-1] if hits[len(FORMATS) - 1] else None


def read_file(path: Path) -> list[Run]:
    """Every run that one file holds. Raises UserError when nothing in it can be read as a log."""
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            head = handle.read(12)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not head:
        raise UserError(f"{path}: is empty, expected a training log")
    if tensorboard.recognise_bytes(head):
        return _read_events(path)
    known = detect(path)
    if known is None:
        names = "; ".join([*(f.name for f in FORMATS), tensorboard.NAME])
        raise UserError(f"{path}: no line of it is a record of training or evaluation; formats that are read: {names}")
    source = Source(path, known.name)
    builder = Builder(source, processes=known.processes)
    reader = known.reader(builder)
    text = TextFile(path)
    ranks: dict[int, int] = {}
    for number, line in text:
        rank, line = rank_of(line) if known.processes else (None, line)
        if rank is not None:
            ranks[rank] = ranks.get(rank, 0) + 1
            if rank != min(ranks):
                continue
        builder.look(number, line)
        reader.feed(number, line)
    reader.close()
    if known.name == own.NAME and (path.parent / "run.json").exists():
        own.facts_of_manifest(path.parent / "run.json", builder)
    source.sha256, source.bytes, source.lines = text.sha256, text.bytes, text.lines
    source.encoding, source.oddities = text.encoding, dict(text.oddities)
    runs = builder.finish()
    if not runs:
        raise UserError(f"{path}: was taken for {source.format}, but no record in it could be read")
    if text.torn:
        runs[-1].notes.append(Note("torn", (text.lines,)))
    if len(ranks) > 1:
        runs[-1].notes.append(Note("ranks", (), {"count": len(ranks), "kept": min(ranks)}))
    return runs


def _read_events(*paths: Path) -> list[Run]:
    """The runs of event files of one folder, in the order in which they were begun."""
    source = Source(paths[0] if len(paths) == 1 else paths[0].parent, tensorboard.NAME, encoding="binary")
    builder = Builder(source)
    sha = hashlib.sha256()
    for path in paths:
        builder.header(source.lines)
        source.lines += tensorboard.read(path, builder, sha)
        source.bytes += path.stat().st_size
    source.sha256 = sha.hexdigest()
    runs = builder.finish()
    if not runs:
        raise UserError(f"{source.path}: event file without a scalar of training or evaluation")
    return runs


def read(argument: str) -> Run:
    """One run from what a user wrote: `path`, `path#2` for the second run of a file, `train.log,test.log` to fill the
    gaps of the first file from the others. A path may be a folder.

    Without a number the fullest run of a file is taken, the later one of equally full runs. Raises UserError.
    """
    run: Run | None = None
    for part in _parts(argument):
        path, _, number = part.rpartition("#") if re.search(r"#\d+$", part) else (part, "", "")
        runs = read_folder(Path(path)) if Path(path).is_dir() else read_file(Path(path))
        if number and not 1 <= int(number) <= len(runs):
            raise UserError(f"{path}: has {len(runs)} run{'s' if len(runs) > 1 else ''}, there is no run {number}")
        found = runs[int(number) - 1] if number else max(runs, key=lambda r: (r.size(), r.index))
        if len(runs) > 1:
            others = "; ".join(f"#{r.index} lines {r.first_line}–{r.last_line}" for r in runs)
            found.notes.append(Note("several runs", (), {"taken": found.index, "of": len(runs), "runs": others}))
        run = found if run is None else merge(run, found)
    return run


def _parts(argument: str) -> list[str]:
    """Paths of an argument; a comma separates them unless a file has it in its name."""
    if Path(argument).exists():
        return [argument]
    parts = [part.strip() for part in argument.split(",") if part.strip()]
    if not parts:
        raise UserError("FIRST and SECOND: expected the path of a log")
    return parts


def read_folder(folder: Path) -> list[Run]:
    """The runs of a folder: event files together, otherwise the one file that holds the most."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())[: FILES + 1]
    if len(files) > FILES:
        raise UserError(f"{folder}: has more than {FILES} files; name the log itself")
    events, best, left = [], [], []
    for path in files:
        with open(path, "rb") as handle:
            head = handle.read(12)
        if tensorboard.recognise_bytes(head):
            events.append(path)
            continue
        try:
            runs = read_file(path)
        except UserError:
            continue
        left.append(path)
        if not best or max(r.size() for r in runs) > max(r.size() for r in best):
            best = runs
    if best:
        if len(left) + len(events) > 1:
            best[-1].notes.append(Note("folder", (), {"read": best[0].source.path.name, "of": len(left) + len(events)}))
        return best
    if events:
        return _read_events(*sorted(events, key=lambda p: p.name))
    raise UserError(f"{folder}: no file in it can be read as a log")


def merge(first: Run, second: Run) -> Run:
    """The first run, its gaps filled from the second: whole tables and facts, never single values of a table."""
    run = replace(first, facts={**second.facts, **first.facts}, more=[*first.more, second.source])
    taken = []
    for name in ("steps", "epochs", "evaluations"):
        if not len(getattr(run, name)) and len(getattr(second, name)):
            setattr(run, name, getattr(second, name))
            taken.append(name)
    tests = [bool(p) for p in second.inference.column("phase")]
    if len(second.inference) and (not len(run.inference) or (any(tests) and not any(run.inference.column("phase")))):
        run.inference = second.inference
        taken.append("inference")
    run.classes = run.classes or second.classes
    run.words = [*first.words, *second.words]
    run.notes = [*first.notes, *second.notes, Note("merged", (), {"file": second.source.path.name, "what": taken})]
    return run


def state(run: Run, name: str, value: str) -> None:
    """A fact that the user states because the log does not; it is marked as such (line 0). Raises UserError when the
    log says otherwise."""
    number = whole(float(value)) if re.fullmatch(r"\d{1,9}", value) else None
    if number is None:
        raise UserError(f"{name}: {value!r}, expected a whole number")
    recorded = run.fact(name)
    if recorded is not None and recorded != number:
        raise UserError(f"{name}: {number} was given, but {run.source.path} says {recorded}")
    run.facts[name] = Fact(number, 0)
