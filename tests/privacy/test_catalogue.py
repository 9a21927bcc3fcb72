import functools
import math

import finite_mechanisms as finite
import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, LaplaceDpEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logit
from scipy.stats import norm

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.bounds.catalogue import BOUNDS, find_bound
from dpbench.privacy.bounds.game import GAMES, Game
from dpbench.privacy.bounds.guarantee import Guarantee
from dpbench.privacy.bounds.limit import limit, refusal

ALL = Guarantee(epsilon=1.0, mu=1.0, curve=functools.partial(privacy.tpr_gaussian, mu=1.0))
NAMES = [bound.name for bound in BOUNDS]
PURE = [bound.name for bound in BOUNDS if bound.premise == "pure epsilon"]

priors = st.sampled_from([0.5, 0.1, 0.75])
budgets = st.floats(0, 3)


def mechanisms(records, outputs):
    """Random output distributions for every set of members; some outputs may be impossible."""
    shape = (2,) * records + (outputs,)
    weights = arrays(np.int64, shape, elements=st.integers(0, 9))
    return weights.map(lambda w: w + (w.sum(-1, keepdims=True) == 0)).map(
        lambda w: w / w.sum(-1, keepdims=True)
    )


def counts(records):
    """Noisy sums: a replacement, or a second copy, moves them twice as far as one record."""
    signs = st.lists(st.sampled_from([-1, 1]), min_size=records, max_size=records)
    return st.builds(finite.count_mechanism, st.floats(0.2, 1.5), st.just(records), signs)


def promises(pairs, epsilon, adjacency):
    """Everything that is true of a mechanism: at one epsilon, and as pure DP."""
    known = {
        "adjacency": adjacency,
        "mu": finite.exact_mu(pairs),
        "curve": finite.exact_curve(pairs),
    }
    return [
        Guarantee(epsilon=epsilon, delta=finite.exact_delta(pairs, epsilon), **known),
        Guarantee(epsilon=max(0.0, finite.exact_epsilon(pairs)), **known),
    ]


def measured(quantity, world, prior):
    """What the strongest attack reaches: FPR (None if there is none) and the quantity there."""
    member, other = world
    fpr, tpr = finite.best_attacks(member, other)
    if quantity == "accuracy":
        return None, np.max(prior * tpr + (1 - prior) * (1 - fpr))
    if quantity == "advantage":
        return None, np.max(tpr - fpr)
    if quantity == "posterior":
        seen = member + other > 0
        joint = prior * member[seen]
        return None, np.max(joint / (joint + (1 - prior) * other[seen]))
    if quantity == "AUC":
        return None, np.trapezoid(tpr, fpr)
    # Leave out the attack that calls nobody a member: it has no precision.
    fpr, tpr = fpr[1:], tpr[1:]
    if quantity == "precision at FPR":
        return fpr, prior * tpr / (prior * tpr + (1 - prior) * fpr)
    return fpr, tpr if quantity == "TPR at FPR" else tpr - fpr


def excess(promise, game, world):
    """How far the strongest attack lies above each bound that is not refused, at most."""
    above = {}
    for bound in BOUNDS:
        if refusal(bound, promise, game) is None:
            fpr, reached = measured(bound.quantity, world, game.prior)
            above[bound.name] = np.max(reached - limit(bound.name, promise, game, fpr=fpr))
    return above


def assert_none_is_crossed(promise, game, worlds):
    for world in worlds:
        above = excess(promise, game, world)
        assert len(above) >= 11
        assert max(above.values()) < 1e-9, above


# The attacks


@given(arrays(np.int64, (2, 6), elements=st.integers(0, 5)).filter(lambda w: w.sum(1).all()))
def test_likelihood_ratio_tests_are_the_best_of_all_attacks(weights):
    world = weights / weights.sum(1, keepdims=True)
    fpr, tpr = finite.all_attacks(*world)
    hull = finite.exact_curve([world])
    assert np.all(tpr <= hull(fpr) + 1e-12)
    for prior in (0.3, 0.5):
        reached = np.max(prior * tpr + (1 - prior) * (1 - fpr))
        assert reached == pytest.approx(measured("accuracy", world, prior)[1])


# Every bound holds in every game


