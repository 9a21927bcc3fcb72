"""What theory allows an attack: named upper bounds, as pure functions.

All of them hold in the game of this benchmark, where each example is a member or not independently
of the others (and in the canary game), if the guarantee is stated under add/remove adjacency. With
replace-one games they do not. None needs the attack to be known; each may be reached by a worst
case attack on a worst case example, or not at all. Scalars give scalars, arrays broadcast.
Advantages, rates and accuracies are capped at 1; epsilon = inf gives 1.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr, ndtri

Floats = NDArray[np.float64]

# Far beyond every cap, and still finite after exp().
_LARGE = 700.0


def accuracy_half_exp(epsilon: ArrayLike) -> Floats:
    """B1: accuracy <= e^eps / 2, for pure epsilon-DP and even odds. Loose: vacuous from ln 2 on."""
    return _capped(np.exp(_finite(epsilon)) / 2)


def advantage_yeom(epsilon: ArrayLike) -> Floats:
    """B2: TPR - FPR <= e^eps - 1, for pure epsilon-DP. Loose. Yeom et al. 2018, Theorem 1."""
    return _capped(np.expm1(_finite(epsilon)))


def advantage_erlingsson(epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B3: TPR - FPR <= 1 - e^-eps (1 - delta). Erlingsson et al. 2019."""
    return _capped(1 - np.exp(-_finite(epsilon)) * (1 - _array(delta)))


def advantage_epsilon(epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B4: TPR - FPR <= (e^eps - 1 + 2 delta) / (e^eps + 1). Humphries et al. 2020, Theorem III.1.

    The tightest bound that a single (epsilon, delta) gives; at most B2 and B3.
    """
    pure = np.tanh(_finite(epsilon) / 2)
    return _capped(pure + _array(delta) * (1 - pure))


def accuracy_epsilon(epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B4 as an accuracy at even odds: (e^eps + delta) / (e^eps + 1)."""
    return (1 + advantage_epsilon(epsilon, delta)) / 2


def tpr_epsilon(fpr: ArrayLike, epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B5: TPR <= min(e^eps FPR + delta, 1 - e^-eps (1 - delta - FPR)). Kairouz et al. 2015."""
    rate, slack = _array(fpr), _array(delta)
    growth = np.exp(_finite(epsilon))
    bound = np.minimum(growth * rate + slack, 1 - (1 - slack - rate) / growth)
    return _capped(np.where(np.isinf(_array(epsilon)), 1.0, bound))


def tpr_gaussian(fpr: ArrayLike, mu: ArrayLike) -> Floats:
    """B6: TPR <= Phi(Phi^-1(FPR) + mu), for mu-GDP. Dong et al. 2022.

    A bound only where mu is exact, as for full-batch training (mu = sqrt(T) / sigma); the
    central-limit mu of subsampled training is not.
    """
    distance = _array(mu)
    certain = np.isinf(distance)
    bound = ndtr(ndtri(_array(fpr)) + np.where(certain, 0.0, distance))
    return _capped(np.where(certain, 1.0, bound))


def advantage_gaussian(mu: ArrayLike) -> Floats:
    """B6: TPR - FPR <= 2 Phi(mu/2) - 1, for mu-GDP with an exact mu."""
    return _capped(2 * ndtr(_array(mu) / 2) - 1)


def auc_gaussian(mu: ArrayLike) -> Floats:
    """B6: area under the ROC curve <= Phi(mu / sqrt 2), for mu-GDP with an exact mu."""
    return _capped(ndtr(_array(mu) / np.sqrt(2)))


def accuracy_prior(epsilon: ArrayLike, delta: ArrayLike = 0.0, prior: ArrayLike = 0.5) -> Floats:
    """B9: accuracy at any prior of membership; no privacy forbids to guess the more likely bit."""
    odds, slack = _array(prior), _array(delta)
    trivial = np.maximum(odds + (1 - odds) * slack, 1 - odds + odds * slack)
    return _capped(np.maximum(accuracy_epsilon(epsilon, delta), trivial))


def posterior_epsilon(epsilon: ArrayLike, prior: ArrayLike = 0.5) -> Floats:
    """B10: P(member | output) <= sigmoid(logit(prior) + eps), for pure epsilon-DP."""
    return _capped(expit(logit(_array(prior)) + _array(epsilon)))


def posterior_quarter(epsilon: ArrayLike, prior: ArrayLike = 0.5) -> Floats:
    """B11: P(member | output) <= prior + eps / 4, for pure epsilon-DP. Loose.

    Sablayrolles et al. 2019, Theorem 3: the sigmoid of B10 has slope 1/4 at most.
    """
    return _capped(_array(prior) + _array(epsilon) / 4)


def precision_epsilon(
    fpr: ArrayLike, epsilon: ArrayLike, delta: ArrayLike = 0.0, *, odds: ArrayLike = 1.0
) -> Floats:
    """B12: precision at an FPR, TPR / (TPR + odds FPR) with B5's TPR. Jayaraman et al. 2021.

    Args:
        fpr: False positive rate.
        epsilon: Of the guarantee.
        delta: Of the guarantee.
        odds: Non-members per member.
    """
    tpr = tpr_epsilon(fpr, epsilon, delta)
    positives = tpr + _array(odds) * _array(fpr)
    return _capped(np.where(positives > 0, tpr / np.where(positives > 0, positives, 1.0), 1.0))


def auc_epsilon(epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B13: area under the ROC curve <= area under B5: a jump of delta and two segments."""
    slack = _array(delta)
    corner = (1 - slack) * (1 - np.tanh(_finite(epsilon) / 2)) / 2
    rising = corner * (slack + 1 - corner) / 2
    falling = (1 - slack - corner) * (2 - corner) / 2
    return _capped(rising + falling + slack)


def _array(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)


def _finite(epsilon: ArrayLike) -> Floats:
    return np.minimum(_array(epsilon), _LARGE)


def _capped(bound: Floats) -> Floats:
    return np.minimum(bound, 1.0)
