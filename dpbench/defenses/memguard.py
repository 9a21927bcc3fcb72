"""MemGuard: confidences turned into adversarial examples of a membership classifier."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense, Serving, State
from dpbench.defenses.membership_classifier import Lesson, MembershipClassifier
from dpbench.defenses.search import Choice
from dpbench.training.recipe import NonNegative, Positive

# The published constants (papers.md 2.3): weights of the three terms, length of a step, and when
# the classifier counts as undecided.
_MEMBERSHIP, _LABEL, _DISTORTION, _LARGEST_DISTORTION = 1.0, 10.0, 0.1, 1e5
_STEP = 0.1
_UNDECIDED = 1e-5

# A float32 softmax may return exact zeros, whose logits are -inf. Steps of 0.1 cannot cross more.
_SMALLEST = 1e-12


@register
@dataclass(frozen=True, kw_only=True)
class MemGuard(Defense):
    """Adds to every confidence vector the least noise that makes a membership classifier unsure.

    The owner trains the classifier g on the sorted confidences of the model's members and of the
    public reference set. Phase I searches, for every query, a vector with the same label on the
    other side of g's boundary; phase II releases it with the probability that keeps the expected
    L1 distortion within the budget, and the true vector otherwise. The coin is a function of the
    true vector and of a secret of the model, so asking again shows the same answer.

    It assumes that the adversary's classifier resembles g and is taught by undefended models. What
    knows the true label, or only needs labels, is not stopped (Song & Mittal 2021; Choquette-Choo
    et al. 2021).

    Attributes:
        budget: Largest expected L1 distortion of a released vector; 0 releases it as it is.
        epochs: Passes of the defense classifier over its examples.
        batch_size: Its batch, half members and half others.
        lr: Its learning rate.
        iterations: Most steps of one search in phase I.
    """

    name: ClassVar[str] = "memguard"
    reference: ClassVar[str] = (
        "Jia et al. 2019, MemGuard: Defending against Black-Box Membership Inference Attacks via "
        "Adversarial Examples, CCS 2019"
    )
    search: ClassVar = {"budget": Choice((0.3, 0.5, 0.7, 1.0))}
    adaptive_attacks: ClassVar[tuple[str, ...]] = ("modified_entropy",)

    budget: NonNegative = 1.0
    epochs: Annotated[int, Field(ge=1)] = 400
    batch_size: Annotated[int, Field(ge=2)] = 64
    lr: Positive = 0.01
    iterations: Annotated[int, Field(ge=1)] = 300

    def fit_release(self, serving: Serving) -> State:
        """Trains the M defense classifiers and draws the secrets of the coins."""
        classifier = MembershipClassifier.trained(
            Lesson(serving.outputs, serving.members, serving.reference_outputs),
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            generator=serving.generator,
        )
        shape = (len(serving.outputs), 1 + serving.outputs.shape[-1])
        secret = torch.randint(2**62, shape, generator=serving.generator)
        return classifier.state() | {"secret": 2 * secret + 1}

    def release(self, outputs: Tensor, state: State | None = None) -> Tensor:
        """Masks probabilities `(K, N, C)` of K models.

        One model at a time: its classifier and its queries fit in a core's cache.
        """
        seen = outputs.clone()
        if self.budget == 0:
            return seen
        if state is None:
            raise ValueError("memguard must learn about the models before it releases")
        classifier = MembershipClassifier.of(state)
        for model, given in enumerate(outputs):
            masked = hidden_membership(classifier, model, given, iterations=self.iterations)
            take = _less_sure(classifier, model, given, masked)
            take &= coins(given, state["secret"][model]) < self._probability(given, masked)
            seen[model] = torch.where(take[:, None], masked, given)
        if not torch.equal(seen.argmax(-1), outputs.argmax(-1)):
            raise AssertionError("MemGuard changed a predicted label")
        return seen

    def _probability(self, given: Tensor, masked: Tensor) -> Tensor:
        """Phase II: how often the masked vector may be released, `(N,)`."""
        return (self.budget / distortion(given, masked)).clamp_max(1.0)


def _less_sure(
    classifier: MembershipClassifier, model: int, given: Tensor, masked: Tensor
) -> Tensor:
    """Returns where masked vectors bring the classifier closer to 1/2, `(N,)` bool."""
    sure, unsure = (
        (classifier.logits_and_slopes(model, vectors)[0].sigmoid() - 0.5).abs()
        for vectors in (given, masked)
    )
    return unsure < sure


def distortion(given: Tensor, released: Tensor) -> Tensor:
    """Returns the L1 distances `(...)` of vectors `(..., C)`."""
    return (given - released).abs().sum(-1)


def coins(given: Tensor, secret: Tensor) -> Tensor:
    """Returns numbers in [0, 1) that are fixed by vectors `(N, C)` and a secret `(1 + C,)`.

    Log-confidences enter in steps of 1 %, so that the last digits, which depend on what else was
    asked at the same time, do not matter.
    """
    steps = (given.clamp_min(_SMALLEST).log() * 100).round().long()
    mixed = (steps * secret[1:]).sum(-1) + secret[0]  # wraps around, as it should
    mixed = (mixed ^ (mixed >> 29)) * secret[0]
    mixed = mixed ^ (mixed >> 32)
    return ((mixed & (2**24 - 1)).double() / 2**24).to(given.dtype)


@torch.no_grad()
def hidden_membership(
    classifier: MembershipClassifier, model: int, given: Tensor, *, iterations: int
) -> Tensor:
    """Phase I: vectors of the same label on the other side of the classifier's boundary.

    Every search starts from the true vector and takes normalised gradient steps in logit space on
    `|h| + 10 max(0, best other logit - label's logit) + c |p - p0|_1`, h the classifier's log odds,
    until h has changed its sign and the label is the same. After a success the search starts again
    with ten times the weight c, from 0.1 to 1e5, and the last success counts.

    Args:
        classifier: The M defense classifiers.
        model: Whose.
        given: `(N, C)` true confidences p0.
        iterations: Most steps of one search.

    Returns:
        `(N, C)`; the true vector where the classifier is undecided already, or no search succeeds.
    """
    found = given.clone()
    search = _Search.start(classifier, model, given)
    search = search.at((search.origin_odds.sigmoid() - 0.5).abs() > _UNDECIDED)
    while len(search.rows):
        search.step(classifier, model)
        crossed = search.crossed()
        found[search.rows[crossed]] = search.vectors[crossed]
        search.again(crossed)
        over = (search.steps >= iterations) | (search.weight > 1.5 * _LARGEST_DISTORTION)
        if bool(over.any()):
            search = search.at(~over)
    return found


@dataclass(kw_only=True, eq=False)
class _Search:
    """The queries that are still searched: all fields have one row for each."""

    rows: Tensor
    labels: Tensor
    origin: Tensor
    origin_odds: Tensor
    origin_slopes: Tensor
    logits: Tensor
    vectors: Tensor
    odds: Tensor
    slopes: Tensor
    weight: Tensor
    steps: Tensor

    @classmethod
    def start(cls, classifier: MembershipClassifier, model: int, given: Tensor) -> "_Search":
        odds, slopes = classifier.logits_and_slopes(model, given)
        return cls(
            rows=torch.arange(len(given)),
            labels=given.argmax(-1, keepdim=True),
            origin=given,
            origin_odds=odds,
            origin_slopes=slopes,
            logits=given.clamp_min(_SMALLEST).log(),
            vectors=given,
            odds=odds,
            slopes=slopes,
            weight=torch.full_like(odds, _DISTORTION),
            steps=torch.zeros_like(odds),
        )

    def at(self, keep: Tensor) -> "_Search":
        """Returns the search of some queries."""
        return _Search(**{name: value[keep] for name, value in vars(self).items()})

    def step(self, classifier: MembershipClassifier, model: int) -> None:
        """One step of length 0.1 down the gradient."""
        self.logits = self.logits - _STEP * self._direction()
        self.vectors = self.logits.softmax(-1)
        self.odds, self.slopes = classifier.logits_and_slopes(model, self.vectors)
        self.steps += 1

    def _direction(self) -> Tensor:
        """Returns the normalised gradient `(N, C)` in the logits."""
        pull = _MEMBERSHIP * self.odds.sign()[:, None] * self.slopes
        pull += self.weight[:, None] * (self.vectors - self.origin).sign()
        # Through the softmax, relative to the label: in float32 a saturated vector's own entry is
        # 1, and differences from the mean would cancel.
        pull -= pull.gather(-1, self.labels)
        gradient = self.vectors * (pull - (self.vectors * pull).sum(-1, keepdim=True))
        own, others = self._label_and_best_other()
        lost = _LABEL * (others.values > own).to(gradient.dtype)
        gradient.scatter_add_(-1, others.indices, lost).scatter_add_(-1, self.labels, -lost)
        tiny = torch.finfo(gradient.dtype).tiny
        gradient /= gradient.abs().amax(-1, keepdim=True).clamp_min(tiny)  # squares may underflow
        gradient /= gradient.square().sum(-1, keepdim=True).sqrt().clamp_min(tiny)
        return gradient

    def _label_and_best_other(self) -> tuple[Tensor, torch.return_types.max]:
        own = self.logits.gather(-1, self.labels)
        return own, self.logits.scatter(-1, self.labels, -math.inf).max(-1, keepdim=True)

    def crossed(self) -> Tensor:
        """Returns which searches have succeeded, `(N,)` bool."""
        own = self.vectors.gather(-1, self.labels)
        best_other = self.vectors.scatter(-1, self.labels, -1.0).amax(-1, keepdim=True)
        return (self.odds * self.origin_odds <= 0) & (own > best_other).squeeze(-1)

    def again(self, crossed: Tensor) -> None:
        """Starts searches again with ten times the weight on the distortion."""
        if not bool(crossed.any()):
            return
        origin = self.origin[crossed]
        self.logits[crossed] = origin.clamp_min(_SMALLEST).log()
        self.vectors[crossed] = origin
        self.odds[crossed] = self.origin_odds[crossed]
        self.slopes[crossed] = self.origin_slopes[crossed]
        self.weight[crossed] *= 10
        self.steps[crossed] = 0
