# Inputs and options of the rules of weights.smk.


def initialiser(model, seed):
    """The framework that draws a seed's weights: the one that drew them before, otherwise PyTorch if it takes part."""
    author = Path(weights_dir(model, seed)) / "initialised_by"
    if author.with_name("init.safetensors").exists() and author.exists():
        return author.read_text().strip()
    return "torch" if "torch" in FRAMEWORKS else FRAMEWORKS[0]


def initialise_options(wildcards):
    """Options of `init`: model, classes and seed, and what the configuration changes: options, pretrained weights."""
    run = resolved(wildcards.model)
    configured(ids.weights_id(run), wildcards.weights_id)
    options = ["--model", wildcards.model, "--variant", run.variant, "--num-classes", run.options["num_classes"]]
    return [*options, "--seed", wildcards.seed, *init_arguments(run)]


def published_weights(wildcards):
    """The weights of the first configured seed, and what the conversion reports."""
    folder = weights_dir(wildcards.model, config["seeds"][0])
    converted = ["init.pkl", "conversion.json"] if "jittor" in FRAMEWORKS else []
    return [f"{folder}/{name}" for name in ["init.safetensors", *converted]]
