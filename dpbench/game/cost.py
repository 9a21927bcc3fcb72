"""Nominal costs: work divided by the rate of one reference core (docs/decisions/0002)."""

REFERENCE_FLOPS = 80e9
"""Float operations per second of the reference core (docs/speed.md)."""

SECONDS_PER_SCORE = 0.25e-6
SECONDS_PER_EVALUATION = 0.68e-6
"""Nominal seconds per (model, example) pair: the means over the default grid (docs/speed.md)."""
