"""Merges the results of one grid from machines that share no folder."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from dpbench.errors import UserError
from dpbench.jobs.job_states import JobStates, blocked_by
from dpbench.jobs.quarantine import Quarantine
from dpbench.jobs.store import Store

Jobs = Mapping[str, Any]


class Merged(NamedTuple):
    """What a merge did.

    Attributes:
        adopted: Results that were copied.
        present: Results that were already here, with the same digest.
        foreign: Results of the other stores that do not belong to this grid.
        failures: Failures that were copied.
        reopened: Jobs that must run again, because they ran without a result that is here now.
    """

    adopted: int
    present: int
    foreign: int
    failures: int
    reopened: int


def open_store(folder: Path) -> Store:
    """Returns the store in a run's folder, or the folder itself if it is a store.

    Raises:
        UserError: The folder contains no store.
    """
    for store in (Store.of(folder), Store(folder)):
        if (store.root / "objects").is_dir():
            return store
    raise UserError(f"{folder}: no store here", allowed="the folder of a run, or its store")


def merge(jobs: Jobs, store: Store, others: Sequence[Store]) -> Merged:
    """Copies the results and failures of other stores; refuses all of them or none.

    Args:
        jobs: The jobs of the grid, parents before children.
        store: Where they are copied to.
        others: Where they are copied from.

    Raises:
        UserError: A result is damaged, two stores have different results of one job, or a store
            has nothing of this grid.
    """
    states_by_store = [JobStates(jobs, one) for one in (store, *others)]
    for states, other in zip(states_by_store[1:], others, strict=True):
        if not states.finished and not states.failed:
            raise UserError(
                f"{other.root}: has no result of this grid",
                next_step="merge runs of one grid; dpbench plan shows its keys",
            )
    valid = _valid(jobs, states_by_store)
    wanted = _verified([store, *others], valid)
    # Nothing has been written up to here, so a refusal leaves the store as it was.
    for key in states_by_store[0].finished - valid[0]:
        store.remove(key)
    incoming = [key for key in wanted if key not in valid[0]]
    for key in incoming:
        # The result comes first: a kill in between leaves both, and then the result counts.
        store.adopt(key, wanted[key])
        store.forget_failure(key)
        Quarantine(store).forget(key)
    failures = _take_failures(store, others, states_by_store)
    stale = set[str]().union(*(states.finished for states in states_by_store)) - wanted.keys()
    return Merged(
        adopted=len(incoming),
        present=len(set[str]().union(*valid[1:]) & valid[0]),
        foreign=sum(len(other.finished() - jobs.keys()) for other in others),
        failures=failures,
        reopened=len(stale),
    )


def _valid(jobs: Jobs, states_by_store: Sequence[JobStates[Any]]) -> list[set[str]]:
    """Returns the results of each store that remain valid when all stores are merged.

    A tolerant job that ran without a parent has another result once some store has the parent.
    """
    finished = set[str]().union(*(states.finished for states in states_by_store))
    failed = set[str]().union(*(states.failed for states in states_by_store)) - finished
    lost = failed | blocked_by(failed, jobs.values())
    tolerant = [job for job in jobs.values() if job.tolerant]
    valid = []
    for states in states_by_store:
        without = states.failed | states.blocked
        stale = {
            job.key
            for job in tolerant
            if without.intersection(job.parents) != lost.intersection(job.parents)
        }
        valid.append(states.finished - stale)
    return valid


def _verified(stores: Sequence[Store], valid: Sequence[Set[str]]) -> dict[str, Store]:
    """Returns the store to take each result from; reads every byte of those it compares.

    Raises:
        UserError: A result is damaged, or two results of one job differ.
    """
    here, found = valid[0], dict[str, Store]()
    digests: dict[str, str] = {}
    for store, keys in zip(stores[1:], valid[1:], strict=True):
        for key in sorted(keys):
            digest = store.digest(key)
            if key in here and key not in digests:
                found[key], digests[key] = stores[0], stores[0].digest(key)
            if digests.setdefault(key, digest) != digest:
                raise _conflict(key, found[key], store)
            found.setdefault(key, store)
    return found | dict.fromkeys(here - found.keys(), stores[0])


def _conflict(key: str, first: Store, second: Store) -> UserError:
    label = first.record(key).get("label", key)
    ways = []
    for store in (first, second):
        measured = store.record(key).get("measured", {})
        made = f"torch {measured.get('torch', '?')}, {measured.get('device', '?')}"
        ways.append(f"{store.folder(key)} ({made})")
    return UserError(
        f"two results of one job, '{label}': {' and '.join(ways)}",
        allowed="stores computed with the same versions on the same kind of processor",
        next_step="remove the one you do not trust, or compute both on one kind of machine",
    )


def _take_failures(
    store: Store, others: Sequence[Store], states_by_store: Sequence[JobStates[Any]]
) -> int:
    count, finished = 0, set[str]().union(*(states.finished for states in states_by_store))
    for other, states in zip(others, states_by_store[1:], strict=True):
        for key in sorted(states.failed - finished):
            failure = other.failure(key)
            if failure is not None and not store.has_failed(key):
                store.fail(key, failure)
                count += 1
    return count
