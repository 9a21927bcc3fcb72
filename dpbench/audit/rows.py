"""The rows of `dpbench audit`: every lower bound on epsilon, or why it is not applicable."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from dpbench.audit.reading import Bits, Shadows
from dpbench.errors import UserError
from dpbench.privacy.audits.audit_result import AuditResult, Errors, median_audit
from dpbench.privacy.audits.bayesian import audit_bayesian
from dpbench.privacy.audits.canaries import OneRun
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.privacy.audits.gaussian_audit import audit_gaussian
from dpbench.privacy.audits.katz import audit_katz
from dpbench.privacy.audits.one_run import audit_one_run
from dpbench.privacy.audits.one_run_fdp import audit_one_run_gaussian
from dpbench.privacy.audits.score_file import ScoreFile
from dpbench.privacy.audits.trials import Trials
from dpbench.seeds import rng_for

_Audit = Callable[..., AuditResult]

_TRIALS: dict[str, _Audit] = {
    "Clopper-Pearson": audit_clopper_pearson,
    "Gaussian DP": audit_gaussian,
    "Bayesian (credible)": audit_bayesian,
    "Katz-log (approximate)": audit_katz,
}
_ONE_RUN: dict[str, _Audit] = {
    "one-run": audit_one_run,
    "one-run f-DP, Gaussian": audit_one_run_gaussian,
}

_DEPENDENT = "pairs of one model are no independent trials (else --bits independent-models)"
_SHADOWED = "a model's scores may use the other models' bits (else --shadows none)"


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One number of the audit.

    Attributes:
        kind: `metric`, or `epsilon` for a lower bound on epsilon.
        name: The metric or the method.
        value: The estimate or the bound; None if it is not applicable.
        low: Lower 95 % limit of a metric.
        high: Upper 95 % limit of a metric.
        counts: What the bound was counted from.
        assumes: What must be true for the interval or the bound to hold.
        reason: Why there is no value, or empty.
    """

    kind: Literal["metric", "epsilon"]
    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    counts: str = ""
    assumes: str = ""
    reason: str = ""


def pair_bounds(data: ScoreFile, *, bits: Bits, seed: int = 0) -> list[AuditRow]:
    """Returns the lower bounds on epsilon from `(k,)` scores."""
    if bits == "one-run":

        def run() -> OneRun:
            return OneRun.of_canaries(data.scores, data.members)

        return [*_not_applicable(_TRIALS, _DEPENDENT), *_one_run_rows(run, data.delta, seed)]
    trials = Trials.independent(data.scores, data.members)

    def pooled() -> OneRun:
        return OneRun.of_trials(trials)

    return [*_trial_rows(trials, data.delta), *_one_run_rows(pooled, data.delta, seed)]


def table_bounds(data: ScoreFile, *, shadows: Shadows, seed: int = 0) -> list[AuditRow]:
    """Returns the lower bounds on epsilon from `(M, n)` scores."""

    def pooled() -> OneRun:
        return OneRun.pooled(data.scores, data.members)

    if shadows == "leave-one-out":
        rows = _not_applicable([*_TRIALS, *(f"{name}, pooled" for name in _ONE_RUN)], _SHADOWED)
    else:
        rows = _drawn_rows(data, seed)
        rows += _one_run_rows(pooled, data.delta, seed, suffix=", pooled")
    return rows + _median_rows(data, seed)


def _trial_rows(trials: Trials, delta: float) -> list[AuditRow]:
    return [_row(name, partial(audit, trials, delta=delta)) for name, audit in _TRIALS.items()]


def _drawn_rows(data: ScoreFile, seed: int) -> list[AuditRow]:
    draw = rng_for(seed, "audit examples")
    try:
        trials = Trials.one_per_model(data.scores, data.members, draw)
    except UserError as error:
        return _not_applicable(_TRIALS, _first_line(error))
    return _trial_rows(trials, data.delta)


def _one_run_rows(
    run: Callable[[], OneRun], delta: float, seed: int, *, suffix: str = ""
) -> list[AuditRow]:
    def made(audit: _Audit) -> AuditResult:
        return audit(run(), delta=delta, seed=seed)

    return [_row(name + suffix, partial(made, audit)) for name, audit in _ONE_RUN.items()]


def _median_rows(data: ScoreFile, seed: int) -> list[AuditRow]:
    """Returns the median over models of each model's one-run bound, made at 97.5 %."""
    models = len(data.scores)

    def median(audit: _Audit) -> AuditResult:
        runs = OneRun.of_each_model(data.scores, data.members)
        return median_audit(
            [audit(run, delta=data.delta, confidence=0.975, seed=seed) for run in runs]
        )

    return [
        _row(f"{name}, median of {models}", partial(median, audit))
        for name, audit in _ONE_RUN.items()
    ]


def _row(name: str, audit: Callable[[], AuditResult]) -> AuditRow:
    try:
        found = audit()
    except UserError as error:
        return AuditRow(kind="epsilon", name=name, reason=_first_line(error))
    return AuditRow(
        kind="epsilon",
        name=name,
        value=found.epsilon,
        counts=_counts(found),
        assumes=found.assumes,
    )


def _first_line(error: UserError) -> str:
    return str(error).partition("\n")[0]


def _not_applicable(names: Iterable[str], reason: str) -> list[AuditRow]:
    return [AuditRow(kind="epsilon", name=name, reason=reason) for name in names]


def _counts(found: AuditResult) -> str:
    counts = found.counts
    if isinstance(counts, Errors):
        return (
            f"FP {counts.false_positives}/{counts.non_members}, "
            f"FN {counts.false_negatives}/{counts.members}"
        )
    return f"{counts.correct} of {counts.guesses} right, {counts.canaries} canaries"
