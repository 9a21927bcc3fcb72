"""`dpbench check`: does a component of one's own keep the contract?"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dpbench.cli.console import console
from dpbench.component import REGISTRIES, Component
from dpbench.errors import UserError

_CHECKED = ("attack", "defense")


def check(
    file: Annotated[Path, typer.Argument(help="A Python file that registers components.")],
) -> None:
    """Check the attacks and defenses that a file registers against their contract."""
    table = Table("component", "kind", "result", "what is wrong")
    wrong = 0
    for cls in registered_by(file):
        problem = _problem(cls)
        wrong += problem is not None
        table.add_row(cls.name, cls.kind, "FAILED" if problem else "ok", problem or "")
    console().print(table)
    if wrong:
        raise typer.Exit(1)


def registered_by(file: Path) -> list[type[Component]]:
    """Returns the attacks and defenses that a file registers.

    Raises:
        UserError: The file cannot be run, or registers nothing that can be checked.
    """
    import dpbench.attacks
    import dpbench.defenses  # noqa: F401
    from dpbench.study.plugins import load_plugins

    before = {cls for kind in _CHECKED for cls in REGISTRIES[kind].values()}
    load_plugins([str(file)])
    found = [cls for kind in _CHECKED for cls in REGISTRIES[kind].values() if cls not in before]
    if not found:
        raise UserError(
            f"{file}: registers no attack and no defense",
            next_step="decorate the class with @dpbench.register",
        )
    return found


def refuse_cheats(attacks: tuple[Any, ...]) -> None:
    """Refuses attacks from outside this package that see more than they may.

    Raises:
        UserError: An attack sees bits or asks for more than it declares; the message says which.
    """
    from dpbench.testing.attack_checks import check_secrets

    for attack in attacks:
        if type(attack).__module__.startswith("dpbench."):
            continue
        try:
            check_secrets(attack)
        except Exception as error:
            reason = str(error) if isinstance(error, AssertionError) else _crash(error)
            raise UserError(
                f"the attack {attack.label()} is refused: {reason}",
                next_step="dpbench check FILE tries the whole contract on planted models",
            ) from None


def _problem(cls: type[Component]) -> str | None:
    """Returns what is wrong with a component at its default fields, or None."""
    from dpbench.testing import check_attack, check_defense

    required = [
        field.name
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if required:
        fields = ", ".join(required)
        return f"cannot be made without {fields}: call dpbench.testing.check_{cls.kind} in a test"
    checks: dict[str, Any] = {"attack": check_attack, "defense": check_defense}
    try:
        checks[cls.kind](cls())
    except AssertionError as error:
        return str(error)
    except Exception as error:
        return _crash(error)
    return None


def _crash(error: Exception) -> str:
    return f"{type(error).__name__} on planted models: {error}"
