"""Projects of stand-ins (standin_project.py) in the states that tests begin from."""

import pytest
from standin_project import Project


@pytest.fixture(scope="session")
def empty_project(tmp_path_factory) -> Project:
    """A project in which nothing was made yet; tests only do dry runs in it."""
    return Project(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def done_project(tmp_path_factory) -> Project:
    """A project whose default report was made; tests leave it as they found it."""
    project = Project(tmp_path_factory.mktemp("done"))
    run = project.snakemake("results/rtdetr/report.md")
    assert run.returncode == 0, run.stdout
    return project


@pytest.fixture
def project(tmp_path) -> Project:
    """A project of the test's own, in which nothing was made yet."""
    return Project(tmp_path)
