"""How strongly each input feature speaks for the true class: gradients of its logit."""

import torch
from torch import Tensor

from dpbench.training.ensemble import Ensemble


def influences(models: Ensemble, inputs: Tensor, targets: Tensor, *, steps: int) -> Tensor:
    """Returns the gradients `(K, N, d)` of `z_y - mean_k z_k` in the flattened input, on the CPU.

    Args:
        models: K models.
        inputs: `(N, *shape)`.
        targets: `(N,)` int64 labels.
        steps: Places on the segment from zero to the input over which the gradient is averaged, in
            the middle of equal parts; one stands for the input itself.
    """
    module = models.module()
    places = [1.0] if steps == 1 else [(step + 0.5) / steps for step in range(steps)]
    inputs, targets = inputs.to(models.device), targets.to(models.device)
    result = torch.zeros(len(models), len(inputs), inputs[0].numel())
    for model in models.loaded(module):
        for place in places:
            leaf = (place * inputs).requires_grad_()
            with torch.enable_grad():
                logits = module(leaf)
                own = logits.gather(1, targets[:, None]).sum() - logits.mean(1).sum()
                (gradient,) = torch.autograd.grad(own, leaf)
            result[model] += gradient.flatten(1).cpu() / len(places)
    return result