@settings(max_examples=20)
@given(mechanisms(3, 3) | counts(3), budgets, priors)
def test_bounds_hold_in_the_bernoulli_game(mechanism, epsilon, prior):
    for promise in promises(finite.adjacent_pairs(mechanism, "add_remove"), epsilon, "add_remove"):
        worlds = finite.bernoulli_worlds(mechanism, prior)
        assert_none_is_crossed(promise, Game(prior=prior), worlds)


@settings(max_examples=10)
@given(mechanisms(3, 3) | counts(3), budgets)
def test_bounds_hold_in_the_canary_game(mechanism, epsilon):
    for promise in promises(finite.adjacent_pairs(mechanism, "add_remove"), epsilon, "add_remove"):
        worlds = finite.bernoulli_worlds(mechanism, 0.5, records=[0, 2])
        assert_none_is_crossed(promise, Game(kind="canary"), worlds)


@settings(max_examples=12)
@given(mechanisms(4, 3) | counts(4), budgets, st.integers(1, 3))
def test_bounds_hold_in_the_fixed_size_game_directly_and_converted(mechanism, epsilon, size):
    game = Game(kind="fixed_size", prior=size / 4)
    replaced = promises(finite.adjacent_pairs(mechanism, "replace_one"), epsilon, "replace_one")
    added = promises(finite.adjacent_pairs(mechanism, "add_remove"), epsilon, "add_remove")
    for promise in replaced + [each.replace_one() for each in added]:
        assert_none_is_crossed(promise, game, finite.fixed_size_worlds(mechanism, size))


@settings(max_examples=20)
@given(mechanisms(3, 3) | counts(3), budgets, priors, st.integers(1, 3))
def test_bounds_hold_in_the_game_of_yeom(mechanism, epsilon, prior, draws):
    for promise in promises(finite.yeom_pairs(mechanism, draws), epsilon, "replace_one"):
        worlds = finite.yeom_worlds(mechanism, draws)
        assert_none_is_crossed(promise, Game(kind="yeom", prior=prior), worlds)


@settings(max_examples=10)
@given(mechanisms(4, 3) | counts(4), budgets)
def test_bounds_hold_for_copies_of_a_record(mechanism, epsilon):
    for promise in promises(finite.adjacent_pairs(mechanism, "add_remove"), epsilon, "add_remove"):
        worlds = finite.bernoulli_worlds(mechanism, 0.5, copies=2)
        assert_none_is_crossed(promise, Game(copies=2), worlds)
        worlds = finite.fixed_size_worlds(mechanism, 1, copies=2)
        replaced = promise.replace_one()
        assert_none_is_crossed(replaced, Game(kind="fixed_size", copies=2), worlds)


# Those that claim to be tight are attained, the others are not


@given(st.floats(0.01, 4), st.floats(0, 0.5), st.floats(0.05, 0.95))
def test_leaky_response_attains_what_is_tight_for_epsilon_and_delta(epsilon, delta, prior):
    world = finite.leaky_response(epsilon, delta)
    assert finite.exact_delta([world, world[::-1]], epsilon) == pytest.approx(delta, abs=1e-12)
    promise = Guarantee(epsilon=epsilon, delta=delta)
    for game in (Game(), Game(prior=prior)):
        for bound in BOUNDS:
            if bound.premise != "epsilon and delta" or refusal(bound, promise, game):
                continue
            fpr, reached = measured(bound.quantity, world, game.prior)
            found = limit(bound.name, promise, game, fpr=fpr)
            if bound.tight:
                assert reached == pytest.approx(found, abs=1e-9), bound.name
            else:
                assert reached < found, bound.name


@given(st.floats(0.01, 1.9), st.floats(0.05, 0.95))
def test_randomised_response_attains_what_is_tight_for_pure_epsilon(epsilon, prior):
    truth = 1 / (1 + math.exp(-epsilon))
    world = np.array([truth, 1 - truth]), np.array([1 - truth, truth])
    for bound in map(find_bound, PURE):
        game = Game() if bound.even_prior else Game(prior=prior)
        _, reached = measured(bound.quantity, world, game.prior)
        found = limit(bound.name, Guarantee(epsilon=epsilon), game)
        if bound.tight:
            assert reached == pytest.approx(found)
        else:
            assert reached < found


