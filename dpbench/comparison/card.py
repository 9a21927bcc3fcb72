"""The defense card: what a defense claims, what its authors reported, what was measured here."""

import math
from collections.abc import Hashable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import dpbench
from dpbench.comparison.compare import Compared
from dpbench.comparison.sentence import headline, sentence, verdict
from dpbench.defenses import Composition
from dpbench.study.run import Run


def card(
    run: Run,
    compared: Sequence[Composition],
    found: Sequence[Compared],
    *,
    command: str,
    trials: int | None,
) -> dict[str, Any]:
    """Returns the card as plain values.

    Args:
        run: The comparison's run.
        compared: The cells of the defense.
        found: What was measured.
        command: How to do it again.
        trials: Tuning trials spent on the defense, as its author says; None if that is unknown.
    """
    parts = compared[0].parts
    grid = run.context.grid
    rows = run.cells.set_index("cell").loc[[cell.label for cell in compared]]
    return {
        "defense": compared[0].name,
        "verdict": verdict(found, models=grid.models),
        "claim": [_claim(str(cell), row.to_dict()) for cell, row in rows.iterrows()],
        "threat_model": {
            "game": "every audited example is a member of each model with probability 1/2; the "
            "adversary knows the defense and all other members' distribution, not the bits",
            "access": sorted({attack.access.name.lower() for attack in grid.attacks}),
            "attacks": [attack.label() for attack in grid.attacks],
            "adaptive": {str(cell): row["adaptive"] or "nothing" for cell, row in rows.iterrows()},
        },
        "source": "; ".join(dict.fromkeys(part.reference for part in parts if part.reference)),
        "reported_by_its_authors": {
            part.name: dict(part.reported) for part in parts if part.reported
        },
        "measured_here": [_plain(one.row()) for one in found],
        "sentences": [sentence(one, models=grid.models) for one in headline(found)],
        "tuning": _tuning(grid.cells, compared, trials),
        "setting": {
            "dataset": grid.population.dataset,
            "pool": int(rows["n_pool"].iloc[0]),
            "model": grid.model.label(),
            "models": grid.models,
            "seed": grid.seed,
            "canaries": grid.canaries and grid.canaries.to_json(),
        },
        "command": command,
        "run": run.key,
        "dpbench": dpbench.__version__,
    }


def _claim(label: str, row: Mapping[Hashable, Any]) -> str:
    epsilon, delta = float(row["epsilon"]), float(row["delta"])
    if math.isinf(epsilon):
        why = f" ({row['reason']})" if row["reason"] else ""
        return f"{label}: no differential privacy is claimed{why}"
    return f"{label}: ({epsilon:.4g}, {delta:.3g})-differential privacy, add or remove one example"


def _tuning(
    cells: Sequence[Composition], compared: Sequence[Composition], trials: int | None
) -> dict[str, str]:
    labels = {cell.label for cell in compared}
    said = {
        part.name: part.tuned
        for cell in cells
        if cell.label not in labels
        for part in cell.parts
        if part.tuned
    }
    own = f"{trials} trials, says its author" if trials is not None else "not stated (--trials)"
    strengths = f"{len(compared)} strengths are compared here, none chosen among them"
    return {compared[0].name: f"{own}; {strengths}", **said}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row whose numbers JSON can hold: what is not finite becomes a text."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def card_page(values: Mapping[str, Any], *, figure: str) -> str:
    """Returns the card as one HTML page.

    Args:
        values: The card.
        figure: The comparison's figure as an `img` or nothing; markup.
    """
    template = Template(files("dpbench.comparison").joinpath("card.html").read_text("utf-8"))
    threat, setting = values["threat_model"], values["setting"]
    facts = {
        "Claim": values["claim"],
        "Proposed in": [values["source"] or "not stated"],
        "Reported by its authors": [
            f"{part}: {what}: {number}"
            for part, numbers in values["reported_by_its_authors"].items()
            for what, number in numbers.items()
        ]
        or ["nothing was given (class variable `reported`)"],
        "The adversary": [threat["game"], f"access: {', '.join(threat['access'])}"],
        "What it did to know the defense": [
            f"{cell}: {what}" for cell, what in threat["adaptive"].items()
        ],
        "Attacks": [", ".join(threat["attacks"])],
        "Tuning": [f"{name}: {effort}" for name, effort in values["tuning"].items()],
        "Setting": [f"{name}: {value}" for name, value in setting.items() if value is not None],
        "Made by": [values["command"], f"run {values['run']}, dpbench {values['dpbench']}"],
    }
    return template.substitute(
        defense=escape(values["defense"]),
        verdict=escape(values["verdict"]),
        figure=figure,
        sentences=_list(values["sentences"]),
        facts="\n".join(
            f"<dt>{escape(name)}</dt>\n<dd>{_list(lines)}</dd>" for name, lines in facts.items()
        ),
    )


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>"
