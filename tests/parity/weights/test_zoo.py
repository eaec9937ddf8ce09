"""The list of released checkpoints, and how their files come here."""

import hashlib

import pytest
import yaml

from parity.data.entries import AP_METRICS
from parity.errors import UserError
from parity.weights import zoo

ENTRY = {"file": "w.pth", "url": "", "page": "https://host/page", "sha256": "", "licence": "Apache-2.0", "input": 320}
ENTRY |= {"trained": "long", "published": dict.fromkeys(AP_METRICS)}


def released(**changes) -> zoo.Released:
    return zoo.Released("nanodet", "plus-m_320", **(ENTRY | changes))


def test_the_projects_zoo_has_every_official_variant():
    found = zoo.read_zoo()
    official = {(m, v) for m in zoo.model_names() for v in zoo.variant_names(m) if v != "tiny"}
    assert set(found) == official and len(official) == 14
    assert all(entry.published["AP"] > 20 for entry in found.values())
    nano = zoo.find("nanodet", "plus-m_320")
    assert list(nano.published.values()) == [27.0, 41.8, 28.1, 8.3, 27.8, 45.1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha": "x"}, "nanodet.plus-m_320: sha: unknown key"),
        ({"published": {"AP": 1.0}}, "published: expected the keys AP, AP50"),
        ({"url": None, "page": None}, "neither url nor page"),
    ],
)
def test_entries_that_are_wrong_are_named(tmp_path, change, words):
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump({"nanodet": {"plus-m_320": ENTRY | change}}))
    with pytest.raises(UserError, match=words):
        zoo.read_zoo(tmp_path / "zoo.yaml")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"yolo": {}}, "yolo: unknown model"),
        ({"nanodet": {"huge": ENTRY}}, "nanodet.huge: unknown variant"),
        ({"nanodet": {"plus-m_320": {"file": "x"}}}, "lacks input"),
        ([], "lists no checkpoint"),
    ],
)
def test_a_zoo_that_is_none(tmp_path, document, words):
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=words):
        zoo.read_zoo(tmp_path / "zoo.yaml")


def test_unknown_variants_name_the_known_ones():
    with pytest.raises(UserError, match="no checkpoint was released, expected one of r50_fpn, r101_fpn"):
        zoo.find("gfocalv2", "tiny")


def test_a_file_that_is_there_is_checked_against_its_sum(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    assert zoo.take(released(), None, tmp_path) == tmp_path / "w.pth"
    good = hashlib.sha256(b"weights").hexdigest()
    assert zoo.take(released(sha256=good), None, tmp_path) == tmp_path / "w.pth"
    with pytest.raises(UserError, match="has SHA-256"):
        zoo.take(released(sha256="0" * 64), None, tmp_path)


def test_a_file_given_by_hand_comes_first(tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"mine")
    assert zoo.take(released(), str(tmp_path / "mine.pth"), tmp_path) == tmp_path / "mine.pth"
    with pytest.raises(UserError, match="no such file"):
        zoo.take(released(), str(tmp_path / "none.pth"), tmp_path)


def test_without_an_address_the_page_is_named(tmp_path):
    with pytest.raises(UserError, match="download it from https://host/page, or give WEIGHTS=file"):
        zoo.take(released(), None, tmp_path)


def test_the_first_download_tells_the_sum(tmp_path):
    (tmp_path / "far.pth").write_bytes(b"weights")
    said: list[str] = []
    there = zoo.take(released(url=(tmp_path / "far.pth").as_uri()), None, tmp_path / "here", say=said.append)
    assert there.read_bytes() == b"weights"
    assert hashlib.sha256(b"weights").hexdigest() in said[-1] and "config/zoo.yaml" in said[-1]
