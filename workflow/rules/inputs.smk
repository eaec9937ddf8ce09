# Input functions and parameters of the rules that take more than a line, by stage. No rule stands here.


def configured(now, asked):
    """Refuse to make a folder that is named by another configuration: its content must agree with its name."""
    if now != asked:
        refuse(f"{asked}: belongs to another configuration; what is configured now goes to {now}")


# ---- data


def downloaded():
    """The file that marks the source as fetched. It never makes a dataset again that exists already, whether that was
    made without it or its source is no longer fetched."""
    marker = f"{DATASET}.downloaded"
    if os.path.exists(marker):
        return ancient(marker)
    return marker if FETCH.get("download") and not os.path.exists(f"{DATASET}/manifest.json") else []


@cache
def dataset_token():
    """The token of the dataset's sources. It changes when a file that the dataset was made from has changed."""
    return freshness.token(DATASET, logger.info)


def preview_settings(wildcards):
    """The settings that a sheet of training samples depends on, as JSON."""
    run = resolved(wildcards.model).plain()
    keys = ("data", "label_space", "preprocess", "train")
    return json.dumps({key: run[key] for key in keys} | {"seed": config["seeds"][0]})


# ---- weights


def initialiser(model, seed):
    """The framework that draws a seed's weights: the one that did already, else PyTorch if it takes part."""
    author = Path(weights_dir(model, seed)) / "initialised_by"
    if author.with_name("init.safetensors").exists() and author.exists():
        return author.read_text().strip()
    return "torch" if "torch" in FRAMEWORKS else FRAMEWORKS[0]


def initialise_arguments(wildcards):
    """Arguments of `init` that the configuration decides: changed hyper-parameters, pretrained weights."""
    model = wildcards.model
    configured(ids.weights_id(resolved(model)), wildcards.weights_id)
    return init_arguments(resolved(model))


def published_weights(wildcards):
    """The weights of the first configured seed, and what the conversion reports."""
    folder = weights_dir(wildcards.model, config["seeds"][0])
    converted = ["init.pkl", "conversion.json"] if "jittor" in FRAMEWORKS else []
    return [f"{folder}/{name}" for name in ["init.safetensors", *converted]]


# ---- alignment


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
    """Steps of training that a probe records. One framework alone has nobody to compare a training with."""
    return config["align"]["trajectory_steps"] if len(FRAMEWORKS) > 1 else 0


def probe_names(framework):
    """Names of the files that the probe of a framework writes and others read; probe.json is the first."""
    return probe_folder.names(reference=framework == FRAMEWORKS[0], trajectory=trajectory_steps() > 0)


def probe_files(model, framework):
    """The files of a probe."""
    return [f"{alignment_dir(model)}/{framework}/{name}" for name in probe_names(framework)]


def probe_reference(wildcards, input):
    """The option that names the first framework's folder, for the others."""
    return ["--reference", os.path.dirname(input.reference[0])] if "reference" in input.keys() else []


def probe_arguments():
    """How far a probe goes."""
    align = config["align"]
    return f"--images {align['images']} --steps {align['steps']} --trajectory {trajectory_steps()}"


def align_arguments(model):
    """The folders that are compared."""
    names = ("--first", "--second")
    return [word for name, fw in zip(names, FRAMEWORKS) for word in (name, f"{alignment_dir(model)}/{fw}")]


# ---- training, and the same weights in the other framework


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


def cross_yaml(wildcards):
    """The same for an evaluation of a run's weights, on the images of the comparison."""
    settings = json.loads(run_yaml(wildcards))
    place = {"id": os.path.basename(CROSS_DATASET), "root": CROSS_DATASET}
    return json.dumps(settings | {"data": settings["data"] | place})


def gate(wildcards, framework):
    """The verdict that a run waits for. One that is finished passed it already and asks no more: climbing the ladder
    again, with other settings or for other frameworks, must not train again. Edited sources make it wait anew.

    `ancient` alone would not do: Snakemake then leaves out the run's own reasons to be made again."""
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


def trained_weights(wildcards):
    """The weights that a run is judged by."""
    folder = f"{RESULTS}/{wildcards.model}/runs/{wildcards.framework}/{wildcards.run}"
    return f"{folder}/{final_weights(wildcards.model)}"


def trained_files(model, framework, seed):
    """The files that the training of a run makes."""
    names = [Path(file).name for file in TRAINED.values()] + (["ema.safetensors"] if averaged(model) else [])
    return [f"{run_dir(model, framework, seed)}/{name}" for name in names]


