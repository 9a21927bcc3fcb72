"""Reading the executor that a user names: `slurm`, or `slurm: {partition: gpu}`."""

from collections.abc import Mapping

from dpbench.errors import UserError, suggest
from dpbench.jobs.executors import Dask, Executor, Local, Slurm
from dpbench.study.document import named_entry, parse_text

_EXECUTORS: dict[str, type[Executor]] = {cls.name: cls for cls in (Local, Slurm, Dask)}


def parse_executor(text: str) -> Executor:
    """Returns what `slurm` or `slurm: {partition: gpu}` asks for.

    Raises:
        UserError: There is no such executor, or an option of it is wrong.
    """
    name, options = named_entry(
        parse_text(text, where="--executor"),
        refused=f"--executor {text!r} is not valid",
        allowed="a name, or one name with its options: 'slurm: {partition: gpu}'",
    )
    if name not in _EXECUTORS:
        raise UserError(
            f"--executor {name!r} is not known",
            allowed=", ".join(_EXECUTORS),
            next_step=suggest(str(name), _EXECUTORS),
        )
    if not isinstance(options or {}, Mapping):
        raise UserError(
            f"--executor {name}: {options!r} is not valid", allowed="options: {name: value}"
        )
    return _EXECUTORS[name].parse(options or {}, where=f"--executor {name}")
