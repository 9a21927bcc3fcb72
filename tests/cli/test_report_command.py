"""`dpbench report` on a folder that has tables alone, as people send them to each other."""

import shutil

from typer.testing import CliRunner

from dpbench.cli import app
from tests.tiny import run_tiny


def test_tables_without_a_store_are_drawn(tmp_path):
    run_tiny(tmp_path, defenses=["none"], attacks=["gap", "malt"])
    shutil.rmtree(tmp_path / "out" / "store")
    (tmp_path / "out").rename(tmp_path / "received")
    result = CliRunner().invoke(app, ["report", str(tmp_path / "received")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "received" / "report.html").exists()
    assert not (tmp_path / "received" / "store").exists()
