"""Named upper bounds on attacks, as pure functions.

They hold in a membership-inference game if the guarantee is stated under the game's adjacency:
add/remove where each example is a member or not independently of the others (the game of this
benchmark, and the canary game), replace-one where the number of members is fixed. The functions
do not know the game; `dpbench.privacy.limit` does, and refuses bounds that do not hold. They hold
for every attack. Some are attained by a worst-case attack on a worst-case example, others never.
Scalars give scalars, arrays broadcast. Every bound is capped at 1; epsilon = inf and mu = inf give
1.

Raises:
    UserError: An argument is out of range, such as a negative epsilon or a prior of 0.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtr, ndtri

from dpbench.arrays import Floats
from dpbench.privacy.accounting.ranges import in_range

# At such an epsilon every bound is capped, and e^epsilon is still a finite double.
_LARGE = 700.0


def accuracy_half_exp(epsilon: ArrayLike) -> Floats:
    """B1: accuracy <= e^eps / 2, for pure epsilon-DP and even odds. Loose: vacuous from ln 2 on."""
    return _capped(np.exp(_finite(epsilon)) / 2)


def advantage_yeom(epsilon: ArrayLike) -> Floats:
    """B2: TPR - FPR <= e^eps - 1, for pure epsilon-DP. Loose. Yeom et al. 2018, Theorem 1."""
    return _capped(np.expm1(_finite(epsilon)))


def advantage_erlingsson(epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B3: TPR - FPR <= 1 - e^-eps (1 - delta). Erlingsson et al. 2019."""
    return _capped(1 - np.exp(-_finite(epsilon)) * (1 - in_range("delta", delta)))