@pytest.mark.parametrize("mu", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("prior", [0.5, 0.2])
def test_a_gaussian_attains_what_is_tight_for_mu(mu, prior):
    # The best threshold for the prior is among the 4001, whose tests all are optimal.
    cut = np.append(np.linspace(-9, 9 + mu, 4000), mu / 2 - logit(prior) / mu)
    cut = np.sort(cut)[::-1]
    fpr, tpr = norm.sf(cut), norm.sf(cut - mu)
    share = prior * tpr + (1 - prior) * fpr
    reached = {
        "accuracy": np.max(prior * tpr + (1 - prior) * (1 - fpr)),
        "advantage": norm.cdf(mu / 2) - norm.cdf(-mu / 2),
        "AUC": np.trapezoid(tpr, fpr),
        "TPR at FPR": tpr,
        "advantage at FPR": tpr - fpr,
        "precision at FPR": prior * tpr / share,
    }
    promise, game = Guarantee.of_mu(mu, delta=1e-5), Game(prior=prior)
    for bound in BOUNDS:
        if bound.premise in ("exact mu", "trade-off curve"):
            at = fpr if "fpr" in bound.arguments else None
            found = limit(bound.name, promise, game, fpr=at)
            assert found == pytest.approx(reached[bound.quantity], abs=1e-5, rel=1e-5), bound.name


@given(arrays(np.int64, 5, elements=st.integers(1, 9)), priors)
def test_any_mechanism_attains_what_is_tight_for_its_curve(weights, prior):
    world = weights / weights.sum(), weights[::-1] / weights.sum()
    promise = Guarantee(epsilon=9.0, curve=finite.exact_curve([world]))
    for bound in BOUNDS:
        if bound.premise == "trade-off curve":
            fpr, reached = measured(bound.quantity, world, prior)
            found = limit(bound.name, promise, Game(prior=prior), fpr=fpr)
            assert reached == pytest.approx(found, abs=1e-5 if bound.quantity == "AUC" else 1e-9)


# What is refused would be wrong


@pytest.mark.parametrize("name", PURE)
def test_pure_bounds_are_refused_for_delta_because_leaky_response_crosses_them(name):
    world = finite.leaky_response(0.1, 0.3)
    bound = find_bound(name)
    assert measured(bound.quantity, world, 0.5)[1] > bound.function(0.1)
    with pytest.raises(UserError, match=rf"{bound.number} {name} .* delta is 0.3") as told:
        limit(name, Guarantee(epsilon=0.1, delta=0.3), Game())
    assert bound.instead in str(told.value)


@pytest.mark.parametrize("name", ["accuracy_half_exp", "accuracy_epsilon"])
def test_accuracies_for_even_odds_are_refused_because_guessing_the_majority_crosses_them(name):
    bound = find_bound(name)
    majority = 0.9
    assert majority > bound.function(0.1)
    with pytest.raises(UserError, match=r"prior is 0\.1\b[^$]*use B9 accuracy_prior"):
        limit(name, Guarantee(epsilon=0.1), Game(prior=0.1))
    assert limit("accuracy_prior", Guarantee(epsilon=0.1), Game(prior=0.1)) == majority


@pytest.mark.parametrize("name", NAMES)
def test_an_add_remove_guarantee_is_refused_where_the_size_is_fixed(name):
    for kind in ("fixed_size", "yeom"):
        with pytest.raises(UserError, match=rf"{name} is no bound in the game '{kind}'") as told:
            limit(name, ALL, Game(kind=kind), fpr=0.1)
        assert "(2 epsilon, (1 + e^epsilon) delta) and 2 mu" in str(told.value)


def test_an_add_remove_guarantee_is_crossed_where_the_size_is_fixed():
    mechanism = finite.count_mechanism(1.0, 2, [1, -1])
    pairs = finite.adjacent_pairs(mechanism, "add_remove")
    assert finite.exact_epsilon(pairs) == pytest.approx(1.0)
    world = next(finite.fixed_size_worlds(mechanism, 1))
    reached = measured("advantage", world, 0.5)[1]
    promise = Guarantee(epsilon=1.0)
    assert reached > 1.2 * limit("advantage_epsilon", promise, Game())
    assert reached < limit("advantage_epsilon", promise.replace_one(), Game(kind="fixed_size"))


def test_a_replace_one_guarantee_is_refused_because_the_number_of_records_may_be_public():
    size = np.zeros((2, 2, 3))
    size[0, 0, 0] = size[0, 1, 1] = size[1, 0, 1] = size[1, 1, 2] = 1
    (promise, _) = promises(finite.adjacent_pairs(size, "replace_one"), 0.0, "replace_one")
    assert (promise.epsilon, promise.delta) == (0, 0)
    assert measured("advantage", next(finite.bernoulli_worlds(size, 0.5)), 0.5)[1] == 1
    for name in NAMES:
        with pytest.raises(UserError, match=r"how many records[^$]*no conversion"):
            limit(name, promise, Game(), fpr=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_refused_where_members_and_others_differ_in_distribution(name):
    # The attacker sees the challenge: two sources that never overlap need no model at all.
    with pytest.raises(UserError, match=rf"{name} .*'shifted'[^$]*different sources"):
        limit(name, ALL, Game(kind="shifted"), fpr=0.1)


def test_copies_cross_the_bounds_of_one_record():
    world = next(finite.bernoulli_worlds(finite.count_mechanism(1.0, 2), 0.5, copies=2))
    promise = Guarantee(epsilon=1.0)
    reached = measured("advantage", world, 0.5)[1]
    assert reached > 1.2 * limit("advantage_epsilon", promise, Game())
    assert reached < limit("advantage_epsilon", promise, Game(copies=2))


def test_a_central_limit_mu_is_refused_because_one_sampled_step_crosses_it():
    sigma, rate, fpr = 1.0, 0.01, 1e-4
    # The Neyman-Pearson test of (1 - q) N(0, 1) + q N(1, 1) against N(0, 1), in closed form.
    reached = (1 - rate) * fpr + rate * norm.cdf(norm.ppf(fpr) + 1 / sigma)
    central_limit = rate * math.sqrt(math.expm1(1 / sigma**2))
    assert reached > 1.2 * privacy.tpr_gaussian(fpr, central_limit)
    event = privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=1).event()
    promise = Guarantee.of_event(event, delta=1e-5)
    assert promise.mu is None
    assert reached <= limit("tpr_curve", promise, Game(), fpr=fpr) < 1.01 * reached
    for name in ("tpr_gaussian", "advantage_gaussian", "auc_gaussian", "accuracy_gaussian"):
        with pytest.raises(UserError, match=r"central-limit mu[^$]*use B\d+ \w+_curve"):
            limit(name, promise, Game(), fpr=fpr)


def test_without_the_mechanism_the_way_out_is_the_pair():
    promise = Guarantee(epsilon=1.0, delta=1e-5)
    for bound in BOUNDS:
        refused = refusal(bound, promise, Game())
        if refused is not None:
            other = find_bound(refused.instead.split()[-1])
            assert refusal(other, promise, Game()) is None
            assert limit(other.name, promise, Game(), fpr=0.1 if _at_fpr(other) else None) < 1


# Guarantees


@pytest.mark.parametrize("kind", ["full", "sampled", "laplace"])
def test_a_mechanism_gives_all_that_its_accountant_knows(kind):
    event = {
        "full": GaussianDpEvent(1.5),
        "sampled": privacy.SampledGaussian(
            noise_multiplier=1.0, sampling_rate=0.1, steps=30
        ).event(),
        "laplace": LaplaceDpEvent(1.0),
    }[kind]
    promise = Guarantee.of_event(event, delta=1e-5)
    assert promise.epsilon == privacy.epsilon(event, 1e-5)
    assert promise.mu == pytest.approx(1 / 1.5 if kind == "full" else None)
    found = limit("advantage_curve", promise, Game())
    assert found == pytest.approx(privacy.advantage(event), abs=1e-9)
    for prior in (0.5, 0.3, 0.9):
        # Bayes accuracy is max(p, 1 - p) + min(p, 1 - p) delta(|logit p|), by its definition.
        slack = privacy.delta(event, abs(float(logit(prior))))
        exact = max(prior, 1 - prior) + min(prior, 1 - prior) * slack
        found = limit("accuracy_curve", promise, Game(prior=prior))
        assert exact - 1e-9 <= found <= exact + 1e-4
    rate = np.array([0.001, 0.01, 0.3])
    found = limit("tpr_curve", promise, Game(), fpr=rate)
    assert found == pytest.approx(privacy.trade_off(event, rate))


def test_a_group_of_two_is_a_replacement_and_the_mechanism_itself_is_tighter():
    event = privacy.SampledGaussian(noise_multiplier=1.0, sampling_rate=0.1, steps=30).event()
    promise = Guarantee.of_event(event, delta=1e-5)
    direct = Guarantee.of_event(event, delta=1e-5, adjacency="replace_one")
    converted = promise.replace_one()
    assert converted.epsilon == 2 * promise.epsilon
    assert converted.delta == pytest.approx((1 + math.exp(promise.epsilon)) * 1e-5)
    assert converted.replace_one() is converted
    game, fpr = Game(kind="fixed_size"), np.array([1e-3, 0.01, 0.1])
    below = limit("tpr_curve", direct, game, fpr=fpr)
    assert np.all(below < limit("tpr_curve", converted, game, fpr=fpr))
    full = Guarantee.of_event(GaussianDpEvent(2.0), delta=1e-5, adjacency="replace_one")
    assert full.mu == pytest.approx(1.0)
    again = Guarantee.of_event(GaussianDpEvent(2.0), delta=1e-5).replace_one()
    assert again.mu == pytest.approx(full.mu)
    assert again.curve(fpr) == pytest.approx(full.curve(fpr))


@given(st.floats(0, 20), st.floats(0, 0.1), st.integers(1, 5), st.integers(1, 5))
def test_groups_of_groups(epsilon, delta, one, other):
    promise = Guarantee(epsilon=epsilon, delta=delta, mu=1.0)
    nested, flat = promise.group(one).group(other), promise.group(one * other)
    assert nested.epsilon == pytest.approx(flat.epsilon)
    assert nested.delta == pytest.approx(flat.delta)
    assert nested.mu == flat.mu
    terms = [delta * math.exp(min(step * epsilon, 700)) for step in range(one)]
    assert promise.group(one).delta == pytest.approx(min(1.0, sum(terms)))


def test_no_privacy_stays_no_privacy_in_a_group():
    promise = Guarantee(epsilon=math.inf, delta=1e-5).replace_one()
    assert (promise.epsilon, promise.delta) == (math.inf, 1)
    assert Guarantee(epsilon=math.inf).group(3).delta == 0


# The catalogue


def test_the_catalogue_names_thirteen_bounds_and_every_function_once():
    assert {bound.number for bound in BOUNDS} == {f"B{i}" for i in range(1, 14)}
    assert len(set(NAMES)) == len(BOUNDS)
    for bound in BOUNDS:
        if bound.premise == "epsilon and delta" and not bound.even_prior:
            assert not bound.instead
        else:
            assert find_bound(bound.instead).quantity in (bound.quantity, "precision at FPR")
    assert {bound.name for bound in BOUNDS if not bound.tight} == {
        "accuracy_half_exp",
        "advantage_yeom",
        "advantage_erlingsson",
        "posterior_quarter",
    }


def test_a_matching_guarantee_is_refused_nothing_in_any_game_with_an_adjacency():
    for kind, comparison in GAMES.items():
        if comparison.adjacency is not None:
            promise = Guarantee(
                epsilon=1.0, adjacency=comparison.adjacency, mu=ALL.mu, curve=ALL.curve
            )
            assert not any(refusal(bound, promise, Game(kind=kind)) for bound in BOUNDS)


def test_wrong_calls_name_the_field():
    with pytest.raises(UserError, match=r"fpr: missing, B5 tpr_epsilon"):
        limit("tpr_epsilon", ALL, Game())
    with pytest.raises(UserError, match=r"fpr: superfluous, B4 advantage_epsilon"):
        limit("advantage_epsilon", ALL, Game(), fpr=0.1)
    with pytest.raises(UserError, match=r"'b4'\n.*advantage_epsilon, accuracy_epsilon"):
        limit("b4", ALL, Game())
    with pytest.raises(UserError, match=r"did you mean 'advantage_yeom'"):
        limit("advantage_yeoman", ALL, Game())
    with pytest.raises(UserError, match=r"game: unknown kind 'bernouli'[^$]*'bernoulli'"):
        Game(kind="bernouli")
    with pytest.raises(UserError, match="prior: 1 is not possible"):
        Game(prior=1.0)
    with pytest.raises(UserError, match="copies: 0"):
        Game(copies=0)
    with pytest.raises(UserError, match="epsilon: -1"):
        Guarantee(epsilon=-1.0)
    with pytest.raises(UserError, match="delta: 2"):
        Guarantee(epsilon=1.0, delta=2.0)
    with pytest.raises(UserError, match="mu: nan"):
        Guarantee.of_mu(math.nan, delta=1e-5)
    with pytest.raises(UserError, match="adjacency: 'zero_out'"):
        Guarantee(epsilon=1.0, adjacency="zero_out")


def _at_fpr(bound):
    return "fpr" in bound.arguments
