"""What a file says of itself: the numbers of its preprocessing are those that preprocessing computes with."""

import json

import numpy as np
import pytest

from parity.config.models import model_config, model_names
from parity.data.transforms import make_preprocess
from parity.detect.model import Detector
from parity.errors import UserError
from parity.export import contract

PREPROCESS = [
    {"kind": "square", "size": 64},
    {"kind": "square", "size": 64, "normalize": True},
    {"kind": "square", "size": 64, "normalize": "bgr"},
    {"kind": "short_side", "size": 64, "max_size": 96},
    {"kind": "keep_ratio", "size": 64, "max_size": 96, "pad_multiple": 32},
]


@pytest.mark.parametrize("settings", PREPROCESS, ids=str)
def test_the_numbers_give_the_values_of_the_network(settings):
    """Every grey value in each channel, through JSON and back: the same bits."""
    preprocess = make_preprocess(settings)
    image = np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=1)[None] ^ np.uint8([[[0, 85, 170]]])
    how = json.loads(json.dumps(contract.describe(preprocess)))
    pixels = image[:, :, ::-1] if how["channels"] == "BGR" else image
    values = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(how["divide"])
    values = values - np.float32(how["mean"])[:, None, None]
    scale = np.float32(how["factor"] if "factor" in how else how["deviation"])[:, None, None]
    found = values * scale if "factor" in how else values / scale
    assert np.array_equal(found, preprocess.finish(image))


@pytest.mark.parametrize("model", model_names())
def test_metadata_is_text_that_names_every_class(model, tmp_path):
    config = model_config(model, None, 4)
    detector = Detector(config, tmp_path / "ema.safetensors", {0: 1, 1: 3}, {1: "cat", 3: "犬"})
    about = contract.metadata(detector, contract.RAW, None, (160, 128), "f" * 64, "jittor", {"torch": "2.13.0"})
    assert all(isinstance(value, str) for value in about.values())
    assert json.loads(about["classes"]) == [{"label": 0, "id": 1, "name": "cat"}, {"label": 1, "id": 3, "name": "犬"}]
    assert about["size"] == "160x128" and about["batch"] == "any" and about["weights"] == "ema.safetensors"
    assert about["size_multiple"] == ("32" if model == "nanodet" else "1") and about["torch"] == "2.13.0"


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_batch_that_is_none(text):
    with pytest.raises(UserError, match=f"BATCH: '{text}', expected a number of images from 1 on, or any"):
        contract.batch_of(text)


def test_batches_and_sizes():
    assert contract.batch_of("any") is None and contract.batch_of("4") == 4
    assert contract.size_of("any", model_config("detr", "r50")) is None
    assert contract.size_of("fixed", model_config("nanodet", "plus-m_416")) == (416, 416)
    with pytest.raises(UserError, match="SIZE: '640', expected any or fixed"):
        contract.size_of("640", model_config("rtdetr"))
    with pytest.raises(
        UserError, match="SIZE: fixed does not fit gfocalv2 r50_fpn, whose images keep their proportions"
    ):
        contract.size_of("fixed", model_config("gfocalv2", "r50_fpn"))


def test_names_of_files():
    assert contract.file_name("nanodet", "plus-m_320", contract.DETECTIONS) == "nanodet-plus-m_320.onnx"
    assert contract.file_name("detr", "r50", contract.RAW) == "detr-r50-raw.onnx"
