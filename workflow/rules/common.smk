# The checked configuration and the names of everything that rules make. No rule stands here.
import json
import os
import shlex
import sys
from functools import cache
from pathlib import Path

ROOT = Path(workflow.current_basedir).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "workflow/scripts")]

import devices
import stale_locks
import workflow_config
from parity import compiler
from parity.align import files as probe_folder
from parity.config import ids, models
from parity.config.resolve import resolve
from parity.config.run import MACHINE_KEYS
from parity.data import freshness, official
from parity.cli import VERBS
from parity.errors import UserError
from parity.files import digest
from parity.measure import turns
from parity.report.index import FIGURES, TABLES
from parity.sources import closure, framework_files
from parity.weights import zoo
from parity.weights.initialize import init_arguments
from run_folder import made_by
from snakemake.utils import validate


def refuse(error):
    """End with one line for a mistake in the configuration; Snakemake would print a traceback around it."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def configured(now, asked):
    """Refuse to make a folder that is named by another configuration: its content must agree with its name."""
    if now != asked:
        refuse(f"{asked}: belongs to another configuration; what is configured now goes to {now}")


# Jobs on a cluster read the configuration again, on nodes with other cards: what `auto` means is decided here, once.
ASKED_DEVICE = config.get("device")
if ASKED_DEVICE == "auto":
    config["device"] = devices.resolve(ASKED_DEVICE, os.environ)
    workflow.config_settings.config_args = [
        *(workflow.config_settings.config_args or []),
        f"device={config['device']}",
    ]
    logger.info(f"device: auto means {config['device']} here.")

try:
    SETTINGS = workflow_config.load(config, workflow.config_settings.configfiles or [])
    config.update(SETTINGS.plain())
    validate(config, str(ROOT / "workflow/schemas/config.schema.yaml"), set_default=False)
    # How the data was fetched is not part of its identity: a dataset keeps its name when nothing is fetched any more.
    FETCH = {key: config["data"].pop(key) for key in sorted(ids.FETCHING) if key in config["data"]}
    if FETCH.get("download"):
        official.needed(config["data"] | FETCH)
except UserError as error:
    refuse(error)

# A Snakemake that another one starts for a job works under the locks of that one.
ALIVE = stale_locks.drop(Path(".snakemake")) if workflow.is_main_process else None

RESULTS = config["results"]
FRAMEWORKS = config["frameworks"]
GPU = int(config["device"] != "cpu")  # cards that a job of a framework needs
MEASURE = {key: config["profile"][key] for key in ("images", "steps", "warmup")}
SELECTED = config["selected"]  # the models of the summary
DATASET = f"{RESULTS}/data/{ids.dataset_id(SETTINGS.data)}"
CROSS = SETTINGS.data.with_more_validation(SETTINGS.cross.images)  # the images of the comparison of the same weights
CROSS_DATASET = f"{RESULTS}/data/{ids.dataset_id(CROSS)}"
RUN = f"{RESULTS}/{{model}}/runs/{{framework}}/{{run}}"
ALIGNMENT = f"{RESULTS}/{{model}}/alignment/{{alignment_id}}"


def memory(megabytes):
    """The resource `mem_mb` of a rule: more with every attempt."""
    return lambda wildcards, attempt: megabytes * attempt


def on_card(megabytes):
    """Resources of a job of a framework: one card, or its turn on the CPU, where two jobs would slow each other down."""
    return {"gpu": GPU, "device": config["device"], "turn": 1 - GPU, "mem_mb": memory(megabytes)}


wildcard_constraints:
    model="|".join(models.model_names()),
    framework="torch|jittor",
    other="torch|jittor",
    run=r"e\d+-[0-9a-f]{8}-s\d+",
    seed=r"\d+",
    weights_id=r"[0-9a-f]{8}",
    alignment_id=r"[0-9a-f]{8}",
    profile_id=r"[0-9a-f]{8}",
    setting="torch|jittor|torch-compile|jittor-stock",
    process=r"\d+",


# ---- names


@cache
def resolved(model):
    """The resolved configuration of a model: its file, its variant, and what the user changed."""
    try:
        return resolve(SETTINGS, model)
    except UserError as error:
        refuse(error)


def run_dir(model, framework, seed):
    """Folder of a run, named by what its weights depend on."""
    run = ids.run_id(resolved(model), seed, framework)
    return f"{RESULTS}/{model}/runs/{framework}/{run}"


def run_dirs(model):
    """Folders of all runs that are configured now."""
    return [run_dir(model, framework, seed) for framework in FRAMEWORKS for seed in config["seeds"]]


def seed_of(run):
    return int(run.rpartition("-s")[2])


def weights_dir(model, seed):
    """Folder of the initial weights of a seed."""
    return f"{RESULTS}/{model}/weights/{ids.weights_id(resolved(model))}-s{seed}"


def final_weights(model):
    """Name of the weights that a run is judged by: the averaged ones where it is validated with them."""
    return "ema.safetensors" if resolved(model).train.judged_by_ema else "last.safetensors"


def averaged(model):
    """Whether the runs of a model end with averaged weights; None where the configuration does not fit the model."""
    try:
        return resolve(SETTINGS, model).train.ema is not None
    except UserError:
        return None


# An output cannot depend on the model, so the rule `train` exists twice. Each is for the models that match.
AVERAGED, UNAVERAGED = (
    "|".join(model for model in models.model_names() if averaged(model) is kind) or "none" for kind in (True, False)
)
TRAINED = {
    "manifest": f"{RUN}/run.json",
    "coco": f"{RUN}/coco.json",
    "detections": f"{RUN}/detections.json",
    "last": f"{RUN}/last.safetensors",
    "states": f"{RUN}/states.npz",
}


def evaluators(framework):
    """The frameworks that evaluate the final weights of `framework` for the comparison: the others. The framework
    itself takes part if the images are not those of its validation."""
    others = [name for name in FRAMEWORKS if name != framework]
    return others if CROSS_DATASET == DATASET or not others else FRAMEWORKS


def profile_settings():
    """What is measured: the frameworks, PyTorch compiled, Jittor's own operators where the fast ones are in use on a CPU."""
    replaced = config["jittor"]["ops"] == "fast" and not GPU
    stock = ["jittor-stock"] if "jittor" in FRAMEWORKS and replaced and config["profile"]["stock"] else []
    compiled = ["torch-compile"] if "torch" in FRAMEWORKS and config["profile"]["compile"] else []
    return [*FRAMEWORKS, *compiled, *stock]


