"""Weight files: bit-exact round trips in every format, wrappers, damage."""

import hashlib
import pickle

import numpy as np
import pytest
from hostile import dump, opcodes, payloads

from parity.errors import UserError
from parity.weights import formats
from parity.weights.pickles import BFLOAT16


def sample() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38], np.float32)
    return {
        "a.float32": rng.standard_normal((2, 3, 4)).astype(np.float32),
        "special": special,
        "nan payload": np.array([0x7FC01234, 0xFFC00001], np.uint32).view(np.float32),
        "float64": rng.standard_normal(3),
        "float16": rng.standard_normal(5).astype(np.float16),
        "bfloat16": np.arange(6, dtype=np.uint16).reshape(2, 3).view(BFLOAT16),
        "scalar": np.array(7, np.int64),
        "bfloat16 scalar": np.array(16256, np.uint16).view(BFLOAT16),
        "empty": np.zeros((0, 3), np.float32),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "strided": np.arange(10, dtype=np.int32)[::3],
        "bool": np.array([True, False]),
        "ключ/名": np.ones(1, np.float32),
        **{f"type {code}": np.array([0, 1, 100], code) for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")},
    }


def assert_same_bits(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].dtype == second[name].dtype, name
        assert first[name].shape == second[name].shape, name
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("suffix", formats.SUFFIXES)
def test_round_trip_keeps_bits_types_and_shapes(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    formats.write(path, sample())
    back = formats.read(path)
    assert_same_bits(sample(), back)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in back.values())
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("first", formats.SUFFIXES)
@pytest.mark.parametrize("second", formats.SUFFIXES)
def test_every_pair_of_formats_and_back(tmp_path, first, second):
    formats.write(tmp_path / f"a{first}", sample())
    formats.write(tmp_path / f"b{second}", formats.read(tmp_path / f"a{first}"))
    formats.write(tmp_path / f"c{first}", formats.read(tmp_path / f"b{second}"))
    assert_same_bits(sample(), formats.read(tmp_path / f"c{first}"))


def test_metadata(tmp_path):
    formats.write(tmp_path / "w.safetensors", {"a": np.ones(1)}, {"seed": "3"})
    assert formats.read_metadata(tmp_path / "w.safetensors") == {"seed": "3"}


def test_bfloat16_widens_exactly():
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0001], np.uint16).view(BFLOAT16)
    assert formats.as_float32(bits).tolist() == [1.0, -2.0, float("inf"), 2.0**-133]


def test_digest_is_sorted_names_and_float32_values():
    arrays = {"b": np.array([1, 2], np.int64), "a": np.array([0.5], np.float64)}
    expected = hashlib.sha256(b"a" + np.float32(0.5).tobytes() + b"b" + np.array([1, 2], "<f4").tobytes()).hexdigest()
    assert formats.weights_sha256(arrays) == expected
    assert formats.weights_sha256(dict(reversed(arrays.items()))) == expected
    assert formats.weights_sha256({**arrays, "a": np.array([0.25])}) != expected


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickles_of_numpy_are_read(tmp_path, protocol):
    plain = {name: array for name, array in sample().items() if array.dtype != BFLOAT16}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({**plain, "number": np.float32(2)}, protocol))
    back = formats.read(tmp_path / "w.pkl")
    assert back.pop("number") == np.float32(2)
    assert_same_bits(plain, back)


def test_big_endian_arrays_come_out_native(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": np.array([1, 2, 3], ">i4")}))
    array = formats.read(tmp_path / "w.pkl")["a"]
    assert array.dtype == np.dtype("=i4") and array.tolist() == [1, 2, 3]


A, B = np.zeros(1, np.float32), np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("tree", "wrapper"),
    [
        ({"a": B}, None),
        ({"model": {"a": A}, "ema": {"module": {"a": B}, "updates": 3}, "epoch": 1}, "ema.module"),
        ({"model": {"a": A}, "ema": {"a": B}}, "ema"),
        ({"model": {"a": B}, "optimizer": {"state": {0: {"step": 1}}}}, "model"),
        ({"state_dict": {"a": B}, "meta": {"epoch": 12}}, "state_dict"),
        ({"net": {"a": B}}, "net"),
        ({"model": {"module.a": B}}, "model"),
        ({"state_dict": {"model.a": A, "avg_model.a": B}}, "state_dict"),
        ({"state_dict": {"model.a": B}}, "state_dict"),
    ],
)
@pytest.mark.parametrize("suffix", [".pkl"])
def test_wrappers_of_official_checkpoints(tmp_path, tree, wrapper, suffix):
    (tmp_path / f"w{suffix}").write_bytes(dump(tree))
    loaded = formats.load(tmp_path / f"w{suffix}")
    assert loaded.wrapper == wrapper
    assert_same_bits(loaded.arrays, {"a": B})


