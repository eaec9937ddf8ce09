# Stage 4: training, one run per framework and seed. A run's folder is named by what its weights depend on; going back to
# an earlier configuration finds the earlier run finished.


rule run_config:
    output:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/run.yaml",
    log:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/run_config.log",
    conda:
        "../../envs/workflow.yaml"
    resources:
        # Resources, because unlike params they are no reason to run again.
        workers=config["workers"],
        log_seconds=config["log_seconds"],
        checkpoint_minutes=config["checkpoint_minutes"],
        keep_checkpoints=config["keep_checkpoints"],
    params:
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        settings=run_yaml,
    message:
        "Writing the configuration of run {wildcards.run} in {wildcards.framework}."
    shell:
        "{params.python} {params.root}/workflow/scripts/write_run_config.py"
        " --settings {params.settings:q}"
        " --workers {resources.workers} --log-seconds {resources.log_seconds}"
        " --checkpoint-minutes {resources.checkpoint_minutes} --keep-checkpoints {resources.keep_checkpoints}"
        " --out {output} 2> {log}"


rule train:
    input:
        unpack(train_requirements),
        config=rules.run_config.output[0],
        sources=lambda w: framework_sources(w.framework, w.model, "train"),
    output:
        # metrics.jsonl and checkpoints/ are no outputs: Snakemake would delete them with a failed job, and an interrupted
        # run continues from them. run.json is written last.
        manifest=f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/run.json",
        coco=f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/coco.json",
        detections=f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/detections.json",
        last=f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/last.safetensors",
    log:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/train.log",
    benchmark:
        f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}/train.benchmark.tsv"
    conda:
        "../../envs/{framework}.yaml"
    threads: config["threads"]
    resources:
        # One job per card; on the CPU one job at a time (`turn`), because two would slow each other down.
        gpu=GPU,
        device=config["device"],
        turn=1 - GPU,
        mem_mb=lambda w, attempt: 6000 * attempt,
    params:
        root=os.path.relpath(ROOT),
        python=lambda w: python(w.framework),
        folder=lambda w, output: os.path.dirname(output.manifest),
        threads=config["threads"],
    message:
        "Training {wildcards.model} in {wildcards.framework}, run {wildcards.run}."
    shell:
        "export PYTHONPATH={params.root} OMP_NUM_THREADS={params.threads};"
        " {params.python} {params.root}/workflow/scripts/run_folder.py begin {params.folder} {input.sources}"
        " && {params.python} {params.root}/workflow/scripts/with_log.py --device {resources.device} {log}"
        " {params.python} -m {wildcards.framework}_impl train --config {input.config} --out {params.folder}"
        " && {params.python} {params.root}/workflow/scripts/run_folder.py finish {params.folder}"
