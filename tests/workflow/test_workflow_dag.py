"""Which jobs each change triggers, asserted on dry runs."""

import json
import os
import re
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from parity.align.files import NUDGED, NUDGED_ANCHORS

ROOT = Path(__file__).resolve().parents[2]

REPORT = {"collect": 1, "figures": 1, "report": 1}
CROSS = {"cross_config": 4, "cross_predict": 4, "cross_evaluate": 4}
STEPS = {"steps_config": 2, "take_steps": 2, "whole_run": 1}
LADDER = {"align": 1, "publish_alignment": 1}
STOCK = {"stock_config": 1, "probe_stock": 1, "align_stock": 1}
ALIGN = {"align_config": 2, "probe": 1, "probe_other": 1, **LADDER, "gate": 1, **STOCK}
DEFAULT = {
    "dataset": 1,
    "cross_dataset": 1,
    "weights": 1,
    "convert": 1,
    "publish_weights": 1,
    **ALIGN,
    "run_config": 2,
    "train": 2,
    **STEPS,
    **CROSS,
    "profile_config": 3,
    "profile": 12,
    "publish_profile": 1,
    **REPORT,
}


def resumed(metrics) -> list[bool]:
    """For every start of a run: did it find a checkpoint?"""
    return [json.loads(line)["resumed"] for line in metrics.read_text().splitlines()]


@contextmanager
def edited(project, name: str, text: str = "\nEDITED = True\n"):
    """A file of the project with `text` added, as long as the block lasts."""
    path = project.folder / name
    before = path.read_text()
    path.write_text(before + text)
    try:
        yield
    finally:
        path.write_text(before)


def test_from_nothing_everything_is_made_once(empty_project):
    assert empty_project.jobs("results/rtdetr/report.md") == DEFAULT


def test_all_makes_every_report_and_the_summary(empty_project):
    twice = {rule: 2 * count for rule, count in DEFAULT.items()} | {"dataset": 1, "cross_dataset": 1}
    assert empty_project.jobs("all") == twice | {"summary": 1}
    assert empty_project.jobs("all", "--config", "models=rtdetr") == DEFAULT | {"summary": 1}
    assert empty_project.jobs("--config", "default_model=fakedet") == DEFAULT


def test_naming_models_keeps_what_a_file_changes_in_them(done_project, tmp_path):
    overlay = tmp_path / "model.yaml"
    overlay.write_text("models: {rtdetr: {train: {batch_size: 4}}}\n")
    arguments = ("results/rtdetr/report.md", "--configfile", str(overlay))
    assert done_project.jobs(*arguments, "--config", "models=rtdetr,fakedet") == done_project.jobs(*arguments)
    assert done_project.jobs(*arguments)["train"] == 2


def test_one_framework_needs_nothing_of_the_other(empty_project):
    jobs = empty_project.jobs("--config", "framework=jittor")
    assert jobs == {
        "dataset": 1,
        "weights": 1,
        "convert": 1,
        "publish_weights": 1,
        "align_config": 1,
        "probe": 1,
        **LADDER,
        "gate": 1,
        **STOCK,
        "run_config": 1,
        "train": 1,
        "profile_config": 2,
        "profile": 8,
        "publish_profile": 1,
        **REPORT,
    }
    text = empty_project.snakemake("-n", "-p", "--config", "framework=jittor").stdout
    assert ".venvs/jittor-" in text
    assert ".venvs/torch-" not in text


def test_torch_alone_converts_nothing(empty_project):
    jobs = empty_project.jobs("--config", "framework=torch")
    assert "convert" not in jobs
    assert jobs["profile"] == 4


@pytest.mark.parametrize("seeds", ["seeds=0,1,2", "seeds=[0,1,2]"])
def test_every_seed_is_a_run_of_each_framework(empty_project, seeds):
    jobs = empty_project.jobs("--config", seeds)
    assert (jobs["weights"], jobs["train"], jobs["cross_predict"], jobs["profile"]) == (3, 6, 12, 12)


def test_a_finished_report_is_left_alone(done_project):
    assert done_project.jobs("results/rtdetr/report.md") == {}


def test_epochs_retrain_both_and_measure_nothing_again(done_project):
    assert done_project.jobs("--config", "epochs=3") == {
        **ALIGN,
        "run_config": 2,
        "train": 2,
        **STEPS,
        **CROSS,
        **REPORT,
    }


