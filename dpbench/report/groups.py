"""Five kinds of defenses: what tells a menu of many families apart, where colours no longer do."""

from collections.abc import Iterable, Mapping

GROUPS: Mapping[str, tuple[str, ...]] = {
    "noise for a guarantee": (
        *("dp_sgd", "output_perturbation", "objective_perturbation", "pate", "label_dp"),
    ),
    "masked outputs": (
        *("label_only", "top_k", "rounding", "temperature", "noise", "memguard", "purification"),
        "hamp_output",
    ),
    "distillation": ("selena", "distillation", "dmp"),
    "training against attacks": (
        *("adversarial_regularisation", "relaxloss", "hamp", "ccl", "mixup_mmd"),
    ),
    "regularisation": (
        *("l1", "l2", "dropout", "augmentation", "label_smoothing", "confidence_penalty", "mixup"),
        *("early_stopping", "short_training", "recipe", "transfer", "scattering"),
    ),
}
"""Families by what they do. Of a composition the first kind in this order counts: noise for a
guarantee protects whatever else is done, and a mask is what an attacker meets first."""

OTHERS = "other"
"""The kind of a family that is not ours."""

MANY = 12
"""Families beyond which figures show kinds instead."""


def group_of(family: str) -> str:
    """Returns the kind of a family, such as `l2+label_only`; of no defense itself, its name."""
    if family == "none":
        return family
    stages = set(family.split("+"))
    return next((group for group, names in GROUPS.items() if stages & {*names}), OTHERS)


def grouped(families: Iterable[str]) -> bool:
    """Returns whether a run has so many families that figures show kinds of them."""
    return len(set(families) - {"none"}) > MANY
