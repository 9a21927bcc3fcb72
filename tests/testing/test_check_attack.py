"""The attack check rejects every way of cheating or breaking that it names."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from dpbench.attacks import Access, Attack, Malt, NotApplicable
from dpbench.attacks.toolbox.confidence import logit
from dpbench.testing import check_attack


@dataclass(frozen=True, kw_only=True)
class Base(Attack):
    """A loss attack that each case below spoils in one way."""

    reference: ClassVar[str] = "none"

    def honest(self, view):
        return Malt().score(view)


@dataclass(frozen=True, kw_only=True)
class Honest(Base):
    """Nothing is wrong with it."""

    def score(self, view):
        return self.honest(view)


@dataclass(frozen=True, kw_only=True)
class ReadsItsOwnBits(Base):
    """Peeks at its own row of the members."""

    needs_shadows: ClassVar[bool] = True

    def score(self, view):
        return self.honest(view) + 0.1 * view.members


@dataclass(frozen=True, kw_only=True)
class KnowsTheCounts(Base):
    """Forgets to leave the target out of a count."""

    needs_shadows: ClassVar[bool] = True

    def score(self, view):
        return self.honest(view) + 1e-12 * view.members.sum(0)


@dataclass(frozen=True, kw_only=True)
class KeepsItsOwnRow(Base):
    """Forgets to leave the target's own outputs out of the shadows' mean."""

    needs_shadows: ClassVar[bool] = True

    def score(self, view):
        phi = logit(view.shadows.scores(), view.labels)
        return logit(view.target.scores(), view.labels) - phi.mean(0)


@dataclass(frozen=True, kw_only=True)
class PeeksWhereNobodyFlips(Base):
    """Reads the bits of most targets, but not of those that the flips try."""

    needs_shadows: ClassVar[bool] = True

    def score(self, view):
        scores = self.honest(view)
        scores[1:9] += 100.0 * view.members[1:9]
        return scores


@dataclass(frozen=True, kw_only=True)
class FindsTooMuch(Base):
    """Reads a few targets' bits, in a way that only the size of its success shows."""

    needs_shadows: ClassVar[bool] = True

    def score(self, view):
        scores = logit(view.target.scores(), view.labels)
        scores[1:12] = 1e3 * (view.members[1:12] - 0.5)
        scores[13:23] = 1e3 * (view.members[13:23] - 0.5)
        return scores


@dataclass(frozen=True, kw_only=True)
class WantsScores(Base):
    """Declares labels and takes scores."""

    access: ClassVar[Access] = Access.LABEL

    def score(self, view):
        return self.honest(view)


@dataclass(frozen=True, kw_only=True)
class AsksTooOften(Base):
    """Declares one query and makes two."""

    def score(self, view):
        return self.honest(view) + self.honest(view)


@dataclass(frozen=True, kw_only=True)
class HidesItsShadows(Base):
    """Uses shadows without saying so, and leaves itself out."""

    def score(self, view):
        phi = logit(view.shadows.scores(), view.labels)
        mean = np.stack([np.delete(phi, t, axis=0).mean(0) for t in range(len(phi))])
        return self.honest(view) - np.nan_to_num(mean)


@dataclass(frozen=True, kw_only=True)
class Moody(Base):
    """Draws from a generator of its own."""

    def score(self, view):
        return self.honest(view) + 1e-9 * np.random.default_rng().random(view.members.shape)


@dataclass(frozen=True, kw_only=True)
class OnePerModel(Base):
    """Returns one score for each model."""

    def score(self, view):
        return self.honest(view).mean(1)


@dataclass(frozen=True, kw_only=True)
class Integers(Base):
    """Returns whole numbers."""

    def score(self, view):
        return self.honest(view).astype(int)


@dataclass(frozen=True, kw_only=True)
class NotAnArray(Base):
    """Returns a list."""

    def score(self, view):
        return self.honest(view).tolist()


