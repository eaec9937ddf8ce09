# Stage 6: speed and memory. A measurement has the machine to itself: it claims every core that Snakemake was given, so
# that no other job runs beside it, and uses as many threads as training does. Each process is a job that waits for the
# one before it, in the order A B B A (parity.measure.turns): Snakemake alone would choose any order.


include: "inputs/profile.smk"


use rule align_config as profile_config with:
    output:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.run.yaml",
    log:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.run_config.log",
    params:
        settings=profile_yaml,
    message:
        "Writing the configuration of the measurement of {wildcards.setting}."


use rule framework_job as profile with:
    input:
        unpack(profile_requirements),
        config=rules.profile_config.output[0],
        sources=lambda w: framework_sources(runs_in(w), w.model, "profile"),
    output:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.{{process}}.json",
    log:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.{{process}}.log",
    benchmark:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.{{process}}.benchmark.tsv"
    # One right after the other, before the trainings: the machine is not equally fast at all times.
    priority: 10
    threads: lambda w: workflow.resource_settings.cores or config["threads"]
    params:
        verb="profile",
        options=lambda w: profile_options(w.setting),
        files=lambda w, input, output: ["--out", output[0], *(["--as", input.first] if "first" in input.keys() else [])],
    message:
        "Measuring the speed and memory of {wildcards.model}, {wildcards.setting}, process {wildcards.process}; nothing else runs meanwhile."


rule publish_profile:
    """Copies of the results for the present configuration, where a reader looks for them."""
    input:
        lambda w: sum(profiles(w.model).values(), []),
    output:
        f"{RESULTS}/{{model}}/profile/published.txt",
    log:
        f"{RESULTS}/{{model}}/profile/published.log",
    conda:
        "../../envs/workflow.yaml"
    params:
        folder=lambda w, output: os.path.dirname(output[0]),
    message:
        "Publishing the measurements of {wildcards.model}."
    shell:
        "(rm -f {params.folder:q}/*.json && cp {input:q} {params.folder:q}/ && printf '%s\\n' {input:q} > {output:q}) 2> {log:q}"
