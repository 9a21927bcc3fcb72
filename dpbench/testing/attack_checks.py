"""The contract of an attack, as one call."""

from dataclasses import replace

import numpy as np

from dpbench.attacks.base import Access, AccessError, Attack, Floats, NotApplicable, View
from dpbench.testing.component_checks import check_component
from dpbench.testing.planted import Planted, plant
from dpbench.testing.planted_release import Release
from dpbench.testing.ranking import auc, standard_error

MODELS, POINTS, EFFECT = 24, 200, 2.0
SIGMAS = 6.0
"""A check that fails by chance once in 10^9 runs tells an author nothing false."""


def check_attack(attack: Attack) -> None:
    """Checks that an attack keeps its contract, on planted models of known leakage.

    It must be documented and survive a round trip through JSON; score every (target, point) with a
    finite number, deterministically, within its declared access and budget; never use a target's
    own bits or its own row of the shadows; score a point alike wherever it stands among the others;
    survive masked and constant models, and a world without public points; find nothing where
    membership has no effect; and find a large effect, though no more than there is.

    Raises:
        AssertionError: The contract is broken; the message says how.
    """
    check_component(attack)
    name = attack.label()
    assert isinstance(attack.access, Access), (
        f"{name}: access must be an Access, not {attack.access}"
    )
    assert attack.budget >= 1, (
        f"{name}: budget is {attack.budget}, an attack makes at least one query"
    )
    shape = _shape(attack)
    planted = plant(models=MODELS, points=POINTS, effect=EFFECT, seed=0, shape=shape)
    scores = _scores(attack, planted)
    assert np.array_equal(scores, _scores(attack, planted)), (
        f"{name}: two runs on the same view differ; draw randomness from view.rng only"
    )
    _check_secrets(attack, planted, scores)
    _check_order(attack, planted, scores)
    _check_masked(attack, planted)
    _check_small(attack, shape)
    _check_signal(attack, planted, scores)
    _check_fresh(attack, shape)


def _shape(attack: Attack) -> tuple[int, ...]:
    """Returns an input shape to which the attack applies: tabular, else images."""
    reasons = []
    for shape in ((16,), (1, 6, 6)):
        try:
            _scores(attack, plant(models=8, points=20, effect=EFFECT, seed=1, shape=shape))
        except NotApplicable as reason:
            reasons.append(str(reason))
        else:
            return shape
    raise AssertionError(f"{attack.label()}: applies to nothing: {'; '.join(reasons)}")


def _scores(attack: Attack, planted: Planted) -> Floats:
    return _run(attack, _view(attack, planted))


def _view(attack: Attack, planted: Planted) -> View:
    return planted.view(
        access=attack.access,
        budget=attack.budget,
        shadow_access=attack.shadow_access,
        students=attack.n_students,
    )


def _run(attack: Attack, view: View) -> Floats:
    """Scores a view, and checks access, budget, shape and finiteness."""
    name = attack.label()
    try:
        scores = attack.score(view)
    except AccessError as error:
        raise AssertionError(f"{name}: {error}; declare it as `access` or `budget`") from error
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError(f"{name}: it writes into what it was shown ({error})") from error
    expected = view.members.shape
    assert isinstance(scores, np.ndarray), f"{name}: scores are {type(scores)}, not a NumPy array"
    assert scores.shape == expected, f"{name}: scores have shape {scores.shape}, not {expected}"
    assert np.issubdtype(scores.dtype, np.floating), (
        f"{name}: scores are {scores.dtype}, not floats"
    )
    assert np.isfinite(scores).all(), (
        f"{name}: {int((~np.isfinite(scores)).sum())} scores are not finite"
    )
    return scores


def check_secrets(attack: Attack) -> None:
    """Checks that an attack stays within its access and budget and sees no bit it may not see.

    This is the part of `check_attack` that every attack of a grid must pass, however weak it is.

    Raises:
        AssertionError: It does not; the message says how.
    """
    planted = plant(models=MODELS, points=POINTS, effect=EFFECT, seed=0, shape=_shape(attack))
    _check_secrets(attack, planted, _scores(attack, planted))


