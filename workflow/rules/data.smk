# Stage 1: the dataset in neutral form: COCO annotations, images, a manifest with checksums.


rule dataset:
    input:
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
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        data=json.dumps(config["data"]),
        folder=lambda w, output: os.path.dirname(output[0]),
    message:
        "Preparing the dataset in {params.folder}."
    shell:
        "{params.python} {params.root}/workflow/scripts/with_log.py {log}"
        " {params.python} {params.root}/workflow/scripts/make_dataset.py --data {params.data:q} --out {params.folder}"
