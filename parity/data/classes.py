"""One mapping between class names and category ids for the whole dataset.

A model learns the classes as train numbers them, and is judged by val's annotations. Where val numbers them otherwise,
every detection would count as one of another class. So classes are matched by name: val takes train's ids, and both
list the same classes. A contradiction ends in an error.
"""

from collections.abc import Mapping
from pathlib import Path

from parity.data.check import Report
from parity.data.entries import CategoryEntry, Document

LARGEST_ID = 2**63 - 1  # the largest 64-bit integer


def one_mapping(documents: Mapping[str, Document], paths: Mapping[str, Path], report: Report) -> None:
    """Number the categories of all documents alike, in place; adds classes without a match to `report`.

    `documents` are checked, by split; train's ids count where there is a train. `paths` are their files in messages.
    """
    order = sorted(documents, key=lambda split: split != "train")
    merged: dict[str, CategoryEntry] = {}
    for split in order:
        for entry in documents[split]["categories"]:
            merged.setdefault(entry["name"], entry)
    for split in order[1:]:
        if not _agrees(documents[order[0]], documents[split], order[0], split, paths[split], report):
            return
    taken = {entry["id"] for entry in documents[order[0]]["categories"]}
    first = {entry["name"] for entry in documents[order[0]]["categories"]}
    for name, entry in merged.items():
        if name not in first:
            identity = entry["id"] if entry["id"] not in taken else max(taken) + 1
            taken.add(identity)
            merged[name] = entry | {"id": identity}
    if max(taken, default=0) > LARGEST_ID:
        large = max(taken)
        for rank, name in enumerate(sorted(merged, key=lambda name: merged[name]["id"]), 1):
            merged[name] = merged[name] | {"id": rank}
        message = f"category id {large} does not fit into 64 bits; categories are numbered anew"
        report.add("ids numbered anew", order[0], paths[order[0]], "categories", message)
    categories = [dict(entry) for entry in merged.values()]
    for split in order:
        _renumber(documents[split], {entry["name"]: entry["id"] for entry in categories})
        documents[split]["categories"] = [dict(entry) for entry in categories]


def _agrees(first: Document, second: Document, split: str, other: str, path: Path, report: Report) -> bool:
    """Whether the names of two splits can be matched; notes where their ids or lists differ."""
    ours = {entry["name"]: entry["id"] for entry in first["categories"]}
    theirs = {entry["name"]: entry["id"] for entry in second["categories"]}
    by_id = {identity: name for name, identity in ours.items()}
    alike = {_plain(name): name for name in ours}
    for name, identity in theirs.items():
        if name in ours:
            continue
        twin = alike.get(_plain(name))
        at = by_id.get(identity)
        if twin is not None:
            message = f"the class {name!r} is {twin!r} in {split}; expected the same spelling"
        elif at is not None and at not in theirs:
            message = f"category {identity} is {name!r} here and {at!r} in {split}; expected the same classes"
        else:
            continue
        report.add("classes contradict", other, path, "categories", message)
        return False
    moved = [name for name in theirs if name in ours and ours[name] != theirs[name]]
    if moved:
        name = moved[0]
        message = f"{name} is category {theirs[name]} here and {ours[name]} in {split}"
        more = f", and {len(moved) - 1} more differ" if len(moved) > 1 else ""
        report.add("classes numbered apart", other, path, "categories", f"{message}{more}; matched by name")
    for lacking, here, where in (
        (sorted(set(ours) - set(theirs)), other, split),
        (sorted(set(theirs) - set(ours)), split, other),
    ):
        if lacking:
            shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            message = f"{here} does not list {shown}, which {where} does; both have all classes now"
            report.add("classes of one split", other, path, "categories", message)
    return True


def _plain(name: str) -> str:
    """A name without the differences that mean nothing: case, `_`, `-` and repeated spaces."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _renumber(document: Document, ids: Mapping[str, int]) -> None:
    change = {entry["id"]: ids[entry["name"]] for entry in document["categories"]}
    if any(old != new for old, new in change.items()):
        for entry in document["annotations"]:
            entry["category_id"] = change[entry["category_id"]]
