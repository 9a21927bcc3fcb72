"""What the interactive part of the page knows: every cell, attack and curve, as plain values."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dpbench.errors import UserError
from dpbench.report import charts
from dpbench.report.palette import GLYPHS, SHAPES, looks, on_dark
from dpbench.report.results import MEASURES, Results, Row, Tables, epsilon_text, records, strongest
from dpbench.report.roc import vertices

TITLES = {
    "advantage": "advantage (TPR − FPR)",
    "tpr_at_fpr_0.01": "TPR at 1 % FPR",
    "tpr_at_fpr_0.001": "TPR at 0.1 % FPR",
}
ACCESS = {"label": "labels", "score": "scores", "white_box": "weights"}
"""What an attacker sees: nothing but labels, confidence scores, or the weights themselves."""

CURVE_VERTICES = 60
_ENDS = ("", "_low", "_high")


def knowledge(results: Results, run: Tables) -> dict[str, Any]:
    """Returns all that the page's script draws, as values that JSON can hold.

    Every triple is a value with its 95 % limits; what is not known is None.
    """
    tracks = ["average", *(["canary"] if run.canaries else [])]
    look = looks(run.families)
    labels = list(dict.fromkeys(run.attacks["label"]))
    access = dict(zip(run.attacks["label"], run.attacks["access"], strict=True))
    return {
        "measures": TITLES,
        "tracks": {track: _track_name(run, track) for track in tracks},
        "access": ACCESS,
        "families": [
            {
                "name": name,
                "color": look[name].color,
                "dark": on_dark(look[name].color),
                "shape": SHAPES[look[name].marker],
                "glyph": GLYPHS[look[name].marker],
            }
            for name in run.families
        ],
        "attacks": [[label, access[label]] for label in labels],
        "cells": [_cell(results, run, row, tracks, labels) for row in records(run.cells)],
        "scatter": {
            name: charts.scatter(title, rate=name != "advantage") for name, title in TITLES.items()
        },
        "roc": charts.roc(),
    }


def embedded(values: Mapping[str, Any]) -> str:
    """Returns values as JSON that can stand inside a script element, whatever their texts say."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Not even in a text may the page's parser see the end of the element, or a comment.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _track_name(run: Tables, track: str) -> str:
    if track == "average":
        return "ordinary examples"
    return f"{run.canaries.replace('_', ' ')} canaries"


def _cell(
    results: Results, run: Tables, row: Row, tracks: list[str], labels: list[str]
) -> dict[str, Any]:
    own = run.attacks[run.attacks["cell"] == row["cell"]]
    best = run.best[run.best["cell"] == row["cell"]]
    return {
        "cell": row["cell"],
        "family": row["defense"],
        "strength": row["strength"],
        "status": row["status"],
        "reason": row["reason"],
        "accuracy": {track: _triple(row, _prefix(track) + "test_accuracy") for track in tracks},
        "facts": _facts(row),
        "limits": {track: _limits(results, row, track) for track in tracks},
        "best": [
            [one["knowledge"], _best_names(one), _leaks(one, tracks)] for one in records(best)
        ],
        "attacks": [
            [labels.index(one["label"]), one["knowledge"], one["reason"], _leaks(one, tracks)]
            for one in records(own)
        ],
        "curves": {
            track: curve
            for track in tracks
            if (curve := _curve(results, run, row["cell"], track)) is not None
        },
    }


def _best_names(row: Row) -> dict[str, str]:
    return {"average": str(row["named"]), "canary": str(row["canary_attack"])}


def _prefix(track: str) -> str:
    return "canary_" if track == "canary" else ""


def _leaks(row: Row, tracks: list[str]) -> dict[str, dict[str, Any]]:
    """Returns the triples of every measure on every track that has one."""
    found: dict[str, dict[str, Any]] = {}
    for track in tracks:
        prefix = _prefix(track)
        triples = {name: _triple(row, prefix + name) for name in MEASURES}
        if row["status"] == "done" or prefix:
            found[track] = {name: triple for name, triple in triples.items() if triple}
    return found


def _triple(row: Row, name: str) -> list[float | None] | None:
    value, low, high = (_number(row[name + end]) for end in _ENDS)
    return None if value is None else [value, low, high]


def _number(value: float) -> float | None:
    """Returns six digits after the point: rounded again for the eye, they round as all do."""
    return round(float(value), 6) if math.isfinite(value) else None


def _facts(row: Row) -> list[tuple[str, str]]:
    """Returns what the card of a cell says beside its measurements."""
    claim = "no differential privacy is claimed"
    if math.isfinite(row["epsilon"]):
        delta = f", δ = {row['delta']:.3g}" if math.isfinite(row["delta"]) else ""
        claim = f"ε = {epsilon_text(row['epsilon'])}{delta}, one example added or removed"
    adapted = {"": "nothing: attacked only statically"}.get(row["adaptive"], row["adaptive"])
    return [
        ("guarantee", claim),
        ("train accuracy", _percent(row["train_accuracy"])),
        ("settings", _settings(row["params"])),
        ("what its attackers adapt", "–" if row["defense"] == "none" else adapted),
        ("key", row["key"]),
    ]


def _settings(params: str) -> str:
    """Returns the fields that have a value; the others leave something to the recipe."""
    stages = json.loads(params or "{}")
    stages = stages if isinstance(stages, list) else [stages]
    shown = [
        ", ".join(f"{name}: {value}" for name, value in fields.items() if value is not None)
        for fields in stages
    ]
    return "; ".join(one or "none" for one in shown)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def _limits(results: Results, row: Row, track: str) -> dict[str, float | None]:
    """Returns the most that any attack can reach, by measure; empty without a guarantee."""
    advantage = row[f"{_prefix(track)}bound_advantage_mechanism"]
    if not (math.isfinite(row["epsilon"]) and math.isfinite(advantage)):
        return {}
    limits = {"advantage": _number(advantage)}
    fprs = {"tpr_at_fpr_0.01": 0.01, "tpr_at_fpr_0.001": 0.001}
    allowed = results.trade_off(row["cell"], np.array(list(fprs.values())))
    if allowed is not None:
        limits |= {name: _number(tpr) for name, tpr in zip(fprs, allowed, strict=True)}
    return limits


def _curve(results: Results, run: Tables, cell: str, track: str) -> dict[str, Any] | None:
    """Returns the ROC curve of the strongest adaptive attack, and the mechanism's limit."""
    row = strongest(run, cell)
    if row is None:
        return None
    attack, params = row["attack"], row["attack_params"]
    if track == "canary":
        best = run.best[(run.best["cell"] == cell) & (run.best["knowledge"] == "adaptive")]
        attack, params = (*best["canary_attack"], "")[0], None
        if not attack:
            return None
    try:
        scores, members = results.scores(cell, attack, "adaptive", params, track=track)
    except UserError:  # the tables of a run may be published without its scores
        return None
    fpr, tpr = vertices(scores, members, CURVE_VERTICES)
    limit = results.trade_off(cell, fpr)
    return {
        "attack": row["label"] if track == "average" else attack,
        "fpr": _digits(fpr),
        "tpr": _digits(tpr),
        "limit": None if limit is None else _digits(limit),
    }


def _digits(values: Any) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
