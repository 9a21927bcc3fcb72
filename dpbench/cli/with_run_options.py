"""The options of every command that runs a grid, written down once."""

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from dpbench.cli.options import (
    DeviceOption,
    ExecutorOption,
    JobsOption,
    MemoryOption,
    ProgressOption,
    RetryOption,
    TimeoutOption,
)

_OPTIONS: dict[str, tuple[Any, object]] = {
    "workers": (JobsOption, None),
    "device": (DeviceOption, "cpu"),
    "executor": (ExecutorOption, "local"),
    "job_timeout": (TimeoutOption, None),
    "memory_limit": (MemoryOption, None),
    "retry_failed": (RetryOption, False),
    "progress": (ProgressOption, "text"),
}


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `RunOptions`, and passes them as one argument, `options`."""

    @functools.wraps(command)
    def called(**given: Any) -> None:
        from dpbench.cli.run_options import run_options

        options = run_options(**{name: given.pop(name) for name in _OPTIONS})
        command(**given, options=options)

    own = inspect.signature(command).parameters
    parameters = [
        *(parameter for name, parameter in own.items() if name != "options"),
        *(
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for name, (kind, default) in _OPTIONS.items()
        ),
    ]
    # Typer reads both.
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called
