"""How the dataset's rule is fed: downloads only where asked for, and no other name for the same data."""

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
