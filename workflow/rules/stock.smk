# Stage 3b: Jittor's own operators through the ladder. They are timed, so the report says whether they compute the same.
# Nothing is trained with them, so training does not wait for it.


include: "inputs/stock.smk"


use rule align_config as stock_config with:
    output:
        f"{ALIGNMENT}/{{setting}}.run.yaml",
    log:
        f"{ALIGNMENT}/{{setting}}.run_config.log",
    wildcard_constraints:
        setting="jittor-stock",
    params:
        settings=stock_yaml,
    message:
        "Writing the configuration that {wildcards.setting} is aligned with."


use rule framework_job as probe_stock with:
    input:
        unpack(stock_requirements),
        config=rules.stock_config.output[0],
        sources=lambda w: framework_sources(runs_in(w), w.model, "probe"),
    output:
        [f"{ALIGNMENT}/{{setting}}/{name}" for name in probe_folder.names(reference=False, trajectory=False)],
    log:
        f"{ALIGNMENT}/{{setting}}.log",
    benchmark:
        f"{ALIGNMENT}/{{setting}}.benchmark.tsv"
    wildcard_constraints:
        setting="jittor-stock",
    params:
        verb="probe",
        options=probe_options(trajectory=0),
        files=probe_places,
    message:
        "Recording what {wildcards.setting} computes with {wildcards.model}."


use rule script_job as align_stock with:
    input:
        lambda w: probe_files(w.model, FRAMEWORKS[0]),
        rules.probe_stock.output,
        sources=sources("workflow/scripts/align.py"),
    output:
        f"{ALIGNMENT}/{{setting}}.json",
    log:
        f"{ALIGNMENT}/{{setting}}.align.log",
    benchmark:
        f"{ALIGNMENT}/{{setting}}.align.benchmark.tsv"
    wildcard_constraints:
        setting="jittor-stock",
    resources:
        mem_mb=memory(4000),
    params:
        quiet="--quiet",
        script="align.py",
        options=stock_arguments,
    message:
        "Comparing what {wildcards.setting} computes with {wildcards.model}, rung by rung."
