"""What the interactive part of the page knows: every cell, attack and curve, as plain values."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dpbench.errors import UserError
from dpbench.report import charts
from dpbench.report.groups import group_of, grouped
from dpbench.report.palette import GLYPHS, SHAPES, looks, on_dark
from dpbench.report.results import (
    MEASURES,
    Results,
    Row,
    Tables,
    epsilon_text,
    prefix,
    records,
    strongest,
    upper_limits,
)
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
    """Returns all that the page's scripts show, as values that JSON can hold.

    Every triple is a value with its 95 % limits; what is not known is None. The specifications of
    the charts are there if they can be made.
    """
    tracks = ["average", *(["canary"] if run.canaries else [])]
    labels = list(dict.fromkeys(run.attacks["label"]))
    access = dict(zip(run.attacks["label"], run.attacks["access"], strict=True))
    upper = {
        track: {name: upper_limits(run, prefix(track) + name) for name in TITLES}
        for track in tracks
    }
    return {
        "measures": TITLES,
        "tracks": {track: _track_name(run, track) for track in tracks},
        "access": ACCESS,
        "families": _families(run),
        "attacks": [[label, access[label]] for label in labels],
        "cells": [
            _cell(results, run, row, tracks, labels)
            | {
                "upper": {
                    track: {name: _number(limits[row["cell"]]) for name, limits in own.items()}
                    for track, own in upper.items()
                }
            }
            for row in records(run.cells)
        ],
        **(_specifications() if charts.available() else {}),
    }


def _specifications() -> dict[str, Any]:
    return {
        "scatter": {
            name: charts.scatter(title, rate=name != "advantage") for name, title in TITLES.items()
        },
        "roc": charts.roc(),
    }


def _families(run: Tables) -> list[dict[str, str]]:
    """Returns how each family looks, and of which kind it is where there are many."""
    look, many = looks(run.families), grouped(run.families)
    return [
        {
            "name": name,
            "kind": group_of(name) if many and name != "none" else "",
            "color": look[name].color,
            "dark": on_dark(look[name].color),
            "shape": SHAPES[look[name].marker],
            "glyph": GLYPHS[look[name].marker],
        }
        for name in run.families
    ]


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
        "accuracy": {track: _triple(row, prefix(track) + "test_accuracy") for track in tracks},
        "static_only": row["adaptive"] == "" and row["defense"] != "none",
        "epsilon": {track: _epsilon(row, track) for track in tracks},
        "facts": _facts(row),
        "limits": {track: _limits(results, row, track) for track in tracks},
        "best": [
            [one["knowledge"], _best_names(one, tracks), _leaks(one, tracks)]
            for one in records(best)
        ],
        "attacks": [
            [
                *(labels.index(one["label"]), one["knowledge"], one["reason"]),
                *(_leaks(one, tracks), one["compared"]),
            ]
            for one in records(own)
        ],
        "curves": {
            track: curve
            for track in tracks
            if (curve := _curve(results, run, row["cell"], track)) is not None
        },
    }


def _best_names(row: Row, tracks: list[str]) -> dict[str, dict[str, str]]:
    """Returns the attack behind each number of a `best` row."""
    return {
        track: {name: str(row[f"{prefix(track)}{name}_attack"]) for name in MEASURES}
        for track in tracks
    }


def _epsilon(row: Row, track: str) -> str | None:
    """Returns the epsilon of a track, whose sampling rate may differ; None without a guarantee."""
    value = row["epsilon"]
    if track == "canary" and not math.isnan(row["canary_epsilon"]):
        value = row["canary_epsilon"]
    return epsilon_text(value) if math.isfinite(value) else None


def _leaks(row: Row, tracks: list[str]) -> dict[str, dict[str, Any]]:
    """Returns the triples of every measure on every track that has one."""
    found: dict[str, dict[str, Any]] = {}
    for track in tracks:
        triples = {name: _triple(row, prefix(track) + name) for name in MEASURES}
        if row["status"] == "done" or track != "average":
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
        theirs = _epsilon(row, "canary")
        if theirs not in (None, epsilon_text(row["epsilon"])):
            claim += f"; on the canary track ε = {theirs}"
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
    advantage = row[f"{prefix(track)}bound_advantage_mechanism"]
    if not (math.isfinite(row["epsilon"]) and math.isfinite(advantage)):
        return {}
    limits = {"advantage": _number(advantage)}
    fprs = {"tpr_at_fpr_0.01": 0.01, "tpr_at_fpr_0.001": 0.001}
    allowed = results.trade_off(row["cell"], np.array(list(fprs.values())), track=track)
    if allowed is not None:
        limits |= {name: _number(tpr) for name, tpr in zip(fprs, allowed, strict=True)}
    return limits


def _curve(results: Results, run: Tables, cell: str, track: str) -> dict[str, Any] | None:
    """Returns the ROC curve of the strongest adaptive attack, and the mechanism's limit."""
    row = strongest(run, cell, track=track)
    if row is None:
        return None
    attack, params = row["attack"], row["attack_params"]
    try:
        scores, members = results.scores(cell, attack, "adaptive", params, track=track)
    except UserError:  # the tables of a run may be published without its scores
        return None
    fpr, tpr = vertices(scores, members, CURVE_VERTICES)
    limit = results.trade_off(cell, fpr, track=track)
    return {
        "attack": row["label"],
        "fpr": _digits(fpr),
        "tpr": _digits(tpr),
        "limit": None if limit is None else _digits(limit),
    }


def _digits(values: Any) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
