"""Weight files between this project and Jittor's own `save` and `load`."""

import numpy as np
import pytest

from jittor_impl.runtime import jt
from parity.weights import formats

ARRAYS = {
    "conv.weight": np.random.default_rng(0).standard_normal((2, 3, 1, 1)).astype(np.float32),
    "norm.running_var": np.ones(2, np.float32),
    "norm.num_batches_tracked": np.array(3, np.int32),
    "half": np.array([1.5, -2], np.float16),
    "flags": np.array([True, False]),
}


def as_lists(arrays: dict) -> dict:
    return {name: np.asarray(value).ravel().tolist() for name, value in arrays.items()}


def test_files_of_jittor_save_are_read(tmp_path):
    """Vars travel as Var(<array>); 0-d values have become [1] inside Jittor."""
    jt.save({name: jt.array(array) for name, array in ARRAYS.items()}, str(tmp_path / "w.pkl"))
    back = formats.read(tmp_path / "w.pkl")
    assert as_lists(back) == as_lists(ARRAYS)
    assert {name: array.dtype for name, array in back.items()} == {name: a.dtype for name, a in ARRAYS.items()}
    assert back["norm.num_batches_tracked"].shape == (1,) and back["conv.weight"].shape == (2, 3, 1, 1)


def test_a_module_saved_by_jittor_is_read(tmp_path):
    module = jt.nn.Sequential(jt.nn.Conv2d(3, 4, 3), jt.nn.BatchNorm2d(4))
    module.save(str(tmp_path / "w.pkl"))
    back = formats.read(tmp_path / "w.pkl")
    assert set(back) == set(module.state_dict())
    assert all(np.array_equal(back[name], var.numpy()) for name, var in module.state_dict().items())


def test_jittor_loads_the_pkl_that_we_write(tmp_path):
    formats.write(tmp_path / "w.pkl", ARRAYS)
    loaded = jt.load(str(tmp_path / "w.pkl"))
    assert list(loaded) == list(ARRAYS)
    assert all(loaded[name].tobytes() == array.tobytes() for name, array in ARRAYS.items())
    (tmp_path / "w.pkl").write_bytes((tmp_path / "w.pkl").read_bytes().replace(b"conv", b"vnoc"))
    with pytest.raises(ValueError, match="checksum"):
        jt.load(str(tmp_path / "w.pkl"))


def test_jittor_loads_the_pth_that_we_write(tmp_path):
    formats.write(tmp_path / "w.pth", ARRAYS)
    loaded = jt.load(str(tmp_path / "w.pth"))
    assert as_lists({name: var.numpy() for name, var in loaded.items()}) == as_lists(ARRAYS)


def test_a_module_takes_what_was_converted(tmp_path):
    module = jt.nn.Conv2d(3, 4, 3)
    values = {name: np.random.default_rng(1).standard_normal(var.shape) for name, var in module.state_dict().items()}
    formats.write(tmp_path / "w.pth", {name: value.astype(np.float32) for name, value in values.items()})
    module.load_parameters(formats.read(tmp_path / "w.pth"))
    assert all(np.allclose(var.numpy(), values[name], rtol=1e-7) for name, var in module.state_dict().items())
