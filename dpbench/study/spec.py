"""A grid: what a YAML file asks for, validated and with its sweeps expanded."""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dpbench.attacks import Attack
from dpbench.component import REGISTRIES, Component, find, load_entry_points
from dpbench.data import Canaries, PopulationSpec
from dpbench.defenses import Composition, Defense
from dpbench.errors import UserError, suggest
from dpbench.models import Architecture
from dpbench.study.document import named_entry, read_document
from dpbench.study.plugins import load_plugins
from dpbench.training.recipe import Recipe

_KEYS = (
    "name", "population", "canaries", "model", "recipe", "models", "seed", "defenses", "attacks",
    "plugins",
)  # fmt: skip
_REQUIRED = ("population", "defenses", "attacks")
# Far above any study, far below what fills a machine's memory.
_MOST_POINTS, _MOST_MODELS = 100_000, 100_000

AVERAGE, CANARY = "average", "canary"
"""The two tracks of a grid: ordinary pool examples are audited, or canaries planted among them."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One study: every cell is trained, attacked with every attack, and compared on equal bits.

    Attributes:
        name: Names the results folder.
        population: The data and the game.
        canaries: Adds the canary track: every cell is trained and attacked a second time, on a pool
            with these canaries, whose membership alone is random there.
        model: The architecture of every model.
        recipe: The undefended training.
        models: M, how many models each cell trains; each is a target in turn.
        seed: Every random draw derives from it.
        cells: The defenses, sweeps expanded.
        attacks: The attacks, sweeps expanded.
        plugins: Files with the user's own components.
    """

    name: str
    population: PopulationSpec
    canaries: Canaries | None
    model: Architecture
    recipe: Recipe
    models: int
    seed: int
    cells: tuple[Composition, ...]
    attacks: tuple[Attack, ...]
    plugins: tuple[str, ...]

    @property
    def tracks(self) -> dict[str, PopulationSpec]:
        """What is trained on, by track; the average track comes first."""
        tracks = {AVERAGE: self.population}
        if self.canaries is not None:
            tracks[CANARY] = dataclasses.replace(self.population, canaries=self.canaries)
        return tracks

    def document(self) -> dict[str, Any]:
        """Returns the resolved YAML document: every field written out, nothing left to defaults."""
        return {
            "name": self.name,
            "population": self.population.to_json(),
            "canaries": self.canaries and self.canaries.to_json(),
            "model": {"name": self.model.name, **self.model.to_json()},
            "recipe": self.recipe.to_json(),
            "models": self.models,
            "seed": self.seed,
            "defenses": [[{p.name: p.to_json()} for p in cell.parts] for cell in self.cells],
            "attacks": [{attack.name: attack.to_json()} for attack in self.attacks],
            "plugins": list(self.plugins),
        }


def read_grid(path: Path, plugins: Sequence[Path] = ()) -> Grid:
    """Reads, validates and expands a grid file with one population; see `read_grids`."""
    grids = read_grids(path, plugins)
    if len(grids) > 1:
        raise UserError(
            f"{path}: population is a list of {len(grids)}, and this command takes one",
            next_step="name the folder of one of its runs, or write a grid with one population",
        )
    return grids[0]


def read_grids(path: Path, plugins: Sequence[Path] = ()) -> tuple[Grid, ...]:
    """Reads, validates and expands a grid file: one grid for each population that it lists.

    Args:
        path: The YAML file.
        plugins: Files with components of the user's own, beside those the grid names, or instead of
            those of the same name that are not where the grid says.

    Raises:
        UserError: Anything in it is wrong; the message names the field and what is allowed.
    """
    document = read_document(path)
    populations = document.get("population")
    if not isinstance(populations, list):
        return (_grid(document, path, plugins),)
    base = _name(document.get("name", path.stem))
    grids = []
    for number, population in enumerate(populations):
        dataset = _mapping(population, f"population[{number}]").get("dataset")
        one = {**document, "population": population, "name": f"{base}-{dataset}"}
        grids.append(_grid(one, path, plugins))
    names = [grid.name for grid in grids]
    if not grids or len(set(names)) < len(names):
        raise UserError(
            f"{path}: population lists {', '.join(names) or 'nothing'}",
            allowed="a population, or a list of populations of different data sets",
        )
    return tuple(grids)


