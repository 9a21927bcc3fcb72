"""Command lines of the documentation, held against the command line that there is."""

import re
import shlex
from typing import Any

import typer
from pages import ROOT

from dpbench.cli import app
from dpbench.study.shipped import list_grids

_TAKES_GRID = ("run", "plan", "tune")


def commands(text: str) -> list[list[str]]:
    """Returns the words of every command of a shell block, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    split = (shlex.split(line, comments=True) for line in lines)
    return [words for words in split if words]


def check_words(words: list[str]) -> None:
    """Checks that a command line names what exists, without running it.

    Raises:
        AssertionError: A command, option, make target, module or shipped grid does not exist.
    """
    if "dpbench" in words:
        _check_dpbench(words[words.index("dpbench") + 1 :])
    elif "make" in words:
        (target,) = words[words.index("make") + 1 :]
        rules = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert target in rules, f"make {target}: the Makefile has {', '.join(rules)}"
    elif "-m" in words:
        module = words[words.index("-m") + 1]
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), (
            f"there is no module {module}"
        )


def check_quoted(text: str) -> None:
    """Checks a command that a sentence quotes; its first argument may show choices as a|b.

    Raises:
        AssertionError: It does not exist, or could not be typed in like this.
    """
    name, *rest = shlex.split(text)[1:]
    if not rest:
        _command(name)
        return
    for choice in rest[0].split("|"):
        _check_dpbench([name, choice, *rest[1:]])


def _check_dpbench(words: list[str]) -> None:
    command = _command(words[0])
    try:
        command.make_context(words[0], list(words[1:]))
    except typer.Exit:
        return
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise AssertionError(f"dpbench {shlex.join(words)}: {error.format_message()}") from None
    if words[0] in _TAKES_GRID and re.fullmatch(r"[a-z][\w-]*", words[1]):
        assert words[1] in list_grids(), f"there is no shipped grid {words[1]}"


def _command(name: str) -> Any:
    known: dict[str, Any] = typer.main.get_command(app).commands
    assert name in known, f"dpbench {name}: there are {', '.join(known)}"
    return known[name]
