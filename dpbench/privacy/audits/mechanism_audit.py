"""A lower bound on epsilon from an attack's errors, for a mechanism of known form."""

import math

from dpbench.privacy.accounting.calibration import MIN_FPR, MIN_MU, calibrate_tpr, noiseless_tpr
from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.accounting.mechanism import SampledGaussian, epsilon
from dpbench.privacy.audits.audit import mu_from_rates

# The accountant's epsilon is an upper bound; this much relatively covers its excess.
_EXCESS = 1e-3


def epsilon_of_sampled_gaussian(
    *, fpr_upper: float, fnr_upper: float, delta: float, sampling_rate: float, steps: int
) -> float:
    """Returns the largest epsilon that two error rates refute, for a Poisson-sampled Gaussian.

    Nasr et al. 2023, section 4: the rates are on the trade-off curve of one sigma. More noise than
    that would have forbidden them, so epsilon is at least that of this sigma. Much tighter than
    `epsilon_from_rates`, which knows nothing of the mechanism, and valid for this mechanism only:
    Poisson sampling with this rate, this number of steps, Gaussian noise, and nothing that
    adapts either. Sigma is rounded up and epsilon down.

    Args:
        fpr_upper: Upper confidence limit of the false positive rate, on models without the canary.
        fnr_upper: Upper confidence limit of the false negative rate, on models with it.
        delta: The delta at which epsilon is bounded.
        sampling_rate: Probability q that the canary enters a batch; 1 is full batch, exact.
        steps: Number T of steps.

    Returns:
        A lower bound on epsilon: 0 if the rates refute nothing, inf if they refute every sigma:
        such a mechanism cannot tell members whom it never sampled.
    """
    if sampling_rate == 1:
        return epsilon_gaussian(delta, mu_from_rates(fpr_upper=fpr_upper, fnr_upper=fnr_upper))
    # A larger FPR refutes less, so raising it to the least that calibration resolves is safe.
    tpr, fpr = 1 - fnr_upper, max(fpr_upper, MIN_FPR)
    # Less than calibration resolves: claim nothing.
    if mu_from_rates(fpr_upper=fpr, fnr_upper=fnr_upper) < MIN_MU:
        return 0.0
    noiseless = noiseless_tpr(fpr, sampling_rate=sampling_rate, steps=steps, direction="remove")
    if fpr_upper <= 0 or tpr >= noiseless:
        return math.inf
    sigma = calibrate_tpr(
        tpr=tpr, fpr=fpr, sampling_rate=sampling_rate, steps=steps, direction="remove"
    )
    mechanism = SampledGaussian(noise_multiplier=sigma, sampling_rate=sampling_rate, steps=steps)
    return (1 - _EXCESS) * epsilon(mechanism.event(), delta)