def test_one_framework_afterwards_only_changes_the_report(done_project):
    kept = {"publish_profile": 1, "align_config": 1, "probe": 1, **LADDER}
    assert done_project.jobs("--config", "framework=jittor") == kept | STOCK | REPORT
    assert done_project.jobs("--config", "framework=torch") == kept | {"publish_weights": 1} | REPORT


def test_another_seed_trains_and_keeps_the_profile(done_project):
    jobs = done_project.jobs("--config", "seeds=3")
    assert jobs["train"] == 2
    assert "profile" not in jobs


OVERRIDES = re.findall(
    r"^\| `([^`]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", (ROOT / "config/README.md").read_text(), re.M
)


def test_the_table_of_overrides_names_every_promised_one():
    names = {re.split("[=]", override)[0] for override, *_ in OVERRIDES}
    promised = {"framework", "frameworks", "epochs", "seeds", "variant", "device", "threads", "results"}
    assert promised <= names and {"evaluate", "profile", "figures", "margins", "report", "align"} <= names


@pytest.mark.parametrize(("override", "weights", "probe", "train", "profile"), OVERRIDES)
def test_an_override_triggers_the_jobs_that_the_readme_states(done_project, override, weights, probe, train, profile):
    jobs = done_project.jobs("--config", override)
    stated = {"weights": int(weights), "probe": int(probe), "train": int(train), "profile": int(profile)}
    jobs["probe"] = jobs.get("probe", 0) + jobs.get("probe_other", 0)
    assert {rule: jobs.get(rule, 0) for rule in stated} == stated
    assert jobs["report"] == 1


def test_stock_operators_climb_the_ladder_only_where_they_are_measured(empty_project, done_project):
    for override in ("align={stock: false}", "profile={stock: false}", "jittor={ops: stock}", "framework=torch"):
        assert not STOCK.keys() & empty_project.jobs("--config", override).keys()
    assert done_project.jobs("--config", "align={stock: false}") == REPORT


def test_how_many_states_a_run_keeps_trains_nothing_again(done_project):
    assert done_project.jobs("--config", "keep_states=0") == REPORT
    assert done_project.jobs("--config", "keep_states=3") == REPORT


@pytest.mark.parametrize("override", ["figures={dpi: 90}", "margins={ap: 2.0}", "workers=1", "log_seconds=60"])
def test_how_it_looks_and_what_is_logged_only_rewrites_the_report(done_project, override):
    assert done_project.jobs("--config", override) == REPORT


def test_tensorboard_trains_nothing_again(done_project, tmp_path):
    overlay = tmp_path / "model.yaml"
    overlay.write_text("models: {rtdetr: {train: {tensorboard: true}}}\n")
    assert done_project.jobs("--configfile", str(overlay)) == REPORT


def test_a_hyperparameter_of_the_model_retrains(done_project, tmp_path):
    overlay = tmp_path / "model.yaml"
    overlay.write_text("models: {rtdetr: {train: {optimizer: {lr: 3.0e-4}}}}\n")
    jobs = done_project.jobs("--configfile", str(overlay))
    assert jobs == {**ALIGN, "run_config": 2, "train": 2, **STEPS, **CROSS, **REPORT}


def test_what_a_training_step_does_is_measured_again(done_project, tmp_path):
    overlay = tmp_path / "model.yaml"
    overlay.write_text("models: {rtdetr: {train: {clip_norm: null}}}\n")
    assert done_project.jobs("--configfile", str(overlay))["profile"] == 12


def test_an_edit_in_one_framework_retrains_that_framework(done_project):
    with edited(done_project, "jittor_impl/models/rtdetr.py"):
        jobs = done_project.jobs()
        text = done_project.snakemake("-n").stdout
    # All that comes after Jittor's first process is measured again: the frameworks take turns.
    assert (jobs["train"], jobs["profile"], jobs["cross_predict"]) == (1, 11, 3)
    assert (jobs.get("probe", 0), jobs["probe_other"], jobs["gate"]) == (0, 1, 1)
    assert "weights" not in jobs
    assert "Training rtdetr in jittor" in text and "Training rtdetr in torch" not in text
    assert done_project.jobs() == {}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("parity/report/figures/style.py", {"figures": 1, "report": 1}),
        ("parity/report/index.py", {"figures": 1, "report": 1}),
        ("workflow/scripts/evaluate.py", {"cross_evaluate": 4, **REPORT}),
        ("parity/align/tolerances.py", LADDER | {"align_stock": 1, "whole_run": 1} | REPORT),
        ("parity/align/take_steps.py", {"take_steps": 2, "whole_run": 1, **REPORT}),
    ],
)
def test_an_edit_of_what_comes_after_training_does_not_retrain(done_project, file, expected):
    with edited(done_project, file):
        assert done_project.jobs() == expected