def test_prefix_is_kept_where_it_is_not_everywhere(tmp_path):
    (tmp_path / "w.pkl").write_bytes(dump({"module.a": A, "b": B}))
    assert set(formats.read(tmp_path / "w.pkl")) == {"module.a", "b"}


def test_entries_that_are_no_tensors_are_reported(tmp_path):
    (tmp_path / "w.pkl").write_bytes(dump({"a": B, "version": 3, "note": "x"}))
    assert formats.load(tmp_path / "w.pkl").skipped == ["version", "note"]


@pytest.mark.parametrize(
    ("tree", "words"),
    [([1, 2], "expected a dict"), ({}, "holds no tensors"), ({"epoch": 3, "student": {"a": A}}, "student")],
)
def test_files_without_weights(tmp_path, tree, words):
    (tmp_path / "w.pkl").write_bytes(dump(tree))
    with pytest.raises(UserError, match=words):
        formats.read(tmp_path / "w.pkl")


def refused(path, **options) -> str:
    """The message of the UserError that reading `path` raises: one line that names the file."""
    with pytest.raises(UserError) as caught:
        formats.read(path, **options)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize("how", list(payloads("x")))
@pytest.mark.parametrize("protocol", [2, 4])
def test_hostile_pickles_run_nothing(tmp_path, how, protocol):
    payload = payloads(tmp_path / "witness")[how]
    (tmp_path / "w.pkl").write_bytes(dump(payload, protocol))
    assert "nothing was run" in refused(tmp_path / "w.pkl")
    (tmp_path / "w.pkl").write_bytes(dump({"a": B, "b": payload, "c": [payload]}, protocol))
    loaded = formats.load(tmp_path / "w.pkl")
    assert_same_bits(loaded.arrays, {"a": B})
    assert loaded.skipped == ["b", "c"]
    assert not (tmp_path / "witness").exists()


def test_the_payloads_are_live(tmp_path):
    pickle.loads(dump(payloads(tmp_path / "witness")["os.system"]))
    assert (tmp_path / "witness").exists()


@pytest.mark.parametrize("how", list(opcodes("x")))
def test_hand_made_pickles_are_refused(tmp_path, how):
    witness = tmp_path / "witness"
    (tmp_path / "w.pkl").write_bytes(opcodes(witness)[how])
    refused(tmp_path / "w.pkl")
    assert not witness.exists()


def test_object_arrays_are_refused(tmp_path):
    witness = tmp_path / "witness"
    array = np.array([payloads(witness)["eval"], None], dtype=object)
    (tmp_path / "w.pkl").write_bytes(dump({"a": array}))
    assert "Python objects" in refused(tmp_path / "w.pkl") or "dtype" in refused(tmp_path / "w.pkl")
    (tmp_path / "w.pkl").write_bytes(dump({"a": np.array([{}, None], dtype=object)}))
    assert "Python objects" in refused(tmp_path / "w.pkl") or "dtype" in refused(tmp_path / "w.pkl")
    assert not witness.exists()


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([1j]), np.array(["2020-01-01"], "M8[D]")])
def test_arrays_that_are_no_numbers_are_refused(tmp_path, array):
    (tmp_path / "w.pkl").write_bytes(dump({"a": array}))
    assert "dtype" in refused(tmp_path / "w.pkl")
    with pytest.raises(UserError, match="no number type"):
        formats.write(tmp_path / "v.pkl", {"a": array})


@pytest.mark.parametrize("suffix", formats.SUFFIXES)
def test_truncation_is_noticed_wherever_it_falls(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    formats.write(path, {"a": np.arange(50, dtype=np.float32), "b": np.ones((3, 3))})
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path)


def test_a_flipped_byte_in_a_pkl_is_noticed(tmp_path):
    formats.write(tmp_path / "w.pkl", {"a": np.arange(50, dtype=np.float32)})
    data = bytearray((tmp_path / "w.pkl").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "w.pkl").write_bytes(data)
    assert "checksum" in refused(tmp_path / "w.pkl")


