# Stage 4b: steps over a whole training. One framework's run kept states; both frameworks take the step after each once
# more, and are compared. It comes after the training, so the gate does not wait for it.


include: "inputs/steps.smk"


use rule align_config as steps_config with:
    output:
        f"{RUN}/steps/{{other}}.run.yaml",
    log:
        f"{RUN}/steps/{{other}}.run_config.log",
    params:
        settings=run_yaml,
    message:
        "Writing the configuration for {wildcards.other} to take steps of a run of {wildcards.framework}."


use rule framework_job as take_steps with:
    input:
        states=f"{RUN}/states.npz",
        manifest=f"{DATASET}/manifest.json",
        config=rules.steps_config.output[0],
        sources=lambda w: framework_sources(w.other, w.model, "steps"),
    output:
        [f"{RUN}/steps/{{other}}/{name}" for name in probe_folder.STEPS],
    log:
        f"{RUN}/steps/{{other}}.log",
    benchmark:
        f"{RUN}/steps/{{other}}.benchmark.tsv"
    params:
        verb="steps",
        start=lambda w, input: ["--states", input.states],
        options=lambda w: ["--nudge"] if w.other == w.framework else [],
        files=lambda w, output: ["--out", os.path.dirname(output[0])],
    message:
        "Taking steps in {wildcards.other} that {wildcards.framework} took, spread over its run {wildcards.run}."


use rule script_job as whole_run with:
    input:
        run=f"{RUN}/run.json",
        steps=lambda w: expand(rules.take_steps.output, other=steps_taken_by(w), **w),
        sources=sources("workflow/scripts/whole_run.py"),
    output:
        f"{RUN}/steps/whole_run.json",
    log:
        f"{RUN}/steps/whole_run.log",
    benchmark:
        f"{RUN}/steps/whole_run.benchmark.tsv"
    resources:
        mem_mb=memory(2000),
    params:
        quiet="--quiet",
        script="whole_run.py",
        options=lambda w: ["--frameworks", *steps_taken_by(w)],
        files=compared_steps,
    message:
        "Comparing steps over the whole training of {wildcards.model}."