@dataclass(frozen=True, kw_only=True)
class LogOfZero(Base):
    """Takes the logarithm of a released zero."""

    def score(self, view):
        rows = np.arange(len(view.labels))
        with np.errstate(divide="ignore"):
            return np.log(view.target.scores()[:, rows, view.labels])


@dataclass(frozen=True, kw_only=True)
class Constant(Base):
    """Says the same of all."""

    def score(self, view):
        return np.zeros(view.members.shape)


@dataclass(frozen=True, kw_only=True)
class Backwards(Base):
    """Gives members low scores."""

    def score(self, view):
        return -self.honest(view)


@dataclass(frozen=True, kw_only=True)
class Overwrites(Base):
    """Writes into the released scores."""

    def score(self, view):
        outputs = view.target.scores()
        outputs += 1e-9
        return np.log(outputs[:, np.arange(len(view.labels)), view.labels])


@dataclass(frozen=True, kw_only=True)
class Nowhere(Base):
    """Applies to nothing."""

    def score(self, view):
        raise NotApplicable("it is Tuesday")


@dataclass(frozen=True, kw_only=True)
class WithoutReference(Base):
    """Gives no source."""

    reference: ClassVar[str] = ""

    def score(self, view):
        return self.honest(view)


@dataclass(frozen=True, kw_only=True)
class WithoutDocstring(Base):
    def score(self, view):
        return self.honest(view)


@dataclass(frozen=True, kw_only=True)
class Forgetful(Base):
    """Has a field that does not come back from JSON."""

    power: float = field(default=1.0, compare=True)

    def to_json(self):
        return {}

    def score(self, view):
        return self.honest(view)


@dataclass(frozen=True, kw_only=True)
class Free(Base):
    """Claims to make no query."""

    @property
    def budget(self):
        return 0

    def score(self, view):
        return self.honest(view)


@dataclass(frozen=True, kw_only=True)
class CaresForItsPlace(Base):
    """Lets the points before it count."""

    def score(self, view):
        scores = self.honest(view)
        return scores - scores.cumsum(1) / np.arange(1, scores.shape[1] + 1)


@dataclass(frozen=True, kw_only=True)
class AsksOnePairTooOften(Base):
    """Declares two queries, and asks three about one point of one model."""

    access: ClassVar[Access] = Access.LABEL

    @property
    def budget(self):
        return 2

    def score(self, view):
        one, three = np.array([1]), np.zeros((1, 3, *view.inputs.shape[1:]), np.float32)
        view.target.predictions_at(one, one, three)
        return np.ones(view.members.shape)


@dataclass(frozen=True, kw_only=True)
class Auditor(Base):
    """Knows how confident the target is in its other members, by class."""

    knows_other_bits: ClassVar[bool] = True

    def score(self, view):
        phi = self.honest(view)
        inside = np.where(view.members, phi, 0.0)
        others = inside.sum(1, keepdims=True) - inside
        count = view.members.sum(1, keepdims=True) - view.members
        # Rounded: what is taken off a sum leaves its rounding error behind.
        return phi - 0.1 * (others / np.maximum(count, 1)).round(6)


@dataclass(frozen=True, kw_only=True)
class AuditorOfItself(Auditor):
    """Forgets to leave out the very point it scores."""

    def score(self, view):
        phi = self.honest(view)
        inside = np.where(view.members, phi, 0.0).sum(1, keepdims=True)
        return phi - 0.1 * inside / view.members.sum(1, keepdims=True)


@dataclass(frozen=True, kw_only=True)
class LooksInsideItsShadows(Base):
    """Looks at its shadows' weights, which its access does not show."""

    needs_shadows: ClassVar[bool] = True

    def score(self, view):
        return self.honest(view) + 0.0 * view.shadows.logits()[..., 0]


@dataclass(frozen=True, kw_only=True)
class InsideBase(Attack):
    """A white-box attack that each case below spoils in one way."""

    access: ClassVar[Access] = Access.WHITE_BOX
    reference: ClassVar[str] = "none"

    def honest(self, view):
        return -np.log(view.target.gradient_norms() + 1e-45)


