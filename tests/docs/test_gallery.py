"""The numbers under the pictures of the gallery are those of the tables beside the pictures."""

import re

import pandas as pd
import pytest
from pages import ROOT

RESULTS = ROOT / "results" / "reference"
# Picture, the number as the gallery writes it, and where it comes from: cell, column, knowledge.
NUMBERS = [
    ("default/figures/advantage_epsilon", "0.037", "dp_sgd(epsilon=1)", "advantage", "adaptive"),
    (
        "default/figures/advantage_epsilon",
        "0.107",
        "dp_sgd(epsilon=1)",
        "bound_advantage_mechanism",
        None,
    ),
    ("default/figures/advantage_epsilon", "0.108", "dp_sgd(epsilon=8)", "advantage", "adaptive"),
    (
        "default/figures/advantage_epsilon",
        "0.595",
        "dp_sgd(epsilon=8)",
        "bound_advantage_mechanism",
        None,
    ),
    ("default/figures/static_adaptive", "0.214", "none", "advantage", "static"),
    (
        "default/figures/static_adaptive",
        "0.089",
        "temperature(temperature=20)",
        "advantage",
        "static",
    ),
    (
        "default/figures/static_adaptive",
        "0.212",
        "temperature(temperature=20)",
        "advantage",
        "adaptive",
    ),
    ("canaries/figures/average_canary", "7.1 %", "none", "tpr_at_fpr_0.001", "adaptive"),
    ("canaries/figures/average_canary", "70.1 %", "none", "canary_tpr_at_fpr_0.001", "adaptive"),
    (
        "canaries/figures/average_canary",
        "37.8 %",
        "short_training(epochs=12)",
        "canary_tpr_at_fpr_0.001",
        "adaptive",
    ),
    (
        "canaries/figures/average_canary",
        "57.0 %",
        "label_only",
        "canary_tpr_at_fpr_0.001",
        "adaptive",
    ),
    (
        "canaries/figures/average_canary",
        "0.6 %",
        "dp_sgd(epsilon=8)",
        "canary_tpr_at_fpr_0.001",
        "adaptive",
    ),
    ("defenses/figures/utility_privacy", "0.795", "transfer", "test_accuracy", None),
    ("defenses/figures/utility_privacy", "0.776", "none", "test_accuracy", None),
    ("defenses/figures/utility_privacy", "0.213", "transfer", "advantage", "adaptive"),
    ("defenses/figures/utility_privacy", "0.376", "none", "advantage", "adaptive"),
    ("defenses/figures/utility_privacy", "0.437", "label_smoothing", "advantage", "adaptive"),
]


@pytest.mark.parametrize(("picture", "written", "cell", "column", "knowledge"), NUMBERS)
def test_a_number_under_a_picture_is_that_of_its_table(picture, written, cell, column, knowledge):
    grid = picture.partition("/")[0]
    table = pd.read_csv(RESULTS / grid / ("attacks.csv" if knowledge else "cells.csv"))
    rows = table[table["cell"] == cell]
    if knowledge:
        rows = rows[(rows["attack"] == "best") & (rows["knowledge"] == knowledge)]
    (value,) = rows[column]
    number = f"{100 * value:.1f} %" if written.endswith("%") else f"{value:.3f}"
    assert number == written
    assert written in _below(picture)


def test_no_number_under_a_picture_is_unchecked():
    for picture in {entry[0] for entry in NUMBERS}:
        found = set(re.findall(r"\d+\.\d+(?: %)?", _below(picture)))
        checked = {entry[1] for entry in NUMBERS if entry[0] == picture}
        assert found - {"0.1 %"} == checked


def _below(picture: str) -> str:
    """Returns the paragraph under the picture in the gallery."""
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    below = text.partition(f"(../results/reference/{picture}.png)")[2]
    assert below, f"the gallery shows no {picture}"
    return " ".join(below.strip().split("\n\n")[0].split())
