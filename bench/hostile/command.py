"""The same wrong files through the command line, in a process and a folder of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.hostile.arrays import score_bytes
from bench.hostile.data import data_bytes
from bench.hostile.grids import GRID, grid_text
from dpbench.seeds import rng_for

# What asks for more than this is stopped: it was accepted, which is what matters here.
_SECONDS = 120
# Beside the run's folder, a page that is drawn fills the caches of fonts and scripts, once.
_WRITES = ("out/", ".cache/matplotlib/", ".cache/dpbench/")
_DPBENCH = (sys.executable, "-m", "dpbench.cli")
# Terminals show it in bold if its brackets are taken for markup, pages if its tag is.
_NAME = "[bold]<b>'data'"
_MARKUP = re.compile(r"<script>(?:alert|x)|<b>")


def try_command(number: int, folder: Path) -> str:
    """Runs a command on a wrong file; returns its exit code, or that it went on for long.

    Raises:
        AssertionError: It ended otherwise, said so with a traceback, wrote outside of its folder,
            or let markup into the page.
    """
    home = folder / f"case{number}"
    home.mkdir()
    command = _command(number, home)
    given = _files(home)
    try:
        done = subprocess.run(
            [*_DPBENCH, *command],
            cwd=home,
            env=os.environ | {"HOME": str(home), "COLUMNS": "200"},
            capture_output=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "stopped"
    finally:
        outside = [name for name in _files(home) - given if not name.startswith(_WRITES)]
        page = home / "out" / "report.html"
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        shutil.rmtree(home)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode in (0, 1, 2), f"exit code {done.returncode}: {said[-300:]}"
    assert "Traceback" not in said, said[-400:]
    assert done.returncode != 2 or "error: " in said or "Error" in said, said[-300:]
    assert not outside, f"wrote {outside}"
    assert not _MARKUP.search(text), _MARKUP.findall(text)
    assert _NAME.removeprefix("[bold]") not in said.replace(_NAME, ""), said[-300:]
    return f"exit {done.returncode}"


def _command(number: int, home: Path) -> list[str]:
    """Writes a wrong file and returns the arguments that make use of it."""
    rng = rng_for(number, "hostile command")
    kind = number % 3
    if kind == 0:
        path = home / "scores.npz"
        path.write_bytes(score_bytes(rng))
        return ["audit", path.name]
    if kind == 1:
        text = grid_text(rng)
        (home / "grid.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
        return ["run", "grid.yaml", "-j", "1", "--out", "out"]
    content, ending = data_bytes(rng)
    path = home / f"{_NAME}{ending}"
    path.write_bytes(content)
    population = f'{{dataset: file, path: "{path.name}", pool: 20, test: 10, reference: 20}}'
    text = GRID.replace("{dataset: letter, pool: 150, test: 200, reference: 150}", population)
    (home / "grid.yaml").write_text(text, encoding="utf-8")
    return ["run", "grid.yaml", "-j", "1", "--out", "out"]


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
