# Stage 8: the tables, and the report as Markdown and as one HTML file.


rule report:
    input:
        compared_files,
        comparison=rules.collect.output[0],
        figures=rules.figures.output,
        templates=templates("report"),
        faults=faults_page(),
        sources=sources("workflow/scripts/make_report.py"),
    output:
        markdown=f"{RESULTS}/{{model}}/report.md",
        html=report(
            f"{RESULTS}/{{model}}/report.html",
            category="Reports",
            labels={"model": "{model}"},
            caption="../../reports/captions/report.rst",
        ),
        tables=[
            report(
                f"{RESULTS}/{{model}}/tables/{name}.csv",
                category="Tables",
                subcategory="{model}",
                labels={"name": name, "holds": caption},
                caption="../../reports/captions/table.rst",
            )
            for name, caption in TABLES.items()
        ],
    log:
        f"{RESULTS}/{{model}}/report.log",
    benchmark:
        f"{RESULTS}/{{model}}/report.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        job=job("workflow"),
        folder=lambda w, input: os.path.dirname(input.comparison),
    message:
        "Writing the report of {wildcards.model}."
    shell:
        "{params.job} --quiet {log:q} make_report.py --comparison {input.comparison:q} --out {params.folder:q}"
