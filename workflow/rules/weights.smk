# Stage 2: the initial weights. They are drawn once per seed, whatever the framework, and converted for Jittor with a report
# that every tensor arrived bit for bit. Their folder is named by what they depend on, so sources are no inputs here: an
# edit in one framework must not give the other one new weights. To draw them again, delete the folder.


include: "inputs/weights.smk"


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
        mem_mb=memory(4000),
    params:
        job=lambda w: job(initialiser(w.model, w.seed)),
        framework=lambda w: initialiser(w.model, w.seed),
        options=initialise_options,
    message:
        "Drawing the initial weights of {wildcards.model} for seed {wildcards.seed}."
    shell:
        "{params.job} {log:q} -m {params.framework}_impl init {params.options:q} --out {output.weights:q}"
        " && echo {params.framework} > {output.author:q}"


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
        mem_mb=memory(4000),
    params:
        job=job("jittor"),
    message:
        "Converting the initial weights of {wildcards.model} for Jittor, and comparing them tensor by tensor."
    shell:
        "{params.job} {log:q} -m jittor_impl convert --input {input:q} --output {output.weights:q}"
        " && mv {output.weights:q}.report.json {output.report:q}"


rule publish_weights:
    """Copies of the results for the present configuration, where a reader looks for them."""
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
        "(cp {input:q} {params.folder:q}/ && printf '%s\\n' {input:q} > {output:q}) 2> {log:q}"
