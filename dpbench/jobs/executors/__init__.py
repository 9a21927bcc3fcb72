"""Executors start workers and watch them. A worker does the same under each of them."""

from dpbench.jobs.executors.base import Executor, Patience, Report, Workers, supervise
from dpbench.jobs.executors.dask import Dask
from dpbench.jobs.executors.local import Local
from dpbench.jobs.executors.slurm import Slurm

__all__ = ["Dask", "Executor", "Local", "Patience", "Report", "Slurm", "Workers", "supervise"]