def _check_secrets(attack: Attack, planted: Planted, scores: Floats) -> None:
    """A target's scores may not depend on its own bits or on its own row of the shadows."""
    for target in (0, MODELS // 2, MODELS - 1):
        if attack.knows_other_bits:
            _check_own_bit(attack, planted, scores, target)
        else:
            _check_own_row(attack, planted, scores, target)
    if not attack.needs_shadows:
        _check_without_shadows(attack, planted, scores)


def _check_own_row(attack: Attack, planted: Planted, scores: Floats, target: int) -> None:
    name = attack.label()
    flipped = planted.members.copy()
    flipped[target] ^= True
    seen = _scores(attack, replace(planted, members=flipped))
    assert np.array_equal(seen[target], scores[target]), (
        f"{name}: the scores of target {target} change with its own membership bits: "
        f"leave row {target} of view.members out of all it computes for that target"
    )
    other = _with_another_row(planted.shadows, target)
    seen = _scores(attack, replace(planted, shadows=other))
    assert np.array_equal(seen[target], scores[target]), (
        f"{name}: the scores of target {target} change with its own row of the shadows: "
        f"leave row {target} of view.shadows out of all it computes for that target"
    )


def _check_own_bit(attack: Attack, planted: Planted, scores: Floats, target: int) -> None:
    """An auditor knows the target's bits of all points but the one it scores."""
    point = (target * 7) % POINTS
    flipped = planted.members.copy()
    flipped[target, point] ^= True
    seen = _scores(attack, replace(planted, members=flipped))
    assert seen[target, point] == scores[target, point], (
        f"{attack.label()}: the score of point {point} on target {target} changes with that very "
        "bit: leave it out of all it computes for that score"
    )


def _check_without_shadows(attack: Attack, planted: Planted, scores: Floats) -> None:
    name, view = attack.label(), _view(attack, planted)
    refuse = planted.view(access=attack.access, budget=0).target
    members = view.members if attack.knows_other_bits else ~view.members
    blind = _run(attack, replace(view, shadows=refuse, members=members))
    assert np.array_equal(blind, scores), f"{name}: it uses view.members: declare needs_shadows"


def _check_order(attack: Attack, planted: Planted, scores: Floats) -> None:
    """A point's scores may not depend on where it stands: the attack must not care for batches.

    Only attacks that draw no random numbers are held to it exactly: a draw may go to another point.
    """
    view = _view(attack, planted)
    state = view.rng.bit_generator.state
    _run(attack, view)
    if view.rng.bit_generator.state != state:
        return
    order = np.random.default_rng(0).permutation(POINTS)
    seen = _scores(attack, planted.reordered(order))
    assert np.allclose(seen, scores[:, order], rtol=1e-4, atol=1e-4 * scores.std()), (
        f"{attack.label()}: the scores of a point change with its place among the others"
    )


def _with_another_row(release: Release, model: int) -> Release:
    confidence, directions = release.confidence.copy(), release.directions.copy()
    confidence[model] = 1.0 - 2.0 * confidence[model]
    directions[model] *= -1.0
    public = None if release.public is None else _with_another_row(release.public, model)
    return replace(release, confidence=confidence, directions=directions, public=public)


def _check_masked(attack: Attack, planted: Planted) -> None:
    """Scores stay finite when models release labels only, or the same for all, or zeros.

    Nothing masks the weights: these models hold weights so extreme that they release that.
    """
    for mask in ("label-only", "always wrong", "constant"):
        masked = _masked(planted.target, mask)
        world = replace(planted, target=masked, shadows=masked)
        _finite_or_refused(attack, world, f"{mask} models")


def _masked(release: Release, mask: str) -> Release:
    rivals = release.others.argmax(-1)[..., None] == np.arange(release.others.shape[2])
    changes = {
        "label-only": {"confidence": 1e4 * np.sign(release.confidence), "others": rivals * 1.0},
        "always wrong": {"confidence": np.full_like(release.confidence, -1e4)},
        "constant": {
            "confidence": np.zeros_like(release.confidence),
            "others": np.broadcast_to(release.others[:1], release.others.shape),
        },
    }
    public = None if release.public is None else _masked(release.public, mask)
    return replace(release, **changes[mask], public=public)


def _check_small(attack: Attack, shape: tuple[int, ...]) -> None:
    for models in (1, 2, 3):
        planted = plant(models=models, points=4, effect=EFFECT, seed=2, shape=shape)
        _finite_or_refused(attack, planted, f"population of {models} models")
    for public in (0, 1, 3):
        planted = plant(models=8, points=20, effect=EFFECT, seed=2, shape=shape, public=public)
        _finite_or_refused(attack, planted, f"{public} public points")


def _finite_or_refused(attack: Attack, planted: Planted, setting: str) -> None:
    try:
        _scores(attack, planted)
    except NotApplicable:
        return
    except AssertionError as error:
        raise AssertionError(f"{error} ({setting})") from error


def _check_signal(attack: Attack, planted: Planted, scores: Floats) -> None:
    found, error = auc(scores, planted.members), standard_error(planted.members)
    assert found > 0.5 + SIGMAS * error, (
        f"{attack.label()}: its AUC is {found:.3f} where members are {EFFECT:g} standard "
        "deviations more confident; higher scores must mean more likely a member"
    )
    assert found < planted.calibrated_auc + SIGMAS * error, (
        f"{attack.label()}: its AUC of {found:.3f} is more than there is to find "
        f"({planted.calibrated_auc:.3f}): it sees the bits"
    )


def _check_fresh(attack: Attack, shape: tuple[int, ...]) -> None:
    """Nothing is found where membership has no effect on the targets, whatever the shadows do."""
    for shadows_effect in (None, 0.0, EFFECT):
        planted = plant(
            models=MODELS,
            points=POINTS,
            effect=0.0,
            seed=3,
            shape=shape,
            shadows_effect=shadows_effect,
        )
        found = auc(_scores(attack, planted), planted.members)
        assert abs(found - 0.5) < SIGMAS * standard_error(planted.members), (
            f"{attack.label()}: its AUC is {found:.3f} on models that know nothing of their "
            "members: it sees the bits by another way"
        )
