"""The problems of a dataset, what is done about each of them, and the report of a check.

`check_annotations` fills a report from an annotation document, `check_images` from the image files; `build` writes it
beside the dataset as check.md (for people) and check.json. Nothing is repaired by guessing. An entry that
cannot be right is dropped. Where it is not clear what was meant, the check stops before hours of training are wasted.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from parity.errors import UserError
from parity.files import write_json, write_text

STOP, DROP_IMAGE, DROP_BOX, NOTE = "stop", "drop image", "drop box", "note"
EFFECTS = (STOP, DROP_IMAGE, DROP_BOX, NOTE)

# Kind of problem: what is done about it, and what that means.
KINDS: dict[str, tuple[str, str]] = {
    "annotation file": (STOP, "cannot be read as what it should be"),
    "duplicate id": (STOP, "two images or two classes share an id"),
    "category": (
        STOP,
        "an annotation's class is none of the classes; without it the object would be background",
    ),
    "class name twice": (STOP, "one class has two ids; a model would learn it as two"),
    "classes contradict": (STOP, "train and val cannot be matched by the names of their classes"),
    "file named twice": (STOP, "two entries of images share a file, so each has a part of its objects"),
    "unsafe path": (STOP, "a file name leaves the image folder"),
    "normalised boxes": (STOP, "boxes are parts of the image where pixels are expected"),
    "form of boxes": (STOP, "judged over all boxes of a split: they were written in another form"),
    "keypoints": (STOP, "labels of poses without the key that says so; they would be read as polygons"),
    "empty": (STOP, "nothing to train or to validate on"),
    "too many drops": (STOP, "more than half of a split would go; the mistake is elsewhere"),
    "image missing": (DROP_IMAGE, "the image is named, but there is no such file"),
    "image unreadable": (DROP_IMAGE, "empty, truncated or no image"),
    "image too large": (DROP_IMAGE, "more pixels than the limit, perhaps a decompression bomb"),
    "image values": (DROP_IMAGE, "of more than 8 bits, and negative, not finite or beyond 65535"),
    "image size": (DROP_IMAGE, "the annotations were made for another size"),
    "train image in val": (DROP_IMAGE, "the training image is dropped, validation keeps it"),
    "annotation without image": (DROP_BOX, "it belongs to no image"),
    "box not finite": (DROP_BOX, "not four finite numbers"),
    "box inverted": (DROP_BOX, "negative width or height"),
    "box without area": (DROP_BOX, "width or height is 0"),
    "box outside": (DROP_BOX, "nothing of it lies inside the image"),
    "box partly outside": (NOTE, "training clips it to the image"),
    "box beyond one": (NOTE, "a label passes the image by rounding; it is clipped"),
    "area": (NOTE, "no number; taken from the box"),
    "ids numbered anew": (NOTE, "an id does not fit into 64 bits"),
    "classes numbered apart": (
        NOTE,
        "train and val give a class different ids; classes are matched by name, ids are train's",
    ),
    "classes of one split": (NOTE, "the other split does not list them; both have all classes of the two"),
    "file name": (NOTE, "the file lies under a name that means the same"),
    "labels without image": (NOTE, "a label file belongs to no image; its objects are in no dataset"),
    "annotation id": (NOTE, "missing or used twice; annotations are numbered anew"),
    "image without annotations": (NOTE, "kept: it shows what no object looks like"),
    "crowd": (NOTE, "no training target, and ignored by COCO's AP"),
    "class without objects": (NOTE, "kept as a class; its AP is undefined if val has none either"),
    "one class only": (NOTE, "allowed"),
    "category ids with gaps": (NOTE, "classes are numbered without gaps where the model's label space is contiguous"),
    "wrong extension": (NOTE, "read as what it is"),
    "colour mode": (NOTE, "converted to 8-bit RGB; transparency is left out"),
    "range of values": (NOTE, "more than 8 bits are scaled by the smallest usual range that holds all such images"),
    "black or white": (NOTE, "nothing can be seen in what training reads of it"),
    "EXIF orientation": (NOTE, "ignored, as in the official pipelines: boxes must refer to the stored pixels"),
    "EXIF invalid": (NOTE, "ignored"),
    "same image twice": (NOTE, "both are kept"),
    "near duplicate in val": (NOTE, "both are kept; look whether validation leaks into training"),
}
SHOWN = 100  # lines per kind in check.md; check.json has all
MOST_DROPPED = 0.5  # of the images or of the boxes of a split


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (`file`, and the entry or image `id` in it) and what."""

    kind: str
    split: str
    file: str
    id: str
    message: str

    @property
    def effect(self) -> str:
        return KINDS[self.kind][0]

    def line(self) -> str:
        """File, entry and message. An entry that is only a number says nothing beside the file."""
        entry = f"{self.id}: " if self.id and not self.id.isdigit() else ""
        return f"{self.file}: {entry}{self.message}"


