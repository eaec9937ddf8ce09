# Inputs and options of the rules of evaluate.smk.


def cross_yaml(wildcards):
    """The resolved configuration, as JSON, for an evaluation of a run's weights on the images of the comparison."""
    settings = json.loads(run_yaml(wildcards))
    place = {"id": os.path.basename(CROSS_DATASET), "root": CROSS_DATASET}
    return json.dumps(settings | {"data": settings["data"] | place})


def trained_weights(wildcards):
    """The weights that a run is judged by."""
    folder = f"{RESULTS}/{wildcards.model}/runs/{wildcards.framework}/{wildcards.run}"
    return f"{folder}/{final_weights(wildcards.model)}"
