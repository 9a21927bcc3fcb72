"""Runs the open jobs of a plan, and clears failures so that jobs run again."""

import os
from collections.abc import Callable, Mapping

from dpbench.jobs.executors import Executor, supervise
from dpbench.jobs.job import Job
from dpbench.jobs.job_states import JobStates, blocked_by
from dpbench.jobs.quarantine import Quarantine
from dpbench.jobs.store import Store
from dpbench.jobs.worker import Worker
from dpbench.jobs.worker_config import WorkerConfig

Report = Callable[[JobStates[Job]], None]


def run_jobs(
    jobs: Mapping[str, Job],
    store: Store,
    config: WorkerConfig,
    *,
    worker: Worker,
    executor: Executor,
    report: Report,
) -> JobStates[Job]:
    """Runs every open job, beside other workers on the store; returns the state of all jobs.

    Args:
        jobs: A plan's jobs by key, parents before children.
        store: Where results go.
        config: How workers are started.
        worker: Runs the jobs in this process if `config.workers` is 0.
        executor: Starts the workers otherwise.
        report: Called with the states from time to time.
    """
    states = JobStates(jobs, store)
    if states.open:
        if config.workers == 0:
            worker.work(states)
        else:
            supervise(executor.start(config), states, report)
        states.refresh()
    report(states)
    return states


def retry_failed(store: Store, jobs: Mapping[str, Job]) -> int:
    """Clears the failures of a plan's jobs, so that they run again; returns how many.

    Results that were computed without these jobs are removed, too.
    """
    states, quarantine = JobStates(jobs, store), Quarantine(store)
    lost = states.failed | blocked_by(states.failed, jobs.values())
    # First the results that lack a failed job: without the failure nothing would mark them.
    for job in jobs.values():
        if job.tolerant and job.key in states.finished and lost.intersection(job.parents):
            store.remove(job.key)
    for key in states.failed:
        # Deaths before the failure: a kill in between must not leave deaths to a job that is open.
        quarantine.forget(key)
        store.forget_failure(key)
    return len(states.failed)


def default_workers() -> int:
    """One worker per core that this process may use."""
    # Containers and Slurm restrict a process to some cores; cpu_count() counts all of them.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
