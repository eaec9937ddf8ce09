"""The arguments of a verb, a run's configuration and weights, loaded into a framework."""

from parity.config.run import RunConfig, load_run
from parity.errors import UserError
from parity.framework import Framework
from parity.weights import formats


def framework_of(run: RunConfig, framework_class: type[Framework], path: str) -> Framework:
    """The framework a run configuration asks for; refuses a configuration that was written for another one."""
    if run.framework != framework_class.name:
        raise UserError(f"{path}: framework is {run.framework!r}, expected {framework_class.name!r} for this command")
    return framework_class(run.device, run.threads, run.framework_options)


def model_with_weights(config: str, weights: str, framework_class: type[Framework]) -> tuple[RunConfig, Framework, str]:
    """The run configuration, a framework with its model built and the weights loaded, and the SHA-256 of the weights.

    `weights` is a file in any format that `convert` reads. Raises UserError where a file does not fit.
    """
    run = load_run(config)
    framework = framework_of(run, framework_class, config)
    framework.seed(run.seed)
    framework.build(run.model, run.options)
    arrays = formats.read(weights)
    framework.load_state(arrays)
    return run, framework, formats.weights_sha256(arrays)
