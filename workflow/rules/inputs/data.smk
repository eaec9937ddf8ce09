# Inputs and options of the rules of data.smk.


def downloaded():
    """The file that marks the source as fetched. It never causes an existing dataset to be made again: neither one that
    was made without it, nor one whose source is no longer fetched."""
    marker = f"{DATASET}.downloaded"
    if os.path.exists(marker):
        return ancient(marker)
    return marker if FETCH.get("download") and not os.path.exists(f"{DATASET}/manifest.json") else []


@cache
def dataset_token():
    """The token of the dataset's sources. It changes when a file that the dataset was made from has changed."""
    return freshness.token(DATASET, logger.info)


def cross_data():
    """The dataset of the comparison of the same weights, as JSON. It is made from what is there: nothing is fetched."""
    return json.dumps({key: value for key, value in CROSS.plain().items() if key not in ids.FETCHING})


def preview_settings(wildcards):
    """The settings that a sheet of training samples depends on, as JSON."""
    run = resolved(wildcards.model).plain()
    keys = ("data", "label_space", "preprocess", "train")
    return json.dumps({key: run[key] for key in keys} | {"seed": config["seeds"][0]})
