"""Files as onnxruntime computes them: any batch, any size, both kinds of outputs, all four models."""

import json

import numpy as np
import pytest
import torch
from small_models import CLASSES, MODELS, images, small

onnx = pytest.importorskip("onnx", reason="onnx is in the environment of `make export` only")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is in the environment of `make export` only")

from parity import framework  # noqa: E402
from parity.compare.agreement import agreement  # noqa: E402
from parity.detect.model import Detector  # noqa: E402
from parity.errors import UserError  # noqa: E402
from parity.export import contract  # noqa: E402
from parity.export.session import Session  # noqa: E402
from parity.framework import Batch  # noqa: E402
from torch_impl.export.graph import graph  # noqa: E402
from torch_impl.export.heads import HEADS, RawOutputs  # noqa: E402
from torch_impl.export.operators import BestPlaces, ClassNMS, TopK  # noqa: E402


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tmp_path_factory):
    """(name, model, {outputs: file}) with any batch and size."""
    torch.set_num_threads(1)
    model, config = small(request.param)
    labels = {key if config.label_space == "coco_id" else i: key for i, key in enumerate(CLASSES)}
    folder, files = tmp_path_factory.mktemp(request.param), {}
    weights = folder / "last.safetensors"
    for outputs in (contract.DETECTIONS, contract.RAW):
        about = contract.metadata(
            Detector(config, weights, labels, CLASSES), outputs, None, None, "0" * 64, "jittor", {"torch": "2"}
        )
        files[outputs] = folder / f"{outputs}.onnx"
        files[outputs].write_bytes(graph(request.param, model, outputs == contract.DETECTIONS, None, None, about))
    return request.param, model, files


@pytest.mark.parametrize(("batch", "size"), [(1, (160, 224)), (3, (64, 96)), (2, (128, 128))])
@torch.no_grad()
def test_any_batch_and_size(exported, batch, size):
    name, model, files = exported
    given = images(batch, *size)
    arrays = Batch(given[0].numpy(), given[1].numpy())
    head = RawOutputs(HEADS[name](model))
    values = head(*given)
    raw = dict(zip(head.names, values, strict=True))
    found = Session(files[contract.RAW], 1).run(arrays)
    assert list(found) == list(raw)
    for key, expected in raw.items():
        assert found[key].shape == tuple(expected.shape)
        largest = max(1.0, float(expected.abs().max()))
        np.testing.assert_allclose(found[key], expected.numpy(), rtol=0, atol=1e-4 * largest)
    expected = [
        framework.Detections(*(part.numpy() for part in image)) for image in model.detect(model(*given), given[1])
    ]
    found = Session(files[contract.DETECTIONS], 1).predict(arrays)
    agree = agreement(entries(found), entries(expected), batch)
    # Of hundreds of overlapping boxes of noise, rounding decides which of two stands: one of an image at most.
    assert agree.matched >= 10 * batch and max(agree.first_only, agree.second_only) <= batch
    assert agree.score < 1e-4 and agree.box < 0.05


