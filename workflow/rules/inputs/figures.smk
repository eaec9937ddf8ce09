# Inputs of figures, reports and the summary.


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
    files += [file for file in (whole_run(model), stock_ladder(model)) if file]
    for run in compared_runs(model):
        files += [f"{run['dir']}/{name}" for name in ("run.yaml", "run.json", "coco.json", "detections.json")]
        files += [f"{folder}/coco.json" for folder in run["cross"].values()]
    # The measurements themselves, too: published.txt holds their names only, and stays the same when they are made again.
    return files + [f"{RESULTS}/{model}/profile/published.txt", *sum(profiles(model).values(), [])]


def reproduce(model):
    """The commands that make each part again, by the name of the part."""
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
            f" --out {folder}{reference} {' '.join(map(str, probe_options()))}"
        )
    commands["align"] = (
        f"{shlex.quote(python('workflow'))} {shlex.quote(os.path.relpath(ROOT / 'workflow/scripts/align.py'))} {shlex.join(align_arguments(model))}"
        f" --out {alignment_dir(model)}/alignment.json --strict"
    )
    for setting in profile_settings():
        framework, file = framework_of(setting), profile_of(model, setting)
        commands[f"profile {setting}"] = (
            f"{shlex.quote(python(framework))} -m {framework}_impl profile --config {file}.run.yaml"
            f" --weights {weights_dir(model, 0)}/init.safetensors --out {file}.1.json"
            f" {' '.join(map(str, profile_options(setting)))}"
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
        "whole_run": whole_run(model),
        "stock": stock_ladder(model),
        "config": run.plain()
        | {key: config[key] for key in shared}
        | {"dataset": config["data"], "asked_device": ASKED_DEVICE},
        "margins": config["margins"],
        "commands": reproduce(model),
    }


def folder_of_comparison(wildcards, input):
    """comparison.json and the folder of the model, for the programs that draw and write into it."""
    return ["--comparison", input.comparison, "--out", os.path.dirname(input.comparison)]


def shown(file, kind, **labels):
    """A file of a model's folder that the page of `snakemake --report` shows, with the caption of its kind."""
    place = {"category": "Reports"} if kind == "report" else {"category": f"{kind.title()}s", "subcategory": "{model}"}
    caption = f"../../reports/captions/{kind}.rst"
    return report(f"{RESULTS}/{{model}}/{file}", labels=labels, caption=caption, **place)


def shown_summary(file, category, **labels):
    """The same for a file of the summary."""
    caption = "../../reports/captions/summary.rst"
    return report(f"{RESULTS}/summary/{file}", category=category, labels=labels, caption=caption)
