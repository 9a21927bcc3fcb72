"""The defense check rejects every broken stage that it names."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from dpbench.defenses.base import Defense
from dpbench.testing import check_defense
from dpbench.training.task import Mechanism


@dataclass(frozen=True, kw_only=True)
class Base(Defense):
    """No defense; each case below adds one stage."""

    reference: ClassVar[str] = "none"


@dataclass(frozen=True, kw_only=True)
class Everything(Base):
    """Changes every stage as it should."""

    randomised: ClassVar[bool] = True

    strength: float = 0.1

    def adapt(self, recipe):
        return replace(recipe, epochs=recipe.epochs / 2)

    def prepare(self, data):
        soft = torch.nn.functional.one_hot(data.targets, 5).float()
        return data._replace(inputs=data.inputs * 0.5, targets=0.9 * soft + 0.02)

    def loss(self, logits, targets):
        entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
        return super().loss(logits, targets) - self.strength * entropy

    def regularise(self, weights):
        return sum(w.flatten(1).square().sum(1) for w in weights.values())

    def mechanism(self, sampling):
        return Mechanism(max_grad_norm=1.0, noise_multiplier=1 / sampling.rate)

    def release(self, outputs, generator=None):
        noise = torch.empty_like(outputs).uniform_(0, 0.01, generator=generator)
        return outputs + noise


@dataclass(frozen=True, kw_only=True)
class AdaptsToNothing(Base):
    """Returns no recipe."""

    def adapt(self, recipe):
        return None


@dataclass(frozen=True, kw_only=True)
class PreparesInPlace(Base):
    """Writes into the data."""

    def prepare(self, data):
        data.inputs.mul_(0.5)
        return data


@dataclass(frozen=True, kw_only=True)
class Standardises(Base):
    """Uses the statistics of the members."""

    def prepare(self, data):
        return data._replace(inputs=data.inputs - data.inputs.mean(0))


@dataclass(frozen=True, kw_only=True)
class CountsClasses(Base):
    """Returns targets of another shape."""

    def prepare(self, data):
        return data._replace(targets=data.targets.float())


@dataclass(frozen=True, kw_only=True)
class DropsExamples(Base):
    """Loses an example."""

    def prepare(self, data):
        return data._replace(inputs=data.inputs[1:], targets=data.targets[1:])


@dataclass(frozen=True, kw_only=True)
class Averages(Base):
    """Averages its loss over the batch."""

    def loss(self, logits, targets):
        return super().loss(logits, targets).mean()


@dataclass(frozen=True, kw_only=True)
class Floods(Base):
    """Its loss turns round at the batch's mean."""

    def loss(self, logits, targets):
        losses = super().loss(logits, targets)
        return losses * torch.sign(losses.detach().mean() - 1.0)


@dataclass(frozen=True, kw_only=True)
class LogOfSoftmax(Base):
    """Takes the logarithm of a probability that underflows."""

    def loss(self, logits, targets):
        if targets.is_floating_point():
            return super().loss(logits, targets)
        return -logits.softmax(-1).gather(-1, targets[..., None]).squeeze(-1).log()


@dataclass(frozen=True, kw_only=True)
class Detached(Base):
    """Cannot be differentiated."""

    def loss(self, logits, targets):
        return super().loss(logits.detach(), targets)


@dataclass(frozen=True, kw_only=True)
class Flat(Base):
    """Has no gradient."""

    def loss(self, logits, targets):
        return super().loss(logits, targets) * 0.0


@dataclass(frozen=True, kw_only=True)
class SharedPenalty(Base):
    """Adds up the models' penalties."""

    def regularise(self, weights):
        return sum(w.square().sum() for w in weights.values()).expand(len(weights["0.bias"]))


@dataclass(frozen=True, kw_only=True)
class PenaltyPerUnit(Base):
    """Returns a penalty of the wrong shape."""

    def regularise(self, weights):
        return weights["0.bias"].square()


@dataclass(frozen=True, kw_only=True)
class NoClipping(Base):
    """Clips at zero."""

    def mechanism(self, sampling):
        return Mechanism(max_grad_norm=0.0, noise_multiplier=1.0)


@dataclass(frozen=True, kw_only=True)
class EndlessNoise(Base):
    """Adds infinite noise."""

    def mechanism(self, sampling):
        return Mechanism(max_grad_norm=1.0, noise_multiplier=math.inf)


