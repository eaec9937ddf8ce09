"""The check: passes where all agree, fails where anything differs, is incomplete where nothing was compared."""

import json

import numpy as np
import pytest

from parity.arrays import write_npz
from parity.errors import UserError
from parity.export import check
from parity.files import write_json

ABOUT = {"model": "rtdetr", "variant": "tiny", "opset": "17", "torch": "2", "onnx": "1", "onnxruntime": "1"}


def annotations(count=4, objects=True):
    images = [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(1, count + 1)]
    box = {"bbox": [8, 8, 30, 30], "area": 900, "iscrowd": 0, "category_id": 1}
    found = [{"id": i, "image_id": i, **box} for i in range(1, count + 1)] if objects else []
    return {"images": images, "annotations": found, "categories": [{"id": 1, "name": "cat"}]}


def detections(count=4, shift=0.0, score=0.9):
    return [{"image_id": i, "category_id": 1, "bbox": [8 + shift, 8, 30, 30], "score": score - i / 100}
            for i in range(1, count + 1)]  # fmt: skip


def raw(queries=(3, 5, 9)):
    """Outputs of three queries on two images; a query's values follow from the place it was picked from."""
    places = np.array([queries, queries], np.int64)
    return {"output/pred_logits": np.sin(places[..., None] + np.arange(2.0)).astype(np.float32),
            "output/pred_boxes": np.cos(places[..., None] + np.arange(4.0)).astype(np.float32),
            "output/topk_ind": places}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """check(...) of a folder in which torch, jittor and onnx agree but for what is given for onnx."""

    def run(document=None, arrays=None, found=None, everyone=None):
        write_json(tmp_path / "val.json", document or annotations())
        for name in ("torch", "jittor", "onnx"):
            mine = name == "onnx"
            write_npz(tmp_path / name / "raw.npz", arrays if mine and arrays is not None else raw())
            given = everyone if everyone is not None else detections()
            write_json(tmp_path / name / "detections.json", found if mine and found is not None else given)
            lines = [json.dumps({"image_id": i, "forward": 0.01 * i, "postprocess": 0.002}) for i in (9, 1, 2, 3)]
            (tmp_path / name / "detections.timing.jsonl").write_text("\n".join(lines) + "\n")
        write_json(tmp_path / "onnx/metadata.json", ABOUT)
        (tmp_path / "m.onnx").write_bytes(bytes(1500))
        return check.check(tmp_path, tmp_path / "val.json", tmp_path / "m.onnx")

    return run


def test_agreement_passes_and_says_how_much_it_compared(folder):
    found = folder()
    assert found.verdict == "pass" and not found.reasons and found.images == 4
    for one in found.against:
        assert (one.tensors, one.images, one.matched, one.unmatched) == (2, 2, 4, 0)
        assert one.largest == one.share == one.ap == 0.0
    assert found.answers["onnx"].milliseconds == pytest.approx(22.0)  # without the first image
    assert found.answers["torch"].metrics["AP"] == pytest.approx(1.0)
    record = json.loads(json.dumps(found.record()))
    assert record["verdict"] == "pass" and record["sides"]["jittor"]["metrics"]["AP"] == pytest.approx(1.0)
    assert (
        "| rtdetr tiny | 17 | 0.0 | 2 of 2 images | 0.0e+00 / 0.0e+00 | 100.00 / 100.00 / 100.00 |"
        in check.markdown(found)
    )
    assert check.text(found).splitlines()[-1].endswith("pass (4 images)")


def test_a_tensor_that_differs_fails_and_is_named(folder):
    arrays = raw()
    arrays["output/pred_boxes"][1, 2, 3] += 0.01
    found = folder(arrays=arrays)
    assert found.verdict == "fail"
    assert all("pred_boxes[1, 2, 3]" in reason for reason in found.reasons) and len(found.reasons) == 2


def test_queries_in_another_order_are_the_same_queries(folder):
    found = folder(arrays=raw((5, 3, 9)))
    assert found.verdict == "pass" and [one.reordered for one in found.against] == [4, 4]


def test_images_with_other_queries_are_left_out_and_without_any_left_it_is_incomplete(folder):
    arrays = raw((3, 5, 9))
    arrays["output/topk_ind"][1, 2] = 7
    found = folder(arrays=arrays)
    assert found.verdict == "pass" and [(one.images, one.left_out) for one in found.against] == [(1, 1)] * 2
    arrays["output/topk_ind"][0, 2] = 7
    found = folder(arrays=arrays)
    assert found.verdict == "incomplete" and found.reasons[0] == "torch: no raw tensor was compared"


def test_other_outputs_fail(folder):
    arrays = raw()
    del arrays["output/pred_boxes"]
    found = folder(arrays=arrays)
    assert found.verdict == "fail" and "raw outputs are output/pred_logits" in found.reasons[0]


def test_an_ap_that_differs_fails(folder):
    found = folder(found=detections(shift=4.0))
    assert found.verdict == "fail" and found.against[0].unmatched == 0
    assert any("AP is" in reason and "in torch 100.00" in reason for reason in found.reasons)


def test_detections_without_a_partner_fail(folder):
    extra = [{"image_id": 1, "category_id": 1, "bbox": [40, 40, 9, 9], "score": 0.01}]
    found = folder(found=detections() + extra)
    assert found.verdict == "fail" and found.reasons[0] == "torch: 1 of 5 detections have no partner"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"document": annotations(objects=False)}, "AP is not defined: no object is annotated"),
        ({"everyone": []}, "no detections in 4 images: nothing was compared"),
        ({"everyone": detections(shift=40.0)}, "AP50 is 0.0: where next to nothing is detected"),
    ],
    ids=["no objects", "no detections", "untrained"],
)
def test_comparing_nothing_is_incomplete(folder, given, reason):
    found = folder(**given)
    assert found.verdict == "incomplete" and any(reason in text for text in found.reasons)


def test_a_failure_outweighs_what_is_open(folder):
    arrays = raw()
    arrays["output/pred_boxes"] += 1
    assert folder(arrays=arrays, everyone=[]).verdict == "fail"


def test_a_side_that_did_not_answer_is_an_error(folder, tmp_path):
    folder()
    (tmp_path / "jittor/raw.npz").unlink()
    with pytest.raises(UserError, match=r"jittor/raw\.npz"):
        check.check(tmp_path, tmp_path / "val.json", tmp_path / "m.onnx")


def test_values_that_are_not_numbers_are_no_agreement(folder):
    arrays = raw()
    arrays["output/pred_logits"][0, 0, 0] = np.nan
    found = folder(arrays=arrays)
    assert found.verdict == "fail" and "pred_logits[0, 0, 0]" in found.reasons[0]
