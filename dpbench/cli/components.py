"""What `dpbench list` says about attacks, defenses, data sets and models."""

import dataclasses
from typing import Any

from rich.table import Table

from dpbench.component import REGISTRIES, load_entry_points


def components(what: str) -> Table:
    """Returns the table of one kind of component, `what` being its plural."""
    import dpbench.attacks
    import dpbench.data
    import dpbench.defenses
    import dpbench.models  # noqa: F401

    load_entry_points()
    kind = what.removesuffix("s")
    extra = ("access", "cost") if kind == "attack" else ()
    table = Table(kind, *extra, "fields", "about", "source")
    for name, cls in sorted(REGISTRIES[kind].items()):
        values = _fields(cls)
        fields = ", ".join(f"{field}: {value}" for field, value in values.items())
        price = "by its fields" if "required" in values.values() or not extra else cost(cls())
        more = (cls.access.name.lower(), price) if extra else ()  # type: ignore[attr-defined]
        about = (cls.__doc__ or "").strip().partition("\n")[0]
        source = str(getattr(cls, "reference", "") or getattr(cls, "source", ""))
        table.add_row(name, *more, fields, about, source)
    return table


def cost(attack: Any) -> str:
    """Returns what an attack takes beside the target: queries, shadows, trainings, knowledge."""
    words = [f"{attack.budget} {'query' if attack.budget == 1 else 'queries'}"]
    words += ["shadows"] if attack.needs_shadows else []
    words += [f"{attack.n_students} trainings per target"] if attack.n_students else []
    words += ["the target's other bits"] if attack.knows_other_bits else []
    models, points = attack.extent
    limits = [f"{models} models"] * (models is not None) + [f"{points} points"] * (
        points is not None
    )
    words += [f"on {' x '.join(limits)}"] if limits else []
    return ", ".join(words)


def _fields(cls: type) -> dict[str, str]:
    return {
        field.name: "required" if field.default is dataclasses.MISSING else str(field.default)
        for field in dataclasses.fields(cls)
    }
