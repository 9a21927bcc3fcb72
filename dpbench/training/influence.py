"""How strongly each input feature speaks for the true class: gradients of its logit."""

import torch
from torch import Tensor

from dpbench.models.base import Architecture
from dpbench.models.build import built
from dpbench.training.task import Weights


def influences(
    architecture: Architecture,
    weights: Weights,
    inputs: Tensor,
    targets: Tensor,
    *,
    steps: int,
    shape: tuple[int, ...],
    n_classes: int,
    device: str = "cpu",
) -> Tensor:
    """Returns the gradients `(K, N, d)` of `z_y - mean_k z_k` in the flattened input, on the CPU.

    Args:
        architecture: The network.
        weights: K models, stacked.
        inputs: `(N, *shape)`.
        targets: `(N,)` int64 labels.
        steps: Places on the segment from zero to the input over which the gradient is averaged, in
            the middle of equal parts; one stands for the input itself.
        shape: Shape of one input.
        n_classes: Number of classes C.
        device: Torch device name.
    """
    network = built(architecture, shape, n_classes).to(device).eval()
    places = [1.0] if steps == 1 else [(step + 0.5) / steps for step in range(steps)]
    inputs, targets = inputs.to(device), targets.to(device)
    models = len(next(iter(weights.values())))
    result = torch.zeros(models, len(inputs), inputs[0].numel())
    for model in range(models):
        network.load_state_dict({name: value[model] for name, value in weights.items()})
        for place in places:
            leaf = (place * inputs).requires_grad_()
            with torch.enable_grad():
                logits = network(leaf)
                own = logits.gather(1, targets[:, None]).sum() - logits.mean(1).sum()
                (gradient,) = torch.autograd.grad(own, leaf)
            result[model] += gradient.flatten(1).cpu() / len(places)
    return result