def alignment_dir(model):
    """Folder of the alignment ladder, named by what it depends on; the weights are those of the first seed."""
    identity = ids.alignment_id(resolved(model), SETTINGS.align, FRAMEWORKS, config["seeds"][0])
    return f"{RESULTS}/{model}/alignment/{identity}"


def framework_of(setting):
    """The framework of a measurement: jittor for jittor-stock."""
    return setting.partition("-")[0]


def runs_in(wildcards):
    """The framework that a job runs in: that of a measurement's setting, the one that evaluates, or the only one named."""
    return framework_of(wildcards.get("setting") or wildcards.get("other") or wildcards.framework)


def profile_of(model, setting):
    """A measurement without its suffix, in a folder named by what it depends on."""
    return f"{RESULTS}/{model}/profile/{ids.profile_id(resolved(model), SETTINGS.profile)}/{setting}"


def run_settings(model, framework, seed, weights):
    """The content of run.yaml without the keys that change no result: the machine's, and where training goes on from."""
    run = resolved(model).run(framework, seed, weights).plain()
    return {key: value for key, value in run.items() if key not in ("continue_from", *MACHINE_KEYS)}


# ---- sources: an edit reruns what depends on it, and nothing else


@cache
def sources(*starts):
    """Files that the given files need of `parity`, themselves included; relative to the working directory."""
    return [os.path.relpath(path) for path in closure(ROOT, starts)]


def templates(kind):
    """The templates of a report, one per language."""
    return [os.path.relpath(path) for path in sorted((ROOT / "reports").glob(f"{kind}.*.j2"))]


def faults_page():
    """The page that `make faults` wrote, which a report quotes; nothing where it is not there."""
    page = ROOT / "docs/faults.md"
    return os.path.relpath(page) if page.exists() else []


@cache
def framework_sources(framework, model, verb):
    """Files that decide what a verb computes: the verb's, and the framework's without its other models."""
    own = framework_files(ROOT, framework, model, models.model_names())
    place = VERBS[verb][0].replace(".", os.sep)
    return sources(f"{place}.py", *own)
