"""A defense that would fail on a GPU is told so where there is none."""

from dataclasses import dataclass

import pytest
import torch

from dpbench.defenses import MixupMmd, RelaxLoss
from dpbench.defenses.base import Defense
from dpbench.testing import check_defense
from dpbench.testing.gpu_checks import check_on_gpu


@dataclass(frozen=True, kw_only=True)
class Here(Defense):
    """Weighs classes, on the CPU."""

    reference = "nowhere"

    def loss(self, logits, targets):
        weights = torch.linspace(1, 2, logits.shape[-1])
        return -(weights * logits.log_softmax(-1)).sum(-1)


@dataclass(frozen=True, kw_only=True)
class Drawn(Defense):
    """Shakes inputs with noise of the CPU."""

    reference = "nowhere"

    def augment(self, inputs, targets, generator):
        return inputs + torch.randn(inputs.shape, generator=generator), targets


@dataclass(frozen=True, kw_only=True)
class Brought(Defense):
    """Computes its penalty on the CPU."""

    reference = "nowhere"

    def regularise(self, weights):
        return sum(value.cpu().flatten(1).square().sum(1) for value in weights.values())


@dataclass(frozen=True, kw_only=True)
class Read(Defense):
    """Looks at inputs with numpy."""

    reference = "nowhere"

    def augment(self, inputs, targets, generator):
        return inputs * float(inputs.numpy().max()), targets


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        (Here(), r"here: loss fails on a GPU: aten.mul.Tensor: .*device=logits.device"),
        (Drawn(), "drawn: augment fails on a GPU: .*generator on cuda"),
        (Brought(), "brought: regularise returns tensors of the CPU"),
        (Read(), "read: augment fails on a GPU: numpy cannot see"),
    ],
)
def test_what_a_gpu_would_refuse_is_said(defense, said):
    with pytest.raises(AssertionError, match=said):
        check_on_gpu(defense)
    with pytest.raises(AssertionError, match=said):
        check_defense(defense)


@pytest.mark.parametrize("defense", [MixupMmd(), RelaxLoss(alpha=1.0)])
def test_what_works_is_left_alone(defense):
    check_on_gpu(defense)
