"""The accountant's cache lives in a folder of its own, shared by the tests of one run."""

import pytest

from dpbench.privacy.accounting import cache


@pytest.fixture(scope="session")
def accounting_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("accounting")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, accounting_folder):
    monkeypatch.setenv("DPBENCH_CACHE", str(accounting_folder))
    cache.forget()
