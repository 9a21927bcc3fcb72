"""White-box attacks on models that were really trained: what leaks is found, nothing else is."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from views import view_of

from dpbench.attacks import (
    Access,
    BayesWb,
    GradientNorm,
    InverseHessian,
    Lira,
    Matt,
    Nasr,
    Oracle,
)
from dpbench.models import MLP, Softmax
from dpbench.models.network import Network
from dpbench.testing import auc, standard_error
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import fit, logits
from dpbench.training.recipe import Recipe
from dpbench.training.task import Task, TrainingData
from dpbench.training.white_box import TrainedModels

D, C, N, M = 40, 4, 150, 24
NETS = {"softmax": Softmax(), "mlp": MLP(hidden=(16,))}
ANY_NET = [
    GradientNorm(),
    GradientNorm(of="inputs"),
    GradientNorm(calibration="global"),
    Matt(),
    Nasr(),
    BayesWb(),
    BayesWb(layers="input"),
    BayesWb(layers="all"),
    BayesWb(form="learned"),
    BayesWb(form="learned", layers="all"),
    BayesWb(form="learned", layers="input"),
    InverseHessian(),
]
CASES = [(net, attack) for net in NETS for attack in ANY_NET]
CASES += [("softmax", Matt(origin="shadows")), ("softmax", BayesWb(proxy="shadows"))]


@cache
def trained(name):
    """Overfitted models on the first third of the points, all points, and bits for any third."""
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.standard_normal((3 * N, D)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(C, size=3 * N))
    x, y = points[:N], labels[:N]
    members = rng.random((M, N)) < 0.5
    recipe = Recipe(epochs=20, batch_size=16, lr=0.1, momentum=0.9)
    sampling = recipe.sampling(N / 2)
    task = Task(
        architecture=NETS[name],
        shape=(D,),
        n_classes=C,
        recipe=recipe,
        sampling=sampling,
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(x, y, x[:20], y[:20]),
        members=torch.from_numpy(members),
        seed=0,
        models=tuple(range(M)),
        checkpoints=(sampling.steps,),
    )
    return fit(task)[sampling.steps], points, labels, members


def scores_of(attack, name, *, third=slice(N)):
    weights, points, labels, members = trained(name)
    x, y = points[third], labels[third]
    models = Ensemble(Network(NETS[name], (D,), C), weights)
    public, public_labels = points[2 * N :], labels[2 * N :].numpy()
    outputs = logits(models, x).softmax(-1).numpy()
    oracle = Oracle(
        access=Access.WHITE_BOX,
        budget=attack.budget,
        pool_outputs=lambda: outputs,
        query=lambda inputs: outputs,
        white_box=TrainedModels(
            models=models,
            inputs=x,
            labels=y,
            seed=0,
            reference=public,
        ),
    )
    view = view_of(outputs, y.numpy(), members, inputs=x.numpy(), reference_labels=public_labels)
    return attack.score(dataclasses.replace(view, target=oracle, shadows=oracle))


@pytest.mark.parametrize(
    ("name", "attack"), CASES, ids=lambda case: case if isinstance(case, str) else case.label()
)
def test_members_are_found_and_strangers_are_not(name, attack):
    members = trained(name)[3]
    assert auc(scores_of(attack, name), members) > 0.6
    # The same bits mean nothing for points that no model was trained on.
    found = auc(scores_of(attack, name, third=slice(N, 2 * N)), members)
    assert abs(found - 0.5) < 5 * standard_error(members)


@pytest.mark.parametrize("name", NETS)
def test_the_norm_finds_about_what_the_confidence_finds(name):
    members = trained(name)[3]
    norm = auc(scores_of(GradientNorm(), name), members)
    confidence = auc(scores_of(Lira(variance="per_example"), name), members)
    assert norm == pytest.approx(confidence, abs=0.05)
