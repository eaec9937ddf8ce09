# Released checkpoints: one file of weights, evaluated in every framework on COCO's val2017, and the table over all of
# config/zoo.yaml. Nothing is trained here. `make reproduce` sets the section `reproduce` of the configuration.


include: "inputs/reproduce.smk"


wildcard_constraints:
    variant=r"[A-Za-z0-9][A-Za-z0-9._-]*",


use rule script_job as reproduce_data with:
    """The images that are evaluated: all of val2017, or a seeded part of it."""
    input:
        coco_annotations,
    output:
        annotations=f"{VAL}/annotations/val.json",
        about=f"{VAL}/about.json",
    log:
        f"{VAL}/data.log",
    benchmark:
        f"{VAL}/data.benchmark.tsv"
    params:
        script=["reproduce.py", "data"],
        options=["--coco", ASKED.coco, *(["--images", ASKED.images] if ASKED.images else [])],
        files=lambda w, output: ["--out", os.path.dirname(output.about)],
    message:
        "Choosing the images of val2017."


use rule script_job as reproduce_source with:
    """The file of released weights: given, found, or fetched."""
    output:
        f"{REPRODUCE}/source.txt",
    log:
        f"{REPRODUCE}/source.log",
    benchmark:
        f"{REPRODUCE}/source.benchmark.tsv"
    params:
        script=["reproduce.py", "take"],
        options=lambda w: [*released(w), "--folder", ASKED.folder, *given_weights(w)],
    message:
        "Looking for the released weights of {wildcards.model} {wildcards.variant}."


rule reproduce_weights:
    input:
        rules.reproduce_source.output,
    output:
        weights=f"{REPRODUCE}/init.safetensors",
        report=f"{REPRODUCE}/init.safetensors.report.json",
    log:
        f"{REPRODUCE}/init.log",
    benchmark:
        f"{REPRODUCE}/init.benchmark.tsv"
    conda:
        str(ROOT / f"envs/{FRAMEWORKS[0]}.yaml")
    resources:
        mem_mb=memory(4000),
    params:
        job=job(FRAMEWORKS[0]),
        framework=FRAMEWORKS[0],
        options=lambda w: [*released(w), "--num-classes", coco_classes(w), "--part", "detector"],
    message:
        "Checking the released weights of {wildcards.model} {wildcards.variant} tensor by tensor."
    shell:
        "{params.job} {log:q} -m {params.framework}_impl init {params.options:q}"
        ' --weights "$(cat {input:q})" --out {output.weights:q}'


use rule convert as reproduce_convert with:
    input:
        rules.reproduce_weights.output.weights,
    output:
        weights=f"{REPRODUCE}/init.pkl",
        report=f"{REPRODUCE}/conversion.json",
    log:
        f"{REPRODUCE}/convert.log",
    benchmark:
        f"{REPRODUCE}/convert.benchmark.tsv"
    message:
        "Converting the weights of {wildcards.model} {wildcards.variant} for Jittor."


use rule script_job as reproduce_config with:
    """The variant as its authors evaluate it, on the chosen images."""
    input:
        weights=weights_of,
        about=rules.reproduce_data.output.about,
    output:
        f"{REPRODUCE}/{{framework}}/run.yaml",
    log:
        f"{REPRODUCE}/{{framework}}/run_config.log",
    params:
        script=["reproduce.py", "run"],
        options=lambda w: [*released(w), "--framework", w.framework, *ON_DEVICE, "--threads", config["threads"]],
        files=lambda w, input, output: ["--weights", input.weights, *chosen(input), "--out", output[0]],
    message:
        "Writing the configuration of the released {wildcards.model} {wildcards.variant} in {wildcards.framework}."


use rule framework_job as reproduce_predict with:
    """Killed, it goes on with the images that are left."""
    input:
        weights=weights_of,
        config=rules.reproduce_config.output[0],
        annotations=rules.reproduce_data.output.annotations,
        sources=lambda w: framework_sources(w.framework, w.model, "predict"),
    output:
        detections=f"{REPRODUCE}/{{framework}}/detections.json",
        timing=f"{REPRODUCE}/{{framework}}/detections.timing.jsonl",
    log:
        f"{REPRODUCE}/{{framework}}/predict.log",
    benchmark:
        f"{REPRODUCE}/{{framework}}/predict.benchmark.tsv"
    resources:
        **on_card(4000),
    params:
        verb="predict",
    message:
        "Detecting with the released {wildcards.model} {wildcards.variant} in {wildcards.framework}."


use rule script_job as reproduce_report with:
    input:
        detections=lambda w: expand(rules.reproduce_predict.output.detections, framework=FRAMEWORKS, allow_missing=True),
        weights=rules.reproduce_weights.output.report,
        about=rules.reproduce_data.output.about,
        sources=sources("workflow/scripts/reproduce.py"),
    output:
        markdown=f"{REPRODUCE}/report.md",
        result=f"{REPRODUCE}/result.json",
    log:
        f"{REPRODUCE}/report.log",
    benchmark:
        f"{REPRODUCE}/report.benchmark.tsv"
    params:
        script=["reproduce.py", "report"],
        options=lambda w: [*released(w), *ON_DEVICE],
        files=reproduced_files,
    message:
        "Setting {wildcards.model} {wildcards.variant} beside what was published."


rule publish_reproduced:
    """The report of the variant that is configured, where a reader looks for it."""
    input:
        lambda w: rules.reproduce_report.output.markdown.format(model=w.model, variant=reproduced_variant(w.model)),
    output:
        f"{RESULTS}/{{model}}/reproduce/report.md",
    log:
        f"{RESULTS}/{{model}}/reproduce/report.log",
    conda:
        "../../envs/workflow.yaml"
    message:
        "Publishing the released {wildcards.model} that is configured."
    shell:
        "cp {input:q} {output:q} 2> {log:q}"


use rule script_job as zoo_report with:
    """The table over every released checkpoint whose file is in `reproduce.folder`."""
    input:
        results=zoo_results,
        sources=sources("workflow/scripts/reproduce.py"),
    output:
        f"{RESULTS}/zoo/report.md",
    log:
        f"{RESULTS}/zoo/report.log",
    benchmark:
        f"{RESULTS}/zoo/report.benchmark.tsv"
    params:
        script=["reproduce.py", "zoo"],
        options=["--folder", ASKED.folder],
        files=lambda w, input, output: ["--out", output[0], *input.results],
    message:
        "Setting all released checkpoints in one table."
