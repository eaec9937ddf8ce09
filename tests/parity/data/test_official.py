"""Downloads of whole datasets, from a loopback server in place of the official ones."""

import hashlib
import io
import json
import tarfile
import zipfile
from contextlib import contextmanager

import pytest
from loopback import serving

from parity.data import official
from parity.data.official import provide
from parity.errors import UserError

NAMES = ("annotations_trainval2017.zip", "val2017.zip", "train2017.zip")
TRAINVAL, TEST = "VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar"


def zipped(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, member in members.items():
            info = tarfile.TarInfo(f"VOCdevkit/VOC2007/{name}")
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return content.getvalue()


FILES = {
    "annotations_trainval2017.zip": zipped(
        {f"annotations/instances_{split}2017.json": json.dumps({"images": []}).encode() for split in ("train", "val")}
    ),
    "val2017.zip": zipped({"val2017/1.jpg": b"one" * 10_000, "val2017/2.jpg": b"two"}),
    "train2017.zip": zipped({"train2017/3.jpg": b"three"}),
    TRAINVAL: tarred({"ImageSets/Main/trainval.txt": b"1\n", "Annotations/1.xml": b"x", "JPEGImages/1.jpg": b"i"}),
    TEST: tarred({"ImageSets/Main/test.txt": b"2\n", "Annotations/2.xml": b"y", "JPEGImages/2.jpg": b"j"}),
}


@contextmanager
def sites(source: str, root, **settings):
    """(server, data section): the archives above instead of the official ones, under their own sums."""
    with serving() as server:
        server.behaviour.files = dict(FILES)
        archives = {
            name: {"url": server.url.replace("w.pth", name), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in FILES.items()
        }
        yield server, {"source": source, source: {"root": str(root)} | settings, "download": True, "archives": archives}


def get(data, **options):
    lines: list[str] = []
    return provide(data, lines.append, attempts=3, timeout=5.0, pause=0.0, **options), lines


def tree(folder) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_coco_arrives_as_its_source_expects_it(tmp_path):
    with sites("coco", tmp_path / "coco") as (server, data):
        fetched, lines = get(data)
        assert fetched == list(NAMES)
        annotations = [f"annotations/instances_{split}2017.json" for split in ("train", "val")]
        assert tree(tmp_path / "coco") == [*annotations, "train2017/3.jpg", "val2017/1.jpg", "val2017/2.jpg"]
        assert any("val2017.zip: complete" in line for line in lines) and "train2017.zip: 1 files" in lines[-1]
        asked = len(server.behaviour.requests)
        assert get(data)[0] == [] and len(server.behaviour.requests) == asked


def test_training_images_that_nobody_uses_are_not_fetched(tmp_path):
    with sites("coco", tmp_path, annotations={"train": None, "val": "x.json"}) as (_, data):
        assert get(data)[0] == list(NAMES[:2])


def test_voc_in_two_archives(tmp_path):
    root = tmp_path / "VOC2007"
    with sites("voc", root) as (_, data):
        assert get(data)[0] == [TRAINVAL]
        (root / "Annotations/2.xml").write_bytes(b"mine")
        data["voc"]["splits"] = {"train": "ImageSets/Main/trainval.txt", "val": "ImageSets/Main/test.txt"}
        assert get(data)[0] == [TEST]
    sets = ["ImageSets/Main/test.txt", "ImageSets/Main/trainval.txt"]
    assert tree(root) == ["Annotations/1.xml", "Annotations/2.xml", *sets, "JPEGImages/1.jpg", "JPEGImages/2.jpg"]
    assert (root / "Annotations/2.xml").read_bytes() == b"mine"


def test_dropped_connections_are_resumed_also_by_the_next_call(tmp_path):
    with sites("coco", tmp_path, annotations={"train": None}) as (server, data):
        server.behaviour.drops = [100, 50, 10**6, 20_000, 0, 0, 0]
        with pytest.raises(UserError, match="gave up after 3 attempts"):
            get(data)
        assert not (tmp_path / "val2017").exists()
        server.behaviour.drops, server.behaviour.requests = [], []
        assert get(data)[0] == ["val2017.zip"]
        assert server.behaviour.requests == ["bytes=20000-"]
        assert (tmp_path / "val2017/1.jpg").read_bytes() == b"one" * 10_000


@pytest.mark.parametrize(
    ("served", "words"),
    [(FILES["val2017.zip"][:-7], "has SHA-256"), (zipped({"val2017/1.jpg": b"changed"}), "has SHA-256")],
)
def test_short_and_changed_files_are_refused(served, words, tmp_path):
    with sites("coco", tmp_path) as (server, data):
        server.behaviour.files["val2017.zip"] = served
        with pytest.raises(UserError, match=words):
            get(data)
    assert not (tmp_path / "val2017").exists()
    assert not [name for name in tree(tmp_path) if name.startswith(".download")]


def test_the_official_size_and_sum_hold_for_a_mirror(tmp_path):
    with sites("coco", tmp_path) as (_, data):
        data["archives"] = {NAMES[0]: {"url": data["archives"][NAMES[0]]["url"]}}
        with pytest.raises(UserError, match="has SHA-256"):
            get(data)
        data["archives"][NAMES[0]]["size"] = 100
        with pytest.raises(UserError, match="expected 100"):
            get(data)


def test_an_archive_of_something_else_leaves_nothing(tmp_path):
    other = zipped({"pictures/1.jpg": b"x"})
    with sites("coco", tmp_path) as (server, data):
        server.behaviour.files["val2017.zip"] = other
        data["archives"]["val2017.zip"]["sha256"] = hashlib.sha256(other).hexdigest()
        with pytest.raises(UserError, match="holds no val2017"):
            get(data)
    assert not (tmp_path / "val2017").exists() and not (tmp_path / "pictures").exists()


def test_moving_files_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    root = tmp_path / "VOC2007"
    with sites("voc", root) as (_, data):
        real, moved = official.os.replace, []

        def dying(source, target):
            if target.parent == root or target.suffix == ".xml":
                moved.append(target)
                if len(moved) == 2:
                    raise KeyboardInterrupt
            real(source, target)

        monkeypatch.setattr(official.os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            get(data)
        assert not (root / "ImageSets").exists()  # the proof moves last
        monkeypatch.undo()
        assert get(data)[0] == [TRAINVAL]
    assert tree(root) == ["Annotations/1.xml", "ImageSets/Main/trainval.txt", "JPEGImages/1.jpg"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"source": "yolo", "yolo": {"root": "x"}}, "source yolo has no official place"),
        ({"source": "coco", "coco": {"root": None}}, "data.coco.root: is not set"),
        ({"source": "voc", "voc": {"root": "data/mine"}}, "a folder called VOC2007 or VOC2012"),
        ({"source": "coco", "coco": {"root": "x"}, "archives": {"a.zip": {}}}, "data.archives.a.zip: is unknown"),
        ({"source": "coco", "coco": {"root": "x"}, "archives": {NAMES[0]: {"md5": ""}}}, "md5: is unknown"),
    ],
)
def test_what_cannot_be_asked_for(data, words):
    with pytest.raises(UserError, match=words):
        get(data)


def test_every_official_archive_says_what_it_must_be():
    for name, archive in official.ARCHIVES.items():
        assert archive.url.endswith(f"/{name}") and archive.size > 10**8 and len(archive.sha256) == 64
