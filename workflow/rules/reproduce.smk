# Released checkpoints: one file of weights, evaluated in every framework on COCO's val2017, and the table over all of
# config/zoo.yaml. Nothing is trained here. `make reproduce` sets the section `reproduce` of the configuration.
wildcard_constraints:
    variant=r"[A-Za-z0-9][A-Za-z0-9._-]*",


rule reproduce_data:
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
    conda:
        "../../envs/workflow.yaml"
    params:
        job=job("workflow"),
        images=["--images", ASKED.images] if ASKED.images else [],
        coco=ASKED.coco,
        data=lambda w, output: os.path.dirname(output.about),
    message:
        "Choosing the images of val2017."
    shell:
        "{params.job} {log:q} reproduce.py data --coco {params.coco:q} {params.images:q} --out {params.data:q}"


rule reproduce_source:
    """The file of released weights: given, found, or fetched."""
    output:
        f"{REPRODUCE}/source.txt",
    log:
        f"{REPRODUCE}/source.log",
    benchmark:
        f"{REPRODUCE}/source.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    params:
        job=job("workflow"),
        given=given_weights,
        folder=ASKED.folder,
    message:
        "Looking for the released weights of {wildcards.model} {wildcards.variant}."
    shell:
        "{params.job} {log:q} reproduce.py take --model {wildcards.model} --variant {wildcards.variant}"
        " --folder {params.folder:q} {params.given:q} --out {output:q}"


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
        classes=coco_classes,
    message:
        "Checking the released weights of {wildcards.model} {wildcards.variant} tensor by tensor."
    shell:
        "{params.job} {log:q} -m {params.framework}_impl init --model {wildcards.model} --variant {wildcards.variant}"
        ' --num-classes {params.classes} --weights "$(cat {input:q})" --part detector --out {output.weights:q}'


rule reproduce_convert:
    input:
        rules.reproduce_weights.output.weights,
    output:
        weights=f"{REPRODUCE}/init.pkl",
        report=f"{REPRODUCE}/init.pkl.report.json",
    log:
        f"{REPRODUCE}/convert.log",
    benchmark:
        f"{REPRODUCE}/convert.benchmark.tsv"
    conda:
        "../../envs/jittor.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        job=job("jittor"),
    message:
        "Converting the weights of {wildcards.model} {wildcards.variant} for Jittor."
    shell:
        "{params.job} {log:q} -m jittor_impl convert --input {input:q} --output {output.weights:q}"


rule reproduce_predict:
    """Killed, it goes on with the images that are left."""
    input:
        weights=weights_of,
        about=rules.reproduce_data.output.about,
        annotations=rules.reproduce_data.output.annotations,
        sources=lambda w: framework_sources(w.framework, w.model, "predict"),
    output:
        config=f"{REPRODUCE}/{{framework}}/run.yaml",
        detections=f"{REPRODUCE}/{{framework}}/detections.json",
        timing=f"{REPRODUCE}/{{framework}}/detections.timing.jsonl",
    log:
        f"{REPRODUCE}/{{framework}}/predict.log",
    benchmark:
        f"{REPRODUCE}/{{framework}}/predict.benchmark.tsv"
    conda:
        "../../envs/{framework}.yaml"
    threads: config["threads"]
    resources:
        **ON_CARD,
        mem_mb=memory(4000),
    params:
        job=lambda w: job(w.framework),
        threads=config["threads"],
        device=config["device"].partition(":")[0],
        data=lambda w, input: os.path.dirname(input.about),
    message:
        "Detecting with the released {wildcards.model} {wildcards.variant} in {wildcards.framework}."
    shell:
        "{params.job} {log:q} reproduce.py run --model {wildcards.model} --variant {wildcards.variant}"
        " --framework {wildcards.framework} --weights {input.weights:q} --data {params.data:q} --device {params.device}"
        " --threads {params.threads} --out {output.config:q}"
        " && {params.job} --device {resources.device} --threads {params.threads} {log:q}"
        " -m {wildcards.framework}_impl predict --config {output.config:q} --weights {input.weights:q}"
        " --out {output.detections:q}"


rule reproduce_report:
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
    conda:
        "../../envs/workflow.yaml"
    params:
        job=job("workflow"),
        device=config["device"].partition(":")[0],
        data=lambda w, input: os.path.dirname(input.about),
        pairs=lambda w, input: [f"{name}={path}" for name, path in zip(FRAMEWORKS, input.detections)],
    message:
        "Setting {wildcards.model} {wildcards.variant} beside what was published."
    shell:
        "{params.job} {log:q} reproduce.py report --model {wildcards.model} --variant {wildcards.variant}"
        " --data {params.data:q} --device {params.device} --weights-report {input.weights:q} --out {output.markdown:q}"
        " {params.pairs:q}"


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


rule zoo_report:
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
    conda:
        "../../envs/workflow.yaml"
    params:
        job=job("workflow"),
        folder=ASKED.folder,
    message:
        "Setting all released checkpoints in one table."
    shell:
        "{params.job} {log:q} reproduce.py zoo --folder {params.folder:q} --out {output:q} {input.results:q}"
