"""Archives that are what they should be, and archives that are not."""

import io
import stat
import tarfile
import zipfile

import pytest

from parity.data.archives import unpack
from parity.errors import UserError


def zipped(path, members: dict[str, bytes], mode: int | None = None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (mode or 0) << 16
            archive.writestr(info, content)
    return path


def tarred(path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE, target: str = ""):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), target
            archive.addfile(info, io.BytesIO(content))
    return path


def out(path, folder, prefix="", most_files=10, most_bytes=10_000):
    return unpack(path, folder, prefix, most_files, most_bytes, lambda line: None)


def files(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_files_arrive_below_the_folder(make, tmp_path):
    path = make(tmp_path / "a", {"top/one/a.txt": b"a", "./top/one/b.txt": b"b", "top/ü.txt": b""})
    assert out(path, tmp_path / "all") == 3
    assert files(tmp_path / "all") == {"top/one/a.txt": b"a", "top/one/b.txt": b"b", "top/ü.txt": b""}
    out(path, tmp_path / "part", "top")
    assert files(tmp_path / "part") == {"one/a.txt": b"a", "one/b.txt": b"b", "ü.txt": b""}


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "a\\..\\..\\out.txt"])
def test_names_that_leave_the_folder_are_refused(make, name, tmp_path):
    path = make(tmp_path / "a", {"fine.txt": b"x", name: b"y"})
    with pytest.raises(UserError, match="leaves the folder"):
        out(path, tmp_path / "in")
    assert files(tmp_path / "in") == {"fine.txt": b"x"}
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_of_a_tar_are_refused(kind, tmp_path):
    path = tarred(tmp_path / "a", {"a.txt": b""}, kind, "/etc/passwd")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        out(path, tmp_path / "in")


def test_links_of_a_zip_are_refused(tmp_path):
    path = zipped(tmp_path / "a", {"a.txt": b"/etc/passwd"}, stat.S_IFLNK | 0o777)
    with pytest.raises(UserError, match="neither a file nor a folder"):
        out(path, tmp_path / "in")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_bounds(make, tmp_path):
    path = make(tmp_path / "a", {"a.txt": bytes(6000), "b.txt": bytes(6000)})
    with pytest.raises(UserError, match="more than 10000 bytes"):
        out(path, tmp_path / "bytes")
    with pytest.raises(UserError, match="more than 1 files"):
        out(path, tmp_path / "files", most_files=1, most_bytes=20_000)
    assert out(path, tmp_path / "fine", most_bytes=12_000) == 2


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path):
    path = zipped(tmp_path / "a", {"a.txt": bytes(9000)})
    content = path.read_bytes().replace((9000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be unpacked"):
        out(path, tmp_path / "in")


def test_damage_is_named(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.txt": b"some text"})
    path.write_bytes(path.read_bytes().replace(path.read_bytes()[35:40], b"\xff" * 5))
    with pytest.raises(UserError, match=r"a\.zip: cannot be unpacked"):
        out(path, tmp_path / "in")
    (tmp_path / "none.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(UserError, match=r"none\.tar: cannot be unpacked"):
        out(tmp_path / "none.tar", tmp_path / "in")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(UserError, match="lies outside top"):
        out(tarred(tmp_path / "a", {"other/a.txt": b""}), tmp_path / "in", "top")
    with zipfile.ZipFile(tmp_path / "twice", "w") as archive:
        archive.writestr("a.txt", b"1")
        archive.writestr("a.txt", b"2")
    with pytest.raises(UserError, match="twice"):
        out(tmp_path / "twice", tmp_path / "in")
