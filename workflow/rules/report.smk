# Stage 8: the tables, and the report as Markdown and as one HTML file.


use rule figures as report with:
    input:
        compared_files,
        comparison=rules.collect.output[0],
        figures=rules.figures.output,
        templates=templates("report"),
        faults=faults_page(),
        sources=sources("workflow/scripts/make_report.py"),
    output:
        markdown=f"{RESULTS}/{{model}}/report.md",
        html=shown("report.html", "report", model="{model}"),
        tables=[shown(f"tables/{name}.csv", "table", name=name, holds=caption) for name, caption in TABLES.items()],
    log:
        f"{RESULTS}/{{model}}/report.log",
    benchmark:
        f"{RESULTS}/{{model}}/report.benchmark.tsv"
    params:
        script="make_report.py",
    message:
        "Writing the report of {wildcards.model}."
