import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from stores import FIRST, SECOND, THIRD, TRAIN, plan, store_of
from typer.testing import CliRunner

from dpbench.cli.status import status
from dpbench.errors import UserError
from dpbench.jobs.claims import Claims
from dpbench.jobs.listing import write_listing
from dpbench.jobs.snapshot import PROGRESS

app = typer.Typer()
app.command()(status)


@pytest.fixture
def run(tmp_path):
    """A run with a result, a failure with markup in its reason, and a waiting job."""
    (tmp_path / "grid.yaml").write_text("")
    write_listing(plan(), tmp_path)
    return tmp_path


def shown(folder: Path) -> list[str]:
    result = CliRunner().invoke(app, [str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output.splitlines()


def test_it_says_where_jobs_run_and_why_they_failed(run):
    store = store_of(run, [TRAIN], failed=[SECOND])
    with Claims(store.root / "claims").holding(FIRST):
        first, running, failed, log = shown(run)
    assert first == "5 jobs, 1 finished, 1 running, 2 waiting, 1 failed, 0 blocked by a failure"
    assert running.startswith("running: evaluate b1 on ")
    assert f"process {os.getpid()}, since 2" in running
    assert running.endswith(" s)")
    assert failed == "failed: evaluate b2: b2 broke"
    assert log == f"  log: {store.root / 'logs' / 'b2.jsonl'}"


def test_the_time_left_is_that_of_the_last_progress(run):
    store_of(run, [TRAIN])
    document = {"time": time.time() - 60, "seconds_left": 600.0}
    (run / PROGRESS).write_text(json.dumps(document))
    assert shown(run)[1].startswith("about 9 min left, as estimated at 2")


def test_a_thousand_failures_are_not_all_shown(run, monkeypatch):
    # The package has the command under the module's name.
    monkeypatch.setattr(sys.modules["dpbench.cli.status"], "_MOST_FAILURES", 1)
    store_of(run, [TRAIN], failed=[FIRST, SECOND, THIRD])
    assert shown(run)[-1].startswith("and 2 more failures in ")


def test_there_must_be_a_run(tmp_path):
    with pytest.raises(UserError, match="no run here"):
        shown(tmp_path)


def test_it_needs_no_torch(run):
    store_of(run, [TRAIN])
    code = (
        "import sys; from pathlib import Path; from dpbench.cli.status import status\n"
        "status(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "5 jobs, 1 finished" in result.stdout