def test_more_images_for_the_comparison_of_the_same_weights_train_nothing(done_project):
    jobs = done_project.jobs("--config", "cross={images: 600}")
    assert jobs == {"cross_dataset": 1, **CROSS, **REPORT}
    # As many as training validates on: its own images are used, and its own evaluation.
    assert done_project.jobs("--config", "cross={images: 60}") == dict.fromkeys(CROSS, 2) | REPORT


def test_an_edit_of_the_loop_retrains_both_and_draws_no_new_weights(done_project):
    with edited(done_project, "parity/train/engine.py"):
        jobs = done_project.jobs()
    assert jobs["train"] == 2
    assert "weights" not in jobs and "dataset" not in jobs


def test_a_failed_ladder_stops_training_and_says_where(project):
    arguments = ("--until", "train", "--config", "framework=torch")
    run = project.snakemake(*arguments, STANDIN_LADDER="fail")
    assert run.returncode == 1
    assert "rung 6 (gradients) fails: decoder.fake.weight[0]: 1 and 2" in run.stdout
    assert not list(project.folder.glob("results/rtdetr/runs/torch/*/run.json"))
    assert project.jobs(*arguments)["gate"] == 1


def test_without_the_gate_training_starts_and_the_verdict_is_kept(project, tmp_path):
    overlay = tmp_path / "gate.yaml"
    overlay.write_text("align: {gate: false}\n")
    arguments = ("--until", "train", "--config", "framework=torch", "--configfile", str(overlay))
    assert project.snakemake(*arguments, STANDIN_LADDER="fail").returncode == 0
    assert len(list(project.folder.glob("results/rtdetr/runs/torch/*/run.json"))) == 1
    text = (project.folder / "results/rtdetr/alignment/gate.txt").read_text()
    assert text.startswith("gate off") and "rung 6 (gradients) fails" in text


def test_the_gate_and_how_far_the_ladder_goes_retrain_nothing(done_project, tmp_path):
    overlay = tmp_path / "align.yaml"
    overlay.write_text("align: {gate: false}\n")
    assert done_project.jobs("--configfile", str(overlay)) == REPORT
    overlay.write_text("align: {trajectory_steps: 20}\n")
    jobs = done_project.jobs("--configfile", str(overlay))
    assert (jobs["probe"], jobs["probe_other"]) == (1, 1) and "train" not in jobs and "cross_predict" not in jobs


def test_going_back_costs_only_the_report(project):
    assert project.snakemake("--config", "framework=torch").returncode == 0
    assert project.snakemake("--config", "framework=torch", "epochs=3").returncode == 0
    assert project.jobs("--config", "framework=torch") == {"publish_alignment": 1, **REPORT}


def test_a_changed_evaluation_is_another_run_and_going_back_is_free(project):
    arguments = ("--until", "train", "--config", "framework=torch")
    assert project.snakemake(*arguments).returncode == 0
    assert project.snakemake(*arguments, "evaluate={max_detections: 50}").returncode == 0
    folders = list(project.folder.glob("results/rtdetr/runs/torch/*/run.json"))
    assert len(folders) == 2
    assert "train" not in project.jobs(*arguments)


def test_measurements_have_the_machine_to_themselves(project):
    spans = project.folder / "spans.jsonl"
    run = project.snakemake("--cores", "8", STANDIN_SPANS=str(spans))
    assert run.returncode == 0, run.stdout
    jobs = [json.loads(line) for line in spans.read_text().splitlines()]
    measured = [json.loads(file.read_text())["span"] for file in project.folder.glob("results/rtdetr/profile/*.json")]
    assert len(measured) == 12 and len(jobs) == 25
    for begun, ended in measured:
        beside = [verb for verb, start, end in jobs if start < ended and begun < end]
        assert beside == ["profile"]
    trainings = sorted((start, end) for verb, start, end in jobs if verb == "train")
    assert trainings[0][1] <= trainings[1][0]


ABBA = ["torch", "jittor", "jittor", "torch"] * 2


