"""Loading: broken pieces are reported and left out, a broken index is refused."""

import json

import fake_results
import pytest

from parity.compare.comparison import clean, load
from parity.errors import UserError


def test_everything_is_loaded(tmp_path):
    comparison = load(fake_results.make(tmp_path, seeds=(1, 0)))
    assert comparison.problems == []
    assert comparison.seeds == [0, 1]
    assert [run.seed for run in comparison.of("jittor")] == [0, 1]
    assert len(comparison.run("torch", 1).steps) == 2 * fake_results.STEPS
    assert list(comparison.profiles) == ["torch", "jittor", "jittor-stock"]
    assert comparison.run("torch", 0).cross["jittor"]["metrics"]["AP"] == pytest.approx(0.5001)
    assert comparison.setting("train", "epochs") == 2
    assert comparison.setting("train", "nothing", "here", default=7) == 7


def test_a_line_cut_off_by_a_killed_run_is_left_out_and_reported(tmp_path):
    path = fake_results.make(tmp_path)
    metrics = tmp_path / "fakedet/runs/jittor/fake-s0/metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-30])
    comparison = load(path)
    assert len(comparison.run("jittor", 0).epochs) == 1
    assert comparison.problems == [
        f"{metrics}: line {2 * fake_results.STEPS + 2} is not a JSON object and was left out"
    ]


def test_missing_files_become_problems(tmp_path):
    comparison = load(
        fake_results.make(tmp_path, drop=("fakedet/runs/torch/*/run.json", "fakedet/profile/jittor.*.json"))
    )
    assert comparison.run("torch", 0).manifest is None
    assert "jittor" not in comparison.profiles
    assert len(comparison.problems) == 5
    assert all("cannot be read" in problem for problem in comparison.problems)


def test_a_framework_that_left_nothing_is_a_problem_and_no_column(tmp_path):
    path = fake_results.make(tmp_path, frameworks=("torch",))
    index = json.loads(path.read_text()) | {"frameworks": ["torch", "jittor"]}
    path.write_text(json.dumps(index))
    comparison = load(path)
    assert comparison.frameworks == ["torch"]
    assert comparison.problems == ["jittor was asked for but left neither a run nor a profile"]


def test_the_source_of_the_images_is_a_word(tmp_path):
    comparison = load(fake_results.make(tmp_path))
    assert comparison.source_name() == "synthetic"
    comparison.dataset["source"] = "coco"
    assert comparison.source_name() == "coco"


def test_best_epoch_is_the_earliest_of_the_best(tmp_path):
    run = load(fake_results.make(tmp_path, epochs=3)).run("torch", 0)
    for line, ap in zip(run.epochs, (0.2, 0.3, 0.3), strict=True):
        line["metrics"]["AP"] = ap
    assert run.best_epoch()["epoch"] == 2


def test_undefined_metrics_are_none():
    assert clean(None) is None
    assert clean(-1) is None
    assert clean(float("nan")) is None
    assert clean(0) == 0.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds list"),
        ("{}", "key 'model' is missing"),
        ('{"model": "x"}', "key 'runs' is missing"),
        ('{"model": "x", "runs": [{"framework": "torch"}]}', "runs: an entry needs framework, seed and dir"),
        ("{", "not valid JSON"),
    ],
)
def test_a_broken_index_is_refused(tmp_path, content, message):
    path = tmp_path / "comparison.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load(path)


def test_an_index_with_nothing_but_the_model_loads(tmp_path):
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps({"model": "x", "runs": []}))
    comparison = load(path)
    assert (comparison.title, comparison.frameworks, comparison.seeds, comparison.problems) == ("x", [], [], [])