def _grid(document: dict[str, Any], path: Path, plugins: Sequence[Path]) -> Grid:
    for key in document:
        if key not in _KEYS:
            raise UserError(
                f"{path}: unknown key '{key}'",
                allowed=", ".join(_KEYS),
                next_step=suggest(key, _KEYS) or "remove the key",
            )
    for key in _REQUIRED:
        if document.get(key) is None:
            raise UserError(f"{path}: missing key '{key}'", next_step="see grids/default.yaml")
    files = _plugin_files(_texts(document, "plugins"), plugins)
    load_entry_points()
    load_plugins(files)
    model = _mapping(document.get("model", {"name": "mlp"}), "model")
    population = PopulationSpec.parse(
        _mapping(document["population"], "population"), where="population"
    )
    return Grid(
        name=_name(document.get("name", path.stem)),
        population=population,
        canaries=_canaries(document.get("canaries"), population),
        model=cast(Architecture, _component("model", model.pop("name", "mlp"), model, "model")),
        recipe=Recipe.parse(_mapping(document.get("recipe") or {}, "recipe"), where="recipe"),
        models=_integer(document.get("models", 64), "models", least=2, most=_MOST_MODELS),
        seed=_integer(document.get("seed", 0), "seed", least=0),
        cells=_unique(tuple(_cells(document["defenses"]))),
        attacks=tuple(_attacks(document["attacks"])),
        plugins=files,
    )


def _plugin_files(named: Sequence[str], given: Sequence[Path]) -> tuple[str, ...]:
    """Returns all plugins, as paths that mean the same in every working directory."""
    elsewhere = {path.name: path for path in given}
    files = [
        Path(name) if os.path.isfile(name) else elsewhere.get(Path(name).name, Path(name))
        for name in named
    ]
    return tuple(dict.fromkeys(str(path.resolve()) for path in (*files, *given)))


def _canaries(fields: Any, population: PopulationSpec) -> Canaries | None:
    if fields is None:
        return None
    if population.canaries is not None:
        raise UserError(
            "canaries: population.canaries already makes the whole grid a canary game",
            next_step="keep one of the two; the top-level key keeps the average case beside it",
        )
    return Canaries.parse(_mapping(fields, "canaries"), where="canaries")


def _count(points: int, where: str) -> None:
    if points > _MOST_POINTS:
        raise UserError(
            f"{where}: {points:,} combinations of its values", allowed=f"at most {_MOST_POINTS:,}"
        )


def _cells(entries: Any, name: str = "defenses") -> Iterator[Composition]:
    total = 0
    for number, entry in enumerate(_list(entries, name)):
        where = f"{name}[{number}]"
        parts = entry if isinstance(entry, list) else [entry]
        if not parts:
            raise UserError(f"{where}: an empty composition", next_step="name a defense, or none")
        sweeps = [list(_expand("defense", part, where)) for part in parts]
        total += math.prod(map(len, sweeps))
        _count(total, where)
        for combination in itertools.product(*sweeps):
            yield Composition(cast(tuple[Defense, ...], combination))


def expand_cells(entries: Sequence[Any], *, where: str) -> tuple[Composition, ...]:
    """Returns the cells that entries of a grid's `defenses` ask for, sweeps expanded.

    Raises:
        UserError: No such defense, or a field of it is wrong.
    """
    return tuple(_cells(list(entries), where))


