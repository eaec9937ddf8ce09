# Stage 2: the initial weights. They are drawn once per seed, whatever the framework, and converted for Jittor with a report
# that every tensor arrived bit for bit. Their folder is named by what they depend on, so sources are no inputs here: an
# edit in one framework must not give the other one new weights. To draw them again, delete the folder.


rule weights:
    output:
        weights=f"{RESULTS}/{{model}}/weights/{{weights_id}}-s{{seed}}/init.safetensors",
        author=f"{RESULTS}/{{model}}/weights/{{weights_id}}-s{{seed}}/initialised_by",
    log:
        f"{RESULTS}/{{model}}/weights/{{weights_id}}-s{{seed}}/init.log",
    benchmark:
        f"{RESULTS}/{{model}}/weights/{{weights_id}}-s{{seed}}/init.benchmark.tsv"
    conda:
        lambda w: str(ROOT / f"envs/{initialiser(w.model, w.seed)}.yaml")
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
    params:
        root=os.path.relpath(ROOT),
        python=lambda w: python(initialiser(w.model, w.seed)),
        framework=lambda w: initialiser(w.model, w.seed),
        variant=lambda w: resolved(w.model).variant,
        classes=lambda w: resolved(w.model).options["num_classes"],
        arguments=initialise_arguments,
    message:
        "Drawing the initial weights of {wildcards.model} for seed {wildcards.seed}."
    shell:
        "export PYTHONPATH={params.root};"
        " {params.python} {params.root}/workflow/scripts/with_log.py {log}"
        " {params.python} -m {params.framework}_impl init --model {wildcards.model} --variant {params.variant}"
        " --num-classes {params.classes} --seed {wildcards.seed} --out {output.weights} {params.arguments:q}"
        " && echo {params.framework} > {output.author}"


rule convert:
    input:
        rules.weights.output.weights,
    output:
        weights=f"{RESULTS}/{{model}}/weights/{{weights_id}}-s{{seed}}/init.pkl",
        report=f"{RESULTS}/{{model}}/weights/{{weights_id}}-s{{seed}}/conversion.json",
    log:
        f"{RESULTS}/{{model}}/weights/{{weights_id}}-s{{seed}}/convert.log",
    benchmark:
        f"{RESULTS}/{{model}}/weights/{{weights_id}}-s{{seed}}/convert.benchmark.tsv"
    conda:
        "../../envs/jittor.yaml"
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
    params:
        root=os.path.relpath(ROOT),
        python=python("jittor"),
    message:
        "Converting the initial weights of {wildcards.model} for Jittor, and comparing them tensor by tensor."
    shell:
        "export PYTHONPATH={params.root};"
        " {params.python} {params.root}/workflow/scripts/with_log.py {log}"
        " {params.python} -m jittor_impl convert --input {input} --output {output.weights}"
        " && mv {output.weights}.report.json {output.report}"


rule publish_weights:
    """Copies of what is configured now, where a reader looks for them."""
    input:
        published_weights,
    output:
        f"{RESULTS}/{{model}}/weights/published.txt",
    log:
        f"{RESULTS}/{{model}}/weights/published.log",
    conda:
        "../../envs/workflow.yaml"
    params:
        folder=lambda w, output: os.path.dirname(output[0]),
    message:
        "Publishing the initial weights of {wildcards.model}."
    shell:
        "(cp {input} {params.folder}/ && printf '%s\\n' {input} > {output}) 2> {log}"
