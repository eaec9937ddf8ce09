"""The steps of `make reproduce`: the images, the run's configuration, the report, the table over the zoo."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def step(*words) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "workflow/scripts/reproduce.py", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


@pytest.fixture
def coco(tmp_path) -> Path:
    """Twelve images with one object each, in COCO's layout. No image file is read."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    (folder / "val2017").mkdir()
    images = [{"id": 3 * i, "file_name": f"{i}.jpg", "width": 64, "height": 64} for i in range(1, 13)]
    box = {"bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0, "category_id": 1, "segmentation": [[1, 2, 3, 4, 5, 6]]}
    annotations = [box | {"id": image["id"], "image_id": image["id"]} for image in images]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "box"}]}
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def data(coco, tmp_path) -> Path:
    assert step("data", "--coco", coco, "--out", tmp_path / "val").returncode == 0
    return tmp_path / "val"


def test_the_whole_split(data, coco):
    document = json.loads((data / "annotations/val.json").read_text())
    assert len(document["images"]) == len(document["annotations"]) == 12
    assert not any("segmentation" in annotation for annotation in document["annotations"])
    assert (data / "images/val").resolve() == (coco / "val2017").resolve()
    about = json.loads((data / "about.json").read_text())
    assert about["whole"] is True and about["images"] == 12


def test_a_part_is_drawn_by_the_seed_and_keeps_its_objects(coco, tmp_path):
    chosen = []
    for name in ("a", "b"):
        assert step("data", "--coco", coco, "--images", 5, "--out", tmp_path / name).returncode == 0
        document = json.loads((tmp_path / name / "annotations/val.json").read_text())
        chosen.append([image["id"] for image in document["images"]])
        assert {annotation["image_id"] for annotation in document["annotations"]} == set(chosen[-1])
    assert chosen[0] == chosen[1] and len(set(chosen[0])) == 5
    assert json.loads((tmp_path / "a/about.json").read_text())["whole"] is False


def test_what_is_asked_for_and_not_there_is_one_line(coco, tmp_path):
    for words, message in (
        (("data", "--coco", coco, "--images", 13, "--out", tmp_path / "o"), "IMAGES=13: "),
        (("data", "--coco", tmp_path, "--out", tmp_path / "o"), "no such folder; COCO has to hold"),
        (
            ("take", "--model", "detr", "--variant", "r51", "--folder", tmp_path, "--out", tmp_path / "o"),
            "'r51' of detr",
        ),
    ):
        answer = step(*words)
        assert answer.returncode == 2 and message in answer.stderr and answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "variant", "classes", "size"), [("nanodet", "plus-m_416", 80, 416), ("detr", "r50", 91, 800)]
)
def test_the_run_is_the_official_one_on_these_images(data, tmp_path, model, variant, classes, size):
    words = ["run", "--model", model, "--variant", variant, "--framework", "jittor", "--weights", "w.pkl"]
    answer = step(*words, "--data", data, "--device", "cpu", "--threads", 1, "--out", tmp_path / "run.yaml")
    assert answer.returncode == 0, answer.stderr
    run = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert run["options"]["num_classes"] == classes and run["preprocess"]["size"] == size
    assert run["data"]["root"] == str(data) and run["weights"] == "w.pkl" and run["variant"] == variant


@pytest.fixture
def reported(data, tmp_path) -> Path:
    """A report of two frameworks; the second misses one of the twelve objects."""
    pairs = []
    for name, missed in (("torch", 0), ("jittor", 1)):
        folder = tmp_path / name
        folder.mkdir()
        found = [{"image_id": 3 * i, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9} for i in range(1, 13)]
        (folder / "detections.json").write_text(json.dumps(found[missed:]))
        line = json.dumps({"image_id": 3, "preprocess": 0.001, "forward": 0.02, "postprocess": 0.003})
        (folder / "detections.timing.jsonl").write_text(f"{line}\n" * 12)
        pairs.append(f"{name}={folder / 'detections.json'}")
    origin = {"input": "w.ckpt", "input_sha256": "ab" * 32, "wrapper": "state_dict", "taken": 645, "filled": {}}
    origin |= {"drawn": ["aux_fpn.a", "aux_head.z"], "unused_source": []}
    (tmp_path / "init.json").write_text(json.dumps({"pretrained": origin}))
    out = tmp_path / "results/nanodet/reproduce/plus-m_320/report.md"
    words = ["report", "--model", "nanodet", "--variant", "plus-m_320", "--data", data, "--device", "cpu"]
    answer = step(*words, "--weights-report", tmp_path / "init.json", "--out", out, *pairs)
    assert answer.returncode == 0, answer.stderr
    return out


def test_the_report_says_what_was_compared(reported):
    page = reported.read_text()
    assert "| AP | 27.0 | 100.00 | 91.09 | -8.911 |" in page
    assert "said on the whole of val2017 only" in page  # twelve images are not val2017
    assert "11 pairs of detections" in page and "1 without a partner" in page
    assert "2 tensors of the part that only training uses" in page and "| Jittor | 1.0 | 20.0 | 3.0 |" in page
    result = json.loads(reported.with_name("result.json").read_text())
    assert set(result["frameworks"]["jittor"]["metrics"]) == set(METRICS)


def test_the_table_over_the_zoo_has_a_row_for_every_variant(reported, tmp_path):
    answer = step("zoo", "--folder", "w", "--out", tmp_path / "zoo.md", reported.with_name("result.json"))
    assert answer.returncode == 0, answer.stderr
    rows = [line for line in (tmp_path / "zoo.md").read_text().splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 14
    assert sum("is not in w" in row for row in rows) == 13
    assert any("plus-m_320" in row and "100.00 | 91.09 | -8.911" in row for row in rows)


def test_the_dag_evaluates_in_both_frameworks_and_trains_nothing(coco, tmp_path):
    """A dry run in the project itself, with a file of weights that is given."""
    (tmp_path / "w.pth").touch()
    asked = json.dumps({"coco": str(coco), "weights": str(tmp_path / "w.pth")})
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "-s", ROOT / "Snakefile", "-d", tmp_path / "d"]
    words = ["results/nanodet/reproduce/report.md", "--config", "variant=plus-m_320", f"reproduce={asked}"]
    answer = subprocess.run([*map(str, command), *words], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", answer.stdout + answer.stderr, re.M))
    once = ("reproduce_data", "reproduce_source", "reproduce_weights", "reproduce_convert", "reproduce_report")
    twice = {"reproduce_config": "2", "reproduce_predict": "2"}
    assert jobs == dict.fromkeys((*once, "publish_reproduced"), "1") | twice | {"total": "10"}
