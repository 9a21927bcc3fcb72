"""Views with public points whose released scores are given."""

import numpy as np
from scipy.special import expit
from views import view_of

from dpbench.attacks.base import Access, Oracle


def public_view(outputs, labels, public, public_labels, members, *, budget=2, **changes):
    """Returns a view of targets that release `outputs`, and `public` on the public points."""
    inputs = changes.setdefault("reference_inputs", np.zeros((len(public_labels), 2), np.float32))

    def query(asked):
        assert asked is inputs
        return public

    target = Oracle(access=Access.SCORE, budget=budget, pool_outputs=lambda: outputs, query=query)
    return view_of(
        outputs, labels, members, target=target, reference_labels=public_labels, **changes
    )


def with_confidence(phi, labels, classes):
    """Returns scores `(M, n, C)` of logit-scaled confidence phi `(M, n)`."""
    outputs = np.repeat((expit(-phi) / (classes - 1))[..., None], classes, axis=2)
    outputs[:, np.arange(len(labels)), labels] = expit(phi)
    return outputs
