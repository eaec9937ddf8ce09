# Stage 3: the alignment ladder. Each framework writes what it computes from the same files, the second one also what its
# modules answer to the inputs of the first; the two are compared rung by rung. Training waits for the verdict.


rule align_config:
    output:
        f"{RESULTS}/{{model}}/alignment/{{alignment_id}}/{{framework}}.run.yaml",
    log:
        f"{RESULTS}/{{model}}/alignment/{{alignment_id}}/{{framework}}.run_config.log",
    conda:
        "../../envs/workflow.yaml"
    resources:
        workers=config["workers"],
        log_seconds=config["log_seconds"],
    params:
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        settings=align_yaml,
    message:
        "Writing the configuration that {wildcards.framework} is aligned with."
    shell:
        "{params.python} {params.root}/workflow/scripts/write_run_config.py"
        " --settings {params.settings:q}"
        " --workers {resources.workers} --log-seconds {resources.log_seconds} --out {output} 2> {log}"


rule probe:
    input:
        unpack(probe_requirements),
        config=rules.align_config.output[0],
        sources=lambda w: framework_sources(w.framework, w.model, "probe"),
    output:
        f"{RESULTS}/{{model}}/alignment/{{alignment_id}}/{{framework}}/probe.json",
    log:
        f"{RESULTS}/{{model}}/alignment/{{alignment_id}}/{{framework}}.log",
    benchmark:
        f"{RESULTS}/{{model}}/alignment/{{alignment_id}}/{{framework}}.benchmark.tsv"
    conda:
        "../../envs/{framework}.yaml"
    threads: config["threads"]
    resources:
        gpu=GPU,
        device=config["device"],
        turn=1 - GPU,
        mem_mb=lambda w, attempt: 6000 * attempt,
    params:
        root=os.path.relpath(ROOT),
        python=lambda w: python(w.framework),
        weights=lambda w: f"{weights_dir(w.model, config['seeds'][0])}/init.safetensors",
        folder=lambda w, output: os.path.dirname(output[0]),
        reference=probe_reference,
        align=probe_arguments(),
        threads=config["threads"],
    message:
        "Recording what {wildcards.framework} computes with {wildcards.model}, from layers to a short training."
    shell:
        "export PYTHONPATH={params.root} OMP_NUM_THREADS={params.threads};"
        " {params.python} {params.root}/workflow/scripts/with_log.py --device {resources.device} {log}"
        " {params.python} -m {wildcards.framework}_impl probe --config {input.config} --weights {params.weights}"
        " --out {params.folder} {params.reference} {params.align}"


rule align:
    input:
        lambda w: [f"{alignment_dir(w.model)}/{framework}/probe.json" for framework in FRAMEWORKS],
        sources=sources("workflow/scripts/align.py"),
    output:
        f"{RESULTS}/{{model}}/alignment/{{alignment_id}}/alignment.json",
    log:
        f"{RESULTS}/{{model}}/alignment/{{alignment_id}}/align.log",
    benchmark:
        f"{RESULTS}/{{model}}/alignment/{{alignment_id}}/align.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
    params:
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        probes=lambda w: align_arguments(w.model),
    message:
        "Comparing what the frameworks compute with {wildcards.model}, rung by rung."
    shell:
        "{params.python} {params.root}/workflow/scripts/align.py {params.probes} --out {output} > {log} 2>&1"


rule publish_alignment:
    """A copy of what is configured now, where a reader looks for it."""
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
        "cp {input} {output} 2> {log}"


rule gate:
    """Fails when the ladder does, unless `align.gate` is false. Its place is the same for every configuration, so that
    it does not change what a run is made from."""
    input:
        alignment=rules.publish_alignment.output[0],
        sources=sources("workflow/scripts/gate.py"),
    output:
        f"{RESULTS}/{{model}}/alignment/gate.txt",
    log:
        f"{RESULTS}/{{model}}/alignment/gate.log",
    conda:
        "../../envs/workflow.yaml"
    params:
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        off="" if config["align"]["gate"] else "--off",
    message:
        "Deciding whether {wildcards.model} may be trained."
    shell:
        "{params.python} {params.root}/workflow/scripts/with_log.py {log}"
        " {params.python} {params.root}/workflow/scripts/gate.py --alignment {input.alignment} --out {output} {params.off}"