@pytest.mark.parametrize("actual", [".safetensors", ".pth", ".pkl"])
@pytest.mark.parametrize("named", [".safetensors", ".pth", ".pkl"])
def test_content_of_another_format(tmp_path, actual, named):
    if actual == named:
        return
    formats.write(tmp_path / f"w{actual}", {"a": B})
    (tmp_path / f"w{actual}").rename(tmp_path / f"v{named}")
    refused(tmp_path / f"v{named}")


def test_missing_file_folder_and_unknown_suffix(tmp_path):
    assert "No such file" in refused(tmp_path / "none.pth")
    (tmp_path / "folder.pkl").mkdir()
    refused(tmp_path / "folder.pkl")
    assert "expected one of" in refused(tmp_path / "w.onnx")
    with pytest.raises(UserError, match="expected one of"):
        formats.write(tmp_path / "w.npz", {"a": B})


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}',
        b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
        b"[1, 2]",
        b"{" * 1000,
    ],
)
def test_safetensors_headers_that_lie(tmp_path, header):
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refused(tmp_path / "w.safetensors")


def test_safetensors_header_length_that_lies(tmp_path):
    for length in (1 << 20, 1 << 40, (1 << 64) - 1):
        (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
        refused(tmp_path / "w.safetensors")


def test_keys_that_take_for_ever_to_hash_are_refused(tmp_path):
    """Forty tuples, each twice in the next one: 2^40 steps for whoever hashes the last."""
    tuples = b"K\x01K\x01\x86" + b"2\x86" * 40
    for as_key in (b"}" + tuples + b"K\x01s", b"(" + tuples + b"K\x01d", b"}(" + tuples + b"K\x01u"):
        (tmp_path / "w.pkl").write_bytes(b"\x80\x02" + as_key + b".")
        assert "dict key of type tuple" in refused(tmp_path / "w.pkl")
    for as_member in (b"\x8f(" + tuples + b"\x90", b"(" + tuples + b"\x91"):
        (tmp_path / "w.pkl").write_bytes(b"\x80\x04" + as_member + b".")
        assert "expected a dict" in refused(tmp_path / "w.pkl")


def test_calls_do_not_copy_without_end(tmp_path):
    """One long text, one long list: a copy of it for every few bytes of the file."""
    name = b"c_codecs\nencode\nq\x00"
    long = b"X" + (1 << 20).to_bytes(4, "little") + b"a" * (1 << 20) + b"\x85q\x01"
    (tmp_path / "w.pkl").write_bytes(b"\x80\x02](" + name + long + b"R" + b"h\x00h\x01R" * 1000 + b"e.")
    assert "larger than the file" in refused(tmp_path / "w.pkl")
    name = b"ccollections\nOrderedDict\nq\x00"
    pairs = b"](" + b"K\x01K\x02\x86" * 100_000 + b"e\x85q\x01"
    (tmp_path / "w.pkl").write_bytes(b"\x80\x02](" + name + pairs + b"R" + b"h\x00h\x01R" * 1000 + b"e.")
    assert "larger than the file" in refused(tmp_path / "w.pkl")


def test_a_file_changes_nothing_of_the_reader(tmp_path):
    """BUILD with two states sets attributes of its target: of a name it would be one of ours."""
    hostile = b"\x80\x02cnumpy\ndtype\nN}X\x04\x00\x00\x00callK\x01s\x86b."
    (tmp_path / "w.pkl").write_bytes(hostile)
    assert "sets the state of Named" in refused(tmp_path / "w.pkl")
    (tmp_path / "v.pkl").write_bytes(dump({"a": B}))
    assert_same_bits(formats.read(tmp_path / "v.pkl"), {"a": B})


def test_one_array_under_many_names_does_not_grow_without_end(tmp_path):
    big = np.zeros(1 << 22, np.uint8)
    (tmp_path / "w.pkl").write_bytes(dump({f"n{i}": big for i in range(100)}, 4))
    assert "larger than the file" in refused(tmp_path / "w.pkl")


def test_a_reader_for_pth_may_be_passed_in(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"anything")
    assert formats.load(tmp_path / "w.pth", pth_reader=lambda path: {"model": {"a": B}}).arrays["a"] is B


def test_a_file_gives_its_names_in_one_order(tmp_path):
    """The library gives them in another order in every process."""
    arrays = {f"layer{i * 7 % 40}.weight": np.float32([i]) for i in range(40)}
    formats.write(tmp_path / "w.safetensors", arrays)
    assert list(formats.read(tmp_path / "w.safetensors")) == sorted(arrays)
