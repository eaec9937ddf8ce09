# The environments. With --use-conda Snakemake deploys envs/<env>.yaml. Without it, or where there is no conda command,
# the same file becomes the virtualenv .venvs/<env>-<hash of the file> before the first job starts. That is done outside
# of the DAG, as conda environments are: deleting or rebuilding an environment makes no result stale.
import shutil
import subprocess

from make_venv import LOCK, venv_path
from snakemake.settings.types import DeploymentMethod

USE_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
if USE_CONDA and not shutil.which("conda"):
    logger.warning("There is no conda command here: building virtualenvs from the same environment files instead.")
    methods = set(workflow.deployment_settings.deployment_method) - {DeploymentMethod.CONDA}
    workflow.deployment_settings.deployment_method = methods
    USE_CONDA = False


if USE_CONDA and LOCK.exists():
    os.environ |= {"PIP_CONSTRAINT": str(LOCK)}  # the pip sections that conda hands to pip get the locked versions too


def python(env):
    """The interpreter of an environment, for the shell command of a rule."""
    return "python" if USE_CONDA else os.path.relpath(venv_path(ROOT / f"envs/{env}.yaml") / "bin/python")


onstart:
    if not USE_CONDA:
        # Only what the jobs ahead need: `framework=jittor` builds no PyTorch environment.
        for path in sorted({job.params.get("python") for job in workflow.dag.needrun_jobs()} - {None}):
            target = Path(path).parents[1]
            spec = ROOT / "envs" / f"{target.name.rpartition('-')[0]}.yaml"
            try:
                maker = ROOT / "workflow/scripts/make_venv.py"
                subprocess.run([sys.executable, maker, spec, target.absolute()], check=True)
            except subprocess.CalledProcessError as error:
                refuse(f"{os.path.relpath(spec)}: the environment could not be built (see above)")
