"""Parsers of files that come from outside, fed with what nobody thought of: an answer or a UserError, never a crash.

`FUZZ=5000` tries more than the hundred examples of each test.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy_framework import NumpyFramework
from small_run import make_run

from parity import files
from parity.align import trace
from parity.arrays import write_npz
from parity.config.run import load_run
from parity.data import coco
from parity.errors import UserError
from parity.train import checkpoint, record
from parity.train.checkpoint import Position
from parity.weights import formats, pickles

BOUNDED = settings(
    max_examples=int(os.environ.get("FUZZ", "100")), deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)
EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=9), st.integers(0, 40)), min_size=1, max_size=4)


def edited(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    """`data` with pieces replaced: (place, new bytes, how many old ones go)."""
    for place, new, gone in edits:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + gone :]
    return data


def survives(read: Callable[[Path], Any], path: Path) -> Any:
    """What `read` says, or None when it refuses the file as it should."""
    try:
        return read(path)
    except UserError as error:
        assert "\n" not in str(error) and path.name in str(error)
        return None


def made(folder: Path, name: str) -> bytes:
    """The bytes of a small, correct file of each kind."""
    path = folder / name
    if name == "checkpoint.safetensors":
        framework = NumpyFramework()
        framework.build("numpy", {"num_classes": 2})
        framework.make_optimizer("SGD", [])
        saved = checkpoint.save(folder, framework, Position(1, 3), {"seed": 1}, np.ones(9), ema=False)
        return saved.read_bytes()
    if name == "inputs.npz":
        arrays = {"images": np.zeros((1, 3, 4, 4), np.float32), "sizes": np.array([[4, 4]]), "draws/0": np.ones(2)}
        write_npz(path, arrays)
    elif name == "metrics.jsonl":
        lines = [{"kind": "step", "step": 1, "total": 0.5}, {"kind": "epoch", "epoch": 1, "total": 0.5}]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    elif name == "run.yaml":
        path.write_text(yaml.safe_dump(make_run(folder / "data", folder / "init.safetensors")))
    elif name == "annotations.json":
        path.write_text(json.dumps(DOCUMENT))
    else:
        formats.write(path, {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(1)})
    return path.read_bytes()


DOCUMENT = {
    "images": [{"id": 7, "file_name": "b.png", "width": 20, "height": 10}],
    "categories": [{"id": 1, "name": "dog"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 10, 5], "area": 50, "iscrowd": 0}],
}
READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoint.safetensors": checkpoint.read,
    "weights.safetensors": formats.read,
    "weights.pth": formats.read,
    "weights.pkl": formats.read,
    "inputs.npz": lambda path: trace.read_inputs(path, False, 2),
    "metrics.jsonl": record.read_metrics,
    "run.yaml": load_run,
    "annotations.json": lambda path: coco.load(path, None),
}


@pytest.mark.parametrize("name", READERS)
def test_a_correct_file_is_read(tmp_path, name):
    data = made(tmp_path, name)
    (tmp_path / name).write_bytes(data)
    assert survives(READERS[name], tmp_path / name) is not None


@pytest.mark.parametrize("name", READERS)
@BOUNDED
@given(edits=EDITS)
def test_damaged_files(tmp_path_factory, name, edits):
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    path = folder / name
    path.write_bytes(edited(made(folder, name), edits))
    survives(READERS[name], path)


@pytest.mark.parametrize("name", READERS)
@BOUNDED
@given(data=st.binary(max_size=300))
def test_any_bytes(tmp_path_factory, name, data):
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / name
    path.write_bytes(data)
    survives(READERS[name], path)


@BOUNDED
@given(data=st.data())
def test_annotations_of_any_shape(tmp_path_factory, data):
    """One value of a correct document, wherever it stands, becomes anything."""
    document = json.loads(json.dumps(DOCUMENT))
    target: Any = document
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(target[key], (dict, list)) and target[key] and data.draw(st.booleans()):
            target = target[key]
            continue
        target[key] = data.draw(JSON)
        break
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "a.json"
    path.write_text(json.dumps(document))
    dataset = survives(lambda p: coco.load(p, None), path)
    for image in dataset.images.values() if dataset else ():
        assert np.isfinite(image.boxes).all() and len(image.boxes) == len(image.labels)


@BOUNDED
@given(position=JSON, text=st.text(max_size=20))
def test_checkpoints_with_a_true_checksum_and_any_content(tmp_path_factory, position, text):
    arrays = {"model/a": np.zeros(2, np.float32), text or "x": np.zeros(1, np.float32)}
    about = json.dumps({"position": position, "config": position, "lr_sha256": "", "framework": text})
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "step-00000001.safetensors"
    try:
        formats.write(path, arrays, {"checkpoint": about, "sha256": checkpoint._sha256(about, arrays)})
    except UserError:
        return  # a name that safetensors itself does not take
    survives(checkpoint.read, path)


@BOUNDED
@given(field=st.sampled_from(["epoch", "step", "steps", "best", "best_epoch", "running", "origin"]), value=JSON)
def test_positions_of_any_shape(tmp_path_factory, field, value):
    """A position that was read can be worked with."""
    arrays = {"model/a": np.zeros(2, np.float32)}
    position = asdict(Position(1, 3)) | {field: value}
    about = json.dumps({"position": position, "config": {}, "lr_sha256": "", "framework": "numpy"})
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "step-00000003.safetensors"
    formats.write(path, arrays, {"checkpoint": about, "sha256": checkpoint._sha256(about, arrays)})
    found = survives(checkpoint.read, path)
    if found is not None:
        found.position.add(0.5, {"loss": 0.5}, 0.1)
        assert found.position.step >= 1


@BOUNDED
@given(
    lines=st.lists(JSON | st.fixed_dictionaries({"kind": st.sampled_from(["step", "epoch"]), "step": JSON}), max_size=5)
)
def test_logs_of_any_records(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    survives(record.read_metrics, path)
    survives(lambda p: record.MetricsLog(p, 1, 0).close(), path)


@BOUNDED
@given(
    code=st.lists(
        st.sampled_from([bytes([c]) for c in b"}](.0eastu)Rq\x85\x86\x87NI1\nK\x05X\x01\0\0\0ac\x94\x93"]), max_size=40
    )
)
def test_pickles_of_any_opcodes(tmp_path_factory, code):
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "w.pkl"
    path.write_bytes(b"\x80\x02" + b"".join(code) + b".")
    survives(pickles.read_pkl, path)
    survives(formats.read, path)


@BOUNDED
@given(value=JSON)
def test_json_round_trips_or_is_refused(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "a.json"
    try:
        files.write_json(path, value)
    except ValueError:
        assert not path.exists()  # NaN, infinity, lone surrogates
        return
    assert files.read_json(path) == value
