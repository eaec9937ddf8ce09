# Inputs and options of the rules of stock.smk.


def stock_yaml(wildcards):
    """The resolved configuration of a probe of Jittor's own operators, as JSON."""
    model, seed = wildcards.model, config["seeds"][0]
    configured(os.path.basename(alignment_dir(model)), wildcards.alignment_id)
    settings = run_settings(model, "jittor", seed, f"{weights_dir(model, seed)}/init.safetensors")
    return json.dumps(settings | {"framework_options": settings["framework_options"] | {"ops": "stock"}})


def stock_requirements(wildcards):
    """The files that this probe reads: the weights, and what the first framework wrote."""
    model = wildcards.model
    needs = {"manifest": f"{DATASET}/manifest.json", "reference": probe_files(model, FRAMEWORKS[0])}
    return needs | {"weights": f"{weights_dir(model, config['seeds'][0])}/init.safetensors"}


def stock_arguments(wildcards):
    """The folders that are compared, and what the second one is called."""
    folder, name = alignment_dir(wildcards.model), wildcards.setting
    folders = ["--first", f"{folder}/{FRAMEWORKS[0]}", "--second", f"{folder}/{name}"]
    return [*folders, "--called", name, "--untrained"]


def stock_ladder(model):
    """The file that compares Jittor's own operators; None where they are not measured."""
    asked = config["align"]["stock"] and "jittor-stock" in profile_settings()
    return f"{alignment_dir(model)}/jittor-stock.json" if asked else None
