"""`continue_from` makes runs of their own, and nothing else again."""

import re

import yaml


def test_a_continued_run_is_another_run(done_project):
    source = next((done_project.folder / "results/rtdetr/runs/torch").iterdir()).relative_to(done_project.folder)
    assert done_project.jobs("--config", "checkpoint_minutes=3", "keep_checkpoints=5").get("train", 0) == 0
    jobs = done_project.jobs("--config", f"continue_from={source}")
    assert (jobs["run_config"], jobs["train"]) == (2, 2)
    assert not {"dataset", "weights", "probe", "profile"} & set(jobs)
    shown = done_project.snakemake("-n", "-p", "--config", f"continue_from={source}").stdout
    assert f'"continue_from": "{source}"' in shown
    assert set(re.findall(r"runs/torch/(e\w+-\w+-s0)/train.log", shown)).isdisjoint({source.name})


def test_a_folder_that_is_not_there_is_refused_before_anything_runs(empty_project):
    run = empty_project.snakemake("-n", "--config", "continue_from=results/nowhere")
    assert run.returncode == 2
    assert "error: config: continue_from: 'results/nowhere' is not there, expected a run's folder" in run.stdout


def test_what_a_run_is_told(project):
    (project.folder / "elsewhere").mkdir()
    wanted = project.snakemake("-n", "--config", "continue_from=elsewhere").stdout
    target = re.search(r"results/rtdetr/runs/jittor/e\w+-\w+-s0/run.yaml", wanted)[0]
    run = project.snakemake(target, "--config", "continue_from=elsewhere", "checkpoint_minutes=3", "keep_checkpoints=5")
    assert run.returncode == 0, run.stdout
    told = yaml.safe_load((project.folder / target).read_text())
    assert (told["continue_from"], told["checkpoint_minutes"], told["keep_checkpoints"]) == ("elsewhere", 3, 5)
