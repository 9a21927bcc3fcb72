"""Being told to stop, by a person or by a batch system that is about to kill."""

import signal
from types import FrameType
from typing import NoReturn

_TOLD = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def stop_when_told() -> None:
    """From here on, the first signal to stop interrupts this process as Ctrl-C does.

    A batch system sends several, and whoever started the process may send one more: those that
    come while the first is being obeyed must not interrupt that.
    """
    for number in _TOLD:
        signal.signal(number, _interrupt)


def ignore_from_now_on() -> None:
    """Lets this process finish what it does to stop."""
    for number in _TOLD:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    ignore_from_now_on()
    raise KeyboardInterrupt
