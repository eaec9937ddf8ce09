# Inputs and options of the rules of steps.smk.

# The framework whose training keeps states. It does not depend on the order of the columns.
KEEPS_STATES = "torch" if "torch" in FRAMEWORKS else FRAMEWORKS[0]


def kept_states(wildcards):
    """States that a run keeps: those of one framework and the first seed, from which every framework takes steps."""
    seed = seed_of(wildcards.run) if wildcards.get("run") else None
    mine = (wildcards.get("framework"), seed) == (KEEPS_STATES, config["seeds"][0])
    return config["keep_states"] if mine else 0


def steps_taken_by(wildcards):
    """The frameworks that take steps of a run, the one that trained it first."""
    return sorted(FRAMEWORKS, key=lambda name: name != wildcards.framework)


def compared_steps(wildcards, input, output):
    """The folders that are compared: of the steps, and of the run that kept the states."""
    return ["--steps", os.path.dirname(output[0]), "--run", os.path.dirname(input.run), "--out", output[0]]


def whole_run(model):
    """The file that compares steps over a whole training; None where there are no two frameworks to take them."""
    folder = run_dir(model, KEEPS_STATES, config["seeds"][0])
    return f"{folder}/steps/whole_run.json" if len(FRAMEWORKS) > 1 and config["keep_states"] else None
