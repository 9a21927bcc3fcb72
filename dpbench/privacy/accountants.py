"""Three accountants: the privacy-loss distribution, which is the source, and two shown beside it.

dp_accounting's privacy-loss distributions (PLD) are discretised pessimistically: every epsilon,
delta and curve that comes from them is an upper bound, within about 1e-3 of the exact one unless
the noise is tiny. The Renyi accountant (RDP) is what older papers used. Opacus' accountant of
privacy random variables (PRV) is independent code for the same quantity: a cross-check.
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dpbench.errors import UserError
from dpbench.privacy.adjacency import Adjacency
from dpbench.privacy.cache import recall
from dpbench.privacy.discretisation import components, loss_interval

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent

# dp_accounting takes e^interval. With the points that it can afford, losses reach 10^8.
_MAX_INTERVAL = 500.0
# Opacus exponentiates losses, and its quadrature over them takes a second per million.
_MAX_PRV_LOSS = 700.0
_MAX_PRV_POINTS = 4_000_000

# An event is asked for its epsilon, advantage and profile in a row; composing it is what costs.
_latest: dict[tuple[str, Adjacency], Any] = {}


def accountant(event: "DpEvent", adjacency: Adjacency = "add_remove") -> Any:
    """Returns dp_accounting's `PLDAccountant` that has composed the event.

    Gaussian and Laplace mechanisms and their Poisson samples take less than 10 seconds of one core
    each, whatever their noise and however often they are repeated; `bench/accounting_corners.py`
    measures 2. Laplace noise of less than 1/700 counts as none. For other events the time is
    dp_accounting's.

    Raises:
        UserError: dp_accounting knows no loss distribution of the event under this relation, or
            the noise is so little that losses reach 10^8.
    """
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    name = (repr(event), adjacency)
    composed = _latest.get(name)
    if composed is None:
        interval = loss_interval(event, adjacency)
        if interval > _MAX_INTERVAL:
            raise UserError(
                f"the privacy losses of {event} are too large to account for",
                next_step="use more noise: this is no privacy",
            )
        replaced = adjacency == "replace_one"
        empty = PLDAccountant(
            NeighboringRelation.REPLACE_ONE if replaced else NeighboringRelation.ADD_OR_REMOVE_ONE,
            value_discretization_interval=interval,
        )
        if not empty.supports(event):
            raise UserError(
                f"no privacy-loss distribution is known for {event} under {adjacency}",
                next_step="take add_remove and Guarantee.replace_one" if replaced else "",
            )
        composed = empty.compose(event)
        _latest.clear()
        _latest[name] = composed
    return composed


def is_replaceable(event: "DpEvent") -> bool:
    """Returns whether dp_accounting knows the event's loss under replace-one."""
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    return bool(PLDAccountant(NeighboringRelation.REPLACE_ONE).supports(event))


def hockey_stick(composed: Any, epsilon: float) -> float:
    """Returns the delta of a composed `PLDAccountant` at epsilon, in [0, 1]."""
    return float(min(1.0, max(0.0, composed.get_delta(epsilon))))


def epsilon_rdp(event: "DpEvent", delta: float) -> float:
    """Returns the epsilon of the Renyi accountant, to compare with papers that used it.

    Mironov 2017, by dp_accounting with its default orders. An upper bound like `epsilon`, and a
    looser one: about 10 % where DP-SGD is usually run, many times with little noise.

    Raises:
        UserError: dp_accounting knows no Renyi divergence of the event.
    """
    from dp_accounting.rdp import RdpAccountant

    def compute() -> float:
        with _quiet():
            empty = RdpAccountant()
            if not empty.supports(event):
                raise UserError(f"no Renyi divergence is known for {event}")
            return float(empty.compose(event).get_epsilon(delta))

    return float(recall({"quantity": "epsilon_rdp", "event": repr(event), "delta": delta}, compute))


def epsilon_prv(event: "DpEvent", delta: float, *, error: float = 0.01) -> float:
    """Returns the epsilon of Opacus' accountant, to check `epsilon` against independent code.

    Gopi et al. 2021. It bounds the remove direction, which is the larger one for DP-SGD, from above
    by at most `error` and what delta / 1000 makes of it. Imports torch.

    Args:
        event: Gaussian mechanisms, Poisson samples and compositions of them.
        delta: Of the guarantee.
        error: Width of the numeric bound, added to the estimate.

    Raises:
        UserError: The event is of another kind, or the accountant does not converge: losses beyond
            700, a grid too fine for the memory, or a failure of Opacus, which is quoted.
    """
    history = _prv_history(event)
    if history is None:
        return math.inf
    if not history:
        return 0.0
    query = {"quantity": "epsilon_prv", "history": history, "delta": delta, "error": error}
    return float(recall(query, lambda: _opacus_epsilon(history, delta, error)))


def _prv_history(event: "DpEvent") -> list[tuple[float, float, int]] | None:
    """Returns (sigma, q, steps) of each mechanism in the event, or None if one has no noise."""
    import dp_accounting

    history = []
    for count, step in components(event):
        rate = 1.0
        if isinstance(step, dp_accounting.NoOpDpEvent):
            continue
        if isinstance(step, dp_accounting.PoissonSampledDpEvent):
            rate, step = step.sampling_probability, step.event
        if isinstance(step, dp_accounting.NonPrivateDpEvent):
            return None
        if not isinstance(step, dp_accounting.GaussianDpEvent):
            raise UserError(
                f"Opacus' PRV accountant does not know {step}",
                allowed="Gaussian mechanisms, Poisson samples and compositions of them",
            )
        if step.noise_multiplier == 0:
            return None
        if rate > 0:
            history.append((float(step.noise_multiplier), float(rate), int(count)))
    return history


def _opacus_epsilon(history: list[tuple[float, float, int]], delta: float, error: float) -> float:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant, RDPAccountant

        opacus, renyi = PRVAccountant(), RDPAccountant()
        opacus.history, renyi.history = history, history
        # Opacus' domain is as wide as the Renyi epsilon at a quarter of the error in delta.
        reach = renyi.get_epsilon(delta / 4000) + 3
        steps = sum(count for _, _, count in history)
        mesh = error / math.sqrt(steps * math.log(12_000 / delta) / 2)
        if not reach <= _MAX_PRV_LOSS:
            reason = f"privacy losses reach {reach:.3g}, more than {_MAX_PRV_LOSS:g}"
        elif 2 * reach / mesh > _MAX_PRV_POINTS:
            reason = f"it needs {2 * reach / mesh:.1g} points; error={error:g} is too small"
        else:
            try:
                found = float(opacus.get_epsilon(delta, eps_error=error))
                reason = "its rounding errors dominate"
                if math.isfinite(found):
                    return found
            except (RuntimeError, ValueError) as failure:
                reason = str(failure) or type(failure).__name__
    raise UserError(f"Opacus' PRV accountant has no epsilon at delta={delta:g}: {reason}")


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
