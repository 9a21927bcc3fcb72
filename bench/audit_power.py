"""How often the white-box audit catches a broken DP-SGD, and a right one by mistake.

    python -m bench.audit_power                                 # dense: about 15 minutes
    python -m bench.audit_power --engine autograd --repetitions 20 --models 400

Every repetition has a seed of its own: coins, batches and noise are new. Prints one Markdown row
per variant, as it finishes; the tables of docs/white-box-audit.md are its output.
"""

import argparse
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from dpbench import privacy
from dpbench.defenses.base import Defense
from dpbench.defenses.dp_sgd import DpSgd
from dpbench.testing.broken_dp_sgd import (
    BrokenDpSgd,
    clip_each_layer,
    divide_by_members,
    skip_clipping,
    train_plainly,
)
from dpbench.testing.gradient_canary import MechanismAudit, Trainer, audit_mechanism
from dpbench.training.fit import fit

# A break that doubles the leak shows with few models; the right mechanism, and a leak that is half
# as large again, need many.
LOUD, QUIET = 250, 1000


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One training to audit, and with how many models."""

    name: str
    defense: Defense
    train: Trainer = fit
    models: int = QUIET


def mechanisms(epsilon: float) -> dict[str, DpSgd]:
    """Those of `dpbench doctor --audit`: 2 full-batch steps, and 4 on samples of rate 1/2."""
    return {
        "full batch": DpSgd(epsilon=epsilon, epochs=2.0),
        "subsampled": DpSgd(epsilon=epsilon, epochs=2.0, batch_size=4),
    }


def variants(claims: DpSgd) -> list[Variant]:
    """The right training, and those broken on purpose."""
    broken = partial(BrokenDpSgd, claims=claims)
    listed = [
        Variant(name="correct", defense=claims),
        Variant(name="correct, plain loop", defense=claims, train=train_plainly),
        Variant(name="no noise", defense=broken(noise=0.0), models=LOUD),
        Variant(name="half the noise", defense=broken(noise=0.5), models=LOUD),
        Variant(name="clipping norm x 1000", defense=broken(clipping=1000.0), models=LOUD),
        Variant(name="clipping skipped", defense=claims, train=skip_clipping, models=LOUD),
        Variant(name="layers clipped apart", defense=claims, train=clip_each_layer),
        Variant(name="twice the rate", defense=broken(rate=2), models=LOUD),
        Variant(name="twice the steps", defense=broken(steps=2)),
        Variant(name="divided by members", defense=claims, train=divide_by_members, models=LOUD),
    ]
    full = claims.batch_size is None
    return [variant for variant in listed if not (full and variant.name == "twice the rate")]


def row(name: str, audits: list[MechanismAudit]) -> str:
    """Returns a Markdown row: how many were caught, and how tight the bounds are."""
    caught, trials = sum(audit.violated for audit in audits), len(audits)
    low = 1 - float(privacy.clopper_pearson_upper(trials - caught, trials))
    high = float(privacy.clopper_pearson_upper(caught, trials))
    # Epsilon rises with the advantage, and costs a search: only the audits shown are converted.
    ranked = sorted(audits, key=lambda audit: audit.strongest.advantage_lower)
    places = [round(share * (trials - 1)) for share in (0.0, 0.1, 0.5, 1.0)]
    least, tenth, median, most = (ranked[place].epsilon_lower for place in places)
    one = audits[0]
    cost = f"{one.models} x {one.steps} | {np.median([audit.seconds for audit in audits]):.1f}"
    return (
        f"| {name} | {one.epsilon:.2f} | {cost} | {caught} of {trials} | {low:.1%} to {high:.1%} | "
        f"{least:.2f} | {tenth:.2f} | {median:.2f} | {most:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=("dense", "autograd"), default="dense")
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--models", type=int, help="left out, 250 or 1000 by variant")
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--mechanism", choices=("full batch", "subsampled"), action="append")
    parser.add_argument("--variants", nargs="*", help="names to keep; left out, all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| variant | claimed epsilon | models x steps | seconds | flagged | 95 % interval | "
        "epsilon_lower: least | 10 % | median | most |\n" + "|---" * 10 + "|"
    )
    started = time.perf_counter()
    for kind, claims in mechanisms(options.epsilon).items():
        if options.mechanism and kind not in options.mechanism:
            continue
        for variant in variants(claims):
            if options.variants and variant.name not in options.variants:
                continue
            audits = [
                audit_mechanism(
                    variant.defense,
                    models=options.models or variant.models,
                    engine=options.engine,
                    seed=seed,
                    train=variant.train,
                )
                for seed in range(options.repetitions)
            ]
            print(row(f"{kind}, {variant.name}", audits), flush=True)
    print(f"\n{options.engine}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
