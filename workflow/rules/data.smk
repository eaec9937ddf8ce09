# Stage 1: the dataset in neutral form: COCO annotations, images, a manifest with checksums.


if FETCH.get("download"):

    # This runs where Snakemake runs, because nodes of a cluster often have no network.
    rule download:
        output:
            touch(f"{DATASET}.downloaded"),
        log:
            f"{DATASET}.download.log",
        benchmark:
            f"{DATASET}.download.benchmark.tsv"
        localrule: True
        conda:
            "../../envs/workflow.yaml"
        params:
            job=job("workflow"),
            data=json.dumps(config["data"] | FETCH),
        message:
            "Fetching what is missing of {config[data][source]} from its official place."
        shell:
            "{params.job} {log:q} download_data.py --data {params.data:q}"


rule dataset:
    input:
        downloaded(),
        sources("workflow/scripts/make_dataset.py"),
    output:
        f"{DATASET}/manifest.json",
    log:
        f"{DATASET}.log",
    benchmark:
        f"{DATASET}.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        mem_mb=2000,
    params:
        job=job("workflow"),
        data=json.dumps(config["data"]),
        answers=lambda w: dataset_token(),
        folder=lambda w, output: os.path.dirname(output[0]),
    message:
        "Preparing the dataset in {params.folder}."
    shell:
        "{params.job} {log:q} make_dataset.py --data {params.data:q} --out {params.folder:q}"
        " --answers {params.answers:q}"


if CROSS_DATASET != DATASET:

    use rule dataset as cross_dataset with:
        input:
            sources("workflow/scripts/make_dataset.py"),
        output:
            f"{CROSS_DATASET}/manifest.json",
        log:
            f"{CROSS_DATASET}.log",
        benchmark:
            f"{CROSS_DATASET}.benchmark.tsv"
        params:
            job=job("workflow"),
            data=json.dumps({key: value for key, value in CROSS.plain().items() if key not in ids.FETCHING}),
            answers=freshness.FIRST,
            folder=lambda w, output: os.path.dirname(output[0]),


rule preview:
    input:
        f"{DATASET}/manifest.json",
        sources("workflow/scripts/preview.py"),
    output:
        f"{RESULTS}/{{model}}/preview.png",
    log:
        f"{RESULTS}/{{model}}/preview.log",
    benchmark:
        f"{RESULTS}/{{model}}/preview.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        mem_mb=2000,
    params:
        job=job("workflow"),
        settings=preview_settings,
    message:
        "Drawing augmented training samples of {wildcards.model}."
    shell:
        "{params.job} --quiet {log:q} preview.py --settings {params.settings:q} --out {output:q}"
