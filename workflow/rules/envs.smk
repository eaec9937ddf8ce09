# The environments. With --use-conda Snakemake deploys envs/<env>.yaml. Without it, or where there is no conda command,
# the same file becomes the virtualenv .venvs/<env>-<hash of the file> before the first job starts. That is done outside
# of the DAG, as conda environments are: deleting or rebuilding an environment makes no result stale.
import shlex
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
    """The interpreter of an environment, relative to the working directory."""
    return "python" if USE_CONDA else os.path.relpath(venv_path(ROOT / f"envs/{env}.yaml") / "bin/python")


def job(env):
    """The start of every shell command, run_job.py in an environment, quoted for the shell. Its options, the log and
    the program follow (see run_job.py)."""
    return shlex.join([python(env), os.path.relpath(ROOT / "workflow/scripts/run_job.py")])


def environments(jobs):
    """Names of the environments that jobs run in, by what their commands begin with."""
    begins = {job("workflow"): "workflow"} | {job(name): name for name in ("torch", "jittor")}
    return sorted({begins[given] for given in {each.params.get("job") for each in jobs} & set(begins)})


onstart:
    if not USE_CONDA:
        # Only what the jobs ahead need: `framework=jittor` builds no PyTorch environment.
        needed = environments(workflow.dag.needrun_jobs())
        if "jittor" in needed and workflow.local_exec and (lack := compiler.lacking()):
            refuse(lack)
        for name in needed:
            spec = ROOT / f"envs/{name}.yaml"
            try:
                maker = ROOT / "workflow/scripts/make_venv.py"
                subprocess.run([sys.executable, maker, spec, venv_path(spec)], check=True)
            except subprocess.CalledProcessError as error:
                refuse(f"{os.path.relpath(spec)}: the environment could not be built (see above)")
