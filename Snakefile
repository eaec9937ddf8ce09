# Detector comparison: data -> weights -> training in PyTorch and in Jittor -> evaluation -> profile -> report.
#
#   snakemake --cores 1 --use-conda results/rtdetr/report.md
#   snakemake --cores 1 results/rtdetr/report.md --config epochs=3 framework=jittor
#
#   snakemake --cores 1 all --config models=rtdetr,nanodet          # these models, side by side
#
# What can be set is in config/README.md.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

DEFAULTS = Path("config/config.yaml")


# The working directory's file, or the checkout's where there is none: with `--directory` the two places differ.
configfile: str(DEFAULTS if DEFAULTS.exists() else Path(workflow.current_basedir) / DEFAULTS)


report: "reports/captions/workflow.rst"  # the first page of `snakemake --report report.html`


include: "workflow/rules/common.smk"  # the checked configuration, and the names of everything
include: "workflow/rules/envs.smk"  # envs/*.yaml with conda, or as virtualenvs
include: "workflow/rules/jobs.smk"  # what the jobs of a framework have in common
include: "workflow/rules/data.smk"  # images and annotations
include: "workflow/rules/weights.smk"  # the initial weights, the same for every framework
include: "workflow/rules/align.smk"  # do both frameworks compute the same, rung by rung?
include: "workflow/rules/stock.smk"  # Jittor's own operators through the ladder
include: "workflow/rules/train.smk"  # one run per framework and seed
include: "workflow/rules/steps.smk"  # steps over a whole training, in both frameworks
include: "workflow/rules/evaluate.smk"  # the same weights in the other framework
include: "workflow/rules/profile.smk"  # speed and memory, alone on the machine
include: "workflow/rules/figures.smk"  # what is compared, and its figures
include: "workflow/rules/report.smk"  # tables, report.md, report.html
include: "workflow/rules/summary.smk"  # the models side by side
include: "workflow/rules/reproduce.smk"  # released weights on val2017
include: "workflow/rules/lost.smk"  # a warning where files of finished jobs are gone


# A moment's work, done where Snakemake runs: on a cluster it is not worth a place in the queue.
localrules:
    default_report,
    all,
    align_config,
    stock_config,
    run_config,
    steps_config,
    cross_config,
    reproduce_config,
    profile_config,
    publish_weights,
    publish_alignment,
    publish_profile,
    gate,
    collect,


rule default_report:
    """What is made when nothing is asked for: the report of `default_model`."""
    default_target: True
    input:
        f"{RESULTS}/{config['default_model']}/report.md",


rule all:
    """The report of every selected model, and the summary that sets them side by side."""
    input:
        expand(rules.report.output.markdown, model=SELECTED),
        rules.summary.output.markdown,
