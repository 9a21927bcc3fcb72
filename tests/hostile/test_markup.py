"""Names of the user's own choice are text: on the terminal, in the page, and in file names."""

import re
import subprocess
import sys

from rich.table import Table

from dpbench.cli.console import console
from tests.tiny import write_grid

NAME = "../[/red]<script>alert(1)</script>"
PLUGIN = f'''
from dataclasses import dataclass
from typing import ClassVar

from dpbench.component import register
from dpbench.defenses import Defense


@register
@dataclass(frozen=True, kw_only=True)
class Sneaky(Defense):
    """Does nothing under an odd name."""

    name: ClassVar[str] = {NAME!r}
    version: ClassVar[int] = 1
    reference: ClassVar[str] = "none"
    word: str = "[/bold]"
'''


def test_brackets_in_a_table_are_text(capsys):
    table = Table("[/red]", title="scores[/b].npz")
    table.add_row("dp_sgd(layers=[/x])")
    console().print(table)
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("[/red]", "scores[/b].npz", "dp_sgd(layers=[/x])"))


def test_a_component_with_an_odd_name_leaves_no_markup_and_no_file_outside(tmp_path):
    (tmp_path / "sneaky.py").write_text(PLUGIN)
    defenses = ["none", {NAME: {"word": "</script><b>x"}}]
    grid = write_grid(
        tmp_path, defenses=defenses, attacks=["gap", "malt"], plugins=[str(tmp_path / "sneaky.py")]
    )
    before = {path.name for path in tmp_path.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "dpbench.cli", "run", grid, "-j", "1", "--out", tmp_path / "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} - before == {"out"}
    assert f"{NAME}(word=</script><b>x)" in re.sub(r"\s*\n", "", done.stdout)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "</script><b>" not in page
