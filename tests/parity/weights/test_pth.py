"""The torch file format in NumPy: hostile archives, bombs and lying records. Real torch files: tests/torch_impl."""

import struct
import zipfile

import numpy as np
import pytest
from hostile import dump, opcodes, payloads, torch_zip

from parity.errors import UserError
from parity.weights import formats
from parity.weights.pth import LEGACY_MAGIC, read_pth, write_pth


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor(shape=(2,), strides=(1,), offset=0, numel=2, key="0", storage="torch\nFloatStorage") -> bytes:
    """Opcodes of {"a": tensor} as torch.save writes them."""
    numbers = [b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in many) + b"t" for many in (shape, strides)]
    return b"".join(
        [
            b"\x80\x02}" + text("a") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage"),
            f"c{storage}\n".encode() + text(key) + text("cpu") + b"\x8a\x08" + struct.pack("<q", numel) + b"tQ",
            b"\x8a\x08" + struct.pack("<q", offset) + numbers[0] + numbers[1],
            b"\x89ccollections\nOrderedDict\n)RtRs.",
        ]
    )


TWO = np.array([1.0, 2.0], np.float32)


def refused(path) -> str:
    with pytest.raises(UserError) as caught:
        formats.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_hand_made_file_is_read(tmp_path):
    torch_zip(tmp_path / "w.pth", tensor(), k0=TWO.tobytes())
    assert formats.read(tmp_path / "w.pth")["a"].tolist() == [1.0, 2.0]


def test_views_are_copied_out_of_their_storage(tmp_path):
    storage = np.arange(6, dtype=np.float32)
    torch_zip(tmp_path / "w.pth", tensor((2, 2), (1, 3), 1, 6), k0=storage.tobytes())
    array = formats.read(tmp_path / "w.pth")["a"]
    assert array.tolist() == [[1.0, 4.0], [2.0, 5.0]] and array.flags.c_contiguous


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": (3,)}, "beyond its storage"),
        ({"offset": 1}, "beyond its storage"),
        ({"shape": (2, 2), "strides": (1 << 40, 1)}, "beyond its storage"),
        ({"shape": (-1,)}, "natural number"),
        ({"strides": (-1,)}, "natural number"),
        ({"offset": -1}, "natural number"),
        ({"shape": (1 << 60,), "strides": (0,)}, "natural number"),
        ({"shape": (1 << 40,), "strides": (0,)}, "larger than the file"),
        ({"shape": (1 << 20, 1 << 20), "strides": (0, 0)}, "larger than the file"),
        ({"shape": (2, 1)}, "malformed"),
        ({"numel": 3}, "too short"),
        ({"numel": -1}, "without a type or a size"),
        ({"key": "1"}, "lacks the record"),
        ({"key": "../0"}, "lacks the record"),
        ({"storage": "torch\nQInt8Storage"}, "nothing was run"),
        ({"storage": "collections\nOrderedDict"}, "without a type"),
        ({"storage": "os\nsystem"}, "nothing was run"),
    ],
)
def test_lying_tensors(tmp_path, changes, words):
    torch_zip(tmp_path / "w.pth", tensor(**changes), k0=TWO.tobytes())
    assert words in refused(tmp_path / "w.pth")


def older(tree: object) -> bytes:
    """A pickle in the frame of the format before PyTorch 1.6, without storages."""
    return b"".join(map(dump, (LEGACY_MAGIC, 1001, {"little_endian": True}, tree, [])))


@pytest.mark.parametrize("how", list(payloads("x")))
def test_hostile_pickles_in_an_archive_run_nothing(tmp_path, how):
    """Instead of weights they are refused; beside weights they stay inert, and the weights are read."""
    payload = payloads(tmp_path / "witness")[how]
    torch_zip(tmp_path / "w.pth", dump(payload))
    assert "nothing was run" in refused(tmp_path / "w.pth")
    (tmp_path / "u.pth").write_bytes(older(payload))
    assert "nothing was run" in refused(tmp_path / "u.pth")
    (tmp_path / "v.pth").write_bytes(dump(payload))
    refused(tmp_path / "v.pth")
    for tree in ({"model": {"a": payload}}, {"model": payload}):
        torch_zip(tmp_path / "w.pth", dump(tree))
        assert "holds no tensors" in refused(tmp_path / "w.pth")
    beside = {"model": {"a": TWO, "b": payload}, "hook": payload, "hooks": [payload, {payload: payload}]}
    torch_zip(tmp_path / "w.pth", dump(beside))
    (tmp_path / "u.pth").write_bytes(older(beside))
    for name in ("w.pth", "u.pth"):
        loaded = formats.load(tmp_path / name)
        assert list(loaded.arrays) == ["a"] and loaded.skipped == ["b"]
        assert loaded.arrays["a"].tolist() == [1.0, 2.0]
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize("how", list(opcodes("x")))
def test_hand_made_pickles_in_an_archive_are_refused(tmp_path, how):
    torch_zip(tmp_path / "w.pth", opcodes(tmp_path / "witness")[how])
    refused(tmp_path / "w.pth")
    assert not (tmp_path / "witness").exists()


