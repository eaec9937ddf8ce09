# Stage 3: the alignment ladder. Each framework writes what it computes from the same files. The second one also writes
# what its modules answer to the inputs of the first. Then the two are compared rung by rung. Training waits for the
# verdict.


include: "inputs/align.smk"


rule align_config:
    output:
        f"{ALIGNMENT}/{{framework}}.run.yaml",
    log:
        f"{ALIGNMENT}/{{framework}}.run_config.log",
    conda:
        "../../envs/workflow.yaml"
    resources:
        # Resources, because unlike params they are no reason to run again.
        **{key: config[key] for key in MACHINE_KEYS} | {"keep_states": lambda w: kept_states(w)},
        tensorboard=lambda w: int(resolved(w.model).train.tensorboard),
    params:
        job=job("workflow"),
        settings=align_yaml,
    message:
        "Writing the configuration that {wildcards.framework} is aligned with."
    shell:
        "{params.job} --quiet {log:q} write_run_config.py --settings {params.settings:q} --out {output:q}"
        " --workers {resources.workers} --log-seconds {resources.log_seconds}"
        " --checkpoint-minutes {resources.checkpoint_minutes} --keep-checkpoints {resources.keep_checkpoints}"
        " --keep-states {resources.keep_states} --tensorboard {resources.tensorboard}"


use rule framework_job as probe with:
    """The first framework. Every other one is compared with it, and is fed what this one wrote."""
    input:
        unpack(probe_requirements),
        config=rules.align_config.output[0],
        sources=lambda w: framework_sources(w.framework, w.model, "probe"),
    output:
        [f"{ALIGNMENT}/{{framework}}/{name}" for name in probe_names(FRAMEWORKS[0])],
    log:
        f"{ALIGNMENT}/{{framework}}.log",
    benchmark:
        f"{ALIGNMENT}/{{framework}}.benchmark.tsv"
    wildcard_constraints:
        framework=FRAMEWORKS[0],
    params:
        verb="probe",
        options=probe_options(),
        files=probe_places,
    message:
        "Recording what {wildcards.framework} computes with {wildcards.model}, from layers to a short training."


use rule probe as probe_other with:
    output:
        [f"{ALIGNMENT}/{{framework}}/{name}" for name in probe_names(FRAMEWORKS[-1])],
    wildcard_constraints:
        framework="|".join(FRAMEWORKS[1:]) or "none",


use rule script_job as align with:
    input:
        lambda w: [file for framework in FRAMEWORKS for file in probe_files(w.model, framework)],
        sources=sources("workflow/scripts/align.py"),
    output:
        f"{ALIGNMENT}/alignment.json",
    log:
        f"{ALIGNMENT}/align.log",
    benchmark:
        f"{ALIGNMENT}/align.benchmark.tsv"
    resources:
        mem_mb=memory(4000),
    params:
        quiet="--quiet",
        script="align.py",
        options=lambda w: align_arguments(w.model),
    message:
        "Comparing what the frameworks compute with {wildcards.model}, rung by rung."


rule publish_alignment:
    """A copy of the result for the present configuration, where a reader looks for it."""
    input:
        lambda w: f"{alignment_dir(w.model)}/alignment.json",
    output:
        f"{RESULTS}/{{model}}/alignment/alignment.json",
    log:
        f"{RESULTS}/{{model}}/alignment/published.log",
    conda:
        "../../envs/workflow.yaml"
    message:
        "Publishing the alignment of {wildcards.model}."
    shell:
        "cp {input:q} {output:q} 2> {log:q}"


use rule script_job as gate with:
    """Fails when the ladder does, unless `align.gate` is false. Its place is the same for every configuration, so that
    it does not change what a run is made from."""
    input:
        alignment=rules.publish_alignment.output[0],
        sources=sources("workflow/scripts/gate.py"),
    output:
        f"{RESULTS}/{{model}}/alignment/gate.txt",
    log:
        f"{RESULTS}/{{model}}/alignment/gate.log",
    params:
        script="gate.py",
        options=[] if config["align"]["gate"] else ["--off"],
        files=lambda w, input, output: ["--alignment", input.alignment, "--out", output[0]],
    message:
        "Deciding whether {wildcards.model} may be trained."
