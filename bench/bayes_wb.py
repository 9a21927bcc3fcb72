"""What the calibrated white-box attack finds where its model is true, and where it is not.

Ten Gaussian classes with diagonal covariance, 75 features, 400 members, 400 others and 400 public
points for the proxy (the set-up of Leino and Fredrikson 2020 for synthetic data). The target and
the proxy are naive Bayes, whose weights are what the attack assumes, or softmax regressions trained
by gradient descent. Accuracies are balanced, at the best threshold for the same scores.

Command: python -m bench.bayes_wb [replicates]
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, softmax

from dpbench.arrays import Floats, Ints
from dpbench.attacks.toolbox.displacement import evidence_of
from dpbench.metrics import roc

CLASSES, FEATURES, POINTS = 10, 75, 400


class Sample(NamedTuple):
    """Points `(n, d)` and their labels `(n,)`."""

    points: Floats
    labels: Ints


class Linear(NamedTuple):
    """A linear model.

    Attributes:
        weights: `(C, d + 1)`, bias as the last column, without the log prior of the classes.
        log_priors: `(C,)`.
    """

    weights: Floats
    log_priors: Floats

    def logits(self, points: Floats) -> Floats:
        """Returns the logits `(n, C)`."""
        return points @ self.weights[:, :-1].T + self.weights[:, -1] + self.log_priors

    def losses(self, sample: Sample) -> Floats:
        """Returns the cross-entropy `(n,)`."""
        log_p = log_softmax(self.logits(sample.points), axis=1)
        losses: Floats = -log_p[np.arange(len(sample.labels)), sample.labels]
        return losses


Fit = Callable[[Sample], Linear]


def naive_bayes(sample: Sample) -> Linear:
    """Returns Gaussian naive Bayes with one variance per feature, pooled over classes."""
    points, labels = sample
    means = np.stack([points[labels == label].mean(0) for label in range(CLASSES)])
    variances = np.square(points - means[labels]).mean(0)
    bias = -np.square(means) @ (1 / variances) / 2
    weights = np.column_stack([means / variances, bias])
    return Linear(weights, np.log(np.bincount(labels, minlength=CLASSES) / len(labels)))


def gradient_descent(penalty: float, steps: int = 1000, rate: float = 0.5) -> Fit:
    """Returns full-batch gradient descent from zero on the mean cross-entropy and decay."""

    def fit(sample: Sample) -> Linear:
        inputs = np.column_stack([sample.points, np.ones(len(sample.points))])
        weights, own = np.zeros((CLASSES, inputs.shape[1])), np.eye(CLASSES)[sample.labels]
        decay = penalty * np.append(np.ones(FEATURES), 0.0)
        for _ in range(steps):
            errors = softmax(inputs @ weights.T, axis=1) - own
            weights -= rate * (errors.T @ inputs / len(inputs) + decay * weights)
        return Linear(weights, np.zeros(CLASSES))

    return fit


class World(NamedTuple):
    """One draw of the population, its samples, and the two models.

    Attributes:
        members: What the target was trained on.
        others: What it was not.
        target: The target.
        proxy: The proxy, trained on public points.
        population: Naive Bayes with the true means and variances.
    """

    members: Sample
    others: Sample
    target: Linear
    proxy: Linear
    population: Linear


def world(fit: Fit, rng: np.random.Generator) -> World:
    """Draws class means from U[-1, 1] and variances from U[1/2, 3/2], and fits both models."""
    means = rng.uniform(-1, 1, (CLASSES, FEATURES))
    variances = rng.uniform(0.5, 1.5, FEATURES)

    def draw() -> Sample:
        labels = rng.integers(CLASSES, size=POINTS)
        noise = rng.standard_normal((POINTS, FEATURES))
        return Sample(means[labels] + noise * np.sqrt(variances), labels)

    members, others, public = draw(), draw(), draw()
    bias = -np.square(means) @ (1 / variances) / 2
    truth = Linear(np.column_stack([means / variances, bias]), np.zeros(CLASSES))
    return World(members, others, fit(members), fit(public), truth)


def bayes_wb(sample: Sample, target: Linear, proxy: Linear) -> Floats:
    """Returns the attack's score `(n,)`, gauge `none`, with a correction for the class priors."""
    own = target.weights - proxy.weights
    return evidence_of(sample.points[None], own[None], sample.labels)[0]


def accuracies(drawn: World) -> dict[str, float]:
    """Returns the balanced accuracy of each attack."""
    target, proxy = drawn.target, drawn.proxy

    def right(sample: Sample) -> Floats:
        return (target.logits(sample.points).argmax(1) == sample.labels) * 1.0

    def best(score: Callable[[Sample], Floats]) -> float:
        scores = np.concatenate([score(drawn.members), score(drawn.others)])
        curve = roc(scores, np.arange(2 * POINTS) < POINTS)
        return float(0.5 + (curve.tp - curve.fp).max() / (2 * POINTS))

    decided = [bayes_wb(s, target, proxy) > 0 for s in (drawn.members, drawn.others)]
    return {
        "gap": 0.5 + (right(drawn.members) - right(drawn.others)).mean() / 2,
        "malt": best(lambda s: -target.losses(s)),
        "loss - proxy loss": best(lambda s: proxy.losses(s) - target.losses(s)),
        "bayes_wb": best(lambda s: bayes_wb(s, target, proxy)),
        "bayes_wb at 0": float(0.5 + (decided[0].mean() - decided[1].mean()) / 2),
        "true population": best(lambda s: bayes_wb(s, target, drawn.population)),
        "test accuracy": float(right(drawn.others).mean()),
    }


MODELS: dict[str, Fit] = {
    "naive Bayes": naive_bayes,
    "softmax, decay 1e-3": gradient_descent(1e-3),
    "softmax, decay 1e-1": gradient_descent(1e-1),
}


def table(fit: Fit, replicates: int) -> dict[str, tuple[float, float]]:
    """Returns the mean accuracy of each attack over replicates, and its standard error."""
    rows = [accuracies(world(fit, np.random.default_rng(seed))) for seed in range(replicates)]
    return {
        name: (
            float(np.mean([row[name] for row in rows])),
            float(np.std([row[name] for row in rows], ddof=1) / np.sqrt(replicates)),
        )
        for name in rows[0]
    }


def main() -> None:
    """Prints the table."""
    replicates = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    for name, fit in MODELS.items():
        cells = [f"{k} {v:.3f}±{e:.3f}" for k, (v, e) in table(fit, replicates).items()]
        print(f"{name}: {', '.join(cells)}")


if __name__ == "__main__":
    main()
