"""The verb `train`: one run from its resolved configuration."""

import argparse
from pathlib import Path

from parity.config.run import load_run
from parity.framework import Framework
from parity.train import engine
from parity.train.given import framework_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--out", required=True, help="Folder of the run; an interrupted run there is continued.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb."""
    configuration = load_run(args.config)
    engine.train(configuration, framework_of(configuration, framework_class, args.config), Path(args.out))
