"""The learning rate of every step."""

import math

from dpbench.training.recipe import Recipe, Sampling


def learning_rates(recipe: Recipe, sampling: Sampling) -> list[float]:
    """Returns one learning rate per step; decaying schedules reach zero after the last step."""
    # Of all steps, though a checkpoint may end the training earlier: a stopped model has seen the
    # beginning of the full schedule (docs/decisions/0005).
    fractions = [step / sampling.steps for step in range(sampling.steps)]
    if recipe.schedule == "linear":
        return [recipe.lr * (1 - fraction) for fraction in fractions]
    if recipe.schedule == "cosine":
        return [recipe.lr * (1 + math.cos(math.pi * fraction)) / 2 for fraction in fractions]
    return [recipe.lr] * sampling.steps