def _attacks(entries: Any) -> Iterator[Attack]:
    if entries == "all" or isinstance(entries, Mapping):
        entries = [entries if isinstance(entries, Mapping) else {"all_but": []}]
        if set(entries[0]) != {"all_but"}:
            raise UserError(
                f"attacks: {dict(entries[0])!r} is not valid",
                allowed="a list, all, or {all_but: [names]}",
            )
    listed = _list(entries, "attacks")
    # Among others, {all_but: [...]} stands for the rest, so that some may have fields of their own.
    many = [one for entry in listed for one in _all_but(entry)]
    seen = set()
    for number, entry in enumerate(many):
        for attack in _expand("attack", entry, f"attacks[{number}]"):
            if attack in seen:
                raise UserError(f"attacks[{number}]: {attack.label()} appears twice")
            seen.add(attack)
            yield cast(Attack, attack)


def expand_attacks(entries: Iterable[Any], *, where: str) -> tuple[Attack, ...]:
    """Returns the attacks that entries `name` or `{name: fields}` ask for, sweeps expanded.

    Raises:
        UserError: No such attack, or a field of it is wrong.
    """
    found = [attack for entry in entries for attack in _expand("attack", entry, where)]
    return cast(tuple[Attack, ...], tuple(found))


def _all_but(entry: Any) -> list[Any]:
    """Returns the names of all attacks but those that `{all_but: [...]}` lists; else the entry."""
    if not (isinstance(entry, Mapping) and set(entry) == {"all_but"}):
        return [entry]
    left_out = _list(entry["all_but"], "attacks.all_but")
    for number, name in enumerate(left_out):
        find("attack", name, where=f"attacks.all_but[{number}]")
    return sorted(set(REGISTRIES["attack"]) - set(left_out))


def _expand(kind: str, entry: Any, where: str) -> Iterator[Component]:
    """Yields a component per point of the sweep that an entry `name` or `{name: fields}` spans."""
    name, fields = named_entry(
        entry,
        refused=f"{where}: {entry!r} is not a {kind}",
        allowed="a name, or one name with its fields: {name: {field: value}}",
    )
    fields = _mapping(fields or {}, f"{where}.{name}")
    cls = find(kind, name, where=where)
    annotations = {field.name: str(field.type) for field in dataclasses.fields(cast(Any, cls))}
    sequences = {key for key, annotation in annotations.items() if "tuple" in annotation}
    axes = []
    for key, value in fields.items():
        swept = isinstance(value, list)
        if key in sequences:
            swept = swept and any(isinstance(item, list) for item in value)
        if swept and not value:
            raise UserError(f"{where}.{name}.{key}: an empty list", next_step="give it values")
        axes.append(value if swept else [value])
    _count(math.prod(map(len, axes)), f"{where}.{name}")
    for point in itertools.product(*axes):
        yield _component(kind, name, dict(zip(fields, point, strict=True)), f"{where}.{name}")


def _component(kind: str, name: Any, fields: dict[str, Any], where: str) -> Component:
    if not isinstance(name, str):
        raise UserError(f"{where}: {name!r} is not a name")
    return find(kind, name, where=where).parse(fields, where=where)


def _unique(cells: tuple[Composition, ...]) -> tuple[Composition, ...]:
    seen = set()
    for cell in cells:
        if cell.label in seen:
            raise UserError(f"defenses: the cell {cell.label} appears twice")
        seen.add(cell.label)
    if not cells:
        raise UserError("defenses: the list is empty", next_step="start with: - none")
    return cells


def _name(value: Any) -> str:
    legal = isinstance(value, str) and value.replace("-", "").replace("_", "").isalnum()
    if not legal or len(value) > 80:
        raise UserError(
            f"name: {value!r} is not valid", allowed="up to 80 letters, digits, '-' and '_'"
        )
    return cast(str, value)


def _integer(value: Any, where: str, *, least: int, most: int | None = None) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        above = "" if most is None else f" and at most {most:,}"
        raise UserError(
            f"{where}: {value!r} is not valid", allowed=f"an integer of at least {least}{above}"
        )
    return cast(int, value)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: {value!r} is not valid", allowed="a mapping of keys to values")
    return dict(value)


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{where}: {value!r} is not valid", allowed="a list")
    return value


def _texts(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _list(document.get(key) or [], key)
    if not all(isinstance(value, str) for value in values):
        raise UserError(f"{key}: {values!r} is not valid", allowed="a list of file names")
    return tuple(values)
