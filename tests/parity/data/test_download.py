"""Downloads from a loopback server that misbehaves in the ways that real ones do."""

import hashlib

import pytest
from loopback import serving

from parity.data.download import fetch, local
from parity.errors import UserError

CONTENT = bytes(range(256)) * 4000  # about 1 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serving(CONTENT) as instance:
        yield instance


def get(server, folder, sha256=DIGEST, **options):
    lines: list[str] = []
    defaults = {"attempts": 3, "timeout": 5.0, "pause": 0.0, "say": lines.append}
    return fetch(server.url, folder / "w.pth", sha256, **(defaults | options)), lines


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_plain_download(server, tmp_path):
    path, lines = get(server, tmp_path / "deep/er")
    assert path.read_bytes() == CONTENT and names(path.parent) == ["w.pth"]
    assert server.behaviour.requests == [None] and "complete" in lines[-1]


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.behaviour.requests) == 1
    (tmp_path / "w.pth").write_bytes(b"something else")
    assert get(server, tmp_path)[0].read_bytes() == CONTENT


def test_dropped_connections_are_resumed(server, tmp_path):
    server.behaviour.drops = [300_000, 200_000, 100]
    path, lines = get(server, tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.requests == [None, "bytes=300000-", "bytes=500000-", "bytes=500100-"]
    assert sum("trying again" in line for line in lines) == 3


def test_an_interrupted_download_goes_on_in_the_next_call(server, tmp_path):
    server.behaviour.drops = [300_000, 0, 0, 0]
    with pytest.raises(UserError, match="gave up after 3 attempts"):
        get(server, tmp_path)
    assert names(tmp_path) == [f".w.pth.{DIGEST[:12]}.part"]
    server.behaviour.drops, server.behaviour.requests = [], []
    assert get(server, tmp_path)[0].read_bytes() == CONTENT
    assert server.behaviour.requests == ["bytes=300000-"] and names(tmp_path) == ["w.pth"]


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.behaviour.ranges, server.behaviour.drops = False, [300_000, 400_000]
    assert get(server, tmp_path)[0].read_bytes() == CONTENT
    assert server.behaviour.requests == [None, "bytes=300000-", "bytes=400000-"]


def test_a_server_that_never_gets_further_is_given_up(server, tmp_path):
    server.behaviour.ranges, server.behaviour.drops = False, [300_000] * 20
    with pytest.raises(UserError, match="without progress"):
        get(server, tmp_path)
    assert len(server.behaviour.requests) == 4


def test_a_server_that_continues_elsewhere_is_not_believed(server, tmp_path):
    server.behaviour.drops, server.behaviour.shift = [300_000], 5
    with pytest.raises(UserError, match="continues at byte 300005"):
        get(server, tmp_path)
    assert not (tmp_path / "w.pth").exists()


def test_a_wrong_digest_leaves_nothing(server, tmp_path):
    with pytest.raises(UserError, match="expected 000000"):
        get(server, tmp_path, "0" * 64)
    assert names(tmp_path) == []


def test_a_short_file_is_no_success(server, tmp_path):
    server.behaviour.content = CONTENT[:-1]
    with pytest.raises(UserError, match="SHA-256"):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_a_short_file_of_unannounced_length(server, tmp_path):
    server.behaviour.announce, server.behaviour.drops = False, [1000]
    with pytest.raises(UserError, match="SHA-256"):
        get(server, tmp_path)
    server.behaviour.drops = [1000]
    assert get(server, tmp_path, size=len(CONTENT))[0].read_bytes() == CONTENT


def test_a_file_that_is_larger_than_expected(server, tmp_path):
    with pytest.raises(UserError, match="announces"):
        get(server, tmp_path, size=1000)
    server.behaviour.announce = False
    with pytest.raises(UserError, match="larger than 1000"):
        get(server, tmp_path, size=1000)
    assert names(tmp_path) == []


def test_statuses(server, tmp_path):
    server.behaviour.statuses = [503, 429]
    assert get(server, tmp_path)[0].read_bytes() == CONTENT
    server.behaviour.statuses, server.behaviour.requests = [404], []
    with pytest.raises(UserError, match="404"):
        get(server, tmp_path / "other")
    assert len(server.behaviour.requests) == 1


def test_a_whole_part_is_recognised(server, tmp_path):
    (tmp_path / f".w.pth.{DIGEST[:12]}.part").write_bytes(CONTENT)
    assert get(server, tmp_path)[0].read_bytes() == CONTENT
    assert server.behaviour.requests == [f"bytes={len(CONTENT)}-"]


def test_redirects_stay_on_the_web(server, tmp_path):
    server.behaviour.redirect = server.url.replace("w.pth", "moved.pth")
    assert get(server, tmp_path)[0].read_bytes() == CONTENT
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    server.behaviour.redirect = secret.as_uri()
    with pytest.raises(UserError):
        get(server, tmp_path / "other", attempts=1)


def test_nobody_listens(tmp_path):
    with pytest.raises(UserError, match="gave up"):
        fetch("http://127.0.0.1:9/w.pth", tmp_path / "w", DIGEST, attempts=2, pause=0.0, say=lambda line: None)


def test_file_urls_and_paths(tmp_path):
    source = tmp_path / "a b.pth"
    source.write_bytes(CONTENT)
    assert fetch(source.as_uri(), tmp_path / "copy.pth", DIGEST).read_bytes() == CONTENT
    assert local(source.as_uri(), DIGEST, tmp_path / "cache") == tmp_path / "cache/a b.pth"
    assert local(str(source), None, tmp_path) == source == local(str(source), DIGEST.upper(), tmp_path)
    with pytest.raises(UserError, match="expected 0000"):
        local(str(source), "0" * 64, tmp_path)


@pytest.mark.parametrize(
    ("url", "sha256", "words"),
    [
        ("ftp://127.0.0.1/w.pth", DIGEST, "expected an http"),
        ("http://127.0.0.1:9/w.pth", "abc", "64 hexadecimal"),
        ("http://127.0.0.1:9/w.pth", None, "needs its SHA-256"),
        ("http://127.0.0.1:9/", DIGEST, "names no file"),
        ("file:///no/such/file.pth", DIGEST, "no such file"),
        ("/no/such/file.pth", DIGEST, "no such file"),
    ],
)
def test_what_cannot_be_fetched(tmp_path, url, sha256, words):
    with pytest.raises(UserError, match=words):
        local(url, sha256, tmp_path)
    assert names(tmp_path) == []
