"""Every module of bench/ can be imported: what it names has not been moved away."""

import importlib
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
MODULES = sorted(
    ".".join(("bench", *path.relative_to(BENCH).with_suffix("").parts))
    for path in BENCH.rglob("*.py")
    if not path.stem.startswith("__")
)


@pytest.mark.parametrize("name", MODULES)
def test_a_bench_module_can_be_imported(name):
    assert importlib.import_module(name).__doc__
