"""Which cells of the headline figure are named, and what their names must not cover."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dpbench.report.canvas import drawable
from dpbench.report.labels import Label, place_labels
from dpbench.report.palette import Look
from dpbench.report.results import Floats, records

NUMBER = re.compile(r"[-+.\de]+")
"""A strength that is one number."""


def label_cells(axes: Axes, points: pd.DataFrame, look: dict[str, Look]) -> None:
    """Labels the undefended cell and every guarantee; other cells where there is room."""
    wanted = []
    for row in records(points):
        family, strength = str(row["defense"]), str(row["strength"])
        text = {"": family, "ε=∞": "ε=∞ (clip only)"}.get(strength, strength)
        if NUMBER.fullmatch(strength):
            # A bare number says nothing without its field, which the cell's id has.
            text = str(row["cell"]).partition("(")[2].removesuffix(")") or family
        required = family == "none" or strength.startswith("ε=")
        wanted.append(
            Label(
                x=row["test_accuracy"],
                y=row["advantage"],
                text="undefended" if family == "none" else drawable(text, limit=24),
                color=look[family].ink,
                required=required,
                weight="bold" if required else "normal",
                names=not strength,
            )
        )
    wanted.sort(key=lambda label: not label.required)
    zero = np.column_stack([np.linspace(*axes.get_xlim(), 100), np.zeros(100)])
    ink = np.concatenate([zero, _ink(points, top=axes.get_ylim()[1])])
    place_labels(axes, _merged(wanted, axes), around=ink)


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


def _ink(points: pd.DataFrame, *, top: float) -> Floats:
    """Returns `(n, 2)` points that labels should not cover: markers, intervals, limits, lines."""
    x, y = points["test_accuracy"], points["advantage"]
    ink = [(x, points[column]) for column in ("advantage", "advantage_low", "advantage_high")]
    width = points["test_accuracy_high"] - points["test_accuracy_low"]
    ink += [(points["test_accuracy_low"] + part * width, y) for part in np.linspace(0, 1, 9)]
    limit = (
        points["bound_advantage_mechanism"].where(np.isfinite(points["epsilon"])).clip(upper=top)
    )
    ink += [(x, y + part * (limit - y)) for part in np.linspace(0, 1, 40)]
    for _, rows in points.groupby("defense", sort=False):
        along_x, along_y = rows["test_accuracy"], rows["advantage"]
        ink += [
            (along_x + part * along_x.diff(), along_y + part * along_y.diff())
            for part in np.linspace(-1, 0, 20)
        ]
    flat: Floats = np.concatenate([np.column_stack(pair) for pair in ink])
    return flat[np.isfinite(flat).all(axis=1)]
