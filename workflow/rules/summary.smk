# Stage 9: the models side by side. `snakemake all` ends here; `models=rtdetr,nanodet` leaves the others out.


rule summary:
    input:
        summarised_files,
        comparisons=expand(rules.collect.output[0], model=SELECTED),
        templates=templates("summary"),
        sources=sources("workflow/scripts/make_summary.py"),
    output:
        markdown=f"{RESULTS}/summary/report.md",
        html=report(
            f"{RESULTS}/summary/report.html",
            category="Reports",
            labels={"model": "all models"},
            caption="../../reports/captions/summary.rst",
        ),
        tables=[
            report(
                f"{RESULTS}/summary/{name}.csv",
                category="Summary",
                labels={"name": name, "kind": "table"},
                caption="../../reports/captions/summary.rst",
            )
            for name in ("overview", "verdicts", "conditions")
        ],
        png=f"{RESULTS}/summary/figures/pareto.png",
        svg=report(
            f"{RESULTS}/summary/figures/pareto.svg",
            category="Summary",
            labels={"name": "pareto", "kind": "figure"},
            caption="../../reports/captions/summary.rst",
        ),
    log:
        f"{RESULTS}/summary/report.log",
    benchmark:
        f"{RESULTS}/summary/report.benchmark.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        job=job("workflow"),
        folder=lambda w, output: os.path.dirname(output.markdown),
    message:
        "Setting {input.comparisons} side by side."
    shell:
        "{params.job} --quiet {log:q} make_summary.py --comparisons {input.comparisons:q} --out {params.folder:q}"
