import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from dpbench import privacy
from dpbench.cli.bound import bound
from dpbench.errors import UserError
from dpbench.privacy.accounting import accountants
from dpbench.privacy.bounds.catalogue import BOUNDS

app = typer.Typer()
app.command()(bound)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DPBENCH_CACHE", str(tmp_path))


def rows(*options):
    """The printed table: the cells of each line, in order, without the title."""
    result = CliRunner().invoke(app, [str(option) for option in options])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def values(table):
    return {(row[1], row[2]): row[3] for row in table}


@pytest.mark.parametrize("delta", [0, 1e-5])
def test_every_bound_is_shown_or_refused(delta):
    table = rows("--epsilon", 1, "--delta", delta)
    assert {row[1] for row in table} == {"epsilon"} | {bound.name for bound in BOUNDS}
    found = values(table)
    assert found["advantage_epsilon", "advantage"] == "0.4621"
    assert found["tpr_epsilon", "TPR at FPR 0.01"].startswith("0.027")
    assert found["advantage_yeom", "advantage"] == ("refused" if delta else "1")
    why = {row[1]: row[4] for row in table}
    assert "the mechanism itself" in why["advantage_curve"]
    assert why["advantage_yeom"].startswith("it is false" if delta else "says nothing")
    assert why["advantage_erlingsson"].endswith("(loose)")


def test_a_mechanism_is_shown_with_three_accountants_and_its_own_bounds():
    options = ("--noise-multiplier", 1, "--sampling-rate", 0.1, "--steps", 30)
    found = values(rows(*options, "--fpr", 0.05))
    event = privacy.SampledGaussian(noise_multiplier=1.0, sampling_rate=0.1, steps=30).event()
    at = "epsilon at delta 1e-05, add_remove"
    assert found["epsilon_pld", at] == f"{privacy.epsilon(event, 1e-5):.4g}"
    assert found["epsilon_rdp", at] == f"{accountants.epsilon_rdp(event, 1e-5):.4g}"
    assert found["epsilon_prv", at] == f"{accountants.epsilon_prv(event, 1e-5):.4g}"
    assert found["advantage_curve", "advantage"] == f"{privacy.advantage(event):.4g}"
    tpr = float(privacy.trade_off(event, 0.05))
    assert found["tpr_curve", "TPR at FPR 0.05"] == f"{tpr:.4g}"
    assert ("tpr_curve", "TPR at FPR 0.01") not in found
    swapped = values(rows(*options, "--game", "fixed_size"))
    assert "epsilon at delta 1e-05, replace_one" in {limits for _, limits in swapped}
    advantage = ("advantage_curve", "advantage")
    assert float(swapped[advantage]) > float(found[advantage])


def test_an_accountant_that_fails_says_why(monkeypatch):
    def epsilon_prv(event, delta):
        raise UserError("does not converge [at all]")

    monkeypatch.setattr(accountants, "epsilon_prv", epsilon_prv)
    table = rows("--noise-multiplier", 2)
    (row,) = [row for row in table if row[1] == "epsilon_prv"]
    assert row[3:] == ["-", "does not converge [at all]"]
    assert values(table)["advantage_gaussian", "advantage"] == "0.1974"


@pytest.mark.parametrize("delta", [0, 1e-320])
def test_bounds_that_need_no_epsilon_are_shown_at_any_delta(delta):
    found = values(rows("--noise-multiplier", 1, "--delta", delta))
    epsilons = {name: value for (name, limits), value in found.items() if "epsilon at" in limits}
    assert (epsilons["epsilon_pld"] == "inf") is (delta == 0)
    assert epsilons["epsilon_prv"] == ("-" if delta else "inf")
    assert found["advantage_gaussian", "advantage"] == "0.3829"
    sampled = ("--noise-multiplier", 1, "--sampling-rate", 0.01, "--steps", 100)
    found = values(rows(*sampled, "--delta", delta))
    assert found["advantage_curve", "advantage"] == "0.05067"


def test_mu_prior_and_copies():
    found = values(rows("--mu", 0.5, "--prior", 0.2, "--copies", 2, "--delta", 1e-6))
    assert found["advantage_gaussian", "advantage"] == "0.3829"
    assert found["accuracy_epsilon", "accuracy"] == "refused"
    assert float(found["accuracy_gaussian", "accuracy"]) > 0.8
    epsilons = [float(value) for (name, _), value in found.items() if name == "epsilon"]
    assert epsilons[1] == pytest.approx(2 * epsilons[0], rel=1e-3)


def test_numbers_are_converted_only_when_asked():
    with pytest.raises(UserError, match=r"'fixed_size'[^$]*--convert"):
        rows("--epsilon", 1, "--game", "fixed_size")
    found = values(rows("--epsilon", 1, "--delta", 0, "--game", "fixed_size", "--convert"))
    assert found["advantage_epsilon", "advantage"] == f"{privacy.advantage_epsilon(2.0):.4g}"
    stated = ("--game", "fixed_size", "--adjacency", "replace_one")
    found = values(rows("--epsilon", 1, "--delta", 0, *stated, "--convert"))
    assert found["advantage_epsilon", "advantage"] == "0.4621"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "exactly one guarantee"),
        (("--epsilon", 1, "--mu", 1), "exactly one guarantee"),
        (("--mu", 1, "--sampling-rate", 0.1), "no exact mu"),
        (("--epsilon", 1, "--steps", 3), "belong to --noise-multiplier"),
        (("--epsilon", -1), "epsilon: -1"),
        (("--epsilon", 1, "--delta", 2), "delta: 2"),
        (("--epsilon", 1, "--prior", 0), "prior: 0"),
        (("--epsilon", 1, "--fpr", 2), "fpr: 2"),
        (("--epsilon", 1, "--copies", 0), "copies: 0"),
        (("--epsilon", 1, "--game", "poker"), "'poker'"),
        (("--noise-multiplier", 1, "--game", "shifted"), "different sources"),
        (("--noise-multiplier", 1, "--sampling-rate", 0), "sampling_rate: 0"),
        (("--noise-multiplier", 1, "--steps", 0), "steps: 0"),
        (("--epsilon", 1, "--adjacency", "replace_one"), "no conversion"),
    ],
    ids=lambda part: " ".join(map(str, part)) if isinstance(part, tuple) else "",
)
def test_bad_combinations_are_explained(options, message):
    with pytest.raises(UserError, match=message):
        rows(*options)


def test_the_command_costs_nothing_until_it_runs():
    program = "import sys, dpbench.cli.bound; assert not {'numpy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
