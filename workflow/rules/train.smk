# Stage 4: training, one run per framework and seed. A run's folder is named by what its weights depend on; going back to
# an earlier configuration finds the earlier run finished.


include: "inputs/train.smk"


use rule align_config as run_config with:
    output:
        f"{RUN}/run.yaml",
    log:
        f"{RUN}/run_config.log",
    params:
        settings=run_yaml,
    message:
        "Writing the configuration of run {wildcards.run} in {wildcards.framework}."


rule train:
    input:
        unpack(train_requirements),
        config=rules.run_config.output[0],
        sources=lambda w: framework_sources(w.framework, w.model, "train"),
    output:
        # Snakemake deletes the outputs of a job that failed. So the files that an interrupted run continues from are
        # not outputs: checkpoints/, metrics.jsonl, and best.safetensors, which no later epoch may write again.
        **TRAINED,
        average=f"{RUN}/ema.safetensors",
    log:
        f"{RUN}/train.log",
    benchmark:
        f"{RUN}/train.benchmark.tsv"
    wildcard_constraints:
        model=AVERAGED,
    conda:
        "../../envs/{framework}.yaml"
    threads: config["threads"]
    resources:
        **on_card(6000),
    params:
        job=lambda w: job(w.framework),
        folder=lambda w, output: os.path.dirname(output.manifest),
        threads=config["threads"],
    message:
        "Training {wildcards.model} in {wildcards.framework}, run {wildcards.run}."
    shell:
        "{params.job} {log:q} run_folder.py begin {params.folder:q} {input.sources:q}"
        " && {params.job} --device {resources.device} --threads {params.threads} {log:q}"
        " -m {wildcards.framework}_impl train --config {input.config:q} --out {params.folder:q}"
        " && {params.job} {log:q} run_folder.py finish {params.folder:q}"


use rule train as train_unaveraged with:
    output:
        **TRAINED,
    wildcard_constraints:
        model=UNAVERAGED,
