"""Claims 9, 10 and 35: what changes with the number of shadow models."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.special import stdtrit
from scipy.stats import shapiro

from bench.claims.evidence import (
    AUC,
    TPR01,
    Floats,
    Line,
    Table,
    all_of,
    at_least,
    difference,
    total,
)
from bench.claims.runs import Study
from dpbench.attacks import Access, Attack, Lira, Malt, Oracle, Rmia, View, Watson
from dpbench.attacks.toolbox.confidence import cross_entropy, logit
from dpbench.attacks.toolbox.shadow_means import out_means
from dpbench.metrics import Interval
from dpbench.study.run import Run

SIZES = (8, 16, 32, 64, 128, 256)
POINTS = 250
"""Points whose shadow scores are tested for normality."""
ENOUGH, SAME_TPR = 64, 0.01
GAMMA = 2.0
"""The main text of RMIA's paper; the released code has 1, where more points tie at the top."""


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields these claims on one data set."""
    run = study.variant("shadows", data)
    view = recorded(run, "none")
    yield from variances(view, data)
    yield normality(run, data)
    yield from few_references(view, data)


def recorded(run: Run, cell: str) -> View:
    """Returns a view of a cell whose two possible queries are answered from memory."""
    jobs = next(found for found in run.plan.cells if found.defense.label == cell).rows
    attack_job = next(row.scores for row in jobs if row.scores is not None)
    results = run.context.results(attack_job)
    view = attack_job.view(results)
    public = attack_job.target.models.query(
        results, torch.from_numpy(view.reference_inputs), name="public"
    )
    return answered(view, run.outputs(cell), public.numpy())


def answered(view: View, outputs: Floats, public: Floats) -> View:
    """Returns a view whose models give these answers on the challenge and on the public points."""
    oracle = Oracle(
        access=Access.SCORE,
        budget=None,
        pool_outputs=lambda: outputs,
        query=lambda inputs: public,
    )
    return replace(view, target=oracle, shadows=oracle)


def in_blocks(attack: Attack, view: View, size: int) -> Table:
    """Returns scores where every model is attacked with the others of its block of `size`."""
    outputs, public = view.target.scores(), view.target.scores(view.reference_inputs)
    whole = len(outputs) - len(outputs) % size
    scores = []
    for start in range(0, whole, size):
        block = slice(start, start + size)
        part = replace(view, members=view.members[block])
        scores.append(attack.score(answered(part, outputs[block], public[block])))
    return Table(np.vstack(scores), view.members[:whole])


def variances(view: View, data: str) -> Iterator[Line]:
    """Claim 9."""
    found = {
        size - 1: [
            in_blocks(Lira(variance=variance), view, size)[TPR01]
            for variance in ("pooled", "per_example")
        ]
        for size in SIZES
    }
    leads = {shadows: difference(*pair) for shadows, pair in found.items()}
    few = [shadows for shadows in found if shadows < ENOUGH]
    spread = np.quantile(_spread(view), (0.1, 0.9))
    shown = ", ".join(f"{n}: {pool.value:.3f}/{own.value:.3f}" for n, (pool, own) in found.items())
    yield Line(
        9.1,
        f"with fewer than {ENOUGH} shadows LiRA's pooled variance is at least as good",
        data,
        f"TPR at FPR 0.1%, pooled/per example, by shadows: {shown}; OUT deviations of φ differ by "
        f"a factor {spread[1] / spread[0]:.1f} between the 10% and the 90% quantile of points",
        all_of(*(at_least(leads[shadows].interval) for shadows in few)),
    )
    most = max(found)
    yield Line(
        9.2,
        "with many shadows the variance of each example is at least as good",
        data,
        f"{most} shadows: pooled minus per example {leads[most]}",
        at_least(total((-1, leads[most])).interval, -SAME_TPR),
    )


def _spread(view: View) -> Floats:
    """Returns the standard deviation of phi over the models without each point, `(n,)`."""
    phi = np.where(view.members, np.nan, logit(view.target.scores(), view.labels))
    deviations: Floats = np.nanstd(phi, axis=0, ddof=1)
    return deviations


def normality(run: Run, data: str) -> Line:
    """Claim 10."""
    outputs, labels = run.outputs("none")[:, :POINTS], run.labels[:POINTS]
    loss = cross_entropy(outputs, labels)
    members = run.scores("none", "lira")[1][:, :POINTS]
    statistics = {"φ": logit(outputs, labels), "p": np.exp(-loss), "loss": loss}
    fits = {
        name: np.array(
            [
                shapiro(values[members[:, i] == side, i]).statistic
                for side in (True, False)
                for i in range(POINTS)
                if np.ptp(values[members[:, i] == side, i]) > 0
            ]
        )
        for name, values in statistics.items()
    }
    medians = ", ".join(f"{name} {np.median(fit):.3f}" for name, fit in fits.items())
    leads = [_mean_interval(fits["φ"] - fits[name]) for name in ("p", "loss")]
    return Line(
        10,
        "φ is closer to Gaussian over shadows than p and the loss",
        data,
        f"Shapiro-Wilk W, median over points and sides: {medians}; φ ahead by "
        + " and ".join(f"{lead.value:.3f} [{lead.low:.3f}, {lead.high:.3f}]" for lead in leads),
        all_of(*(at_least(lead) for lead in leads)),
    )


def _mean_interval(values: Floats) -> Interval:
    mean, error = float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
    half = error * float(stdtrit(len(values) - 1, 0.975))
    return Interval(mean, mean - half, mean + half)


def few_references(view: View, data: str) -> Iterator[Line]:
    """Claim 35: both attacks offline, as with few models there is hardly a point on both sides."""
    for references in (1, 2, 4):
        size = references + 1
        rmia = in_blocks(Rmia(mode="offline", a=0.3, gamma=GAMMA), view, size)
        released = in_blocks(Rmia(mode="offline", a=0.3), view, size)
        lira = (
            _fixed_variance(view, size)
            if references == 1
            else in_blocks(Lira(mode="offline"), view, size)
        )
        lead, low = difference(rmia[AUC], lira[AUC]), difference(rmia[TPR01], lira[TPR01])
        models = f"{references} reference model{'s' * (references > 1)}"
        yield Line(
            35.1,
            f"RMIA with {models}: AUC at least that of LiRA",
            data,
            f"{rmia[AUC].value:.3f} and {lira[AUC].value:.3f}, lead {lead}; {_scales(view, size)}",
            at_least(lead.interval),
        )
        tied = released.scores[~released.members] == released.scores.max()
        yield Line(
            35.2,
            f"RMIA with {models}: TPR at FPR 0.1% at least that of LiRA",
            data,
            f"{rmia[TPR01].value:.3f} and {lira[TPR01].value:.3f}, lead {low}; with γ = 1 "
            f"{released[TPR01].value:.3f}, where {tied.mean():.2%} of non-members tie at the top "
            "score",
            at_least(low.interval),
        )


def _scales(view: View, size: int) -> str:
    """Says what other values of RMIA's `a` give (an oracle's choice), and what its scale costs."""
    rivals: dict[str, Attack] = {
        **{f"a = {a:g}": Rmia(mode="offline", a=a, gamma=GAMMA) for a in (0.0, 0.6, 1.0)},
        "shift of p": Watson(statistic="confidence"),
        "MALT": Malt(),
    }
    found = {name: in_blocks(attack, view, size)[AUC].value for name, attack in rivals.items()}
    return ", ".join(f"{name}: {value:.3f}" for name, value in found.items())


def _fixed_variance(view: View, size: int) -> Table:
    """LiRA offline where no variance can be estimated: with any fixed one, the shift of phi."""
    phi = logit(view.target.scores(), view.labels)
    whole = len(phi) - len(phi) % size
    blocks = [slice(start, start + size) for start in range(0, whole, size)]
    scores = [phi[block] - out_means(phi[block], view.members[block]) for block in blocks]
    return Table(np.vstack(scores), view.members[:whole])
