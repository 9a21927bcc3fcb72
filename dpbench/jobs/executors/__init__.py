"""Executors: who starts workers and watches them. What a worker does is the same under all."""

from dpbench.jobs.executors.base import Executor, Patience, Report, Workers, supervise
from dpbench.jobs.executors.dask import Dask
from dpbench.jobs.executors.local import Local
from dpbench.jobs.executors.slurm import Slurm

__all__ = ["Dask", "Executor", "Local", "Patience", "Report", "Slurm", "Workers", "supervise"]
