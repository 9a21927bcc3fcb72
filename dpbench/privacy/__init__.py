"""Accounting, bounds and audits: what a mechanism guarantees, allows, and is caught leaking."""

from dpbench.privacy.audit import clopper_pearson_upper as clopper_pearson_upper
from dpbench.privacy.audit import epsilon_from_rates as epsilon_from_rates
from dpbench.privacy.audit import epsilon_one_run as epsilon_one_run
from dpbench.privacy.audit import mu_from_rates as mu_from_rates
from dpbench.privacy.audit import one_run_p_value as one_run_p_value
from dpbench.privacy.bounds import accuracy_epsilon as accuracy_epsilon
from dpbench.privacy.bounds import accuracy_half_exp as accuracy_half_exp
from dpbench.privacy.bounds import accuracy_prior as accuracy_prior
from dpbench.privacy.bounds import advantage_epsilon as advantage_epsilon
from dpbench.privacy.bounds import advantage_erlingsson as advantage_erlingsson
from dpbench.privacy.bounds import advantage_gaussian as advantage_gaussian
from dpbench.privacy.bounds import advantage_yeom as advantage_yeom
from dpbench.privacy.bounds import auc_epsilon as auc_epsilon
from dpbench.privacy.bounds import auc_gaussian as auc_gaussian
from dpbench.privacy.bounds import posterior_epsilon as posterior_epsilon
from dpbench.privacy.bounds import posterior_quarter as posterior_quarter
from dpbench.privacy.bounds import precision_epsilon as precision_epsilon
from dpbench.privacy.bounds import tpr_epsilon as tpr_epsilon
from dpbench.privacy.bounds import tpr_gaussian as tpr_gaussian
from dpbench.privacy.calibration import calibrate as calibrate
from dpbench.privacy.gaussian import delta_gaussian as delta_gaussian
from dpbench.privacy.gaussian import epsilon_gaussian as epsilon_gaussian
from dpbench.privacy.gaussian import mu_gaussian as mu_gaussian
from dpbench.privacy.mechanism import SampledGaussian as SampledGaussian
from dpbench.privacy.mechanism import advantage as advantage
from dpbench.privacy.mechanism import delta as delta
from dpbench.privacy.mechanism import epsilon as epsilon
from dpbench.privacy.mechanism import gaussian_mu as gaussian_mu
from dpbench.privacy.mechanism import trade_off as trade_off

__all__ = [
    "SampledGaussian",
    "accuracy_epsilon",
    "accuracy_half_exp",
    "accuracy_prior",
    "advantage",
    "advantage_epsilon",
    "advantage_erlingsson",
    "advantage_gaussian",
    "advantage_yeom",
    "auc_epsilon",
    "auc_gaussian",
    "calibrate",
    "clopper_pearson_upper",
    "delta",
    "delta_gaussian",
    "epsilon",
    "epsilon_from_rates",
    "epsilon_gaussian",
    "epsilon_one_run",
    "gaussian_mu",
    "mu_from_rates",
    "mu_gaussian",
    "one_run_p_value",
    "posterior_epsilon",
    "posterior_quarter",
    "precision_epsilon",
    "tpr_epsilon",
    "tpr_gaussian",
    "trade_off",
]
