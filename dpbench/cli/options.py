"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

GridArgument = Annotated[str, typer.Argument(help="A grid file, or the name of a shipped grid.")]
FolderArgument = Annotated[Path, typer.Argument(help="The folder of a run.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Results folder.")]
JobsOption = Annotated[
    int | None, typer.Option("-j", "--jobs", min=1, help="Workers; one per core of this machine.")
]
PluginOption = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A Python file with your own components.")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="DPBENCH_DATA", help="Folder of downloaded data sets."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
ProgressOption = Annotated[
    Literal["text", "json"],
    typer.Option("--progress", help="text, or json: a line on stderr about every second."),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--job-timeout", min=1, help="Seconds after which a job is stopped and fails."),
]
MemoryOption = Annotated[
    float | None,
    typer.Option(
        "--memory-limit", min=0.1, help="Gigabytes above which a job is stopped and fails."
    ),
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        help="Who starts workers: local, slurm or dask; options as 'slurm: {partition: gpu}'.",
    ),
]
RetryOption = Annotated[
    bool, typer.Option("--retry-failed", help="Forget failures, and run these jobs again.")
]
