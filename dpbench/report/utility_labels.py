"""Which cells of the headline figure are named, and what their names must not cover."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dpbench.report.canvas import drawable
from dpbench.report.labels import Label, place_labels
from dpbench.report.palette import Look
from dpbench.report.results import Floats, Row, records

NUMBER = re.compile(r"[-+.\de]+")
"""A strength that is one number."""


def label_cells(
    axes: Axes, points: pd.DataFrame, look: dict[str, Look], *, named: pd.DataFrame | None = None
) -> None:
    """Labels the undefended cell and every guarantee; other cells where there is room.

    Args:
        axes: The axes.
        points: All cells on them, which no label should cover.
        look: The look of each family.
        named: The cells to name by their ids, where families cannot be told by colour.
    """
    rows = points if named is None else named
    wanted = [_label(row, look[row["defense"]], whole=named is not None) for row in records(rows)]
    wanted.sort(key=lambda label: not label.required)
    left, right = axes.get_xlim()
    zero = np.column_stack([np.linspace(left, right, 100), np.zeros(100)])
    # Where the corner says which way is better.
    corner = np.linspace(right - 0.14 * (right - left), right, 15)
    better = np.column_stack([corner, np.full(15, 0.03 * axes.get_ylim()[1])])
    ink = np.concatenate([zero, better, _ink(points, top=axes.get_ylim()[1], bars=named is None)])
    place_labels(axes, _merged(wanted, axes), around=ink, size=8.0 if named is None else 7.0)


def _label(row: Row, look: Look, *, whole: bool) -> Label:
    family, strength = str(row["defense"]), str(row["strength"])
    text = {"": family, "ε=∞": "ε=∞ (clip only)"}.get(strength, strength)
    if NUMBER.fullmatch(strength):
        # A bare number says nothing without its field, which the cell's id has.
        text = str(row["cell"]).partition("(")[2].removesuffix(")") or family
    if whole:
        text = str(row["cell"])
    required = family == "none" or (strength.startswith("ε=") and not whole)
    return Label(
        x=row["test_accuracy"],
        y=row["advantage"],
        text="undefended" if family == "none" else drawable(text, limit=40 if whole else 24),
        color=look.ink,
        required=required,
        weight="bold" if required else "normal",
        names=not strength or whole,
    )


def _merged(labels: list[Label], axes: Axes) -> list[Label]:
    """Names cells that lie on top of each other in one label: maskers often change nothing."""
    near_x, near_y = 0.012 * np.ptp(axes.get_xlim()), 0.025 * np.ptp(axes.get_ylim())
    merged: list[Label] = []
    for label in labels:
        for index, other in enumerate(merged):
            close = abs(other.x - label.x) < near_x and abs(other.y - label.y) < near_y
            if close and label.names and other.names and len(other.text) < 60:
                merged[index] = other._replace(text=f"{other.text}\n{label.text}")
                break
        else:
            merged.append(label)
    return merged


def _ink(points: pd.DataFrame, *, top: float, bars: bool) -> Floats:
    """Returns `(n, 2)` points that labels should not cover: markers, intervals, limits, lines."""
    x, y = points["test_accuracy"], points["advantage"]
    ink = [(x, points[column]) for column in ("advantage", "advantage_low", "advantage_high")]
    if bars:
        width = points["test_accuracy_high"] - points["test_accuracy_low"]
        ink += [(points["test_accuracy_low"] + part * width, y) for part in np.linspace(0, 1, 9)]
    limit = (
        points["bound_advantage_mechanism"].where(np.isfinite(points["epsilon"])).clip(upper=top)
    )
    ink += [(x, y + part * (limit - y)) for part in np.linspace(0, 1, 40)]
    lines = points if bars else points[points["defense"] == "dp_sgd"]
    for _, rows in lines.groupby("defense", sort=False):
        along_x, along_y = rows["test_accuracy"], rows["advantage"]
        ink += [
            (along_x + part * along_x.diff(), along_y + part * along_y.diff())
            for part in np.linspace(-1, 0, 20)
        ]
    flat: Floats = np.concatenate([np.column_stack(pair) for pair in ink])
    return flat[np.isfinite(flat).all(axis=1)]
