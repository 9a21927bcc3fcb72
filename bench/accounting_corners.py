"""Times the accountant where it is slowest: tiny noise, many steps, mixed mechanisms.

    python -m bench.accounting_corners

Prints one line per event: the processor seconds for epsilon, advantage and trade-off curve
together, nothing cached, and what they are. Takes about a minute.
"""

import os
import tempfile
import time

import dp_accounting

from dpbench import privacy
from dpbench.errors import UserError

DELTA = 1e-5
FPR = 1e-3

# Noise multiplier, sampling rate, steps.
DP_SGD = (
    (1.0, 0.01, 1000),
    (1.0, 0.001, 100_000),
    (4.0, 0.5, 100),
    (0.5, 0.05, 200),
    (0.3, 0.001, 1000),
    (0.3, 0.001, 100_000),
    (0.1, 0.5, 10),
    (0.1, 1e-4, 10_000),
    (0.05, 0.01, 100_000),
    (0.05, 0.5, 100_000),
    (0.003, 0.01, 1000),
    (0.003, 0.9, 100_000),
    (0.001, 0.1, 1),
    (100.0, 0.5, 100_000),
    (1000.0, 0.01, 10),
    (1.0, 1e-6, 1_000_000),
)


def dp_sgd(sigma, rate, steps):
    return privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps).event()


MIXED = {
    "sigma .01 q .01 T 500 + sigma .02 q .1 T 50": dp_accounting.ComposedDpEvent(
        [dp_sgd(0.01, 0.01, 500), dp_sgd(0.02, 0.1, 50)]
    ),
    "sigma .01 q .01 T 10 + sigma 5 q .01 T 10000": dp_accounting.ComposedDpEvent(
        [dp_sgd(0.01, 0.01, 10), dp_sgd(5.0, 0.01, 10_000)]
    ),
    "sigma .05 full batch + sigma 1 q .01 T 1000": dp_accounting.ComposedDpEvent(
        [dp_accounting.GaussianDpEvent(0.05), dp_sgd(1.0, 0.01, 1000)]
    ),
    "Laplace 1": dp_accounting.LaplaceDpEvent(1.0),
    "Laplace .01 T 100": dp_accounting.SelfComposedDpEvent(dp_accounting.LaplaceDpEvent(0.01), 100),
    "Laplace .1 q .01 T 10000": dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.LaplaceDpEvent(0.1)), 10_000
    ),
}


def main() -> None:
    events = {f"sigma {s:g} q {q:g} T {t}": dp_sgd(s, q, t) for s, q, t in DP_SGD} | MIXED
    print(f"{'event':46} {'seconds':>8} {'epsilon':>12} {'advantage':>10} {'TPR':>9}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DPBENCH_CACHE"] = folder
        for name, event in events.items():
            start = time.process_time()
            try:
                epsilon = privacy.epsilon(event, DELTA)
            except UserError as refusal:
                print(f"{name:46} {time.process_time() - start:8.2f} {refusal}".splitlines()[0])
                continue
            advantage = privacy.advantage(event)
            tpr = float(privacy.trade_off(event, FPR))
            seconds = time.process_time() - start
            print(f"{name:46} {seconds:8.2f} {epsilon:12.6g} {advantage:10.6f} {tpr:9.6f}")


if __name__ == "__main__":
    main()
