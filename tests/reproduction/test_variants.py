"""Variants: shipped grids on other data, read from an expectation file."""

import json

import pytest

from dpbench.errors import UserError
from dpbench.reproduction.expectation import read_paper
from dpbench.reproduction.variants import grid_of
from dpbench.study.shipped import EXPECTATION, find_grid
from dpbench.study.spec import read_grid

SMOKE = {"of": "smoke", "population": {"dataset": "adult", "pool": 300}, "recipe": {"lr": 0.2}}


def paper(folder, **changes):
    measure = {"grid": "smoke", "cell": "none", "attack": "malt", "metric": "auc"}
    document = {
        "name": "p",
        "citation": "P 2020",
        "scale": "small",
        "grids": ["smoke", "smoke-adult"],
        "variants": {"smoke-adult": SMOKE},
        "orderings": [{"claim": "c", "source": "V", "more": measure, "than": 0.5}],
    }
    path = folder / f"p{EXPECTATION}"
    path.write_text(json.dumps(document | changes))
    return read_paper(path)


def test_a_variant_differs_in_the_named_fields_alone(tmp_path):
    found, shipped = (
        grid_of(paper(tmp_path), "smoke-adult").document(),
        read_grid(find_grid("smoke")).document(),
    )
    assert found.pop("name") == "smoke-adult"
    shipped.pop("name")
    shipped["population"] |= SMOKE["population"]
    shipped["recipe"] |= SMOKE["recipe"]
    assert found == shipped


def test_other_names_are_shipped_grids(tmp_path):
    grid = grid_of(paper(tmp_path), "smoke")
    assert grid.document() == read_grid(find_grid("smoke")).document()


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            SMOKE | {"population": {"pol": 3}},
            "variants.smoke-adult.population.pol: unknown key 'pol'",
        ),
        (SMOKE | {"recipe": {"lr": "fast"}}, "variants.smoke-adult.recipe.lr: 'fast' is not valid"),
        (SMOKE | {"of": "smoky"}, "smoky: no such grid file"),
    ],
)
def test_a_wrong_variant_names_its_field(tmp_path, variant, message):
    wrong = paper(tmp_path, variants={"smoke-adult": variant})
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        grid_of(wrong, "smoke-adult")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grids": ["smoke"]}, "variant 'smoke-adult' is not in the paper's grids"),
        ({"variants": {"smoke-adult": {"population": {}}}}, "missing"),
        (
            {"orderings": [{"claim": "a bound", "source": "V", "more": 1, "than": 0.5}]},
            "'a bound' compares two constants",
        ),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        paper(tmp_path, **changes)