def measured(project) -> list[str]:
    """The settings of the published measurements in the order in which they began."""
    files = project.folder.glob("results/rtdetr/profile/*.json")
    return [f.name.split(".")[0] for f in sorted(files, key=lambda file: json.loads(file.read_text())["span"])]


@pytest.mark.parametrize("cores", ["1", "8"])
def test_measurements_alternate_and_what_is_only_compared_comes_last(project, cores):
    arguments = ("--cores", cores, "results/rtdetr/profile/published.txt", "--config", "profile={compile: true}")
    run = project.snakemake(*arguments, STANDIN_SPANS=str(project.folder / "spans.jsonl"))
    assert run.returncode == 0, run.stdout
    assert measured(project) == [*ABBA, *(["jittor-stock"] * 4), *(["torch-compile"] * 4)]


def test_a_measurement_that_was_stopped_goes_on_where_it_was(project):
    target, log = "results/rtdetr/profile/published.txt", str(project.folder / "spans.jsonl")
    assert project.snakemake(target, STANDIN_SPANS=log, STANDIN_STOPS="jittor.2.json").returncode == 1
    assert project.jobs(target)["profile"] == 10
    assert project.snakemake(target, STANDIN_SPANS=log).returncode == 0
    assert measured(project)[:8] == ABBA


