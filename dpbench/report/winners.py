"""Which attack a `best` row means by each of its numbers, under the report's own names."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

ENSEMBLE = "ensemble"


class AttackVariant(NamedTuple):
    """One attack of a run: its name, all its fields, and the label that tells it apart."""

    name: str
    fields: Mapping[str, Any]
    label: str


def labels_of_ids(ids: Iterable[str], variants: Sequence[AttackVariant]) -> dict[str, str]:
    """Returns the label of every attack that an id means; an id that stays unclear is its own.

    An id is a name and the fields that differ from their defaults, `lira(mode=offline)`. The tables
    do not say what the defaults are, so `lira` alone fits every LiRA of the run: ids that say more
    are resolved first, and what they mean is no longer there for those that say less.
    """
    free = list(variants)
    found: dict[str, str] = {}
    for one in sorted(set(ids), key=lambda one: (-len(_pieces(one)), one)):
        fitting = [variant for variant in free if _fits(one, variant)]
        found[one] = one
        if len(fitting) == 1:
            found[one] = fitting[0].label
            free.remove(fitting[0])
    return found


def ids_by_metric(text: str) -> dict[str, str]:
    """Returns the ids that a `winners` field holds, by metric; empty where it holds none."""
    try:
        winners = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(winners, dict):
        return {}
    return {metric: one for metric, one in winners.items() if isinstance(one, str) and one}


def _pieces(one: str) -> list[str]:
    inner = one.partition("(")[2].removesuffix(")")
    return re.split(r", (?=\w+=)", inner) if inner else []


def _fits(one: str, variant: AttackVariant) -> bool:
    if one.partition("(")[0] != variant.name:
        return False
    own = {f"{field}={_short(value)}" for field, value in variant.fields.items()}
    # What an ensemble combines is a result and no field: its id is its bare name.
    return variant.name == ENSEMBLE or own.issuperset(_pieces(one))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    return str(value)
