"""`dpbench new-defense`: a defense and its test to start from."""

import keyword
import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from dpbench.cli.console import console
from dpbench.component import REGISTRIES, load_entry_points
from dpbench.errors import UserError

_DEFENSE = Template('''"""$title: say in one line what it changes."""

from dataclasses import dataclass

import dpbench


@dpbench.register
@dataclass(frozen=True, kw_only=True)
class $cls(dpbench.Defense):
    """Rewards unsure answers while training, and blurs what is released.

    Attributes:
        weight: Its strength; 0 changes nothing. A grid sweeps it: `$name: {weight: [0.1, 0.3]}`.
    """

    reference = "the paper that proposed it"
    weight: float = 0.1

    def loss(self, logits, targets):
        log_probs = logits.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return super().loss(logits, targets) - self.weight * entropy

    # What the adversary sees. Delete it if training is all that you change.
    def release(self, outputs):
        return (1 - self.weight) * outputs + self.weight / outputs.shape[-1]

    # What an adversary who knows the defense makes of it. Without it, yours is attacked too kindly.
    def undo(self, released):
        return ((released - self.weight / released.shape[-1]) / (1 - self.weight)).clamp(min=0)
''')

_TEST = Template('''"""$title keeps the contract, and does what it says."""

import torch
from $name import $cls

from dpbench.testing import check_defense


def test_the_contract():
    check_defense($cls())


def test_released_confidences_are_blurred():
    outputs = torch.tensor([[0.9, 0.1, 0.0]])
    released = $cls(weight=0.3).release(outputs)
    assert released.max() < outputs.max()
    assert torch.allclose($cls(weight=0.3).undo(released), outputs, atol=1e-6)
''')


def new_defense(
    name: Annotated[str, typer.Argument(help="Its name in grids, in snake case.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where the two files go.")] = Path(),
) -> None:
    """Write a working defense and its test, to be changed into yours."""
    import dpbench.defenses  # noqa: F401

    load_entry_points()
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UserError(
            f"'{name}' cannot name a defense",
            allowed="lower case letters, digits and single underscores, a letter first",
        )
    if name in REGISTRIES["defense"]:
        raise UserError(
            f"there is a defense '{name}' already",
            next_step="choose another name; dpbench list defenses shows those that are taken",
        )
    words = {
        "name": name,
        "cls": "".join(word.capitalize() for word in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
    }
    files = {folder / f"{name}.py": _DEFENSE, folder / f"test_{name}.py": _TEST}
    for path in files:
        if path.exists():
            raise UserError(f"{path} exists", next_step="move it away, or choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in files.items():
            path.write_text(template.substitute(words))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    source, test = files
    console().print(
        f"wrote {source} and {test}\n"
        f"check it:  dpbench check {source}\n"
        f"run it:    add `- {name}` to the defenses of a grid, then "
        f"dpbench run GRID --plugin {source}",
        markup=False,
        soft_wrap=True,
    )
