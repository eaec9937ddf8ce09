# Inputs and options of the rules of train.smk.


def own_run(wildcards):
    """(framework, seed) of a run's folder. A folder of another configuration cannot be made with this one."""
    seed = seed_of(wildcards.run)
    configured(os.path.basename(run_dir(wildcards.model, wildcards.framework, seed)), wildcards.run)
    return wildcards.framework, seed


def run_yaml(wildcards):
    """The resolved configuration of a run as JSON, which is YAML too."""
    framework, seed = own_run(wildcards)
    weights = f"{weights_dir(wildcards.model, seed)}/init.safetensors"
    settings = run_settings(wildcards.model, wildcards.get("other", framework), seed, weights)
    source = config.get("continue_from")
    if source and not Path(source).exists():
        refuse(f"config: continue_from: {source!r} is not there, expected a run's folder or one of its checkpoints")
    return json.dumps(settings | ({"continue_from": source} if source else {}))


def gate(wildcards, framework):
    """The verdict that a run waits for. A finished run has passed it and does not wait: climbing the ladder again, with
    other settings or for other frameworks, must not train again. Sources that do something else make a run wait again.

    `ancient` alone would not do: Snakemake then leaves out the run's own reasons to be made again.
    """
    verdict = f"{RESULTS}/{wildcards.model}/alignment/gate.txt"
    folder = Path(f"{RESULTS}/{wildcards.model}/runs/{framework}/{wildcards.run}")
    if Path(verdict).exists() and made_by(folder, framework_sources(framework, wildcards.model, "train")):
        return before_update(ancient(verdict))
    return verdict


def train_requirements(wildcards):
    """The files that must exist, and have been checked, before a run may start."""
    framework, seed = own_run(wildcards)
    folder = weights_dir(wildcards.model, seed)
    needs = {"manifest": f"{DATASET}/manifest.json", "weights": f"{folder}/init.safetensors"}
    needs["gate"] = gate(wildcards, framework)
    if framework == "jittor":
        needs["conversion"] = f"{folder}/conversion.json"
    return needs
