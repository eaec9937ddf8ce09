# Stage 7: what is compared, written down once (comparison.json), and its figures.


rule collect:
    input:
        compared_files,
        sources=sources("workflow/scripts/collect.py"),
    output:
        f"{RESULTS}/{{model}}/comparison.json",
    log:
        f"{RESULTS}/{{model}}/comparison.log",
    conda:
        "../../envs/workflow.yaml"
    params:
        job=job("workflow"),
        settings=lambda w: json.dumps(comparison(w)),
    message:
        "Noting what the report of {wildcards.model} compares."
    shell:
        "{params.job} --quiet {log:q} collect.py --settings {params.settings:q} --out {output:q}"


rule figures:
    input:
        compared_files,
        comparison=rules.collect.output[0],
        sources=sources("workflow/scripts/make_figures.py"),
    output:
        png=[f"{RESULTS}/{{model}}/figures/{name}.png" for name in FIGURES],
        svg=[
            report(
                f"{RESULTS}/{{model}}/figures/{name}.svg",
                category="Figures",
                subcategory="{model}",
                labels={"name": name, "shows": caption},
                caption="../../reports/captions/figure.rst",
            )
            for name, caption in FIGURES.items()
        ],
    log:
        f"{RESULTS}/{{model}}/figures.log",
    benchmark:
        f"{RESULTS}/{{model}}/figures.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        job=job("workflow"),
        folder=lambda w, input: os.path.dirname(input.comparison),
    message:
        "Drawing the figures of {wildcards.model}."
    shell:
        "{params.job} --quiet {log:q} make_figures.py --comparison {input.comparison:q} --out {params.folder:q}"
