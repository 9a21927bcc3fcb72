"""The figure of a comparison: labels that cover neither each other nor a point."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from dpbench.report.comparison import comparison

RUN = SimpleNamespace(name="default", command="dpbench compare results/small", key="0" * 64)


def points(cells, spread):
    """DP-SGD at five strengths, and compared cells within a spread of one point."""
    rng = np.random.default_rng(0)
    rows = [(f"dp_sgd(epsilon={k})", "dp_sgd", 0.5 + 0.05 * k, 0.02 * k) for k in range(5)]
    rows += [(cell, "compared", *(0.6 + spread * rng.random(2))) for cell in cells]
    table = pd.DataFrame(rows, columns=["cell", "role", "accuracy", "leak"])
    for name in ("accuracy", "leak"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.01, table[name] + 0.01
    parts = [
        table.assign(track=track, metric=metric)
        for track in ("average", "canary")
        for metric in ("tpr_at_fpr_0.01", "advantage")
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize(
    "cells",
    [
        [f"shrink(weight={k / 10})" for k in range(10)],
        [f"[long_defense_name(strength={k})]+label_only" for k in range(8)],
        ["a", "b(k=1)"],
    ],
)
def test_labels_do_not_overlap(cells, spread):
    figure = comparison(RUN, points(cells, spread))
    for axes in figure.axes:
        texts = [child for child in axes.get_children() if isinstance(child, Annotation)]
        assert texts
        boxes = [text.get_window_extent() for text in texts]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_strengths_of_one_defense_are_named_by_their_strength():
    figure = comparison(RUN, points(["shrink(weight=0.2)", "shrink(weight=0.9)"], 0.3))
    texts = {c.get_text() for c in figure.axes[0].get_children() if isinstance(c, Annotation)}
    assert texts == {"weight=0.2", "weight=0.9"}
    legend = figure.axes[1].get_legend()
    assert "compared: shrink" in [text.get_text() for text in legend.get_texts()]
