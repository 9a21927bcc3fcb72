"""How often each audit is wrong, and how close it comes: the numbers of docs/audits.md.

    python -m bench.audit_coverage     # prints four tables, writes bench/out/audit_*.csv

Every experiment is made on a mechanism whose epsilon is known, with thresholds, splits and guesses
chosen as the code chooses them. `wrong` is the share of experiments whose bound exceeds the true
epsilon, `median` and `low` the median and the 5 % quantile of bound / truth (or of the bound, where
the truth is 0). A few minutes on one core.
"""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from dpbench import privacy
from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.audits import bayesian, one_run, one_run_fdp
from dpbench.privacy.audits.audit_result import AuditResult, Errors, median_audit
from dpbench.privacy.audits.bayesian import audit_bayesian, posterior_mass
from dpbench.privacy.audits.canaries import Guesses, OneRun
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson, conversions
from dpbench.privacy.audits.gaussian_audit import audit_gaussian
from dpbench.privacy.audits.katz import audit_katz
from dpbench.privacy.audits.one_run import audit_one_run
from dpbench.privacy.audits.one_run_fdp import audit_one_run_gaussian
from dpbench.privacy.audits.thresholds import Bonferroni, Explicit, Split
from dpbench.privacy.audits.trials import Trials

Pairs = tuple[NDArray[np.float64], NDArray[np.bool_]]
Draw = Callable[[np.random.Generator], Pairs]
Audit = Callable[..., AuditResult]
Bound = Callable[[NDArray[np.float64], NDArray[np.bool_]], float]

REPEATS = 4000
OUT = Path("bench/out")
FEW_FOUND = (100_000, 100)


def main() -> None:
    """Measures and prints every table."""
    # Counts come again and again, and what is made of them depends on nothing else.
    one_run.epsilon_one_run = cache(one_run.epsilon_one_run)  # type: ignore[assignment]
    one_run_fdp.mu_one_run = cache(one_run_fdp.mu_one_run)  # type: ignore[assignment]
    bayesian.epsilon_bayesian = cache(bayesian.epsilon_bayesian)  # type: ignore[assignment]
    OUT.mkdir(parents=True, exist_ok=True)
    for name, table in (
        ("coverage", coverage()),
        ("tightness", tightness()),
        ("misuse", misuse()),
        ("bayesian", bayesian_by_enumeration()),
    ):
        frame = pd.DataFrame(table)
        frame.to_csv(OUT / f"audit_{name}.csv", index=False)
        print(f"\n{name}\n{frame.to_string(index=False)}", flush=True)


def coverage() -> list[dict[str, Any]]:
    """Each audit where its assumptions hold (Bayesian and Katz: also where they do not)."""
    rows = []
    for choice in (Split(), Bonferroni()):
        for mechanism in MECHANISMS:
            delta = 0.0 if mechanism.startswith("response") else 0.05
            for trials in (100, 1000):
                found = of_trials(audit_clopper_pearson, delta=delta, choice=choice)
                rows.append(row("Clopper-Pearson", mechanism, found, trials, delta, choice=choice))
    for choice in (Split(fraction=0.2), Bonferroni()):
        for trials in (100, 1000):
            found = of_trials(audit_gaussian, delta=1e-5, choice=choice)
            rows.append(row("Gaussian DP", "gaussian(2)", found, trials, 1e-5, choice=choice))
    for audit, name in ((audit_katz, "Katz-log"), (audit_bayesian, "Bayesian")):
        for mechanism in MECHANISMS:
            delta = 0.0 if mechanism.startswith("response") else 0.05
            found = of_trials(audit, delta=delta)
            rows.append(row(name, mechanism, found, 100, delta, choice=Split()))
    for audit, name in ((audit_katz, "Katz-log"), (audit_clopper_pearson, "Clopper-Pearson")):
        for delta in (0.0, 0.01):
            found = of_trials(audit, delta=delta, choice=Explicit(threshold=1.0))
            draw = few_found(delta)
            rows.append(measured(name, f"few found, delta {delta:g}", found, draw, 0.5, "fixed"))
    for mechanism in MECHANISMS:
        delta = 0.0 if mechanism.startswith("response") else 1e-3
        found = of_run(audit_one_run, delta=delta)
        rows.append(row("one-run", mechanism, found, 1000, delta, choice="default"))
        found = of_run(audit_one_run, delta=delta, guesses=[Guesses(500, 500)])
        rows.append(row("one-run", mechanism, found, 1000, delta, choice="all"))
    found = of_run(audit_one_run_gaussian, delta=1e-5)
    rows.append(row("one-run f-DP", "gaussian(2)", found, 1000, 1e-5, choice="default"))
    return rows