def test_measurements_that_are_made_again_renew_the_report(done_project):
    measurement = next(done_project.folder.glob("results/rtdetr/profile/*/jittor-stock.4.json"))  # the last one
    about = measurement.stat()
    measurement.write_text('{"another": 1}')
    assert done_project.jobs() == {"publish_profile": 1, **REPORT}
    measurement.write_text("{}")
    os.utime(measurement, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert done_project.jobs() == {}


def test_a_framework_that_is_measured_alone_waits_for_itself(project):
    arguments = ("results/rtdetr/profile/published.txt", "--config", "framework=jittor", "profile={stock: false}")
    assert project.snakemake(*arguments).returncode == 0
    assert project.jobs(*arguments) == {}
    assert project.jobs(*arguments[:2], "profile={stock: false}")["profile"] == 8


def test_an_interrupted_run_continues_and_a_finished_one_starts_afresh(project):
    arguments = ("--until", "train", "--config", "framework=torch")
    assert project.snakemake(*arguments, STANDIN_FAILS="torch").returncode == 1
    assert project.snakemake(*arguments).returncode == 0
    (metrics,) = project.folder.glob("results/rtdetr/runs/torch/*/metrics.jsonl")
    assert resumed(metrics) == [False, True]
    assert project.snakemake("--forcerun", "train", *arguments).returncode == 0
    assert resumed(metrics) == [False]


PROBES = {"probe": "torch", "probe_other": "jittor"}  # rule: its framework
FED = {"eval.npz", "states.npz", "anchor_states.npz", "final.safetensors"}  # what the second probe opens of the first's
OPENED = {
    "probe.json",
    "batches.npz",
    "eval.npz",
    "train.npz",
    "average.npz",
    "anchors.npz",
    "final.npz",
}  # by align, of both


def declared(project, rule: str, config: str = "framework=") -> set[str]:
    """Names of the files that a rule makes, as Snakemake knows them."""
    asking = project.folder / "asking.smk"
    asking.write_text(f'include: "Snakefile"\nprint("makes", *rules.{rule}.rule.output)\n')
    text = project.snakemake("--snakefile", "asking.smk", "--list-rules", "--config", config).stdout
    (line,) = [line for line in text.splitlines() if line.startswith("makes ")]
    return {Path(file).name for file in line.split()[1:]}


def test_a_probe_declares_what_others_open(empty_project):
    first, second = declared(empty_project, "probe"), declared(empty_project, "probe_other")
    assert second == OPENED
    assert first == OPENED | FED | {f"{name}.npz" for name in (*NUDGED, *NUDGED_ANCHORS, "referee")}
    alone = declared(empty_project, "probe", "framework=torch")
    anchors = {f"{name}.npz" for name in ("anchors", "final", "anchor_states", *NUDGED_ANCHORS)}
    assert alone == first - anchors - {"final.safetensors"}


@contextmanager
def deleted(file: Path):
    """A file is gone as long as the block lasts."""
    kept = file.with_name(f"{file.name}.kept")
    file.rename(kept)
    try:
        yield
    finally:
        kept.rename(file)


def test_deleted_files_are_noticed_and_made_again_for_what_reads_them(done_project):
    """Every file that a job leaves for another one, all of them gone at once."""
    folder = done_project.folder / "results/rtdetr"
    probes = {framework: declared(done_project, rule) for rule, framework in PROBES.items()}
    places = [f"alignment/*/{framework}/{name}" for framework, names in probes.items() for name in names]
    places += [f"alignment/*/{setting}.run.yaml" for setting in (*probes, "jittor-stock")]
    places += [f"alignment/*/jittor-stock/{name}" for name in declared(done_project, "probe_stock")]
    places += [f"weights/*-s0/{name}" for name in ("init.safetensors", "init.pkl", "conversion.json")]
    places += ["alignment/gate.txt", "profile/*/*.[1-4].json"]
    places += [f"runs/torch/*/steps/{framework}.run.yaml" for framework in probes]
    steps = declared(done_project, "take_steps")
    places += [f"runs/torch/*/steps/{framework}/{name}" for framework in probes for name in steps]
    trained = ("run.yaml", "last.safetensors", "ema.safetensors", "states.npz", "coco.json", "detections.json")
    twice = [f"runs/*/*/{name}" for name in trained]  # two runs
    fourfold = [f"runs/*/*/cross/*/{name}" for name in ("run.yaml", "detections.json")]  # in two frameworks each
    files = [file for place in (*places, *twice, *fourfold) for file in folder.glob(place)]
    files += (done_project.folder / "results/data").glob("*/manifest.json")  # two datasets
    measured = 11  # twelve measurements; their place is counted once already
    assert len(files) == len(places) + measured + 2 * len(twice) + 4 * len(fourfold) + 2
    names = [str(file.relative_to(done_project.folder)) for file in files]
    with ExitStack() as stack:
        for file in files:
            stack.enter_context(deleted(file))
        said = done_project.snakemake("-n").stdout
        assert [name for name in names if f"{name}: is missing" not in said] == []
        makers = {"dataset", "cross_dataset", "weights", "convert", *PROBES, "gate", "train", *STEPS, *STOCK}
        makers |= {"align_config", "run_config", "cross_config", "cross_predict", "profile"}
        assert set(done_project.jobs(*names)) >= makers - {"whole_run", "align_stock"}
        readers = ("align", "align_stock", "whole_run", "cross_evaluate", "collect")
        again = done_project.jobs("results/rtdetr/report.md", "--forcerun", *readers)
        assert again == {rule: count for rule, count in DEFAULT.items() if rule != "profile_config"}
    assert "is missing" not in done_project.snakemake("-n").stdout


def test_averaged_weights_come_back_and_where_there_are_none_none_are_asked_for(project, tmp_path):
    arguments = ("--until", "train", "train_unaveraged", "--config", "framework=torch")
    assert project.snakemake(*arguments).returncode == 0
    (average,) = project.folder.glob("results/rtdetr/runs/torch/*/ema.safetensors")
    average.unlink()
    target = str(average.relative_to(project.folder))
    assert project.snakemake(target, "--config", "framework=torch").returncode == 0
    assert average.exists()
    overlay = tmp_path / "model.yaml"
    overlay.write_text("models: {rtdetr: {train: {ema: null, evaluate_with_ema: false}}}\n")
    run = project.snakemake(*arguments, "--configfile", str(overlay))
    assert run.returncode == 0, run.stdout
    assert len(list(project.folder.glob("results/rtdetr/runs/torch/*/last.safetensors"))) == 2
    assert list(project.folder.glob("results/rtdetr/runs/torch/*/ema.safetensors")) == [average]


def test_what_an_interrupted_run_continues_from_survives_its_failure(project):
    arguments = ("--until", "train", "--config", "framework=torch")
    assert project.snakemake(*arguments, STANDIN_FAILS="torch").returncode == 1
    (folder,) = (project.folder / "results/rtdetr/runs/torch").iterdir()
    assert {"metrics.jsonl", "best.safetensors", "checkpoints"} <= {file.name for file in folder.iterdir()}


def test_a_folder_of_another_configuration_is_refused(empty_project):
    run = empty_project.snakemake("-n", "results/rtdetr/runs/torch/e12-00000000-s0/run.json")
    assert run.returncode == 2
    assert "e12-00000000-s0: belongs to another configuration" in run.stdout
