# A warning about files that a finished job made and that are gone. Snakemake makes such a file again when a job that
# reads it has to run. If all these jobs are finished, it says nothing.


def trained_files(model, framework, seed):
    """The files that the training of a run makes."""
    names = [Path(file).name for file in TRAINED.values()] + (["ema.safetensors"] if averaged(model) else [])
    return [f"{run_dir(model, framework, seed)}/{name}" for name in names]


def weights_files(model, seed):
    """The initial weights of a seed, in the forms that are configured."""
    converted = ["init.pkl", "conversion.json"] if "jittor" in FRAMEWORKS else []
    return [f"{weights_dir(model, seed)}/{name}" for name in ("init.safetensors", *converted)]


def belonging(model):
    """Pairs of lists: if a file of the first is there, every file of the second was made, for what is configured now."""
    probes = [probe_files(model, framework) for framework in FRAMEWORKS]
    pairs = [(files, files) for files in probes]
    configs = [f"{alignment_dir(model)}/{framework}.run.yaml" for framework in FRAMEWORKS]
    pairs.append(([f"{alignment_dir(model)}/alignment.json"], sum(probes, [f"{DATASET}/manifest.json", *configs])))
    if stock_ladder(model):
        names = probe_folder.names(reference=False, trajectory=False)
        files = [f"{alignment_dir(model)}/jittor-stock/{name}" for name in names]
        pairs.append(([stock_ladder(model)], [*files, f"{alignment_dir(model)}/jittor-stock.run.yaml"]))
    if whole_run(model):
        folder = os.path.dirname(whole_run(model))
        taken = [f"{folder}/{name}/{file}" for name in FRAMEWORKS for file in probe_folder.STEPS]
        pairs.append(([whole_run(model)], [*taken, *(f"{folder}/{name}.run.yaml" for name in FRAMEWORKS)]))
    for run in compared_runs(model):
        files = trained_files(model, run["framework"], run["seed"])
        gate = f"{RESULTS}/{model}/alignment/gate.txt"
        pairs.append((files, [*files, f"{run['dir']}/run.yaml", gate, *weights_files(model, run["seed"])]))
        for folder in run["cross"].values():
            read = [f"{folder}/run.yaml", f"{folder}/detections.json", f"{CROSS_DATASET}/manifest.json"]
            pairs.append(([f"{folder}/coco.json"], read))
    published = f"{RESULTS}/{model}/profile/published.txt"
    named = Path(published).read_text().splitlines() if os.path.exists(published) else []
    return [*pairs, ([published], [file for files in profiles(model).values() for file in files if file in named])]


def lost():
    """Files that are missing though others say that they were made: deleted, or a job is at work or was cut short."""
    known = [model for model in models.model_names() if os.path.isdir(f"{RESULTS}/{model}")]
    pairs = [pair for model in known if averaged(model) is not None for pair in belonging(model)]
    made = {file for proof, files in pairs if any(map(os.path.exists, proof)) for file in files}
    return sorted(file for file in made if not os.path.exists(file))


if workflow.is_main_process:
    for file in lost():
        logger.warning(
            f"{file}: is missing, but what was made with it or from it is there (deleted, or cut short);"
            " it is made again when a job reads it."
        )
