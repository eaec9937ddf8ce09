# Stage 6: speed and memory. A measurement has the machine to itself: it claims every core that Snakemake was given, so
# that no other job runs beside it, and uses as many threads as training does. Each process is a job that waits for the
# one before it, in the order A B B A (parity.measure.turns): Snakemake alone would choose any order.


use rule align_config as profile_config with:
    output:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.run.yaml",
    log:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.run_config.log",
    params:
        settings=profile_yaml,
    message:
        "Writing the configuration of the measurement of {wildcards.setting}."


rule profile:
    input:
        unpack(profile_requirements),
        config=rules.profile_config.output[0],
        sources=lambda w: framework_sources(framework_of(w.setting), w.model, "profile"),
    output:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.{{process}}.json",
    log:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.{{process}}.log",
    benchmark:
        f"{RESULTS}/{{model}}/profile/{{profile_id}}/{{setting}}.{{process}}.benchmark.tsv"
    # One right after the other, before the trainings: the machine is not equally fast at all times.
    priority: 10
    conda:
        lambda w: str(ROOT / f"envs/{framework_of(w.setting)}.yaml")
    threads: lambda w: workflow.resource_settings.cores or config["threads"]
    resources:
        **ON_CARD,
        mem_mb=memory(6000),
    params:
        job=lambda w: job(framework_of(w.setting)),
        framework=lambda w: framework_of(w.setting),
        variation=lambda w, input: profile_variation(w.setting, input.get("first")),
        profile=MEASURE,
        threads=config["threads"],
    message:
        "Measuring the speed and memory of {wildcards.model}, {wildcards.setting}, process {wildcards.process}; nothing else runs meanwhile."
    shell:
        "{params.job} --device {resources.device} --threads {params.threads} {log:q}"
        " -m {params.framework}_impl profile --config {input.config:q} --weights {input.weights:q}"
        " --setting {wildcards.setting} {params.variation:q} --images {params.profile[images]}"
        " --steps {params.profile[steps]} --warmup {params.profile[warmup]} --out {output:q}"


rule publish_profile:
    """Copies of what is configured now, where a reader looks for them."""
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