@dataclass(frozen=True, kw_only=True)
class HonestInside(InsideBase):
    """Nothing is wrong with it."""

    def score(self, view):
        return self.honest(view)


@dataclass(frozen=True, kw_only=True)
class AveragesAllWeights(InsideBase):
    """Takes the mean of all weights, the target's own among them, for a reference."""

    needs_shadows: ClassVar[bool] = True

    def score(self, view):
        weights = view.shadows.weights()
        mean = np.broadcast_to(weights.mean(0), weights.shape)
        return self.honest(view) - 1e-6 * view.shadows.slopes(mean, weights)


@dataclass(frozen=True, kw_only=True)
class HidesItsWhiteShadows(InsideBase):
    """Looks at the weights of shadows without saying so."""

    def score(self, view):
        return self.honest(view) + 0.0 * view.shadows.logits()[..., 0]


@dataclass(frozen=True, kw_only=True)
class TakesWeightsForScores(InsideBase):
    """Declares scores and takes gradients."""

    access: ClassVar[Access] = Access.SCORE

    def score(self, view):
        return self.honest(view)


@dataclass(frozen=True, kw_only=True)
class LooksTwice(InsideBase):
    """Declares one question about the weights and asks two."""

    def score(self, view):
        return self.honest(view) + 0.0 * view.target.gradient_norms("inputs")


@dataclass(frozen=True, kw_only=True)
class EditsTheModel(InsideBase):
    """Writes into the weights it was shown."""

    def score(self, view):
        weights = view.target.weights()
        weights *= 2.0
        return weights


@dataclass(frozen=True, kw_only=True)
class LogOfVanished(InsideBase):
    """Takes the logarithm of a gradient that is zero."""

    def score(self, view):
        with np.errstate(divide="ignore"):
            return -np.log(view.target.gradient_norms())


def test_an_honest_attack_passes():
    check_attack(Honest())
    check_attack(HonestInside())
    check_attack(Auditor())


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (ReadsItsOwnBits(), "own membership bits"),
        (KnowsTheCounts(), "own membership bits"),
        (KeepsItsOwnRow(), "own row of the shadows"),
        (PeeksWhereNobodyFlips(), "know nothing of their members"),
        (FindsTooMuch(), "more than there is to find"),
        (WantsScores(), "score access is needed, label given"),
        (AsksTooOften(), "exceeds the budget of 1"),
        (HidesItsShadows(), "exceeds the budget of 0"),
        (Moody(), "two runs on the same view differ"),
        (OnePerModel(), r"shape \(\d+,\), not"),
        (Integers(), "not floats"),
        (NotAnArray(), "not a NumPy array"),
        (LogOfZero(), r"not finite \(label-only models\)"),
        (Constant(), "AUC is 0.500"),
        (Backwards(), "higher scores must mean more likely a member"),
        (Overwrites(), "writes into what it was shown"),
        (Nowhere(), "applies to nothing: it is Tuesday"),
        (WithoutReference(), "reference"),
        (WithoutDocstring(), "docstring"),
        (Forgetful(power=2.0), "come back from JSON"),
        (Free(), "at least one query"),
        (AveragesAllWeights(), "own row of the shadows"),
        (HidesItsWhiteShadows(), "exceeds the budget of 0"),
        (TakesWeightsForScores(), "white_box access is needed, score given"),
        (LooksTwice(), "exceeds the budget of 1"),
        (EditsTheModel(), "writes into what it was shown"),
        (CaresForItsPlace(), "its place among the others"),
        (AsksOnePairTooOften(), "query 3 exceeds the budget of 2"),
        (AuditorOfItself(), "changes with that very bit"),
        (LooksInsideItsShadows(), "white_box access is needed, score given"),
        (LogOfVanished(), r"not finite \(label-only models\)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Attack) else None,
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
def test_a_broken_contract_is_named(attack, message):
    with pytest.raises(AssertionError, match=message):
        check_attack(attack)
