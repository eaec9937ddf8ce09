# Inputs and options of the rules of profile.smk.


def profile_yaml(wildcards):
    """The resolved configuration of a measurement as JSON. Speed does not depend on the seed, so it is always 0."""
    model = wildcards.model
    configured(Path(profile_of(model, wildcards.setting)).parent.name, wildcards.profile_id)
    settings = run_settings(model, framework_of(wildcards.setting), 0, f"{weights_dir(model, 0)}/init.safetensors")
    settings["train"] = ids.profile_train(resolved(model)).plain()
    settings["evaluate"] = settings["evaluate"] | {"batch_size": 1}  # images are measured one by one
    return json.dumps(settings)


def turn_before(model, setting, process):
    """The process that a process waits for, so that they alternate in any case. Nothing for the first.

    A setting that is not measured now is skipped. If it was measured before, the process still waits for its file:
    leaving a framework out later must not measure the other one again.
    """
    order = turns.turns(config["profile"]["processes"])
    if (setting, process) not in order:
        refuse(
            f"profile: process {process} of {setting} is not asked for, expected 1 to {config['profile']['processes']}"
        )
    for name, number in reversed(order[: order.index((setting, process))]):
        file = f"{profile_of(model, name)}.{number}.json"
        if name in profile_settings():
            return file
        if os.path.exists(file):
            return before_update(ancient(file))
    return []


def profile_requirements(wildcards):
    """What a process reads, and the process that it waits for."""
    model, setting, process = wildcards.model, wildcards.setting, int(wildcards.process)
    # Speed does not depend on the seed: other seeds must not make it be measured again.
    needs = {"weights": f"{weights_dir(model, 0)}/init.safetensors", "manifest": f"{DATASET}/manifest.json"}
    if setting == "torch-compile" and process > 1:
        needs["first"] = f"{profile_of(model, setting)}.1.json"
    return needs | {"before": turn_before(model, setting, process)}


def profile_options(setting):
    """What is measured, and how often. Two settings differ from the frameworks as they are trained."""
    options = ["--setting", setting]
    if setting == "jittor-stock":
        options += ["--ops", "stock"]
    if setting == "torch-compile":
        options += ["--compile", "--compile-seconds", str(config["profile"]["compile_seconds"])]
    return options + [word for key, value in MEASURE.items() for word in (f"--{key}", value)]


def profiles(model):
    """Every configured measurement, by what it is called in the report."""
    numbers = range(1, config["profile"]["processes"] + 1)
    return {name: [f"{profile_of(model, name)}.{number}.json" for number in numbers] for name in profile_settings()}