def advantage_epsilon(epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B4: TPR - FPR <= (e^eps - 1 + 2 delta) / (e^eps + 1). Humphries et al. 2020, Theorem III.1.

    The tightest bound that a single (epsilon, delta) gives; at most B2 and B3.
    """
    # tanh(eps / 2) is (e^eps - 1) / (e^eps + 1), also at small eps, where e^eps - 1 cancels. And
    # 1 - tanh(eps / 2) is 2 / (e^eps + 1).
    pure = np.tanh(_finite(epsilon) / 2)
    return _capped(pure + in_range("delta", delta) * (1 - pure))


def accuracy_epsilon(epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B4 as an accuracy at even odds: (e^eps + delta) / (e^eps + 1)."""
    return (1 + advantage_epsilon(epsilon, delta)) / 2


def tpr_epsilon(fpr: ArrayLike, epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B5: TPR <= min(e^eps FPR + delta, 1 - e^-eps (1 - delta - FPR)). Kairouz et al. 2015."""
    rate, slack = in_range("fpr", fpr), in_range("delta", delta)
    growth = np.exp(_finite(epsilon))
    bound = np.minimum(growth * rate + slack, 1 - (1 - slack - rate) / growth)
    # At FPR 0 the first line is delta for every finite epsilon, but without privacy TPR may be 1.
    return _capped(np.where(np.isinf(epsilon), 1.0, bound))


def tpr_gaussian(fpr: ArrayLike, mu: ArrayLike) -> Floats:
    """B6: TPR <= Phi(Phi^-1(FPR) + mu), for mu-GDP. Dong et al. 2022.

    A bound only where mu is exact, as for full-batch training (mu = sqrt(T) / sigma); the
    central-limit mu of subsampled training is not.
    """
    distance = in_range("mu", mu)
    # At FPR 0, Phi^-1(FPR) + mu would be -inf + inf.
    certain = np.isinf(distance)
    bound = ndtr(ndtri(in_range("fpr", fpr)) + np.where(certain, 0.0, distance))
    return _capped(np.where(certain, 1.0, bound))


def advantage_gaussian(mu: ArrayLike) -> Floats:
    """B6: TPR - FPR <= 2 Phi(mu/2) - 1, for mu-GDP with an exact mu."""
    return _capped(2 * ndtr(in_range("mu", mu) / 2) - 1)


def auc_gaussian(mu: ArrayLike) -> Floats:
    """B6: area under the ROC curve <= Phi(mu / sqrt 2), for mu-GDP with an exact mu."""
    return _capped(ndtr(in_range("mu", mu) / np.sqrt(2)))


def accuracy_prior(epsilon: ArrayLike, delta: ArrayLike = 0.0, prior: ArrayLike = 0.5) -> Floats:
    """B9: accuracy at any prior; guessing the more likely bit is possible under any privacy."""
    # Accuracy is linear in (FPR, TPR), so it is largest at a vertex of B5's region: (0, delta),
    # (1 - delta, 1), or the corner between them, whose accuracy is TPR = 1 - FPR at every prior.
    odds, slack = in_range("prior", prior), in_range("delta", delta)
    trivial = np.maximum(odds + (1 - odds) * slack, 1 - odds + odds * slack)
    return _capped(np.maximum(accuracy_epsilon(epsilon, delta), trivial))


def accuracy_gaussian(mu: ArrayLike, prior: ArrayLike = 0.5) -> Floats:
    """B9 for mu-GDP with an exact mu: the accuracy of the Bayes-optimal test of N(0,1), N(mu,1).

    prior Phi(mu/2 - t/mu) + (1 - prior) Phi(mu/2 + t/mu) with t = log((1 - prior) / prior).
    """
    share = in_range("prior", prior)
    # At mu = 0 the cut is infinite (0 at even odds), and the test guesses the more likely bit.
    distance = np.maximum(in_range("mu", mu), 1e-300)
    cut = -logit(share) / distance
    return _capped(share * ndtr(distance / 2 - cut) + (1 - share) * ndtr(distance / 2 + cut))


def posterior_epsilon(epsilon: ArrayLike, prior: ArrayLike = 0.5) -> Floats:
    """B10: P(member | output) <= sigmoid(logit(prior) + eps), for pure epsilon-DP.

    P(non-member | output) has the same bound with 1 - prior. False for delta > 0, where some
    outputs may prove membership.
    """
    return _capped(expit(logit(in_range("prior", prior)) + in_range("epsilon", epsilon)))


def posterior_odds(epsilon: ArrayLike, *, odds: ArrayLike = 1.0) -> Floats:
    """B10 in odds: P(member | output) <= e^eps / (e^eps + odds), for pure epsilon-DP.

    One-sided: it needs only that no output is more than e^eps times as likely for a member as for
    a non-member. It is also the limit of B12 for small FPR.

    Args:
        epsilon: Of the guarantee.
        odds: Non-members per member.
    """
    return _capped(expit(in_range("epsilon", epsilon) - np.log(in_range("odds", odds))))


def posterior_quarter(epsilon: ArrayLike, prior: ArrayLike = 0.5) -> Floats:
    """B11: P(member | output) <= prior + eps / 4, for pure epsilon-DP. Loose.

    Sablayrolles et al. 2019, Theorem 3: the sigmoid of B10 has slope 1/4 at most.
    """
    return _capped(in_range("prior", prior) + in_range("epsilon", epsilon) / 4)


def precision_epsilon(
    fpr: ArrayLike, epsilon: ArrayLike, delta: ArrayLike = 0.0, *, odds: ArrayLike = 1.0
) -> Floats:
    """B12: precision at an FPR, TPR / (TPR + odds FPR) with B5's TPR. Jayaraman et al. 2021.

    The FPR is the attack's own: at a smaller one the precision may be larger.

    Args:
        fpr: False positive rate.
        epsilon: Of the guarantee.
        delta: Of the guarantee.
        odds: Non-members per member.
    """
    return precision(tpr_epsilon(fpr, epsilon, delta), fpr, odds=odds)


def precision_gaussian(fpr: ArrayLike, mu: ArrayLike, *, odds: ArrayLike = 1.0) -> Floats:
    """B12 with B6's TPR: precision at an FPR, for mu-GDP with an exact mu."""
    return precision(tpr_gaussian(fpr, mu), fpr, odds=odds)


def advantage_at_fpr(fpr: ArrayLike, epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B12: TPR - FPR at an FPR, with B5's TPR. Jayaraman et al. 2021."""
    return tpr_epsilon(fpr, epsilon, delta) - in_range("fpr", fpr)


def auc_epsilon(epsilon: ArrayLike, delta: ArrayLike = 0.0) -> Floats:
    """B13: area under the ROC curve <= area under B5: a jump of delta and two segments."""
    slack = in_range("delta", delta)
    # The corner has FPR (1 - delta) / (1 + e^eps) and TPR one minus that. Behind it, TPR rises
    # to TPR 1 at FPR 1 - delta.
    corner = (1 - slack) * (1 - np.tanh(_finite(epsilon) / 2)) / 2
    rising = corner * (slack + 1 - corner) / 2
    falling = (1 - slack - corner) * (2 - corner) / 2
    return _capped(rising + falling + slack)


def precision(tpr: ArrayLike, fpr: ArrayLike, *, odds: ArrayLike = 1.0) -> Floats:
    """Returns TPR / (TPR + odds FPR), the share of members among those called members; 1 if none.

    Args:
        tpr: True positive rate.
        fpr: False positive rate.
        odds: Non-members per member.
    """
    hits = np.asarray(tpr, dtype=np.float64)
    positives = hits + in_range("odds", odds) * in_range("fpr", fpr)
    return _capped(np.where(positives > 0, hits / np.where(positives > 0, positives, 1.0), 1.0))


def _finite(epsilon: ArrayLike) -> Floats:
    return np.minimum(in_range("epsilon", epsilon), _LARGE)


def _capped(bound: Floats) -> Floats:
    return np.minimum(bound, 1.0)
