"""Views built from given outputs, for tests that need no planted signal."""

import numpy as np

from dpbench.attacks import Access, Oracle, View


def view_of(outputs, labels, members, shadows=None, *, access=Access.SCORE, **changes):
    """Returns a view of targets that release `outputs` and shadows that release `shadows`."""

    def oracle(released):
        return Oracle(
            access=access, budget=None, pool_outputs=lambda: released, query=lambda x: released
        )

    inputs = np.zeros((len(labels), 2), np.float32)
    ones = np.ones(2, np.float32)
    facts = {
        "labels": labels,
        "inputs": inputs,
        "n_classes": outputs.shape[2],
        "target": oracle(outputs),
        "shadows": oracle(outputs if shadows is None else shadows),
        "members": members,
        "reference_inputs": np.zeros((0, 2), np.float32),
        "reference_labels": np.zeros(0, np.int64),
        "low": 0 * ones,
        "high": ones,
        "unit": ones,
        "binary": np.zeros(2, bool),
        "is_image": False,
        "rng": np.random.default_rng(0),
    }
    return View(**(facts | changes))


def random_outputs(seed, models, points, classes):
    """Returns probabilities, labels and bits."""
    rng = np.random.default_rng(seed)
    outputs = rng.dirichlet(np.full(classes, 0.5), size=(models, points))
    return outputs, rng.integers(classes, size=points), rng.random((models, points)) < 0.5