def lost():
    """Files that are missing while others of the same job are there: deleted, or the job is at work or was cut short."""
    jobs = []
    for model in models.model_names():
        if os.path.isdir(f"{RESULTS}/{model}") and averaged(model) is not None:
            jobs += [probe_files(model, framework) for framework in FRAMEWORKS]
            jobs += [trained_files(model, framework, seed) for framework in FRAMEWORKS for seed in config["seeds"]]
    gone = [[file for file in files if not os.path.exists(file)] for files in jobs]
    return sorted(file for files, missing in zip(jobs, gone) if len(missing) < len(files) for file in missing)


if workflow.is_main_process:
    # Snakemake makes a file again when a job that reads it has to run. It says nothing where all those are finished.
    for file in lost():
        logger.warning(
            f"{file}: is missing beside other files of its job (deleted, or cut short); made again when a job reads it."
        )


# ---- profile


def profile_yaml(wildcards):
    """The resolved configuration of a measurement as JSON. Speed does not depend on the seed, so it is always 0."""
    model = wildcards.model
    configured(Path(profile_of(model, wildcards.setting)).parent.name, wildcards.profile_id)
    settings = run_settings(model, framework_of(wildcards.setting), 0, f"{weights_dir(model, 0)}/init.safetensors")
    settings["train"] = ids.profile_train(resolved(model)).plain()
    settings["evaluate"] = settings["evaluate"] | {"batch_size": 1}  # images are measured one by one
    return json.dumps(settings)


def turn_before(model, setting, process):
    """The process that a process waits for, so that they alternate whatever else could run. Nothing for the first.

    A setting that is not measured now is stepped over. Where it was measured before, its file stays what is waited for:
    leaving a framework out afterwards must not measure the other one again."""
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


def profile_variation(setting, first=None):
    """Options of `profile` for what is measured beside the frameworks as they are trained."""
    if setting == "jittor-stock":
        return ["--ops", "stock"]
    if setting == "torch-compile":
        seconds = str(config["profile"]["compile_seconds"])
        return ["--compile", "--compile-seconds", seconds, *(["--as", first] if first else [])]
    return []


def profiles(model):
    """Every configured measurement, by what it is called in the report."""
    numbers = range(1, config["profile"]["processes"] + 1)
    return {name: [f"{profile_of(model, name)}.{number}.json" for number in numbers] for name in profile_settings()}


# ---- figures and report


def compared_runs(model):
    """Every configured run: framework, seed, folder, and the folders of its evaluations for the comparison."""
    runs = []
    for framework in FRAMEWORKS:
        for seed in config["seeds"]:
            folder = run_dir(model, framework, seed)
            cross = {name: f"{folder}/cross/{name}" for name in evaluators(framework)}
            runs.append({"framework": framework, "seed": seed, "dir": folder, "cross": cross})
    return runs


def compared_files(wildcards):
    """Everything that a report is made from, as files that rules make."""
    return files_of(wildcards.model)


def summarised_files(wildcards):
    """Everything that the summary is made from."""
    return sorted({file for model in SELECTED for file in files_of(model)})


def files_of(model):
    """The results of a model that figures and tables read."""
    compared_on = [CROSS_DATASET] if len(FRAMEWORKS) > 1 else []
    files = [f"{folder}/manifest.json" for folder in dict.fromkeys([DATASET, *compared_on])]
    files.append(f"{RESULTS}/{model}/weights/published.txt")
    files.append(f"{RESULTS}/{model}/alignment/alignment.json")
    for run in compared_runs(model):
        files += [f"{run['dir']}/{name}" for name in ("run.yaml", "run.json", "coco.json", "detections.json")]
        files += [f"{folder}/coco.json" for folder in run["cross"].values()]
    return files + [f"{RESULTS}/{model}/profile/published.txt"]


