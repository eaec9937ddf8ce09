"""The verb `train`: one run from its resolved configuration."""

import argparse
from pathlib import Path

from parity.config.run import RunConfig, load_run
from parity.errors import UserError
from parity.framework import Framework
from parity.train import engine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--out", required=True, help="Folder of the run; an interrupted run there is continued.")


def framework_of(run: RunConfig, framework_class: type[Framework], path: str) -> Framework:
    """The framework a run configuration asks for; refuses a configuration that was written for another one."""
    if run.framework != framework_class.name:
        raise UserError(f"{path}: framework is {run.framework!r}, expected {framework_class.name!r} for this command")
    return framework_class(run.device, run.threads, run.framework_options)


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb."""
    configuration = load_run(args.config)
    engine.train(configuration, framework_of(configuration, framework_class, args.config), Path(args.out))
