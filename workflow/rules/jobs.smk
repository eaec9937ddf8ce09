# What jobs have in common. `use rule script_job as NAME with:` inherits all that NAME does not say.
#
# Of the parameters, `options` holds what is asked for: when it changes, the job runs again. `files` holds paths that follow
# from input and output; Snakemake does not compare parameters that are made from those.


rule script_job:
    """A program of workflow/scripts. No job is made of this rule itself."""
    log:
        f"{RESULTS}/script_job.log",
    conda:
        "../../envs/workflow.yaml"
    params:
        job=job("workflow"),
        quiet="",
        options=[],
        files=lambda w, output: ["--out", output[0]],
    message:
        "Running {params.script}."
    shell:
        "{params.job} {params.quiet} {log:q} {params.script:q} {params.options:q} {params.files:q}"


rule framework_job:
    """One verb of a framework, with a configuration and what it starts from. No job is made of this rule itself."""
    log:
        f"{RESULTS}/framework_job.log",
    conda:
        lambda w: str(ROOT / f"envs/{runs_in(w)}.yaml")
    threads: config["threads"]
    resources:
        **on_card(6000),
    params:
        job=lambda w: job(runs_in(w)),
        framework=lambda w: runs_in(w),
        threads=config["threads"],
        start=lambda w, input: ["--weights", input.weights],
        options=[],
        files=lambda w, output: ["--out", output[0]],
    message:
        "Running {params.verb} in {params.framework}."
    shell:
        "{params.job} --device {resources.device} --threads {params.threads} {log:q}"
        " -m {params.framework}_impl {params.verb} --config {input.config:q}"
        " {params.start:q} {params.options:q} {params.files:q}"
