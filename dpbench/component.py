"""Components: frozen dataclasses whose fields are their configuration and their identity.

Defenses, attacks, models and data sets are all components. What a component is made of comes only
from its fields; data, generators and devices are arguments of its methods.
"""

import dataclasses
import importlib.metadata
import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from dpbench.errors import UserError, suggest

REGISTRIES: dict[str, dict[str, type["Component"]]] = {
    kind: {} for kind in ("attack", "dataset", "defense", "model")
}


class Settings:
    """Base of every frozen dataclass that a user fills in: strict types, unknown keys refused."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: str) -> Self:
        """Validates plain values and builds the object.

        Args:
            values: Field name to JSON-like value.
            where: The path of these values in the user's file, for the error message.

        Raises:
            UserError: A field is unknown, missing, of the wrong type or out of range.
        """
        try:
            return TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            raise _explain(error, cls=cls, where=where) from None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as plain JSON values; infinities stay infinities."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        }


class Component(Settings):
    """A named, versioned piece that a grid refers to.

    `version` is raised by hand when results change: it is part of every key, source text is not.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    version: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Gives a class without a `name` its own name in snake case."""
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def identity(self) -> dict[str, Any]:
        """Returns what enters a key: name, version and all fields."""
        return {"name": self.name, "version": self.version, "fields": self.to_json()}

    def label(self) -> str:
        """Returns the readable id: the name and the fields that differ from their defaults."""
        shown = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING or value != field.default:
                shown.append(f"{field.name}={_short(value)}")
        return f"{self.name}({', '.join(shown)})" if shown else self.name


_C = TypeVar("_C", bound=type[Component])


def register(component: _C) -> _C:
    """Class decorator: makes a defense, attack, model or data set available to grids by its name.

    Raises:
        UserError: The class is not a frozen dataclass, or its name is taken by another class.
    """
    parameters = getattr(component, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen or "__dataclass_params__" not in vars(component):
        raise UserError(
            f"{component.__name__} cannot be registered: it is not a frozen dataclass",
            next_step="write @dataclass(frozen=True, kw_only=True) below @register",
        )
    registry = REGISTRIES[component.kind]
    present = registry.get(component.name)
    if present is not None and present.__qualname__ != component.__qualname__:
        raise UserError(
            f"the {component.kind} name '{component.name}' is taken by {present.__qualname__}",
            next_step="give the class another `name: ClassVar[str]`",
        )
    registry[component.name] = component
    return component


def load_entry_points() -> None:
    """Imports installed packages that declare defenses, attacks, models or data sets."""
    for kind in REGISTRIES:
        for point in importlib.metadata.entry_points(group=f"dpbench.{kind}s"):
            register(point.load())


def find(kind: str, name: object, *, where: str) -> type[Component]:
    """Returns the registered class, or explains which names exist."""
    registry = REGISTRIES[kind]
    if not isinstance(name, str):
        raise UserError(f"{where}: {name!r} is not a name", next_step=f"dpbench list {kind}s")
    if name not in registry:
        raise UserError(
            f"{where}: unknown {kind} '{name}'",
            allowed=", ".join(sorted(registry)),
            next_step=suggest(name, registry) or f"dpbench list {kind}s",
        )
    return registry[name]


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.to_json()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    return str(value)


def _explain(error: ValidationError, *, cls: type, where: str) -> UserError:
    # A misspelt key is also a missing one: say the former.
    first = min(error.errors(), key=lambda e: e["type"] != "unexpected_keyword_argument")
    names = [field.name for field in dataclasses.fields(cls)]
    path = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
    field = f"{where}.{path}" if path else where
    if first["type"] == "unexpected_keyword_argument":
        return UserError(
            f"{field}: unknown key '{first['loc'][-1]}'",
            allowed=", ".join(names),
            next_step=suggest(str(first["loc"][-1]), names) or "remove the key",
        )
    if first["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return UserError(f"{field}: missing", next_step=f"add '{first['loc'][-1]}' to {where}")
    return UserError(f"{field}: {first['input']!r} is not valid", allowed=_allowed(first["msg"]))


def _is_branch(part: str | int) -> bool:
    """Tells a union branch in a pydantic location ('int', 'tuple[...]') from a field name."""
    return isinstance(part, str) and (part in {"int", "float", "str", "none"} or "[" in part)


def _allowed(message: str) -> str:
    return re.sub(r"^Input should be (a )?", "", message)
