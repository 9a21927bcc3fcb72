"""Membership-inference attacks, one file each. They see the world only through an oracle."""

from dpbench.attacks.base import Access as Access
from dpbench.attacks.base import AccessError as AccessError
from dpbench.attacks.base import Attack as Attack
from dpbench.attacks.base import NotApplicable as NotApplicable
from dpbench.attacks.base import Oracle as Oracle
from dpbench.attacks.base import View as View
from dpbench.attacks.base import WhiteBox as WhiteBox
from dpbench.attacks.gap import Gap as Gap
from dpbench.attacks.gradient_norm import GradientNorm as GradientNorm
from dpbench.attacks.lira import Lira as Lira
from dpbench.attacks.malt import Malt as Malt
from dpbench.attacks.mast import Mast as Mast
from dpbench.attacks.matt import Matt as Matt
from dpbench.attacks.noise_robustness import NoiseRobustness as NoiseRobustness

__all__ = [
    "Access",
    "AccessError",
    "Attack",
    "Gap",
    "GradientNorm",
    "Lira",
    "Malt",
    "Mast",
    "Matt",
    "NoiseRobustness",
    "NotApplicable",
    "Oracle",
    "View",
    "WhiteBox",
]
