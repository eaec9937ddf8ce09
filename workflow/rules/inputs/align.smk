# Inputs and options of the rules of align.smk.


def align_yaml(wildcards):
    """The resolved configuration of a probe as JSON: that of the first seed's run."""
    model, seed = wildcards.model, config["seeds"][0]
    configured(os.path.basename(alignment_dir(model)), wildcards.alignment_id)
    settings = run_settings(model, wildcards.framework, seed, f"{weights_dir(model, seed)}/init.safetensors")
    return json.dumps(settings)


def probe_requirements(wildcards):
    """The files that a probe reads; every framework but the first also gets the files that the first one wrote."""
    needs = {"manifest": f"{DATASET}/manifest.json"}
    needs["weights"] = f"{weights_dir(wildcards.model, config['seeds'][0])}/init.safetensors"
    if wildcards.framework != FRAMEWORKS[0]:
        needs["reference"] = probe_files(wildcards.model, FRAMEWORKS[0])
    return needs


def trajectory_steps():
    """Steps of training that a probe records. One framework alone has no training to be compared with."""
    return config["align"]["trajectory_steps"] if len(FRAMEWORKS) > 1 else 0


def probe_names(framework):
    """Names of the files that the probe of a framework writes and others read; probe.json is the first."""
    return probe_folder.names(reference=framework == FRAMEWORKS[0], trajectory=trajectory_steps() > 0)


def probe_files(model, framework):
    """The files of a probe."""
    return [f"{alignment_dir(model)}/{framework}/{name}" for name in probe_names(framework)]


def probe_places(wildcards, input, output):
    """Where a probe writes, and for all but the first framework the folder of the first one."""
    reference = ["--reference", os.path.dirname(input.reference[0])] if "reference" in input.keys() else []
    return ["--out", os.path.dirname(output[0]), *reference]


def probe_options(trajectory=None):
    """How far a probe goes."""
    align, steps = config["align"], trajectory_steps() if trajectory is None else trajectory
    return ["--images", align["images"], "--steps", align["steps"], "--trajectory", steps]


def align_arguments(model):
    """The folders that are compared."""
    names = ("--first", "--second")
    return [word for name, fw in zip(names, FRAMEWORKS) for word in (name, f"{alignment_dir(model)}/{fw}")]
