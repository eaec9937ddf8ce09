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
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        settings=lambda w: json.dumps(comparison(w)),
    message:
        "Noting what the report of {wildcards.model} compares."
    shell:
        "{params.python} {params.root}/workflow/scripts/collect.py --settings {params.settings:q} --out {output}"
        " > {log} 2>&1"


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
        mem_mb=lambda w, attempt: 2000 * attempt,
    params:
        root=os.path.relpath(ROOT),
        python=python("workflow"),
        folder=lambda w, input: os.path.dirname(input.comparison),
    message:
        "Drawing the figures of {wildcards.model}."
    shell:
        "{params.python} {params.root}/workflow/scripts/make_figures.py --comparison {input.comparison}"
        " --out {params.folder} > {log} 2>&1"
