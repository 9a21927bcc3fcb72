"""Choosing who starts workers, before anything is computed."""

from dpbench.errors import UserError
from dpbench.grid.device import require_device, require_known_device
from dpbench.grid.executors import Executor, parse_executor


def chosen_executor(text: str, *, workers: int | None, device: str) -> Executor:
    """Returns the executor that --executor names, when it can start workers as asked.

    Raises:
        UserError: It cannot, or the other options do not go with it.
    """
    executor = parse_executor(text)
    executor.require()
    if executor.here:
        require_device(device)
        return executor
    # A machine that only submits need not have the device.
    require_known_device(device)
    if workers is None:
        raise UserError(
            f"-j is missing: how many workers shall --executor {executor.name} start?",
            next_step="-j 16, say: as many as may work at once",
        )
    return executor
