# Stage 5: the same weights in both frameworks. Here both detect with the final weights of a run, on many more images than
# training validates on where images are drawn, and the two AP values must agree whatever the training did.


use rule align_config as cross_config with:
    output:
        f"{RUN}/cross/{{other}}/run.yaml",
    log:
        f"{RUN}/cross/{{other}}/run_config.log",
    params:
        settings=cross_yaml,
    message:
        "Writing the configuration for {wildcards.other} to evaluate a run of {wildcards.framework}."


rule cross_predict:
    input:
        weights=trained_weights,
        manifest=f"{CROSS_DATASET}/manifest.json",
        config=rules.cross_config.output[0],
        sources=lambda w: framework_sources(w.other, w.model, "predict"),
    output:
        f"{RUN}/cross/{{other}}/detections.json",
    log:
        f"{RUN}/cross/{{other}}/predict.log",
    benchmark:
        f"{RUN}/cross/{{other}}/predict.benchmark.tsv"
    conda:
        "../../envs/{other}.yaml"
    threads: config["threads"]
    resources:
        **ON_CARD,
        mem_mb=memory(4000),
    params:
        job=lambda w: job(w.other),
        threads=config["threads"],
    message:
        "Detecting in {wildcards.other} with the weights that {wildcards.framework} trained, run {wildcards.run}."
    shell:
        "{params.job} --device {resources.device} --threads {params.threads} {log:q}"
        " -m {wildcards.other}_impl predict --config {input.config:q} --weights {input.weights:q} --out {output:q}"


rule cross_evaluate:
    input:
        detections=rules.cross_predict.output,
        manifest=f"{CROSS_DATASET}/manifest.json",
        sources=sources("workflow/scripts/evaluate.py"),
    output:
        f"{RUN}/cross/{{other}}/coco.json",
    log:
        f"{RUN}/cross/{{other}}/evaluate.log",
    benchmark:
        f"{RUN}/cross/{{other}}/evaluate.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    params:
        job=job("workflow"),
        annotations=f"{CROSS_DATASET}/annotations/val.json",
    message:
        "Evaluating what {wildcards.other} detected with the weights of {wildcards.framework}."
    shell:
        "{params.job} --quiet {log:q} evaluate.py --annotations {params.annotations:q}"
        " --detections {input.detections:q} --out {output:q}"
