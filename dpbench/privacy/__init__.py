"""Accounting, bounds on attacks, and audits of mechanisms."""

from dpbench.privacy.accounting.accountants import epsilon_prv as epsilon_prv
from dpbench.privacy.accounting.accountants import epsilon_rdp as epsilon_rdp
from dpbench.privacy.accounting.adjacency import Adjacency as Adjacency
from dpbench.privacy.accounting.adjacency import Direction as Direction
from dpbench.privacy.accounting.adjacency import replace_one_mu as replace_one_mu
from dpbench.privacy.accounting.approximate import ApproximateDp as ApproximateDp
from dpbench.privacy.accounting.calibration import calibrate as calibrate
from dpbench.privacy.accounting.calibration import calibrate_advantage as calibrate_advantage
from dpbench.privacy.accounting.calibration import calibrate_tpr as calibrate_tpr
from dpbench.privacy.accounting.gaussian import delta_gaussian as delta_gaussian
from dpbench.privacy.accounting.gaussian import epsilon_gaussian as epsilon_gaussian
from dpbench.privacy.accounting.gaussian import mu_gaussian as mu_gaussian
from dpbench.privacy.accounting.mechanism import SampledGaussian as SampledGaussian
from dpbench.privacy.accounting.mechanism import advantage as advantage
from dpbench.privacy.accounting.mechanism import delta as delta
from dpbench.privacy.accounting.mechanism import epsilon as epsilon
from dpbench.privacy.accounting.mechanism import gaussian_mu as gaussian_mu
from dpbench.privacy.accounting.mechanism import trade_off as trade_off
from dpbench.privacy.audits.audit import clopper_pearson_upper as clopper_pearson_upper
from dpbench.privacy.audits.audit import epsilon_from_rates as epsilon_from_rates
from dpbench.privacy.audits.audit import epsilon_one_run as epsilon_one_run
from dpbench.privacy.audits.audit import mu_from_rates as mu_from_rates
from dpbench.privacy.audits.audit import one_run_p_value as one_run_p_value
from dpbench.privacy.audits.mechanism_audit import (
    epsilon_of_sampled_gaussian as epsilon_of_sampled_gaussian,
)
from dpbench.privacy.bounds.bounds import accuracy_epsilon as accuracy_epsilon
from dpbench.privacy.bounds.bounds import accuracy_gaussian as accuracy_gaussian
from dpbench.privacy.bounds.bounds import accuracy_half_exp as accuracy_half_exp
from dpbench.privacy.bounds.bounds import accuracy_prior as accuracy_prior
from dpbench.privacy.bounds.bounds import advantage_at_fpr as advantage_at_fpr
from dpbench.privacy.bounds.bounds import advantage_epsilon as advantage_epsilon
from dpbench.privacy.bounds.bounds import advantage_erlingsson as advantage_erlingsson
from dpbench.privacy.bounds.bounds import advantage_gaussian as advantage_gaussian
from dpbench.privacy.bounds.bounds import advantage_yeom as advantage_yeom
from dpbench.privacy.bounds.bounds import auc_epsilon as auc_epsilon
from dpbench.privacy.bounds.bounds import auc_gaussian as auc_gaussian
from dpbench.privacy.bounds.bounds import posterior_epsilon as posterior_epsilon
from dpbench.privacy.bounds.bounds import posterior_odds as posterior_odds
from dpbench.privacy.bounds.bounds import posterior_quarter as posterior_quarter
from dpbench.privacy.bounds.bounds import precision_epsilon as precision_epsilon
from dpbench.privacy.bounds.bounds import precision_gaussian as precision_gaussian
from dpbench.privacy.bounds.bounds import tpr_epsilon as tpr_epsilon
from dpbench.privacy.bounds.bounds import tpr_gaussian as tpr_gaussian
from dpbench.privacy.bounds.catalogue import BOUNDS as BOUNDS
from dpbench.privacy.bounds.catalogue import Bound as Bound
from dpbench.privacy.bounds.curve import accuracy_curve as accuracy_curve
from dpbench.privacy.bounds.curve import advantage_at_fpr_curve as advantage_at_fpr_curve
from dpbench.privacy.bounds.curve import advantage_curve as advantage_curve
from dpbench.privacy.bounds.curve import auc_curve as auc_curve
from dpbench.privacy.bounds.curve import precision_curve as precision_curve
from dpbench.privacy.bounds.curve import tpr_curve as tpr_curve
from dpbench.privacy.bounds.game import Game as Game
from dpbench.privacy.bounds.guarantee import Guarantee as Guarantee
from dpbench.privacy.bounds.limit import limit as limit

__all__ = [
    "BOUNDS",
    "Adjacency",
    "Bound",
    "Direction",
    "Game",
    "Guarantee",
    "SampledGaussian",
    "accuracy_curve",
    "accuracy_epsilon",
    "accuracy_gaussian",
    "accuracy_half_exp",
    "accuracy_prior",
    "advantage",
    "advantage_at_fpr",
    "advantage_at_fpr_curve",
    "advantage_curve",
    "advantage_epsilon",
    "advantage_erlingsson",
    "advantage_gaussian",
    "advantage_yeom",
    "auc_curve",
    "auc_epsilon",
    "auc_gaussian",
    "calibrate",
    "calibrate_advantage",
    "calibrate_tpr",
    "clopper_pearson_upper",
    "delta",
    "delta_gaussian",
    "epsilon",
    "epsilon_from_rates",
    "epsilon_gaussian",
    "epsilon_of_sampled_gaussian",
    "epsilon_one_run",
    "epsilon_prv",
    "epsilon_rdp",
    "gaussian_mu",
    "limit",
    "mu_from_rates",
    "mu_gaussian",
    "one_run_p_value",
    "posterior_epsilon",
    "posterior_odds",
    "posterior_quarter",
    "precision_curve",
    "precision_epsilon",
    "precision_gaussian",
    "replace_one_mu",
    "tpr_curve",
    "tpr_epsilon",
    "tpr_gaussian",
    "trade_off",
]
