"""The Renyi accountant, which older papers used."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent


def renyi_epsilon(event: "DpEvent", delta: float) -> float | None:
    """Returns the epsilon of dp_accounting's Renyi accountant; None for events unknown to it.

    Mironov 2017, with its default orders: an upper bound at every delta above 0.
    """
    from dp_accounting.rdp import RdpAccountant

    with _quiet():
        empty = RdpAccountant()
        return float(empty.compose(event).get_epsilon(delta)) if empty.supports(event) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences dp_accounting's reports on Renyi orders that it leaves out."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