def reproduce(model):
    """The commands that make each part again, by what they make."""
    given = workflow.config_settings
    flat = [f"{key}={value}" for key, value in (given.config or {}).items() if not isinstance(value, dict | list)]
    files = [os.path.relpath(path) for path in given.configfiles or []]
    whole = f"snakemake --cores 1 --use-conda {RESULTS}/{model}/report.md"
    whole += f" --configfile {' '.join(files)}" if files else ""
    commands = {"everything": whole + (f" --config {' '.join(flat)}" if flat else "")}
    for run in compared_runs(model):
        framework, folder = run["framework"], run["dir"]
        call = f"{shlex.quote(python(framework))} -m {framework}_impl"
        commands[f"train {framework}, seed {run['seed']}"] = f"{call} train --config {folder}/run.yaml --out {folder}"
        for other, cross in run["cross"].items():
            commands[f"weights of {framework}, seed {run['seed']}, in {other}"] = (
                f"{shlex.quote(python(other))} -m {other}_impl predict --config {cross}/run.yaml"
                f" --weights {folder}/{final_weights(model)} --out {cross}/detections.json"
            )
    for framework in FRAMEWORKS:
        folder, first = f"{alignment_dir(model)}/{framework}", FRAMEWORKS[0]
        reference = "" if framework == first else f" --reference {alignment_dir(model)}/{first}"
        commands[f"probe {framework}"] = (
            f"{shlex.quote(python(framework))} -m {framework}_impl probe --config {folder}.run.yaml"
            f" --weights {weights_dir(model, config['seeds'][0])}/init.safetensors"
            f" --out {folder}{reference} {probe_arguments()}"
        )
    commands["align"] = (
        f"{shlex.quote(python('workflow'))} {shlex.quote(os.path.relpath(ROOT / 'workflow/scripts/align.py'))} {shlex.join(align_arguments(model))}"
        f" --out {alignment_dir(model)}/alignment.json --strict"
    )
    for setting in profile_settings():
        framework, file = framework_of(setting), profile_of(model, setting)
        commands[f"profile {setting}"] = (
            f"{shlex.quote(python(framework))} -m {framework}_impl profile --config {file}.run.yaml"
            f" --weights {weights_dir(model, 0)}/init.safetensors --setting {setting} --out {file}.1.json"
            + "".join(f" {word}" for word in profile_variation(setting))
            + "".join(f" --{key} {value}" for key, value in MEASURE.items())
        )
    return commands


def comparison(wildcards):
    """The content of comparison.json, but for the commit."""
    model = wildcards.model
    run = resolved(model)
    shared = ("frameworks", "seeds", "profile", "figures", "report", "align", "margins")
    first = weights_dir(model, config["seeds"][0])
    return {
        "model": model,
        "title": run.title,
        "variant": run.variant,
        "frameworks": FRAMEWORKS,
        "runs": compared_runs(model),
        "profiles": profiles(model),
        "dataset": DATASET,
        "cross_dataset": CROSS_DATASET,
        "conversion": f"{first}/conversion.json" if "jittor" in FRAMEWORKS else None,
        "alignment": f"{RESULTS}/{model}/alignment/alignment.json",
        "config": run.plain()
        | {key: config[key] for key in shared}
        | {"dataset": config["data"], "asked_device": ASKED_DEVICE},
        "margins": config["margins"],
        "commands": reproduce(model),
    }


# ---- released weights

REPRODUCE = f"{RESULTS}/{{model}}/reproduce/{{variant}}"
ASKED = SETTINGS.reproduce
VAL = f"{RESULTS}/reproduce/{digest([ASKED.coco, ASKED.images])[:8]}"


@cache
def released_weights():
    """Every released checkpoint by (model, variant). Read when a target of this file is asked for."""
    try:
        return zoo.read_zoo()
    except UserError as error:
        refuse(error)


def reproduced_variant(model):
    """The variant that is configured, or the first released one."""
    return SETTINGS.variant or next(variant for name, variant in released_weights() if name == model)


def zoo_results(wildcards):
    """The results of the checkpoints whose file is there."""
    return [
        f"{RESULTS}/{model}/reproduce/{variant}/result.json"
        for (model, variant), released in released_weights().items()
        if os.path.isfile(os.path.join(ASKED.folder, released.file))
    ]


def coco_annotations(wildcards):
    if not ASKED.coco:
        refuse("config: reproduce.coco: is not set, expected the folder of COCO: make reproduce COCO=/data/coco")
    return f"{ASKED.coco}/annotations/instances_val2017.json"


def given_weights(wildcards):
    """`--weights file`, where the configuration names one for this variant."""
    mine = ASKED.weights and wildcards.variant == reproduced_variant(wildcards.model)
    return ["--weights", ASKED.weights] if mine else []


def coco_classes(wildcards):
    """Classes of a model on COCO: 80, or 91 where the category ids are the classes."""
    return 91 if models.model_file(wildcards.model).label_space == "coco_id" else 80


def weights_of(wildcards):
    """The same weights in the form that a framework reads."""
    suffix = "pkl" if wildcards.framework == "jittor" else "safetensors"
    return f"{REPRODUCE}/init.{suffix}".format(**wildcards)
