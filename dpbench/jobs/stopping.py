"""Handles signals to stop, from a person or from a batch system that is about to kill."""

import signal
from types import FrameType
from typing import NoReturn

_TOLD = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def stop_when_told() -> None:
    """Makes the first signal to stop interrupt this process as Ctrl-C does.

    Later signals are ignored: a batch system sends several, and the parent process may send one
    more. They must not interrupt the cleanup.
    """
    for number in _TOLD:
        signal.signal(number, _interrupt)


def ignore_from_now_on() -> None:
    """Ignores further signals, so that the cleanup can finish."""
    for number in _TOLD:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    ignore_from_now_on()
    raise KeyboardInterrupt