def test_compressed_archives_are_refused_before_they_unpack(tmp_path):
    torch_zip(tmp_path / "w.pth", tensor(numel=1 << 22), zipfile.ZIP_DEFLATED, k0=bytes(1 << 24))
    assert (tmp_path / "w.pth").stat().st_size < 1 << 16
    assert "compressed" in refused(tmp_path / "w.pth")


def test_a_directory_that_promises_too_much(tmp_path):
    torch_zip(tmp_path / "w.pth", tensor(), k0=TWO.tobytes())
    data = (tmp_path / "w.pth").read_bytes()
    entry = data.rindex(b"PK\x01\x02")
    lying = data[: entry + 20] + struct.pack("<II", 1 << 30, 1 << 30) + data[entry + 28 :]
    (tmp_path / "w.pth").write_bytes(lying)
    assert "promises" in refused(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_record_under_two_entries(tmp_path):
    torch_zip(tmp_path / "w.pth", tensor(), k0=TWO.tobytes())
    with zipfile.ZipFile(tmp_path / "w.pth", "a") as archive:
        archive.writestr("archive/data.pkl", tensor(shape=(1,)))
    refused(tmp_path / "w.pth")


def test_a_zip_that_is_no_torch_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "without data.pkl" in refused(tmp_path / "w.pth")


def test_a_flipped_byte_is_noticed(tmp_path):
    write_pth(tmp_path / "w.pth", {"a": np.arange(100, dtype=np.float32)})
    data = bytearray((tmp_path / "w.pth").read_bytes())
    data[data.index(np.float32(50).tobytes())] ^= 1
    (tmp_path / "w.pth").write_bytes(data)
    assert "damaged" in refused(tmp_path / "w.pth")


def test_big_endian_files_are_refused(tmp_path):
    torch_zip(tmp_path / "w.pth", tensor(), k0=TWO.tobytes())
    with zipfile.ZipFile(tmp_path / "w.pth", "a") as archive:
        archive.writestr("archive/byteorder", b"big")
    assert "big-endian" in refused(tmp_path / "w.pth")


def test_optimizer_state_is_not_materialised(tmp_path):
    """A tensor that cannot be resolved hurts only if somebody asks for it."""
    bad = tensor(shape=(3,))[2:-1]  # {"a": ...} without PROTO and STOP
    good = tensor()[2:-1]
    data = b"\x80\x02}" + text("optimizer") + bad + b"s" + text("model") + good + b"s."
    torch_zip(tmp_path / "w.pth", data, k0=TWO.tobytes())
    assert formats.read(tmp_path / "w.pth")["a"].tolist() == [1.0, 2.0]
    with pytest.raises(Exception, match="beyond its storage"):
        read_pth(tmp_path / "w.pth")["optimizer"]["a"].resolve()


def test_a_tensor_of_an_unknown_kind_is_not_passed_over(tmp_path):
    sparse = b"\x80\x02}" + text("a") + tensor()[2:-1][len(b"}" + text("a")) : -1] + b"s" + text("b")
    sparse += b"ctorch._utils\n_rebuild_sparse_tensor\n)Rs."
    torch_zip(tmp_path / "w.pth", sparse, k0=TWO.tobytes())
    assert "holds b as torch._utils._rebuild_sparse_tensor" in refused(tmp_path / "w.pth")


def test_writing_leaves_nothing_behind_on_failure(tmp_path):
    with pytest.raises(UserError):
        formats.write(tmp_path / "w.pth", {"a": np.array(["text"])})
    assert list(tmp_path.iterdir()) == []