@dataclass(frozen=True, kw_only=True)
class FalseClaim(Base):
    """Claims privacy without noise."""

    def mechanism(self, sampling):
        return Mechanism(max_grad_norm=1.0, noise_multiplier=0.0, claim="private")


@dataclass(frozen=True, kw_only=True)
class GlobalNoise(Base):
    """Draws from torch's global state."""

    keeps_argmax: ClassVar[bool] = False

    def release(self, outputs):
        return outputs + 0.01 * torch.rand_like(outputs)


@dataclass(frozen=True, kw_only=True)
class GlobalShuffle(Base):
    """Advances NumPy's global state."""

    def prepare(self, data):
        np.random.random()  # noqa: NPY002
        return data


@dataclass(frozen=True, kw_only=True)
class RandomWithoutGenerator(Base):
    """Says it is randomised and takes no generator."""

    randomised: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class SwapsLabels(Base):
    """Releases another label."""

    def release(self, outputs):
        return outputs.roll(1, -1)


@dataclass(frozen=True, kw_only=True)
class SwapsLabelsOpenly(SwapsLabels):
    """Releases another label, and says so."""

    keeps_argmax: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Negative(Base):
    """Releases negative numbers."""

    def release(self, outputs):
        return outputs - 0.1


@dataclass(frozen=True, kw_only=True)
class LogScores(Base):
    """Releases minus infinity."""

    def release(self, outputs):
        return 1000 + outputs.log()


@dataclass(frozen=True, kw_only=True)
class LabelsOnly(Base):
    """Releases labels instead of scores."""

    def release(self, outputs):
        return outputs.argmax(-1)


@dataclass(frozen=True, kw_only=True)
class Doubles(Base):
    """Releases another type."""

    def release(self, outputs):
        return outputs.double()


@dataclass(frozen=True, kw_only=True)
class ReleasesInPlace(Base):
    """Writes into the scores."""

    def release(self, outputs):
        return outputs.mul_(0.5)


@dataclass(frozen=True, kw_only=True)
class BatchNormalised(Base):
    """Looks at the whole batch."""

    def release(self, outputs):
        return outputs / outputs.sum() if outputs.numel() else outputs


@dataclass(frozen=True, kw_only=True)
class WithoutDocstring(Base):
    pass


@pytest.mark.parametrize("defense", [Base(), Everything(), SwapsLabelsOpenly()])
def test_a_sound_defense_passes(defense):
    check_defense(defense)


@pytest.mark.parametrize(
    ("defense", "message"),
    [
        (AdaptsToNothing(), "not a Recipe"),
        (PreparesInPlace(), "prepare writes into the data"),
        (Standardises(), "one example change what another one becomes"),
        (CountsClasses(), "float32 targets of shape"),
        (DropsExamples(), "inputs' shape"),
        (Averages(), "do not average"),
        (Floods(), "depends on the other examples"),
        (LogOfSoftmax(), "not finite for logits up to 200"),
        (Detached(), "detached"),
        (Flat(), "no gradient anywhere"),
        (SharedPenalty(), "another one's penalty"),
        (PenaltyPerUnit(), "for 3 models"),
        (NoClipping(), "max_grad_norm is 0"),
        (EndlessNoise(), "noise_multiplier is inf"),
        (FalseClaim(), "claims privacy and adds no noise"),
        (GlobalShuffle(), "global random state"),
        (RandomWithoutGenerator(), "takes no `generator`"),
        (SwapsLabels(), "set keeps_argmax to False"),
        (Negative(), "negative"),
        (LogScores(), "not finite"),
        (LabelsOnly(), "turns shape"),
        (Doubles(), "into torch.float64"),
        (ReleasesInPlace(), "writes into the scores"),
        (BatchNormalised(), "depends on the other examples of its batch"),
        (WithoutDocstring(), "docstring"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Defense) else None,
)
def test_a_broken_contract_is_named(defense, message):
    state = np.random.get_state()  # noqa: NPY002
    with pytest.raises(AssertionError, match=message):
        check_defense(defense)
    np.random.set_state(state)  # noqa: NPY002


def test_a_release_from_the_global_state_is_not_deterministic():
    state = torch.random.get_rng_state()
    with pytest.raises(AssertionError, match="differs between two calls"):
        check_defense(GlobalNoise())
    torch.random.set_rng_state(state)
