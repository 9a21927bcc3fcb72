"""Linear models that keep what they were asked, and the exact distance to their boundaries."""

import numpy as np

from dpbench.attacks import Access, Oracle


class Linear:
    """M linear models of C classes, `(M, C, d)` weights, on n points of any shape."""

    def __init__(self, weights, inputs):
        self.weights, self.inputs, self.asked = weights, inputs, []

    def pool(self, inputs=None):
        rows = (self.inputs if inputs is None else inputs).reshape(len(self.inputs), -1)
        return np.einsum("mcd,nd->mnc", self.weights, rows)

    def each(self, models, points, inputs):
        self.asked.append((models, points, inputs.copy()))
        rows = inputs.reshape(*inputs.shape[:2], -1)
        return np.einsum("kcd,kbd->kbc", self.weights[models], rows)

    def oracle(self, budget=None):
        return Oracle(
            access=Access.LABEL,
            budget=budget,
            pool_outputs=self.pool,
            query=self.pool,
            query_each=self.each,
        )

    def counts(self):
        """Returns `(M, n)` the queries of the adversary's own choice, counted one by one."""
        counts = np.zeros((len(self.weights), len(self.inputs)), int)
        for models, points, inputs in self.asked:
            np.add.at(counts, (models, points), inputs.shape[1])
        return counts

    def exact(self, labels, unit=1.0):
        """Returns `(M, n)` distances to the nearest other class; 0 if misclassified."""
        logits, distances = self.pool(), np.full((len(self.weights), len(labels)), np.inf)
        for m, weights in enumerate(self.weights):
            for i, y in enumerate(labels):
                for k in range(weights.shape[0]):
                    if k != y:
                        gap = (weights[y] - weights[k]) * unit
                        far = (logits[m, i, y] - logits[m, i, k]) / np.linalg.norm(gap)
                        distances[m, i] = min(distances[m, i], max(far, 0.0))
        return distances


def draw(*, models, points, features, classes=5, seed=0):
    """Returns linear models, and labels that most of the models agree with."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((1, classes, features))
    weights = common + 0.3 * rng.standard_normal((models, classes, features))
    inputs = rng.standard_normal((points, features)).astype(np.float32)
    linear = Linear(weights.astype(np.float32), inputs)
    return linear, np.einsum("cd,nd->nc", common[0], inputs).argmax(1)
