"""What Snakemake's own tools make of the workflow: module, report, rule graph, summary, messages, logs of failures."""

import re
import subprocess
import sys
from pathlib import Path

import rule_graph

from parity.report.index import FIGURES, TABLES

ROOT = Path(__file__).resolve().parents[2]


OUTER = """
module detectors:
    snakefile: "{folder}/Snakefile"
    config: {{"results": "made/here", "framework": "torch"}}

use rule * from detectors as detectors_*

rule outer:
    default_target: True
    input: "made/here/rtdetr/report.md"

onstart:
    detectors.onstart()
"""


def rules_of(folder: Path) -> dict[str, str]:
    """The text of every rule in workflow/rules that is not indented, by name."""
    found = {}
    for file in sorted((folder / "workflow/rules").glob("*.smk")):
        begin = r"^(?:rule|use rule \w+ as) (\w+)(?: with)?:\n"
        found |= dict(re.findall(begin + r"((?:    .*\n|\n)+)", file.read_text(), re.M))
    return found


def test_another_workflow_can_use_it_as_a_module(project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outer")
    (outside / "Snakefile").write_text(OUTER.format(folder=project.folder))
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    plan = subprocess.run([*command, "-n"], cwd=outside, capture_output=True, text=True)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert "detectors_train" in plan.stdout and "Training rtdetr in torch" in plan.stdout + plan.stderr
    done = subprocess.run(command, cwd=outside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (outside / "made/here/rtdetr/report.md").exists()
    assert not (project.folder / "results").exists()


def test_the_report_of_snakemake_has_every_figure_and_table_with_caption_and_label(done_project):
    run = done_project.snakemake("--report", "page.html", "results/rtdetr/report.md")
    assert run.returncode == 0, run.stdout
    page = (done_project.folder / "page.html").read_text()
    (done_project.folder / "page.html").unlink()
    for name, words in (FIGURES | TABLES).items():
        assert f"{name}.{'svg' if name in FIGURES and words == FIGURES[name] else 'csv'}" in page
        assert words in page
    assert page.count("PyTorch is blue, solid and round") == len(FIGURES)
    assert page.count("An empty cell was not recorded") == len(TABLES)
    assert "trained in PyTorch and in Jittor from the same weights" in page


def test_every_rule_has_a_message_a_log_and_where_it_does_work_a_benchmark():
    quick = {"run_config", "cross_config", "align_config", "profile_config", "reproduce_config", "steps_config"}
    quick |= {"stock_config", "collect", "gate"}
    inherit = {"probe_other", "train_unaveraged"}  # and say only what they make
    for name, text in rules_of(ROOT).items():
        if name in inherit or name.endswith("_job"):  # no job is made of the latter
            continue
        assert re.search(r"    message:\n        \"[A-Z].*\.\"", text), f"{name}: no message in prose"
        assert "    log:\n" in text, f"{name}: no log"
        if not name.startswith("publish_") and name not in quick:
            assert "    benchmark:\n" in text, f"{name}: no benchmark"


def test_the_rule_graph_in_the_docs_is_the_one_of_the_rules():
    now = rule_graph.PAGE.read_text()
    # Rules that no report of a training needs, of which no job is made, and the twin of `train`.
    asked_for = ("preview", "reproduce", "publish_reproduced", "zoo", "script_job", "framework_job", "train_unaveraged")
    needed = {rule for rule in rules_of(ROOT) if not rule.startswith(asked_for)}
    assert needed <= set(re.findall(r"\w+", now[now.index(rule_graph.MARKS[0]) :]))
    run = subprocess.run([sys.executable, rule_graph.__file__, "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_an_arrow_is_left_out_where_a_longer_way_says_the_same():
    graph = rule_graph.parse("id0[a]\nid1[b]\nid2[c]\nid0 --> id1\nid1 --> id2\nid0 --> id2\nid1 --> id1\n")
    assert graph == {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert rule_graph.reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_a_failed_job_shows_its_log(project):
    run = project.snakemake("--until", "train", "--config", "framework=torch", STANDIN_FAILS="torch")
    assert run.returncode == 1
    assert "Logfile results/rtdetr/runs/torch/" in run.stdout
    assert run.stdout.count("stand-in: told to fail") == 2  # as it was said, and once more from the log


def test_forcing_a_rule_redoes_it_and_what_follows(done_project):
    jobs = done_project.jobs("--forcerun", "figures")
    assert jobs == {"figures": 1, "report": 1}


def test_the_summary_of_snakemake_knows_every_output(done_project):
    run = done_project.snakemake("--summary", "results/rtdetr/report.md")
    assert run.returncode == 0, run.stdout
    rows = [line for line in run.stdout.splitlines() if line.startswith("results/rtdetr/runs/")]
    assert rows and all("ok" in row and "no update" in row for row in rows)