def entries(found):
    """Detections in COCO's format of results."""
    return [
        {"image_id": i, "category_id": int(label), "score": float(score), "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for i, image in enumerate(found)
        for (x1, y1, x2, y2), score, label in zip(image.boxes.tolist(), image.scores, image.labels, strict=True)
    ]


def test_the_file_says_what_it_is(exported):
    name, _, files = exported
    session = Session(files[contract.DETECTIONS])
    about = session.metadata
    assert (about["model"], about["variant"], about["outputs"], about["opset"]) == (name, "tiny", "detections", "17")
    assert [entry["name"] for entry in json.loads(about["classes"])] == ["cat", "犬"]
    assert about["trained_by"] == "jittor" and about["batch"] == about["size"] == "any"
    assert onnx.load(files[contract.RAW]).opset_import[0].version == contract.OPSET
    wanted = {"images"} | ({"sizes"} if name == "detr" else set())  # only DETR looks at the padding
    assert Session(files[contract.RAW]).inputs == wanted and session.inputs == {"images", "sizes"}


def test_axes_are_named_or_of_their_length(exported):
    _, _, files = exported
    shapes = {o.name: o.shape for o in ort.InferenceSession(str(files[contract.DETECTIONS])).get_outputs()}
    most = shapes["scores"][1]
    assert shapes == {"boxes": ["batch", most, 4], "scores": ["batch", most], "labels": ["batch", most],
                      "counts": ["batch"]}  # fmt: skip
    assert isinstance(most, int)
    for output in ort.InferenceSession(str(files[contract.RAW])).get_outputs():
        assert output.shape[0] == "batch" and any(isinstance(n, int) for n in output.shape)


def test_the_same_model_gives_the_same_bytes():
    model, _ = small("detr")
    first, again = (graph("detr", model, True, None, None, {"a": "1"}) for _ in range(2))
    assert first == again
    assert not model.training


def test_a_fixed_batch_takes_fewer_images_and_no_more(tmp_path):
    model, config = small("rtdetr")
    about = contract.metadata(
        Detector(config, tmp_path / "w.pth", {0: 1, 1: 3}, CLASSES), contract.RAW, 2, (64, 64), "0" * 64, None, {}
    )
    (tmp_path / "raw.onnx").write_bytes(graph("rtdetr", model, False, 2, (64, 64), about))
    session = Session(tmp_path / "raw.onnx", 1)
    assert session.session.get_inputs()[0].shape == [2, 3, 64, 64]
    given = images(3, 64, 64)
    one = session.run(Batch(given[0][:1].numpy(), given[1][:1].numpy()))
    assert one["pred_logits"].shape[0] == 1
    with pytest.raises(UserError, match="a batch of 3 images does not fit the file, which takes 2"):
        session.run(Batch(given[0].numpy(), given[1].numpy()))
    with pytest.raises(UserError, match="holds raw outputs"):
        session.predict(Batch(given[0].numpy(), given[1].numpy()))


def test_more_queries_than_places_is_one_line():
    model, _ = small("rtdetr", num_queries=50)
    with pytest.raises(UserError, match="num_queries: 50 queries cannot be picked from 21 positions"):
        graph("rtdetr", model, True, None, (32, 32), {})


class Operators(torch.nn.Module):
    """The operators alone, with arguments of the tests."""

    def forward(self, values, boxes, scores):
        places = BestPlaces.apply(values, 3)
        return places, BestPlaces.apply(values, 8), *TopK.apply(values, 4), ClassNMS.apply(boxes, scores, 3, 0.5, 0.3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_operators_order_equal_values_as_pytorch_does(tmp_path):
    """Scores of a few levels only, many boxes on each other: every tie that there is."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 4, (2, 30, 2), generator=generator).float() * 8
    boxes = torch.cat([corner, corner + 8 * torch.randint(1, 3, (2, 30, 2), generator=generator)], 2)
    scores = torch.randint(0, 5, (2, 3, 30), generator=generator).float() / 5
    values = torch.tensor([[0.5, 0.9, 0.5, 0.1, 0.9, 0.5, 0.2, 0.1]])
    given = {"values": values, "boxes": boxes, "scores": scores}
    torch.onnx.export(Operators(), tuple(given.values()), str(tmp_path / "o.onnx"), dynamo=False,
                      opset_version=contract.OPSET, input_names=list(given))  # fmt: skip
    session = ort.InferenceSession(str(tmp_path / "o.onnx"))
    found = session.run(None, {key: value.numpy() for key, value in given.items()})
    expected = Operators()(*given.values())
    assert len(expected[4]) == 18  # the limit cut every class of both images
    for a, b in zip(found, expected, strict=True):
        assert a.tolist() == b.tolist()


def test_a_file_of_another_program_is_one_line(tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"no")
    with pytest.raises(UserError, match=r"no\.onnx: onnxruntime cannot read it"):
        Session(tmp_path / "no.onnx")
    model, _ = small("detr")
    (tmp_path / "bare.onnx").write_bytes(graph("detr", model, False, None, None, {}))
    with pytest.raises(UserError, match=r"bare\.onnx: has no metadata of an exported model"):
        Session(tmp_path / "bare.onnx")
