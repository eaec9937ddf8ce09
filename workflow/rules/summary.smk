# Stage 9: the models side by side. `snakemake all` ends here; `models=rtdetr,nanodet` leaves the others out.


use rule figures as summary with:
    input:
        summarised_files,
        comparison=expand(rules.collect.output[0], model=SELECTED),
        templates=templates("summary"),
        sources=sources("workflow/scripts/make_summary.py"),
    output:
        markdown=f"{RESULTS}/summary/report.md",
        html=shown_summary("report.html", "Reports", model="all models"),
        tables=[
            shown_summary(f"{name}.csv", "Summary", name=name, kind="table")
            for name in ("overview", "verdicts", "conditions")
        ],
        png=f"{RESULTS}/summary/figures/pareto.png",
        svg=shown_summary("figures/pareto.svg", "Summary", name="pareto", kind="figure"),
    log:
        f"{RESULTS}/summary/report.log",
    benchmark:
        f"{RESULTS}/summary/report.benchmark.tsv"
    params:
        script="make_summary.py",
        files=lambda w, input, output: ["--comparison", *input.comparison, "--out", os.path.dirname(output.markdown)],
    message:
        "Setting {input.comparison} side by side."
