"""Planted signals: synthetic models whose membership leak is known in closed form.

The logit-scaled confidence of model m in point i is `d_i + effect * member[m, i] + noise`, with
difficulty `d_i ~ N(0, spread^2)` and unit noise. No attack on the scores alone can beat an AUC of
`Phi(effect / sqrt(2))`, which knowing every `d_i` achieves; one threshold for all points has
`Phi(effect / sqrt(2 (1 + spread^2)))`.

Public points are more of the same that no model was trained on: their confidence is `d_i + noise`.

The models' weights say the same: they are softmax regressions in which every point reads weights of
its own, its logits, so that no white-box attack can beat that AUC either. The inputs of their last
layer are one-hot: a point's own number, public points after challenge points.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from dpbench.attacks.base import Access, Bools, Floats, Ints, Oracle, View
from dpbench.seeds import rng_for
from dpbench.testing.planted_release import Release, read_only


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """Planted models as targets and as shadows, and the bits that they hide.

    Attributes:
        members: `(M, n)` bits.
        target: What the targets answer.
        shadows: What the shadows answer: the same object when the attack is adaptive.
        effect: How much membership raises a target's confidence.
        spread: Standard deviation of the points' difficulty.
        binary: `(*shape)` bool, which features are binary.
        difficulty: `(n,)` how confident models are in each point without having seen it.
        order: `(n,)` where each point stood when the world was drawn.
    """

    members: Bools
    target: Release
    shadows: Release
    effect: float
    spread: float
    binary: Bools
    difficulty: Floats
    order: Ints

    @property
    def calibrated_auc(self) -> float:
        """The AUC of the best attack on the scores: it knows how hard every point is."""
        return float(norm.cdf(self.effect / math.sqrt(2)))

    @property
    def global_auc(self) -> float:
        """The AUC of the best attack with one threshold for all points."""
        return float(norm.cdf(self.effect / math.sqrt(2 * (1 + self.spread**2))))

    def reordered(self, order: Ints) -> "Planted":
        """Returns the same world with its challenge points in another order."""
        target = self.target.reordered(order)
        return replace(
            self,
            members=read_only(self.members[:, order]),
            target=target,
            shadows=target if self.shadows is self.target else self.shadows.reordered(order),
            difficulty=self.difficulty[order],
            order=self.order[order],
        )

    def view(
        self,
        *,
        access: Access,
        budget: int | None = None,
        seed: int = 0,
        shadow_access: Access | None = None,
        students: int = 0,
    ) -> View:
        """Returns the adversary's view, with fresh oracles and a fresh generator."""
        target = _oracle(self.target, access=access, budget=budget)
        shape = self.target.inputs.shape[1:]
        public = self.target.public
        return View(
            labels=self.target.labels,
            inputs=self.target.inputs,
            n_classes=self.target.others.shape[2],
            target=target,
            shadows=_oracle(self.shadows, access=shadow_access or access, budget=None),
            members=self.members,
            reference_inputs=public.inputs if public else np.zeros((0, *shape), np.float32),
            reference_labels=public.labels if public else np.zeros(0, np.int64),
            low=np.zeros(shape, np.float32),
            high=np.ones(shape, np.float32),
            unit=np.ones(shape, np.float32),
            binary=self.binary,
            is_image=len(shape) == 3,
            rng=rng_for(seed, "planted", "attack"),
            students=(lambda: self._students(students)) if students else None,
        )

    def _students(self, count: int) -> Floats:
        """Returns what `count` students of every target answer: `(M, count, n, C)`."""
        rng = rng_for(0, "planted", "students")
        drawn = self.reordered(np.argsort(self.order))
        points = _Points(drawn.target.inputs, drawn.target.labels, drawn.difficulty)
        nothing = np.zeros((len(self.members) * count, len(self.difficulty)))
        outputs = _release(
            points, nothing, n_classes=self.target.others.shape[2], rng=rng
        ).outputs()
        return outputs[:, self.order].reshape(len(self.members), count, *outputs.shape[1:])


