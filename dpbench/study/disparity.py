"""Coverage and stability of a cell's attacks: the same targets, again with other shadows."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpbench.arrays import Bools
from dpbench.attacks import Access, NotApplicable
from dpbench.errors import UserError
from dpbench.game.attack import AttackJob
from dpbench.metrics.disparity import disparity, exclusive, found_at, jaccard
from dpbench.study.run import Run


def disparities(
    run: Run,
    cell: str,
    *,
    fpr: float = 0.01,
    instances: int = 4,
    targets: int = 8,
    report: Callable[[str], None] = lambda attack: None,
) -> pd.DataFrame:
    """Returns one row per adaptive attack: coverage, stability, and what it alone finds.

    An instance of an attack is run with one of `instances` disjoint groups of shadows. Attacks that
    use no shadows have one instance, and `jaccard` is empty. White-box attacks, and those that
    run on part of a cell or train students, are left out.

    Args:
        run: A finished run.
        cell: One of its cells.
        fpr: False-positive rate at which members count as found.
        instances: Groups into which the shadows are split.
        targets: How many models are attacked: the first ones.
        report: Told which attack is next.

    Raises:
        UserError: There are fewer than five models for an instance, too few non-members for the
            rate, or no attack to speak of.
    """
    models = run.context.grid.models
    targets = min(targets, models)
    if models // instances < 5 or instances < 2 or targets < 2:
        raise UserError(
            f"instances: {instances} of {models} models leave too few shadows for each",
            allowed=f"2 to {models // 5}" if models >= 10 else "a run of 10 models or more",
        )
    members = run.context.challenge_members[:targets]
    fewest = min(int((~members[fold::2]).sum()) for fold in (0, 1))
    if fewest * fpr < 1:
        raise UserError(
            f"fpr: {fpr:g} cannot be told from {fewest} non-members of half the targets",
            allowed=f"at least {1 / fewest:.2g}",
            next_step="or attack more targets",
        )
    rows, everything = [], []
    for job in _jobs(run, cell):
        report(job.attack.label())
        try:
            again = list(_instances(run, job, instances, targets))
        except NotApplicable:
            continue
        measured = disparity(np.stack([found_at(one, members, fpr)[members] for one in again]))
        rows.append({"attack": job.attack.label(), "instances": len(again), **measured._asdict()})
        everything.append(_found(run, job, fpr))
    if not rows:
        raise UserError(f"{cell}: no attack of this run can be run again", next_step="add lira")
    alone = exclusive(np.stack(everything))
    return pd.DataFrame(rows).assign(exclusive=alone)


def overlaps(run: Run, cell: str, *, fpr: float = 0.01) -> pd.DataFrame:
    """Returns the Jaccard index of the members that each pair of a cell's attacks finds."""
    found = {job.attack.label(): _found(run, job, fpr) for job in _jobs(run, cell)}
    table = [[jaccard(one, other) for other in found.values()] for one in found.values()]
    return pd.DataFrame(table, index=list(found), columns=list(found))


def _jobs(run: Run, cell: str) -> Iterator[AttackJob]:
    """Yields the finished adaptive attacks that can be run on any models of the cell."""
    for row in run.cell(cell).rows:
        if row.knowledge != "adaptive" or row.scores is None or row.attack is None:
            continue
        extent, access = row.attack.extent, row.attack.access
        anywhere = extent == (None, None) and not row.attack.n_students
        finished = run.context.store.has(row.scores.key)
        if anywhere and access != Access.WHITE_BOX and finished:
            yield row.scores


def _found(run: Run, job: AttackJob, fpr: float) -> Bools:
    """Returns which members of all models the attack finds with all its shadows."""
    scores, members = run.context.store.array(job.key, "scores"), run.context.challenge_members
    return found_at(scores, members, fpr)[members]


def _instances(
    run: Run, job: AttackJob, instances: int, targets: int
) -> Iterator[NDArray[np.floating]]:
    """Yields the scores `(targets, n)` of every instance."""
    models = np.arange(run.context.grid.models)
    if not job.attack.needs_shadows:
        yield run.context.store.array(job.key, "scores")[:targets]
        return
    for instance in range(instances):
        rows = []
        for target in range(targets):
            others = models[models != target]
            company = np.append(target, others[instance::instances])
            view = job.view(run.context.results(job), company, instance=instance)
            rows.append(np.asarray(job.attack.score(view))[0])
        yield np.stack(rows)
