"""Membership-inference attacks, one file each. They see the world only through an oracle."""

from dpbench.attacks.attack_d import AttackD as AttackD
from dpbench.attacks.attack_p import AttackP as AttackP
from dpbench.attacks.attack_r import AttackR as AttackR
from dpbench.attacks.attack_s import AttackS as AttackS
from dpbench.attacks.augmentation import Augmentation as Augmentation
from dpbench.attacks.augmentation_regression import AugmentationRegression as AugmentationRegression
from dpbench.attacks.base import Access as Access
from dpbench.attacks.base import AccessError as AccessError
from dpbench.attacks.base import Attack as Attack
from dpbench.attacks.base import NotApplicable as NotApplicable
from dpbench.attacks.base import Oracle as Oracle
from dpbench.attacks.base import View as View
from dpbench.attacks.base import WhiteBox as WhiteBox
from dpbench.attacks.base_attack import Base as Base
from dpbench.attacks.bavaria import Bavaria as Bavaria
from dpbench.attacks.bayes_wb import BayesWb as BayesWb
from dpbench.attacks.boundary_distance import BoundaryDistance as BoundaryDistance
from dpbench.attacks.boundary_lira import BoundaryLira as BoundaryLira
from dpbench.attacks.combined import Combined as Combined
from dpbench.attacks.entropy import Entropy as Entropy
from dpbench.attacks.gap import Gap as Gap
from dpbench.attacks.gradient_norm import GradientNorm as GradientNorm
from dpbench.attacks.inverse_hessian import InverseHessian as InverseHessian
from dpbench.attacks.jia import Jia as Jia
from dpbench.attacks.label_lira import LabelLira as LabelLira
from dpbench.attacks.lira import Lira as Lira
from dpbench.attacks.lira_official import LiraOfficial as LiraOfficial
from dpbench.attacks.long import Long as Long
from dpbench.attacks.malt import Malt as Malt
from dpbench.attacks.mast import Mast as Mast
from dpbench.attacks.matt import Matt as Matt
from dpbench.attacks.max_confidence import MaxConfidence as MaxConfidence
from dpbench.attacks.merlin import Merlin as Merlin
from dpbench.attacks.modified_entropy import ModifiedEntropy as ModifiedEntropy
from dpbench.attacks.morgan import Morgan as Morgan
from dpbench.attacks.nasr import Nasr as Nasr
from dpbench.attacks.noise_lira import NoiseLira as NoiseLira
from dpbench.attacks.noise_robustness import NoiseRobustness as NoiseRobustness
from dpbench.attacks.outlier import Outlier as Outlier
from dpbench.attacks.privacy_risk_score import PrivacyRiskScore as PrivacyRiskScore
from dpbench.attacks.quantile_regression import QuantileRegression as QuantileRegression
from dpbench.attacks.rmia import Rmia as Rmia
from dpbench.attacks.salem import Salem as Salem
from dpbench.attacks.shokri import Shokri as Shokri
from dpbench.attacks.watson import Watson as Watson
from dpbench.attacks.yeom_bounded_loss import YeomBoundedLoss as YeomBoundedLoss
from dpbench.attacks.yeom_gaussian import YeomGaussian as YeomGaussian

__all__ = [
    "Access",
    "AccessError",
    "Attack",
    "AttackD",
    "AttackP",
    "AttackR",
    "AttackS",
    "Augmentation",
    "AugmentationRegression",
    "Base",
    "Bavaria",
    "BayesWb",
    "BoundaryDistance",
    "BoundaryLira",
    "Combined",
    "Entropy",
    "Gap",
    "GradientNorm",
    "InverseHessian",
    "LabelLira",
    "Lira",
    "LiraOfficial",
    "Long",
    "Malt",
    "Mast",
    "Matt",
    "MaxConfidence",
    "Merlin",
    "ModifiedEntropy",
    "Morgan",
    "Nasr",
    "NoiseLira",
    "NoiseRobustness",
    "NotApplicable",
    "Oracle",
    "Outlier",
    "PrivacyRiskScore",
    "QuantileRegression",
    "Rmia",
    "Salem",
    "Shokri",
    "View",
    "Watson",
    "WhiteBox",
    "YeomBoundedLoss",
    "YeomGaussian",
]