def counted(problems: list[Problem]) -> str:
    """How often each kind occurs, the most frequent first."""
    return ", ".join(f"{kind} {count}" for kind, count in Counter(p.kind for p in problems).most_common())


@dataclass
class Report:
    """The problems of a dataset, in the order in which they were found."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, kind: str, split: str, file: str | Path, id: object, message: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown kind of problem {kind!r}")
        self.problems.append(Problem(kind, split, str(file), str(id), " ".join(message.split())))

    def having(self, effect: str) -> list[Problem]:
        return [problem for problem in self.problems if problem.effect == effect]

    def limit_drops(self, effect: str, split: str, file: str | Path, what: str, whole: int, since: int) -> None:
        """Add "too many drops" where more than half of `whole` images or boxes of a split have `effect`.

        Only problems from the position `since` on count: those that were found in the same `whole`.
        """
        lost = [p for p in self.problems[since:] if p.effect == effect and p.split == split]
        if len(lost) > MOST_DROPPED * whole:
            message = f"{len(lost)} of {whole} {what} would be dropped: {counted(lost)}; the first is {lost[0].line()}"
            self.add("too many drops", split, file, what, message)

    def stop_if_needed(self) -> None:
        """Raise CheckFailed when a problem is of the kind that stops."""
        if self.having(STOP):
            raise CheckFailed(self)

    def summary(self) -> str:
        """One line for the log."""
        counts = Counter(problem.effect for problem in self.problems)
        return ", ".join(f"{counts[effect]} {effect}" for effect in EFFECTS if counts[effect]) or "no problem"

    def write(self, folder: Path, name: str) -> None:
        """Write check.md and check.json into `folder`."""
        write_text(folder / "check.md", self.markdown(name))
        rows = [asdict(problem) | {"effect": problem.effect} for problem in self.problems]
        write_json(folder / "check.json", {"name": name, "problems": rows})

    def markdown(self, name: str) -> str:
        """The report for people: a table of kinds, then every problem."""
        lines = [f"# Check of {name}", "", f"Found: {self.summary()}.", ""]
        counts = Counter(problem.kind for problem in self.problems)
        kinds = [kind for kind in KINDS if counts[kind]]
        if kinds:
            lines += ["| what is done | problem | times | |", "|---|---|---:|---|"]
            lines += [f"| {KINDS[kind][0]} | {kind} | {counts[kind]} | {KINDS[kind][1]} |" for kind in kinds]
        for kind in kinds:
            lines += ["", f"## {kind} ({KINDS[kind][0]})", "", "| split | file | id | |", "|---|---|---|---|"]
            found = [problem for problem in self.problems if problem.kind == kind]
            cells = [(p.split, p.file, p.id, p.message) for p in found[:SHOWN]]
            lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in cells]
            if len(found) > SHOWN:
                lines += ["", f"... and {len(found) - SHOWN} more in check.json."]
        return "\n".join(lines) + "\n"


class CheckFailed(UserError):
    """A dataset that must not be trained on; `report` holds all problems, `page` is the file that people can read."""

    def __init__(self, report: Report, page: Path | None = None):
        self.report = report
        first, *others = report.having(STOP)
        more = f" (and {len(others)} more problems like this)" if others else ""
        see = f"; all of it is in {page}" if page else ""
        super().__init__(f"{first.line()}{more}{see}")
