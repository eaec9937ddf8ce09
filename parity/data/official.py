"""COCO 2017 and Pascal VOC 2007 and 2012 from their official places.

Neither site publishes checksums. The sizes and SHA-256 sums below are those that TensorFlow Datasets records of the
same files (tensorflow_datasets/url_checksums/{coco2017,voc}.txt); an archive with others is refused. A zip's own CRCs
are checked while it is unpacked.

Files that are there already are kept and need no network. An archive is downloaded, verified and unpacked in the hidden
folder `.download` of the dataset's root. Its folders are renamed into place when they are complete; then the archive is
deleted.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parity.data.archives import unpack
from parity.data.download import fetch
from parity.errors import UserError

COCO, VOC = "http://images.cocodataset.org", "http://host.robots.ox.ac.uk/pascal/VOC"
WAITING = ".download"
MOST_FILES = 200_000  # files of an archive; train2017.zip has 118,287
GROWTH = 8  # times its size that an archive may unpack to; COCO's annotations grow to 3.3 times
KEYS = ("url", "sha256", "size")


@dataclass(frozen=True)
class Archive:
    """`prefix`: the folder inside that becomes the root. `proof`: a path below the root after unpacking."""

    url: str
    sha256: str
    size: int | None
    prefix: str
    proof: str


ARCHIVES = {
    "annotations_trainval2017.zip": Archive(
        f"{COCO}/annotations/annotations_trainval2017.zip",
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        252_907_541,
        "",
        "annotations/instances_val2017.json",
    ),
    "val2017.zip": Archive(
        f"{COCO}/zips/val2017.zip",
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        815_585_330,
        "",
        "val2017",
    ),
    "train2017.zip": Archive(
        f"{COCO}/zips/train2017.zip",
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        19_336_861_798,
        "",
        "train2017",
    ),
    "VOCtrainval_06-Nov-2007.tar": Archive(
        f"{VOC}/voc2007/VOCtrainval_06-Nov-2007.tar",
        "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
        460_032_000,
        "VOCdevkit/VOC2007",
        "ImageSets/Main/trainval.txt",
    ),
    "VOCtest_06-Nov-2007.tar": Archive(
        f"{VOC}/voc2007/VOCtest_06-Nov-2007.tar",
        "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892",
        451_020_800,
        "VOCdevkit/VOC2007",
        "ImageSets/Main/test.txt",
    ),
    "VOCtrainval_11-May-2012.tar": Archive(
        f"{VOC}/voc2012/VOCtrainval_11-May-2012.tar",
        "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        1_999_639_040,
        "VOCdevkit/VOC2012",
        "ImageSets/Main/trainval.txt",
    ),
}
VOC_YEARS = {
    "VOC2007": ["VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar"],
    "VOC2012": ["VOCtrainval_11-May-2012.tar"],
}


def needed(data: Mapping[str, Any]) -> list[str]:
    """Names of the archives that the source of a `data` section needs; COCO's training images only where used."""
    source = data["source"]
    if source not in ("coco", "voc"):
        raise UserError(f"data.download: source {source} has no official place, expected source coco or voc")
    for name in data.get("archives") or {}:
        if name not in ARCHIVES:
            raise UserError(f"data.archives.{name}: is unknown, expected one of {', '.join(ARCHIVES)}")
    settings = data.get(source) or {}
    if not settings.get("root"):
        raise UserError(f"data.{source}.root: is not set, expected the folder that the download goes to")
    if source == "coco":
        train = (settings.get("annotations") or {"train": True}).get("train")
        return ["annotations_trainval2017.zip", "val2017.zip"] + (["train2017.zip"] if train else [])
    year = Path(settings["root"]).name
    if year not in VOC_YEARS:
        raise UserError(f"data.voc.root: {settings['root']!r}, a download expects a folder called VOC2007 or VOC2012")
    trainval, *test = VOC_YEARS[year]
    uses_test = any(Path(name).stem == "test" for name in (settings.get("splits") or {}).values())
    return [trainval] + (test if uses_test else [])


def provide(data: Mapping[str, Any], say: Callable[[str], None], **options: Any) -> list[str]:
    """Fetch and unpack the missing archives; returns the names of the archives that were fetched.

    `data.archives` replaces url, sha256 and size of an archive by name, for a mirror. `options` go to
    `parity.data.download.fetch`. Raises UserError for what cannot be fetched, verified or unpacked; nothing incomplete
    is left at the dataset's own places, and the next call goes on where this one stopped.
    """
    root, fetched = Path((data.get(data["source"]) or {}).get("root") or "").expanduser(), []
    for name in needed(data):
        archive = _replaced(name, (data.get("archives") or {}).get(name) or {})
        if (root / archive.proof).exists():
            say(f"{name}: {root / archive.proof} is there already")
            continue
        try:
            _provide(name, archive, root, say, options)
        except OSError as error:
            raise UserError(f"{root}: cannot be written: {error.strerror or error}") from error
        fetched.append(name)
    return fetched


def _replaced(name: str, changes: Mapping[str, Any]) -> Archive:
    """The archive with the values of the configuration. With another SHA-256 the official size does not hold."""
    archive = ARCHIVES[name]
    unknown = sorted(set(changes) - set(KEYS))
    if unknown:
        raise UserError(f"data.archives.{name}.{unknown[0]}: is unknown, expected one of {', '.join(KEYS)}")
    digest = changes.get("sha256", archive.sha256)
    size = changes.get("size", archive.size if digest == archive.sha256 else None)
    return Archive(changes.get("url", archive.url), digest, size, archive.prefix, archive.proof)


def _provide(name: str, archive: Archive, root: Path, say: Callable[[str], None], options: dict[str, Any]) -> None:
    waiting = root / WAITING
    path = fetch(archive.url, waiting / name, archive.sha256, archive.size, say=say, **options)
    staging = waiting / f"{name}.unpacked"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        files = unpack(path, staging, archive.prefix, MOST_FILES, GROWTH * path.stat().st_size, say)
        if not (staging / archive.proof).exists():
            raise UserError(f"{path}: holds no {archive.proof}, that is not what was expected")
        _merge(staging, root, Path(archive.proof).parts)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    path.unlink()
    if not any(waiting.iterdir()):
        waiting.rmdir()
    say(f"{name}: {files} files are in {root}")


def _merge(staging: Path, root: Path, proof: tuple[str, ...]) -> None:
    """Move what `staging` holds to `root`, whole folders where they are new; the proof moves last."""
    for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == proof[0]):
        target = root / entry.name
        if entry.is_dir() and target.is_dir():
            _merge(entry, target, proof[1:] if entry.name == proof[0] else ("",))
        elif not target.exists():  # the user's own files stay, and so do files that an earlier attempt moved
            os.replace(entry, target)
