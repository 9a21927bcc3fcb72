"""`dpbench worker`: a machine that shares a run's folder works on the run."""

from typing import Annotated

import typer
from rich.console import Console

from dpbench.cli.options import (
    DataOption,
    DeviceOption,
    FolderArgument,
    MemoryOption,
    PluginOption,
    ProgressOption,
    TimeoutOption,
)


def worker(
    folder: FolderArgument,
    workers: Annotated[
        int, typer.Option("-j", "--jobs", min=1, help="Processes of this machine.")
    ] = 1,
    device: DeviceOption = "cpu",
    plugin: PluginOption = None,
    data_dir: DataOption = None,
    job_timeout: TimeoutOption = None,
    memory_limit: MemoryOption = None,
    progress: ProgressOption = "text",
) -> None:
    """Work on the run in a folder, beside any other machine that does, until nothing is left."""
    import torch

    from dpbench.cli.execute import followed
    from dpbench.jobs.executors import Local
    from dpbench.jobs.worker_config import Limits
    from dpbench.study import execution
    from dpbench.study.device import require_device
    from dpbench.study.folder import open_run
    from dpbench.study.plan import make_plan

    torch.set_num_threads(1)
    require_device(device)
    plugins = tuple(path.resolve() for path in plugin or ())
    context = open_run(folder, device=device, data_dir=data_dir, plugins=plugins)
    plan = make_plan(context)
    context.store.create()
    err = Console(stderr=True)
    err.print(f"{context.grid.name}: {len(plan.jobs)} jobs in {folder}", markup=False)
    limits = Limits(seconds=job_timeout, memory_gb=memory_limit)
    config = execution.worker_config(
        context, folder, workers=workers, limits=limits, plugins=plugins
    )
    with followed(context, folder, err, form=progress) as report:
        states = execution.work(context, plan, config, executor=Local(), report=report)
    failures = [failure for key in states.failed if (failure := context.store.failure(key))]
    failed = sum(failure.kind == "failed" for failure in failures)
    err.print(
        f"nothing is left to do, {failed} jobs failed; the tables: dpbench collect {folder}",
        markup=False,
        soft_wrap=True,
    )
    if failed:
        raise typer.Exit(1)
