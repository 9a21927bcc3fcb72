"""Two accountants beside the privacy-loss distribution (`PrivacyLoss`), which is the source.

The Renyi accountant (RDP) is what older papers used. Opacus' accountant of privacy random variables
(PRV) is independent code for the same quantity: a cross-check.
"""

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from dpbench.errors import UserError
from dpbench.privacy.accounting.cache import recall
from dpbench.privacy.accounting.discretisation import components
from dpbench.privacy.accounting.domain import require_domain
from dpbench.privacy.accounting.pure import pure_epsilon
from dpbench.privacy.accounting.ranges import in_range
from dpbench.privacy.accounting.renyi import renyi_epsilon
from dpbench.privacy.accounting.tail import rounding

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent

# Opacus exponentiates losses, and its quadrature over them takes a second per million.
_MAX_PRV_LOSS = 700.0
_MAX_PRV_POINTS = 4_000_000


def epsilon_rdp(event: "DpEvent", delta: float) -> float:
    """Returns the epsilon of the Renyi accountant, to compare with papers that used it.

    Mironov 2017, by dp_accounting with its default orders. It is an upper bound like `epsilon`, but
    looser: by about 10 % where DP-SGD is usually run, many times with little noise.

    Raises:
        UserError: dp_accounting knows no Renyi divergence of the event.
    """
    _require_query(event, delta)
    if delta == 0:
        return pure_epsilon(event)

    def compute() -> float:
        found = renyi_epsilon(event, delta)
        if found is None:
            raise UserError(f"no Renyi divergence is known for {event}")
        return found

    return float(recall({"quantity": "epsilon_rdp", "event": repr(event), "delta": delta}, compute))


def epsilon_prv(event: "DpEvent", delta: float, *, error: float = 0.01) -> float:
    """Returns the epsilon of Opacus' accountant, to check `epsilon` against independent code.

    Gopi et al. 2021. It bounds the remove direction, which is the larger one for DP-SGD, from above
    by at most `error` and the effect of delta / 1000. Imports torch.

    Args:
        event: Gaussian mechanisms, Poisson samples and compositions of them.
        delta: Of the guarantee.
        error: Width of the numeric bound, added to the estimate.

    Raises:
        UserError: The event is of another kind, or the accountant does not converge: losses beyond
            700, a grid too fine for the memory, a delta that its rounding hides, or a failure of
            Opacus, which is quoted.
    """
    _require_query(event, delta)
    history = _prv_history(event)
    if history is None:
        return math.inf
    if not history or delta == 1:
        return 0.0
    if delta == 0:
        return math.inf
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
    steps = sum(count for _, _, count in history)
    lost = rounding(steps, _MAX_PRV_POINTS)
    if lost > delta / 1000:
        # The accountant's own guarantee grants delta an error of delta / 1000.
        reason = f"rounding may move delta by {lost:.1g}, and its guarantee allows delta / 1000"
    else:
        found = _converged(history, delta, error)
        if isinstance(found, float):
            # A negative epsilon means that delta exceeds what (0, delta)-DP needs.
            return max(0.0, found)
        reason = found
    raise UserError(f"Opacus' PRV accountant has no epsilon at delta={delta:g}: {reason}")


def _converged(history: list[tuple[float, float, int]], delta: float, error: float) -> float | str:
    """Returns Opacus' epsilon, or the reason why there is none."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant, RDPAccountant

        opacus, renyi = PRVAccountant(), RDPAccountant()
        opacus.history, renyi.history = history, history
        # Opacus' domain is as wide as the Renyi epsilon at a quarter of the error in delta.
        reach = renyi.get_epsilon(delta / 4000) + 3
        steps = sum(count for _, _, count in history)
        points = 2 * reach * math.sqrt(steps * math.log(12_000 / delta) / 2) / error
        if not reach <= _MAX_PRV_LOSS:
            return f"privacy losses reach {reach:.3g}, more than {_MAX_PRV_LOSS:g}"
        if points > _MAX_PRV_POINTS:
            return f"it needs {points:.1g} points; error={error:g} is too small"
        try:
            found = float(opacus.get_epsilon(delta, eps_error=error))
        except (RuntimeError, ValueError) as failure:
            return str(failure) or type(failure).__name__
        return found if math.isfinite(found) else "its rounding errors dominate"


def _require_query(event: "DpEvent", delta: float) -> None:
    in_range("delta", delta)
    require_domain(event)
