"""Any torchvision classifier that can do without BatchNorm."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, fx, nn

from dpbench.component import register
from dpbench.errors import UserError, suggest
from dpbench.models.base import Architecture
from dpbench.models.dropout import DrivenDropout
from dpbench.models.group_norm import group_norm
from dpbench.models.image_shape import image_shape
from dpbench.models.initialise import materialise


@register
@dataclass(frozen=True, kw_only=True)
class Torchvision(Architecture):
    """A network of `torchvision.models`, untrained, with GroupNorm for BatchNorm.

    In-place operations are rewritten and dropout draws from the given generator; the layers and
    their names stay. The initial weights follow PyTorch's default distributions, not the factory's.

    Attributes:
        factory: Name in `torchvision.models`, e.g. resnet18, mobilenet_v2, vgg11, alexnet.
    """

    factory: str = "resnet18"

    def build(self, shape: tuple[int, ...], n_classes: int, generator: Generator) -> nn.Module:
        """Returns the module; see `Architecture.build`.

        Raises:
            UserError: torchvision has no such network, it needs BatchNorm or hidden randomness, or
                it does not take inputs of this shape.
        """
        image_shape(shape, model=self.label())
        return materialise(lambda: self._construct(shape, n_classes), generator)

    def _construct(self, shape: tuple[int, ...], n_classes: int) -> nn.Module:
        factory = self._factory()
        try:
            network = _functional(self._create(factory, n_classes))
            outputs = network.eval()(torch.empty(2, *shape))
        # torch.fx raises either for code that it cannot record, such as control flow on data.
        except (fx.proxy.TraceError, NotImplementedError) as error:
            raise self._unsuitable("it cannot be rewritten without in-place operations") from error
        except (RuntimeError, AssertionError, ValueError) as error:
            raise self._unsuitable(f"it does not take inputs of shape {shape}") from error
        if not isinstance(outputs, torch.Tensor) or outputs.shape != (2, n_classes):
            raise self._unsuitable("its output is not one tensor of logits")
        return network.train()

    def _factory(self) -> Callable[..., nn.Module]:
        models: Any = importlib.import_module("torchvision").models
        names = models.list_models(module=models)
        if self.factory not in names:
            raise UserError(
                f"model.factory: torchvision has no network '{self.factory}'",
                allowed="resnet18, resnet50, mobilenet_v2, vgg11, alexnet, squeezenet1_1, ...",
                next_step=suggest(self.factory, names) or "see the torchvision documentation",
            )
        return models.get_model_builder(self.factory)  # type: ignore[no-any-return]

    def _create(self, factory: Callable[..., nn.Module], n_classes: int) -> nn.Module:
        try:
            network = factory(weights=None, num_classes=n_classes, norm_layer=group_norm)
        except TypeError:  # this factory has no choice of normalisation
            network = factory(weights=None, num_classes=n_classes)
        if any(type(part).__name__ == "StochasticDepth" for part in network.modules()):
            raise self._unsuitable("its stochastic depth draws from the global random state")
        return network

    def _unsuitable(self, reason: str) -> UserError:
        return UserError(
            f"model.factory: '{self.factory}' cannot be used: {reason}",
            next_step="use a residual network, MobileNetV2, VGG or AlexNet, or resnet and cnn",
        )


def _functional(network: nn.Module) -> nn.Module:
    """Returns the network without in-place operations and with generator-driven dropout.

    Opacus' backward hooks refuse a hooked output that is modified in place
    (https://github.com/meta-pytorch/opacus/issues/828), be it by a layer or by `out += identity`.
    Tracing turns the latter into an addition, as a traced value has no in-place operators.
    """
    traced = fx.symbolic_trace(network)
    for name, part in list(traced.named_modules()):
        if isinstance(part, nn.Dropout):
            traced.set_submodule(name, DrivenDropout(part.p))
        elif getattr(part, "inplace", False):
            part.inplace = False
    return traced
