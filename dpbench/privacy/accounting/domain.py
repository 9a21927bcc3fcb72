"""The domain of all accountants.

| quantity | domain |
|---|---|
| noise multiplier (sigma) | 0, which is no privacy, or 1e-3 to 1e6 |
| sampling rate (q) | 0, which is no access, or 1e-8 to 1 |
| steps (T), all mechanisms together | 1 to 1e8 |
| delta | 0 to 1; at 0 epsilon is that of pure privacy |
| epsilon | 0 or more, or inf |

Full-batch Gaussian mechanisms have closed forms and need no limits but their signs. Everything else
is refused outside: losses of less than 1e-14 or more than 1e8 are lost in double precision.
"""

import math
from typing import TYPE_CHECKING

from dpbench.errors import UserError
from dpbench.privacy.accounting.discretisation import components

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent

NOISE = (1e-3, 1e6)
RATES = (1e-8, 1.0)
STEPS = 10**8


def require_domain(event: "DpEvent") -> None:
    """Refuses events whose noise, sampling rate or number of steps cannot be accounted for.

    Raises:
        UserError: A number is outside its domain.
    """
    import dp_accounting

    steps = 0
    for count, step in components(event):
        steps += count
        if isinstance(step, dp_accounting.PoissonSampledDpEvent):
            _require("sampling rate", float(step.sampling_probability), RATES, "use another rate")
            step = step.event
        if isinstance(step, dp_accounting.GaussianDpEvent | dp_accounting.LaplaceDpEvent):
            _require("noise multiplier", float(step.noise_multiplier), NOISE, "use other noise")
    if not steps <= STEPS:
        raise UserError(
            f"steps: {steps} are too many to account for", allowed=f"1 to {STEPS:.0e} in all"
        )


def _require(name: str, value: float, bounds: tuple[float, float], next_step: str) -> None:
    low, high = bounds
    # Written so that NaN, which compares with nothing, is refused too.
    if value == 0 or low <= value <= high:
        return
    much = "more noise: this is no privacy" if math.isfinite(value) and 0 < value < low else ""
    raise UserError(
        f"{name}: {value:g} cannot be accounted for",
        allowed=f"0, or {low:g} to {high:g}",
        next_step=much if name == "noise multiplier" and much else next_step,
    )
