"""How the dataset's rule is fed: downloads only where asked for, and no other name for the same data."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile

import pytest

COCO = "source: coco, name: c, num_classes: 80, max_category_id: 90, coco: {root: nowhere/coco}"
TARGET = "results/rtdetr/preview.png"


def made(project, *arguments: str) -> tuple[dict[str, int], str]:
    """(jobs, folder of the dataset) of a dry run."""
    text = project.snakemake("-n", TARGET, *arguments).stdout
    folder = next(word for word in text.split() if word.startswith("results/data/") and "manifest.json" in word)
    return project.jobs(TARGET, *arguments), folder.rstrip(",;.")


def test_nothing_is_fetched_unless_asked_for(empty_project):
    plain, folder = made(empty_project, "--config", f"data={{{COCO}}}")
    assert plain == {"dataset": 1, "preview": 1}
    assert made(empty_project, "--config", f"data={{{COCO}, download: false}}") == (plain, folder)
    asked = made(empty_project, "--config", f"data={{{COCO}, download: true}}")
    assert asked == ({"download": 1} | plain, folder)


def test_a_dataset_that_is_there_does_not_care_where_it_came_from(project):
    data = f"data={{{COCO}}}"
    fetching = f"data={{{COCO}, download: true}}"
    folder = project.folder / made(project, "--config", data)[1]
    marker = folder.parent.with_suffix(".downloaded")
    assert project.snakemake(str(folder.relative_to(project.folder)), "--config", data).returncode == 0
    assert "dataset" not in project.jobs(TARGET, "--config", fetching)
    assert not {"dataset", "download"} & set(project.jobs(TARGET, "--config", fetching))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("source: synthetic", "source synthetic has no official place"),
        ("source: coco", "data.coco.root: is not set"),
        ("source: voc, voc: {root: data/mine}", "a folder called VOC2007 or VOC2012"),
    ],
)
def test_what_cannot_be_fetched_is_refused_at_once(empty_project, data, words):
    run = empty_project.snakemake("-n", TARGET, "--config", f"data={{{data}, download: true}}")
    assert run.returncode == 2 and words in run.stdout and "Traceback" not in run.stdout


def test_a_download_that_fails_says_why(project):
    mirror = (
        "{val2017.zip: {url: 'http://127.0.0.1:9/v.zip'}, annotations_trainval2017.zip: {url: 'ftp://127.0.0.1/a.zip'}}"
    )
    run = project.snakemake(TARGET, "--config", f"data={{{COCO}, download: true, archives: {mirror}}}")
    assert run.returncode != 0
    assert "ftp://127.0.0.1/a.zip: expected an http, https or file URL" in run.stdout
    assert not list(project.folder.glob("results/data/*.downloaded"))


def test_what_was_fetched_is_there_and_stays_when_nothing_is_fetched_any_more(project, tmp_path):
    archives = {}
    for name, member in (
        ("annotations_trainval2017.zip", "annotations/instances_val2017.json"),
        ("val2017.zip", "val2017/1.jpg"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, "{}")
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        archives[name] = {"url": (tmp_path / name).as_uri(), "sha256": digest}
    source = {"root": "nowhere/coco", "annotations": {"train": None}, "train_images": 5}
    data = {"source": "coco", "name": "c", "num_classes": 80, "max_category_id": 90, "coco": source}
    plain, fetching = tmp_path / "plain.yaml", tmp_path / "fetching.yaml"
    plain.write_text(json.dumps({"data": data}))
    fetching.write_text(json.dumps({"data": data | {"download": True, "archives": archives}}))
    jobs, manifest = made(project, "--configfile", str(fetching))
    assert jobs == {"download": 1, "dataset": 1, "preview": 1}
    run = project.snakemake(manifest, "--configfile", str(fetching))
    assert run.returncode == 0, run.stdout
    root = project.folder / "nowhere/coco"
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert files == ["annotations/instances_val2017.json", "val2017/1.jpg"]
    for file in (fetching, plain):
        assert project.jobs(manifest, "--configfile", str(file)) == {}


def sweep(project, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "workflow/scripts/sweep.py", "--model", "rtdetr", *arguments]
    return subprocess.run(command, cwd=project.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_sweep_is_a_dry_run_of_every_size(project, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"data: {{{COCO}, subset: [100, 50]}}\nepochs: 3\n")
    run = sweep(project, "--", "--cores", "1", "-n", "--configfile", str(file), "--quiet", "rules")
    assert run.returncode == 0, run.stdout
    lines = [line for line in run.stdout.splitlines() if line.startswith("sweep: ")]
    assert lines == [f"sweep: rtdetr on {size} training images" for size in (50, 100)]
    names = set()
    for size in (50, 100):
        overlay = project.folder / f"results/rtdetr/sweep/{size}.yaml"
        assert json.loads(overlay.read_text()) == {"data": {"subset": [size]}}
        jobs, folder = made(project, "--configfile", str(file), str(overlay))
        assert jobs == {"dataset": 1, "preview": 1}
        names.add(folder)
        by_hand = tmp_path / "by_hand.yaml"
        by_hand.write_text(f"data: {{{COCO.replace('coco}', f'coco, train_images: {size}}}')}}}\n")
        assert made(project, "--configfile", str(by_hand))[1] == folder
    assert len(names) == 2
    several = project.snakemake("-n", TARGET, "--configfile", str(file))
    assert several.returncode == 2 and "data.subset: [100, 50] are several sizes" in several.stdout


def test_a_sweep_keeps_the_report_of_every_size_and_shares_the_weights(project):
    run = sweep(project, "--sizes", "3", "2", "--", "--cores", "2")
    assert run.returncode == 0, run.stdout
    reports = project.folder / "results/rtdetr"
    for size in (2, 3):
        kept = reports / f"sweep/{size}"
        assert (kept / "report.md").exists() and os.listdir(kept / "figures") and os.listdir(kept / "tables")
    # One for each size, and the images on which the same weights are compared: those are of no size.
    assert len(list((project.folder / "results/data").glob("*/manifest.json"))) == 3
    assert len(list(reports.glob("weights/*/init.safetensors"))) == 1
    assert len(list(reports.glob("runs/*/*/run.json"))) == 4


@pytest.mark.parametrize("sizes", [[], ["0"], ["5", "5"]])
def test_sizes_that_are_none_are_refused(project, sizes):
    run = sweep(project, "--sizes", *sizes, "--", "-n")
    assert run.returncode == 2 and run.stdout.startswith("error: data.subset: ") and "Traceback" not in run.stdout


def test_ids_of_a_file_are_part_of_the_name(project):
    listed = project.folder / "ids.txt"
    data = f"data={{{COCO.replace('coco}', 'coco, train_ids: ids.txt}')}}}"
    listed.write_text("1\n2\n")
    first = made(project, "--config", data)
    assert made(project, "--config", data) == first
    listed.write_text("1\n3\n")
    assert made(project, "--config", data)[1] != first[1]
    listed.unlink()
    run = project.snakemake("-n", TARGET, "--config", data)
    assert run.returncode == 2 and "ids.txt: cannot be read" in run.stdout


def test_a_source_that_was_changed_makes_the_dataset_again_and_only_then(project):
    """The stand-in makes no record of its sources, so one is put beside its dataset."""
    root = project.folder / "mine"
    root.mkdir()
    (root / "train.json").write_text("{}")
    data = "data={source: coco, name: c, num_classes: 2, coco: {root: mine}}"
    manifest = project.folder / made(project, "--config", data)[1]
    assert project.snakemake(str(manifest.relative_to(project.folder)), "--config", data).returncode == 0
    kept = manifest.with_name(".sources.json")
    about = root.joinpath("train.json").stat()
    digest = hashlib.sha256(b"{}").hexdigest()
    record = {"root": "mine", "answers": "first", "folders": {}}
    kept.write_text(json.dumps(record | {"files": {"train.json": [about.st_size, about.st_mtime_ns, digest]}}))
    assert "dataset" not in project.jobs(TARGET, "--config", data)
    os.utime(root / "train.json", ns=(0, 0))  # touched, not changed
    assert "dataset" not in project.jobs(TARGET, "--config", data)
    (root / "train.json").write_text("{ }")
    assert project.jobs(TARGET, "--config", data)["dataset"] == 1
    assert "train.json was changed since" in project.snakemake("-n", TARGET, "--config", data).stdout
