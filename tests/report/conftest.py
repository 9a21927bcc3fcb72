"""The simulated run, and a part of it rendered once."""

import pytest
from simulated_run import part_of_the_run, simulated_run

from dpbench.report import render


@pytest.fixture(scope="session")
def run():
    """A finished run; do not change it."""
    return simulated_run()


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """The folder of a rendered part of the run."""
    out = tmp_path_factory.mktemp("report")
    render(part_of_the_run(), out)
    return out