def tightness() -> list[dict[str, Any]]:
    """How close the bounds come to the truth with much data."""
    rows = []
    for audit in (audit_clopper_pearson, audit_bayesian, audit_katz):
        found = of_trials(audit)
        rows.append(row(name_of(audit), "response(1)", found, 10_000, 0.0, repeats=300))
    for trials in (2000, 4000, 20_000):
        found = of_trials(audit_gaussian, delta=1e-5)
        rows.append(row("audit_gaussian", "gaussian(1)", found, trials, 1e-5, repeats=500))
    found = of_trials(audit_clopper_pearson, delta=1e-5)
    rows.append(row("audit_clopper_pearson", "gaussian(1)", found, 2000, 1e-5, repeats=500))
    for canaries in (1000, 10_000):
        found = of_run(audit_one_run)
        rows.append(row("audit_one_run", "response(1)", found, canaries, 0.0, repeats=500))
        for run_audit in (audit_one_run, audit_one_run_gaussian):
            found = of_run(run_audit, delta=1e-5)
            rows.append(row(name_of(run_audit), "gaussian(1)", found, canaries, 1e-5, repeats=300))
    return rows


def misuse() -> list[dict[str, Any]]:
    """What the data types and defaults prevent."""

    def all_thresholds(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
        _, errors = Trials.independent(scores, members).curve()
        return float(max(one.promise(errors, 0.05).max() for one in conversions(0.0)))

    def all_pairs(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
        trials = Trials.independent(scores.ravel(), members.ravel())
        return audit_clopper_pearson(trials, delta=0.1).epsilon

    def one_each(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
        trials = Trials.one_per_model(scores, members, np.random.default_rng(members.sum()))
        return audit_clopper_pearson(trials, delta=0.1).epsilon

    def pooled(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
        half = scores.size // 2
        run = OneRun.pooled(scores, members)
        return audit_one_run(run, guesses=[Guesses(half, half)]).epsilon

    def median(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
        runs = [OneRun.of_model(scores, members, model=model) for model in range(len(scores))]
        return median_audit([audit_one_run(run, confidence=0.975) for run in runs]).epsilon

    nothing = "ignores its data"
    return [
        measured("best of all thresholds", nothing, all_thresholds, balanced_noise, 0.0, "-"),
        measured("CP over all pairs", "reveals all w.p. 0.1", all_pairs, revealing, 0.0, "-"),
        measured("CP, one pair per model", "reveals all w.p. 0.1", one_each, revealing, 0.0, "-"),
        measured("leave-one-out, pooled", nothing, pooled, shadowed, 0.0, "-"),
        measured("leave-one-out, median", nothing, median, shadowed, 0.0, "-", repeats=500),
        *conversions_of_a_sampled_step(),
    ]


def conversions_of_a_sampled_step() -> list[dict[str, Any]]:
    """The Gaussian conversion where it does not belong."""
    event = privacy.SampledGaussian(noise_multiplier=0.5, sampling_rate=0.1, steps=1).event()
    rows = []
    threshold = Explicit(threshold=2.326 * 0.5)
    for delta in (0.03, 1e-5):
        true = privacy.epsilon(event, delta)
        for audit in (audit_gaussian, audit_clopper_pearson):
            found = of_trials(audit, delta=delta, choice=threshold)
            what = f"one sampled step, delta {delta:g}"
            rows.append(
                measured(
                    name_of(audit), what, found, one_sampled_step, true, "FPR 1 %", repeats=300
                )
            )
    return rows


def bayesian_by_enumeration() -> list[dict[str, Any]]:
    """How often the Bayesian bound is wrong at fixed rates on the edge of the region, exactly."""
    rows = []
    for epsilon in (0.5, 1.0, 2.0, 4.0):
        corner = 1 / (1 + math.exp(epsilon))
        for trials in (100, 300):
            for fpr, where in ((corner, "corner"), (corner / 2, "edge")):
                fnr = 1 - fpr * math.exp(epsilon)
                wrong = bayesian_failures(epsilon, trials, fpr, fnr)
                row = {"epsilon": epsilon, "trials of each kind": trials, "rates": where}
                rows.append(row | {"wrong": f"{100 * wrong:.1f} %"})
    return rows


def bayesian_failures(epsilon: float, trials: int, fpr: float, fnr: float) -> float:
    """Returns the probability of counts whose posterior refutes the true epsilon."""
    counts = np.arange(trials + 1)
    weights = np.outer(binom.pmf(counts, trials, fpr), binom.pmf(counts, trials, fnr))
    return sum(
        float(weights[wrong, missed])
        for wrong, missed in np.argwhere(weights > 1e-7).tolist()
        if posterior_mass(epsilon, Errors(wrong, trials, missed, trials), two_sided=False) < 0.05
    )


def response(epsilon: float, shape: int, rng: np.random.Generator) -> Pairs:
    """Each bit is told right with probability e^eps / (1 + e^eps)."""
    members = rng.random(shape) < 0.5
    honest = rng.random(shape) < 1 / (1 + math.exp(-epsilon))
    return np.where(honest, members, ~members).astype(float), members


def gaussian(mu: float, shape: int, rng: np.random.Generator) -> Pairs:
    """Each bit times mu, with standard normal noise."""
    members = rng.random(shape) < 0.5
    return rng.standard_normal(shape) + mu * members, members


def sampled(shape: int, rng: np.random.Generator) -> Pairs:
    """Two steps that each bit enters with probability 0.6, sigma 0.5; scores are exact."""
    members = rng.random(shape) < 0.5
    entered = (rng.random((2, shape)) < 0.6) & members
    seen = entered + 0.5 * rng.standard_normal((2, shape))
    return np.log(0.4 + 0.6 * np.exp((2 * seen - 1) / 0.5)).sum(0), members


def one_sampled_step(rng: np.random.Generator) -> Pairs:
    """One step that each bit enters with probability 0.1, sigma 0.5."""
    members = rng.random(20_000) < 0.5
    entered = (rng.random(20_000) < 0.1) & members
    return entered + 0.5 * rng.standard_normal(20_000), members


def few_found(delta: float) -> Draw:
    """Few members are found among very many non-members; epsilon is 0.5."""
    outside, inside = FEW_FOUND
    tpr = 0.0043 if delta == 0 else 0.0102
    fpr = (tpr - delta) / math.exp(0.5)

    def draw(rng: np.random.Generator) -> Pairs:
        members = np.arange(outside + inside) < inside
        return (rng.random(members.size) < np.where(members, tpr, fpr)) * 1.0, members

    return draw


def balanced_noise(rng: np.random.Generator) -> Pairs:
    """Scores that know nothing, of 100 trainings with and 100 without the example."""
    return rng.standard_normal(200), np.arange(200) < 100


def revealing(rng: np.random.Generator) -> Pairs:
    """60 models with 30 examples, each of which shows all its bits with probability 0.1."""
    members = rng.random((60, 30)) < 0.5
    shown = rng.random((60, 1)) < 0.1
    coins = (rng.random(members.shape) < 0.5).astype(float)
    return np.where(shown, np.where(members, 2.0, -1.0), coins), members


def shadowed(rng: np.random.Generator) -> Pairs:
    """16 models of noise; each example is scored with the means of the other models."""
    members = rng.random((16, 100)) < 0.5
    scores, others = rng.standard_normal(members.shape), 15
    inside = members.sum(0) - members
    mean_in = ((scores * members).sum(0) - scores * members) / np.maximum(inside, 1)
    mean_out = ((scores * ~members).sum(0) - scores * ~members) / np.maximum(others - inside, 1)
    return (scores - (mean_in + mean_out) / 2) * (mean_in - mean_out), members


MECHANISMS: dict[str, Callable[[int, np.random.Generator], Pairs]] = {
    "response(1)": lambda shape, rng: response(1.0, shape, rng),
    "gaussian(2)": lambda shape, rng: gaussian(2.0, shape, rng),
    "sampled": sampled,
}


@cache
def truth(mechanism: str, delta: float) -> float:
    """Returns the epsilon of a mechanism."""
    if mechanism == "response(1)":
        return 1.0
    if mechanism.startswith("gaussian"):
        return epsilon_gaussian(delta, 2.0 if mechanism == "gaussian(2)" else 1.0)
    event = privacy.SampledGaussian(noise_multiplier=0.5, sampling_rate=0.6, steps=2).event()
    return privacy.epsilon(event, delta)


def of_trials(audit: Audit, **settings: Any) -> Bound:
    """Returns the audit of independent trials as a function of scores and bits."""
    return lambda scores, bits: audit(Trials.independent(scores, bits), **settings).epsilon


def of_run(audit: Audit, **settings: Any) -> Bound:
    """Returns the audit of one run as a function of scores and bits."""
    return lambda scores, bits: audit(OneRun.of_canaries(scores, bits), **settings).epsilon


def name_of(audit: Audit) -> str:
    return str(audit.__name__)


def row(
    method: str,
    mechanism: str,
    bound: Bound,
    size: int,
    delta: float,
    *,
    choice: object = "default",
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """Measures a bound on `size` pairs of a mechanism."""
    made = MECHANISMS.get(mechanism, lambda shape, rng: gaussian(1.0, shape, rng))
    what = f"{mechanism}, {size}, delta {delta:g}"
    return measured(
        method,
        what,
        bound,
        lambda rng: made(size, rng),
        truth(mechanism, delta),
        choice,
        repeats=repeats,
    )


def measured(
    method: str,
    what: str,
    bound: Bound,
    draw: Draw,
    true: float,
    choice: object,
    *,
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """Returns how often a bound is above the truth, and how close it comes."""
    bounds = np.array([bound(*draw(np.random.default_rng([11, i]))) for i in range(repeats)])
    scale = true if true > 0 else 1.0
    return {
        "method": method,
        "mechanism, pairs": what,
        "choice": type(choice).__name__ if not isinstance(choice, str) else choice,
        "experiments": repeats,
        "truth": round(true, 3),
        "wrong": f"{100 * np.mean(bounds > true + 1e-9):.1f} %",
        "median": round(float(np.median(bounds)) / scale, 3),
        "low": round(float(np.quantile(bounds, 0.05)) / scale, 3),
    }


if __name__ == "__main__":
    main()