def plant(
    *,
    models: int,
    points: int,
    effect: float,
    seed: int,
    n_classes: int = 10,
    spread: float = 1.0,
    shadows_effect: float | None = None,
    shape: tuple[int, ...] = (16,),
    public: int | None = None,
) -> Planted:
    """Draws planted models.

    Args:
        models: Number of models M, each a target and a shadow of the others.
        points: Number of challenge points n.
        effect: How much membership raises a model's confidence, in units of its noise.
        seed: Everything follows from it.
        n_classes: Number of classes C.
        spread: Standard deviation of the points' difficulty.
        shadows_effect: The effect on separate shadows with the same bits and difficulties (a static
            attack); None makes every target its own row of shadows (an adaptive attack).
        shape: Shape of one input in [0, 1]: `(channels, height, width)` for images. In other shapes
            every other feature is binary.
        public: Number of public points, not `points`: the length of a query says which of them it
            is about. None gives twice as many.
    """
    if public == points:
        raise ValueError(f"public: {public} is the number of challenge points: take another one")
    # Images have grey levels; in other inputs every other feature is binary.
    binary = (np.arange(math.prod(shape)) % 2 == 1).reshape(shape) & (len(shape) != 3)
    rng = rng_for(seed, "planted", "points")
    challenge = _draw(points, binary, n_classes=n_classes, spread=spread, rng=rng)
    members = read_only(rng.random((models, points)) < 0.5)
    count, public_rng = 2 * points if public is None else public, rng_for(seed, "planted", "public")
    others = _draw(count, binary, n_classes=n_classes, spread=spread, rng=public_rng)

    def release(role: str, size: float) -> Release:
        draws = (rng_for(seed, "planted", role), rng_for(seed, "planted", role, "public"))
        shown = _release(challenge, size * members, n_classes=n_classes, rng=draws[0])
        on_public = _release(others, np.zeros((models, count)), n_classes=n_classes, rng=draws[1])
        return replace(shown, public=on_public)

    target = release("target", effect)
    return Planted(
        members=members,
        target=target,
        shadows=target if shadows_effect is None else release("shadows", shadows_effect),
        effect=effect,
        spread=spread,
        binary=binary,
        difficulty=challenge.difficulty,
        order=np.arange(points),
    )


def planted_view(
    *,
    models: int,
    points: int,
    effect: float,
    seed: int,
    access: Access = Access.SCORE,
    n_classes: int = 10,
    shadows_effect: float | None = None,
) -> tuple[View, Bools]:
    """Returns the view of an adversary on planted models, and their bits `(M, n)`.

    The arguments are those of `plant` and `Planted.view`.
    """
    planted = plant(
        models=models,
        points=points,
        effect=effect,
        seed=seed,
        n_classes=n_classes,
        shadows_effect=shadows_effect,
    )
    return planted.view(access=access, seed=seed), planted.members


class _Points(NamedTuple):
    """Points and how hard they are."""

    inputs: Floats
    labels: Ints
    difficulty: Floats


def _draw(
    count: int, binary: Bools, *, n_classes: int, spread: float, rng: np.random.Generator
) -> _Points:
    uniform = rng.random((count, *binary.shape), dtype=np.float32)
    inputs = np.where(binary, (uniform > 0.5).astype(np.float32), uniform)
    labels = rng.integers(n_classes, size=count)
    return _Points(read_only(inputs), read_only(labels), spread * rng.standard_normal(count))


def _release(
    points: _Points, advantage: Floats, *, n_classes: int, rng: np.random.Generator
) -> Release:
    """Draws models that are more confident in a point by `advantage` `(M, n)`."""
    confidence = points.difficulty + advantage + rng.standard_normal(advantage.shape)
    others = rng.standard_exponential((*confidence.shape, n_classes))
    others[:, np.arange(len(points.labels)), points.labels] = 0.0
    shape = points.inputs.shape[1:]
    directions = rng.standard_normal((len(confidence), math.prod(shape)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return Release(
        inputs=points.inputs,
        labels=points.labels,
        confidence=confidence,
        others=others / others.sum(-1, keepdims=True),
        directions=directions.reshape(len(confidence), *shape),
    )


def _oracle(release: Release, *, access: Access, budget: int | None) -> Oracle:
    return Oracle(
        access=access,
        budget=budget,
        pool_outputs=release.outputs,
        query=release.query,
        query_each=release.query_each,
        white_box=release,
    )
