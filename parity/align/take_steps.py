"""The verb `steps`: steps of a finished training, taken again from the states that it kept (`keep_states`).

Each step has the weights, moments, batch, draws and rates of the run. `parity.align.whole_run` compares the results of
two frameworks. The verb writes

    anchors.npz          losses, sketches of gradients and updates, as `trajectory.from_anchors` records them
    nudged*_anchors.npz  the same after the last bit of every weight was changed, three times in different ways: how far
                         rounding moves this framework from itself; empty unless asked for
    steps.json           framework and versions; which steps were taken, of how many; how many were asked for
"""

import argparse
from pathlib import Path

from parity.align.files import NUDGED_ANCHORS, STEPS, Arrays, save_arrays, steps_of
from parity.align.probe import learning_rates
from parity.align.steps import last_bits
from parity.align.trajectory import from_anchors
from parity.config.run import load_run
from parity.files import write_json
from parity.framework import Framework
from parity.train.given import framework_of
from parity.train.loaders import train_loader
from parity.train.states import FILE, anchor_steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The run's resolved configuration, for this framework.")
    parser.add_argument("--states", required=True, help=f"The states that the run kept: {FILE} in its folder.")
    parser.add_argument("--out", required=True, help="Folder to write.")
    parser.add_argument("--nudge", action="store_true", help="Take them again with the last bit of weights changed.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb. steps.json is written last."""
    settings, out = load_run(args.config), Path(args.out)
    for name in STEPS:  # an earlier file must not pass for the result of this call
        (out / name).unlink(missing_ok=True)
    states = Arrays(args.states)
    framework = framework_of(settings, framework_class, args.config)
    data = train_loader(settings)
    factors = learning_rates(settings, data)
    given = (settings, data, factors, states)
    framework.seed(settings.seed)
    save_arrays(out / "anchors.npz", from_anchors(framework, *given))
    for i, name in enumerate(NUDGED_ANCHORS):
        nudged = from_anchors(framework, *given, last_bits(settings.seed + i)) if args.nudge else {}
        save_arrays(out / f"{name}.npz", nudged)
    about = {"framework": framework.name, "versions": framework.versions(), "steps": steps_of(states)}
    asked = len(anchor_steps(len(factors), settings.keep_states))
    write_json(out / "steps.json", about | {"of": len(factors), "asked": asked})
