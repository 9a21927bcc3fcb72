"""Reading and writing the YAML of a grid: plain values only, with errors that name line and key."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dpbench.errors import UserError
from dpbench.jobs.replace import replace_text

# A grid is some dozens of lines; anything larger is not one.
_MOST_BYTES = 1_000_000
_MOST_DIGITS = 40
# Control characters and halves of surrogate pairs reach a grid only by escapes; no terminal or
# file name should get them.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """Safe YAML with 1.2 floats (1e-3 is a number), no aliases, no tags and no repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        problem = ""
        if isinstance(event, yaml.AliasEvent):
            problem = "aliases are not allowed"
        elif getattr(event, "tag", None) is not None:
            problem = f"the tag {event.tag} is not allowed: plain values have none"
        elif isinstance(event, yaml.ScalarEvent) and _UNPRINTABLE.search(event.value):
            problem = f"{event.value[:80]!a} holds a character that cannot be printed"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        try:
            value: float = self.construct_yaml_float(node)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            problem = f"{node.value[:80]} is not a number that a grid can hold"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return value

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _MOST_DIGITS:
            problem = f"{node.value[:20]}... has {len(node.value)} digits"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        value: int = self.construct_yaml_int(node)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is not text", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key}' appears twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)


def read_document(path: Path) -> dict[str, Any]:
    """Returns the mapping in a YAML file.

    Raises:
        UserError: The file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise UserError(f"{path}: {size} bytes is too large for a grid")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error})",
            next_step="dpbench list grids shows the grids that are here",
        ) from None
    document = parse_text(text, where=str(path))
    if not isinstance(document, dict):
        raise UserError(f"{path}: a grid is a mapping of keys", next_step="see grids/default.yaml")
    return document


def parse_text(text: str, *, where: str) -> Any:
    """Returns the plain value that YAML text holds.

    Args:
        text: The text.
        where: What it is, for the message.

    Raises:
        UserError: It is not YAML, or holds an alias or a repeated key.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{where}{line}: {error.problem or error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{where}: not YAML ({error})") from None
    except ValueError as error:  # what looks like a number in base 2, 8, 16 or 60 and is none
        raise UserError(f"{where}: a value cannot be read ({error})") from None


def write_document(document: dict[str, Any], path: Path) -> None:
    """Writes a mapping as YAML in the order of its keys."""
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    replace_text(path, text)


def named_entry(entry: Any, *, refused: str, allowed: str) -> tuple[Any, Any]:
    """Returns the name and the fields of `name` or `{name: fields}`, as components are written.

    Args:
        entry: What was read.
        refused: The message if it is neither.
        allowed: What it may be.

    Raises:
        UserError: It is neither.
    """
    if isinstance(entry, str):
        return entry, {}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise UserError(refused, allowed=allowed)
    ((name, fields),) = entry.items()
    return name, fields
