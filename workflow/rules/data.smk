# Stage 1: the dataset in neutral form: COCO annotations, images, a manifest with checksums.


include: "inputs/data.smk"


if FETCH.get("download"):

    # This runs where Snakemake runs, because nodes of a cluster often have no network.
    use rule script_job as download with:
        output:
            touch(f"{DATASET}.downloaded"),
        log:
            f"{DATASET}.download.log",
        benchmark:
            f"{DATASET}.download.benchmark.tsv"
        localrule: True
        params:
            script="download_data.py",
            options=["--data", json.dumps(config["data"] | FETCH)],
            files=[],
        message:
            "Fetching what is missing of {config[data][source]} from its official place."


use rule script_job as dataset with:
    input:
        downloaded(),
        sources("workflow/scripts/make_dataset.py"),
    output:
        f"{DATASET}/manifest.json",
    log:
        f"{DATASET}.log",
    benchmark:
        f"{DATASET}.benchmark.tsv"
    resources:
        mem_mb=2000,
    params:
        script="make_dataset.py",
        options=lambda w: ["--data", json.dumps(config["data"]), "--answers", dataset_token()],
        files=lambda w, output: ["--out", os.path.dirname(output[0])],
    message:
        "Preparing the dataset in {params.files[1]}."


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
            options=["--data", cross_data(), "--answers", freshness.FIRST],


use rule script_job as preview with:
    input:
        f"{DATASET}/manifest.json",
        sources("workflow/scripts/preview.py"),
    output:
        f"{RESULTS}/{{model}}/preview.png",
    log:
        f"{RESULTS}/{{model}}/preview.log",
    benchmark:
        f"{RESULTS}/{{model}}/preview.benchmark.tsv"
    resources:
        mem_mb=2000,
    params:
        quiet="--quiet",
        script="preview.py",
        options=lambda w: ["--settings", preview_settings(w)],
    message:
        "Drawing augmented training samples of {wildcards.model}."
