# Inputs and options of the rules of reproduce.smk.
REPRODUCE = f"{RESULTS}/{{model}}/reproduce/{{variant}}"
ASKED = SETTINGS.reproduce
VAL = f"{RESULTS}/reproduce/{digest([ASKED.coco, ASKED.images])[:8]}"
ON_DEVICE = ["--device", config["device"].partition(":")[0]]


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


def released(wildcards):
    """Which checkpoint is meant."""
    return ["--model", wildcards.model, "--variant", wildcards.variant]


def chosen(input):
    """The folder of the chosen images."""
    return ["--data", os.path.dirname(input.about)]


def reproduced_files(wildcards, input, output):
    """What the report of a checkpoint reads: the images, what became of the weights, each framework's detections."""
    pairs = [f"{name}={path}" for name, path in zip(FRAMEWORKS, input.detections)]
    return [*chosen(input), "--weights-report", input.weights, "--out", output.markdown, *pairs]
