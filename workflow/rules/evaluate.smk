# Stage 5: the same weights in both frameworks. Here both detect with the final weights of a run. Where images are
# drawn, these are many more than training validates on. The two AP values must agree whatever the training did.


include: "inputs/evaluate.smk"


use rule align_config as cross_config with:
    output:
        f"{RUN}/cross/{{other}}/run.yaml",
    log:
        f"{RUN}/cross/{{other}}/run_config.log",
    params:
        settings=cross_yaml,
    message:
        "Writing the configuration for {wildcards.other} to evaluate a run of {wildcards.framework}."


use rule framework_job as cross_predict with:
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
    resources:
        **on_card(4000),
    params:
        verb="predict",
    message:
        "Detecting in {wildcards.other} with the weights that {wildcards.framework} trained, run {wildcards.run}."


use rule script_job as cross_evaluate with:
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
    params:
        quiet="--quiet",
        script="evaluate.py",
        options=["--annotations", f"{CROSS_DATASET}/annotations/val.json"],
        files=lambda w, input, output: ["--detections", input.detections, "--out", output[0]],
    message:
        "Evaluating what {wildcards.other} detected with the weights of {wildcards.framework}."
