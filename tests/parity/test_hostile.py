"""Files made to execute code, to grow without bound or to escape a folder: configuration, JSON, arrays, downloads.

Pickles, `.pth` and safetensors have theirs in test_weights and test_pth, XML in data/test_voc.
"""

import io
import json
import pickle
import tracemalloc
import zipfile

import hostile
import numpy as np
import pytest

from parity import arrays, files
from parity.align import trace
from parity.config.layers import read_yaml
from parity.config.run import load_run
from parity.data import coco, download
from parity.errors import UserError


def refused(read, path) -> str:
    """The one line in which `read` refuses a file."""
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


YAML = {
    "python/object/apply": "a: !!python/object/apply:os.system ['touch {witness}']\n",
    "python/object/new": "!!python/object/new:subprocess.Popen [[touch, {witness}]]\n",
    "python/name": "a: !!python/name:os.system\n",
    "python/module": "a: !!python/module:os\n",
    "a tag of its own": "a: !touch {witness}\n",
    "bool": "a: !!bool perhaps\n",
    "date": "a: 2020-99-99\n",
    "timestamp": "a: !!timestamp never\n",
    "key that is a list": "? [1, 2]\n: 3\n",
    "control characters": "a: \x00\n",
    "two documents": "a: 1\n---\nb: 2\n",
}


@pytest.mark.parametrize("how", YAML)
def test_yaml_builds_nothing_but_data(tmp_path, how):
    path, witness = tmp_path / "run.yaml", tmp_path / "witness"
    path.write_text(YAML[how].format(witness=witness))
    refused(load_run, path)
    assert not witness.exists()


def test_yaml_anchors_do_not_multiply(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]  # 9^10 values
    path = tmp_path / "laughs.yaml"
    path.write_text("\n".join(lines))
    assert "once its anchors are written out" in refused(read_yaml, path)
    path.write_text("a: &a [*a]\n")
    assert "once its anchors are written out" in refused(read_yaml, path)
    path.write_text("a: &a {lr: 1}\nb: *a\n")
    assert read_yaml(path) == {"a": {"lr": 1}, "b": {"lr": 1}}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, '"\\ud800', "[1,]", "\x00"])
@pytest.mark.parametrize("read", [files.read_json, read_yaml, coco.load], ids=["json", "yaml", "coco"])
def test_deep_and_endless_documents(tmp_path, text, read):
    path = tmp_path / "a.json"
    path.write_text(text)
    try:
        value = read(path) if read is not coco.load else read(path, None)
    except UserError as error:
        assert str(path) in str(error)
    else:  # to YAML some of them are text, or a list
        assert read is read_yaml and value is not None


def npy(shape: str, data: bytes = b"", descr: str = "'<f4'") -> bytes:
    """An .npy file whose header says what it likes."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([hostile.Calls(eval, "1")], dtype=object), allow_pickle=True)
    return buffer.getvalue()


ARRAYS = {
    "objects": objects(),
    "a pickle": pickle.dumps([1]),
    "a shape without data": npy("(1000000000000, 1000)"),
    "a negative shape": npy("(-1, 3, 2, 2)"),
    "a shape that is code": npy("(__import__('os').system('true'),)"),
    "a type that is code": npy("(1,)", descr="__import__('os')"),
    "a type of objects": npy("(1,)", b"\0" * 8, descr="'|O'"),
    "a header of brackets": npy("(" * 50),
    "no array": b"text",
}


@pytest.mark.parametrize("how", ARRAYS)
def test_arrays_that_are_none(tmp_path, how):
    path = tmp_path / "in.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", ARRAYS[how])
    refused(lambda p: trace.read_inputs(p, True, 2), path)


@pytest.mark.parametrize("name", ["../../escape.npy", "/tmp/escape.npy", "images"])
def test_names_in_an_archive_are_names_only(tmp_path, name):
    path = tmp_path / "in.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, npy("(1,)", b"\0" * 4))
    refused(lambda p: trace.read_inputs(p, True, 2), path)
    assert [p.name for p in tmp_path.iterdir()] == ["in.npz"] and not (tmp_path.parent / "escape.npy").exists()


def test_an_archive_that_unpacks_without_bound_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "LARGEST_NPZ", 10 << 20)
    path = tmp_path / "in.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy("(16777216,)", bytes(64 << 20)))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    assert "would unpack to" in refused(lambda p: trace.read_inputs(p, True, 2), path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("changes", [{"draws/x": np.ones(2)}, {"draws/-1": np.ones(2)}, {"counts": np.array([-1, 1])}])
def test_arrays_that_make_no_sense_together(tmp_path, changes):
    good = {"images": np.zeros((2, 3, 8, 8), np.float32), "sizes": np.array([[8, 8], [6, 8]])}
    good |= {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "counts": np.array([0, 0])}
    np.savez(tmp_path / "in.npz", **good | changes)
    refused(lambda p: trace.read_inputs(p, True, 2), tmp_path / "in.npz")


@pytest.mark.parametrize("url", ["https://host/..", "https://host/a/%2e%2e", "https://host/", "https://host/."])
def test_a_download_must_be_called_something(tmp_path, url):
    with pytest.raises(UserError, match="names no file"):
        download.local(url, "0" * 64, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("path", ["/a/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/../../etc/passwd", "/x?y=/../z/passwd"])
def test_a_download_stays_in_its_folder(tmp_path, monkeypatch, path):
    asked = []
    monkeypatch.setattr(download, "fetch", lambda url, target, *_: asked.append(target))
    download.local(f"https://host{path}", "0" * 64, tmp_path / "cache")
    assert asked[0].resolve().parent == (tmp_path / "cache").resolve()


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "a/../../b.png"])
def test_annotations_name_images_of_their_folder_only(tmp_path, name):
    document = {"images": [{"id": 1, "file_name": name, "width": 5, "height": 5}], "annotations": []}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document | {"categories": [{"id": 1, "name": "x"}]}))
    with pytest.raises(UserError, match="leaves"):
        coco.load(path, tmp_path)
