"""The reader of `.pth` against PyTorch's own files, and PyTorch's loader against what is written here."""

import argparse
import os
import zipfile
from collections import Counter, OrderedDict, defaultdict
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch

from parity.errors import UserError
from parity.weights import formats
from parity.weights.pickles import BFLOAT16

DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"]
NEW_DTYPES = ["uint16", "uint32", "uint64"]  # have no storage class of their own; the older format cannot hold them


def tensors(dtypes: list[str] = DTYPES + NEW_DTYPES) -> dict[str, torch.Tensor]:
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    return {
        **{f"dtype.{name}": torch.tensor([0, 1, 1, 0, 1]).to(getattr(torch, name)) for name in dtypes},
        "bfloat16.strided": torch.arange(6).reshape(2, 3).to(torch.bfloat16).t(),
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "base": base,
        "shared": base[1],
        "shared.transposed": base.permute(2, 0, 1),
        "shared.strided": base[:, ::2, 1:],
        "expanded": torch.ones(1, 3).expand(4, 3),
        "channels last": torch.arange(120).float().reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Values of a tensor with all their bits; bfloat16 as `BFLOAT16`."""
    tensor = tensor.detach()
    return tensor.view(torch.int16).numpy().view(BFLOAT16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def assert_same_bits(arrays: dict[str, np.ndarray], expected: dict[str, torch.Tensor]) -> None:
    assert list(arrays) == list(expected)
    for name, tensor in expected.items():
        array = to_numpy(tensor.contiguous())
        assert arrays[name].dtype == array.dtype and arrays[name].shape == tuple(tensor.shape), name
        assert arrays[name].tobytes() == array.tobytes() and arrays[name].flags.c_contiguous, name


def test_files_of_torch_save(tmp_path):
    torch.save(tensors(), tmp_path / "w.pth")
    assert_same_bits(formats.read(tmp_path / "w.pth"), tensors())


def test_the_format_before_torch_1_6(tmp_path):
    torch.save(tensors(DTYPES), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert_same_bits(formats.read(tmp_path / "w.pth"), tensors(DTYPES))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_real_checkpoint(tmp_path, zipped):
    """A model with BatchNorm and `_metadata`, the moments of an optimiser, and the arguments that DETR stores."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    ema = {"module": OrderedDict((f"module.{k}", v + 1) for k, v in model.state_dict().items()), "updates": 1}
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema,
        "args": argparse.Namespace(lr=1e-4, device="cuda"),
        "epoch": 3,
    }
    torch.save(checkpoint, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    loaded = formats.load(tmp_path / "w.pth")
    assert loaded.wrapper == "ema.module"
    assert_same_bits(loaded.arrays, {name: value + 1 for name, value in model.state_dict().items()})
    del checkpoint["ema"]
    torch.save(checkpoint, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    loaded = formats.load(tmp_path / "w.pth")
    assert loaded.wrapper == "model"
    assert_same_bits(loaded.arrays, dict(model.state_dict()))


def test_torch_loads_what_parity_writes(tmp_path):
    arrays = {name: to_numpy(tensor.contiguous()) for name, tensor in tensors().items()}
    arrays["transposed"] = np.arange(6, dtype=np.float32).reshape(2, 3).T
    formats.write(tmp_path / "w.pth", arrays)
    loaded = torch.load(tmp_path / "w.pth", weights_only=True)
    assert list(loaded) == list(arrays)
    for name, tensor in loaded.items():
        assert tensor.is_contiguous() and tuple(tensor.shape) == arrays[name].shape, name
        assert to_numpy(tensor).tobytes() == arrays[name].tobytes(), name
        assert to_numpy(tensor).dtype == arrays[name].dtype, name
    mapped = torch.load(tmp_path / "w.pth", weights_only=True, mmap=True)
    assert torch.equal(mapped["base"], loaded["base"])


def test_bfloat16_means_the_same_in_both():
    values = torch.tensor([1.0, -2.5, 3e38, 1e-40])
    array = to_numpy(values.bfloat16())
    assert array.dtype == BFLOAT16
    assert formats.as_float32(array).tolist() == values.bfloat16().float().tolist()


class Touch:
    """Unpickles as a call of the shell."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_objects_beside_the_weights_stay_inert(tmp_path, zipped):
    content = {"model": {"a": torch.ones(2)}, "hook": Touch(tmp_path / "witness")}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert formats.read(tmp_path / "w.pth")["a"].tolist() == [1.0, 1.0]
    torch.save(Touch(tmp_path / "witness"), tmp_path / "v.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"v\.pth: holds an object of posix\.system.*nothing was run") as caught:
        formats.read(tmp_path / "v.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "witness").exists()


class History:
    """Stands for what a training framework keeps in its checkpoints."""

    def __init__(self):
        self.values = np.array([1.0, 0.5])


@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_scripts_keep_beside_the_weights(tmp_path, zipped):
    """NumPy numbers and types, objects of other packages, paths, dates, sets, ordered and default dicts."""
    beside = {
        "optimizer": {"param_groups": [{"lr": np.float64(1e-4)}], "state": {0: {"step": np.int64(3)}}},
        "hub": {"log_scalars": {"train/loss": History()}, "names": np.array(["a"], object)},
        "types": [np.dtype("float32"), np.dtype("U5"), np.dtype([("x", "f4")])],
        "root": PurePosixPath("/data"),
        "saved": datetime(2026, 1, 2, tzinfo=UTC),
        "counts": Counter(a=3),
        "groups": defaultdict(list, a=[1]),
        "seen": {1, 2},
        "device": torch.device("cpu"),
        "size": torch.Size([2, 3]),
        "range": range(3),
        "callbacks": {History: {"best": torch.tensor(0.5)}, ("a", 1): complex(1, 2)},
    }
    weights = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.bfloat16)}
    torch.save(
        {"state_dict": weights, **beside},
        tmp_path / "w.pth",
        _use_new_zipfile_serialization=zipped,
    )
    loaded = formats.load(tmp_path / "w.pth")
    assert loaded.wrapper == "state_dict"
    assert_same_bits(loaded.arrays, weights)


def test_whole_modules_and_foreign_tensors_are_refused(tmp_path):
    for value in (torch.nn.Linear(2, 2), {"a": torch.ones(2, 2).to_sparse()}, {"a": torch.ones(2, dtype=torch.cfloat)}):
        torch.save(value, tmp_path / "w.pth")
        with pytest.raises(UserError, match=r"w\.pth"):
            formats.write(tmp_path / "o.pkl", formats.read(tmp_path / "w.pth"))
        assert not (tmp_path / "o.pkl").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_files(tmp_path, zipped):
    torch.save({"a": torch.randn(100)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "w.pth").read_bytes()
    for length in (0, 3, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "w.pth").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"w\.pth"):
            formats.read(tmp_path / "w.pth")


def test_bombs(tmp_path):
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="larger than the file"):
        formats.read(tmp_path / "w.pth")
    torch.save({"a": torch.zeros(1 << 22)}, tmp_path / "v.pth")
    with zipfile.ZipFile(tmp_path / "v.pth") as old, zipfile.ZipFile(tmp_path / "u.pth", "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(UserError, match="compressed"):
        formats.read(tmp_path / "u.pth")


def test_random_damage_never_ends_in_anything_but_a_user_error(tmp_path):
    torch.save({"model": {"a": torch.randn(3, 4), "b": torch.tensor(1)}, "epoch": 3}, tmp_path / "w.pth")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in records if name.endswith("data.pkl"))
    refused = 0
    for _ in range(300):
        data = bytearray(records[pickled])
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        with zipfile.ZipFile(tmp_path / "v.pth", "w") as archive:
            for name, content in records.items():
                archive.writestr(name, bytes(data) if name == pickled else content)
        try:
            formats.read(tmp_path / "v.pth")
        except UserError:
            refused += 1
    assert refused > 50
