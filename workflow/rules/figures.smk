# Stage 7: what is compared, written down once (comparison.json), and its figures.


include: "inputs/figures.smk"


use rule script_job as collect with:
    input:
        compared_files,
        sources=sources("workflow/scripts/collect.py"),
    output:
        f"{RESULTS}/{{model}}/comparison.json",
    log:
        f"{RESULTS}/{{model}}/comparison.log",
    params:
        quiet="--quiet",
        script="collect.py",
        options=lambda w: ["--settings", json.dumps(comparison(w))],
    message:
        "Noting what the report of {wildcards.model} compares."


use rule script_job as figures with:
    input:
        compared_files,
        comparison=rules.collect.output[0],
        sources=sources("workflow/scripts/make_figures.py"),
    output:
        png=[f"{RESULTS}/{{model}}/figures/{name}.png" for name in FIGURES],
        svg=[shown(f"figures/{name}.svg", "figure", name=name, shows=caption) for name, caption in FIGURES.items()],
    log:
        f"{RESULTS}/{{model}}/figures.log",
    benchmark:
        f"{RESULTS}/{{model}}/figures.benchmark.tsv"
    resources:
        mem_mb=memory(2000),
    params:
        quiet="--quiet",
        script="make_figures.py",
        files=folder_of_comparison,
    message:
        "Drawing the figures of {wildcards.model}."
