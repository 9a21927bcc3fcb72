"""Bayes white-box: evidence of members in the weights that a proxy's weights lack."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Access, Attack, NotApplicable, Oracle, View
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.attacks.toolbox.displacement import Displacement, evidence_of, learn_on_layer
from dpbench.attacks.toolbox.input_slice import learned_input_scores
from dpbench.attacks.toolbox.proxy_tops import proxy_tops
from dpbench.attacks.toolbox.shadow_classifier import fit_logistic
from dpbench.attacks.toolbox.shadow_means import out_means
from dpbench.component import register

_STEPS = 4
"""Places on the path from zero to a point."""


class _Last(NamedTuple):
    """The slice at the inputs of the last affine layer, of all models of one oracle.

    Attributes:
        features: `(M, n, h)` the layer's inputs.
        weights: `(M, C, h + 1)` the layer.
        proxies: `(M, C, h + 1)` the same layer trained on public points.
    """

    features: Floats
    weights: Floats
    proxies: Floats

    def of(self, models: Ints) -> "_Last":
        """Returns the slice of some models."""
        return _Last(*(part[models] for part in self))


class _Slices(NamedTuple):
    """The attacked slices of one oracle's models; None for a slice that is not attacked.

    Attributes:
        last: The last layer and its proxies.
        values: `(M, n)` the true class's logit: the whole network, as a function of its input.
    """

    last: _Last | None
    values: Floats | None


@register
@dataclass(frozen=True, kw_only=True)
class BayesWb(Attack):
    """The calibrated white-box attack (Leino and Fredrikson 2020, "bayes-wb" and "general-wb").

    If the features of a class are independent Gaussians whose means the model has learned from its
    members, the log odds of membership are linear in the features, with the model's weights less
    those of a model of the population. A proxy stands for the latter. The score is

        (W - W')_y . h(x) + b_y - b'_y

    with the last layer's inputs h(x), its weights W, and the proxy's W'. Class priors are taken to
    be equal in both. It assumes that the proxy differs from the target by the target's members
    alone: a model class that training does not follow, or a proxy fitted otherwise than the
    target, is noise; the paper's advantage over the loss is that of generative weights.

    Attributes:
        form: `linear` subtracts the proxy. `learned` learns, from shadow models, a map of a weight
            and its proxy's to the attack's weight, the same for all features and classes. With
            `layers: all` the map is learned in the last layer only; the input slice is subtracted.
        layers: The slice that is attacked. `last`: the inputs of the last affine layer; the proxy
            shares the layers below with the target. `input`: the input itself, with the whole
            network above it. There the network is linearised around each point. With subtraction,
            the score is the difference of the two true logits, since they define the bias; the
            proxy's logit is the mean of the shadows trained without the point. `all`: both, joined
            by a logistic regression that is learned on shadow models.
        proxy: Of the last layer. `reference`: a softmax regression on the public points' features.
            `shadows`: the mean of the shadows trained without the point, for networks whose logits
            are affine in their weights.
        influence: How the network is linearised for a learned map at the input. `point`: by its
            gradient at the point. `path`: by the mean gradient on the way from zero, the mean of
            standardised inputs. Subtraction is the same for both.
        gauge: Softmax weights are defined up to a vector that all classes share. `mean` takes the
            mean over classes away, which differs between networks by chance. `none` keeps it, for
            weights with a meaning of their own, such as those of naive Bayes.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    reference: ClassVar[str] = (
        "Leino and Fredrikson, Stolen Memories: Leveraging Model Memorization for Calibrated "
        "White-Box Membership Inference, USENIX Security 2020"
    )

    form: Literal["linear", "learned"] = "linear"
    layers: Literal["last", "input", "all"] = "last"
    proxy: Literal["reference", "shadows"] = "reference"
    influence: Literal["point", "path"] = "point"
    gauge: Literal["mean", "none"] = "mean"

    @property
    def needs_shadows(self) -> bool:
        """A linear attack on the last layer with a public proxy needs none."""
        return (self.form, self.layers, self.proxy) != ("linear", "last", "reference")

    @property
    def budget(self) -> int:
        """Features of both kinds of points and the head; logits; influences, twice."""
        reads_logits = self.layers != "last" or not self._reads_head
        return 3 * self._reads_head + reads_logits + 2 * self._reads_influences

    @property
    def _reads_head(self) -> bool:
        return self.proxy == "reference" and self.layers != "input"

    @property
    def _reads_influences(self) -> bool:
        return self.form == "learned" and self.layers == "input"

    def score(self, view: View) -> Floats:
        """Returns the difference, or the log odds of membership if something is learned.

        Raises:
            NotApplicable: There are no weights to see, no shadows or public points for a proxy, the
                network has no affine last layer, or the form does not fit the layers.
        """
        self._check(view)
        targets = self._seen(view.target, view)
        shadows = targets
        if self.needs_shadows and view.shadows is not view.target:
            shadows = self._seen(view.shadows, view)
        if self.form == "linear" and self.layers != "all":
            all_rows = np.arange(len(view.members))
            return self._evidence(targets, shadows, all_rows, view.labels, view.members)[0]
        if self._reads_influences:
            assert targets.values is not None
            assert shadows.values is not None
            steps = _STEPS if self.influence == "path" else 1
            return learned_input_scores(view, targets.values, shadows.values, steps=steps)
        if len(view.members) < 2:
            raise NotApplicable("there is only one model, hence no shadow to learn from")
        # A learned map knows the bits of the models it was learned on, and scores the other half.
        scores = np.empty(view.members.shape)
        for scored, taught_by in halves(len(view.members)):
            scores[scored] = self._learned(targets, shadows, scored, taught_by, view)
        return scores

    def _check(self, view: View) -> None:
        if self.form == "learned" and self.layers != "input" and self.proxy == "shadows":
            raise NotApplicable(
                "the displacement is learned from a layer's weights and its proxy's, not from the "
                "mean of the shadows without each point: proxy: reference"
            )
        if self._reads_influences and self.gauge != "mean":
            raise NotApplicable("influences are those of the centred logit: gauge: mean")
        if self.proxy == "shadows" and self.layers != "input" and not view.target.linear:
            raise NotApplicable(
                "last layers on top of different networks have no meaningful mean: proxy: shadows "
                "is for softmax regression"
            )

    def _seen(self, oracle: Oracle, view: View) -> _Slices:
        last = values = None
        if self._reads_head:
            public = oracle.features("reference")
            tops = proxy_tops(public, view.reference_labels, n_classes=view.n_classes)
            weights, proxies = (self._gauged(top, axis=1) for top in (oracle.head(), tops.weights))
            last = _Last(oracle.features(), weights, proxies)
        if last is None or self.layers != "last":
            logits = self._gauged(oracle.logits(), axis=2)
            values = logits[:, np.arange(len(view.labels)), view.labels]
        return _Slices(last, values)

    def _gauged(self, values: Floats, axis: int) -> Floats:
        values = values.astype(np.float64)
        return values - values.mean(axis, keepdims=True) if self.gauge == "mean" else values

    def _learned(
        self, targets: _Slices, shadows: _Slices, scored: Ints, taught_by: Ints, view: View
    ) -> Floats:
        """Returns the log odds `(k, n)` of some targets, learned on other shadows.

        Those shadows are proxies of one another only: the mean of all shadows would know the bits
        of the targets.
        """
        labels, bits, displacement = view.labels, view.members[taught_by], None
        known = _Slices(
            shadows.last and shadows.last.of(taught_by),
            None if shadows.values is None else shadows.values[taught_by],
        )
        if self.form == "learned":
            assert known.last is not None
            displacement = learn_on_layer(*known.last, labels, bits, rng=view.rng)
        asked = self._evidence(targets, shadows, scored, labels, view.members, displacement)
        if len(asked) == 1:
            return asked[0]
        all_rows = np.arange(len(taught_by))
        taught = self._evidence(known, known, all_rows, labels, bits, displacement)
        return _joined(np.stack(taught, -1), bits, np.stack(asked, -1))

    def _evidence(
        self,
        targets: _Slices,
        shadows: _Slices,
        rows: Ints,
        labels: Ints,
        members: Bools,
        displacement: Displacement | None = None,
    ) -> list[Floats]:
        """Returns the evidence `(k, n)` of every slice on some targets."""
        found = []
        if targets.last is not None:
            features, weights, proxies = targets.last.of(rows)
            own = displacement(weights, proxies) if displacement else weights - proxies
            found.append(evidence_of(features, own, labels))
        if targets.values is not None and shadows.values is not None:
            found.append((targets.values - out_means(shadows.values, members))[rows])
        return found


def _joined(taught: Floats, bits: Bools, asked: Floats) -> Floats:
    """Returns the log odds `(k, n)` by a logistic regression of bits on the slices' evidence.

    Args:
        taught: `(K, n, s)` evidence on models whose bits are known.
        bits: `(K, n)` those bits.
        asked: `(k, n, s)` evidence on the targets.
    """
    center, spread = taught.mean((0, 1)), taught.std((0, 1))
    spread[spread == 0] = 1.0
    flat = ((taught - center) / spread).reshape(-1, taught.shape[2])
    constant, *weights = fit_logistic(flat, bits.ravel())
    log_odds: Floats = (asked - center) / spread @ np.array(weights) + constant
    return log_odds
