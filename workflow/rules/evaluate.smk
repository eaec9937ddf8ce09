# Stage 5: the same weights in the other framework. Training evaluates its own final weights; here the other framework
# detects with them, and the two AP values must agree whatever the training did.


rule cross_config:
    output:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/cross/{{other}}/run.yaml",
    log:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/cross/{{other}}/run_config.log",
    conda:
        "../../envs/workflow.yaml"
    resources:
        # Resources, because unlike params they are no reason to run again.
        workers=config["workers"],
        log_seconds=config["log_seconds"],
    params:
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        settings=run_yaml,
    message:
        "Writing the configuration for {wildcards.other} to evaluate a run of {wildcards.framework}."
    shell:
        "{params.python} {params.root}/workflow/scripts/write_run_config.py"
        " --settings {params.settings:q}"
        " --workers {resources.workers} --log-seconds {resources.log_seconds} --out {output} 2> {log}"


rule cross_predict:
    input:
        # Final weights lie beside run.json; which file they are follows from the configuration.
        run=rules.train.output.manifest,
        manifest=f"{DATASET}/manifest.json",
        config=rules.cross_config.output[0],
        sources=lambda w: framework_sources(w.other, w.model, "predict"),
    output:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/cross/{{other}}/detections.json",
    log:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/cross/{{other}}/predict.log",
    benchmark:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/cross/{{other}}/predict.benchmark.tsv"
    conda:
        "../../envs/{other}.yaml"
    threads: config["threads"]
    resources:
        gpu=GPU,
        device=config["device"],
        turn=1 - GPU,
        mem_mb=lambda w, attempt: 4000 * attempt,
    params:
        root=os.path.relpath(ROOT),
        python=lambda w: python(w.other),
        weights=lambda w, input: f"{os.path.dirname(input.run)}/{final_weights(w.model)}",
        threads=config["threads"],
    message:
        "Detecting in {wildcards.other} with the weights that {wildcards.framework} trained, run {wildcards.run}."
    shell:
        "export PYTHONPATH={params.root} OMP_NUM_THREADS={params.threads};"
        " {params.python} {params.root}/workflow/scripts/with_log.py --device {resources.device} {log}"
        " {params.python} -m {wildcards.other}_impl predict --config {input.config} --weights {params.weights}"
        " --out {output}"


rule cross_evaluate:
    input:
        detections=rules.cross_predict.output,
        manifest=f"{DATASET}/manifest.json",
        sources=sources("workflow/scripts/evaluate.py"),
    output:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/cross/{{other}}/coco.json",
    log:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/cross/{{other}}/evaluate.log",
    benchmark:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/cross/{{other}}/evaluate.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    params:
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        annotations=f"{DATASET}/annotations/val.json",
    message:
        "Evaluating what {wildcards.other} detected with the weights of {wildcards.framework}."
    shell:
        "{params.python} {params.root}/workflow/scripts/evaluate.py --annotations {params.annotations}"
        " --detections {input.detections} --out {output} > {log} 2>&1"
