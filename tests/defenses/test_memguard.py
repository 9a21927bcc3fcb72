"""MemGuard against a slow search of one query at a time, and what it promises."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbench.defenses import Composition, MemGuard, Serving
from dpbench.defenses.membership_classifier import HIDDEN, Lesson, MembershipClassifier
from dpbench.defenses.memguard import coins, distortion, hidden_membership
from dpbench.testing import check_defense

MODELS, POOL, CLASSES, STEPS = 2, 150, 6, 60


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Members `(M, n)` are answered with more confidence than others and the reference set."""
    draw = generator(seed)
    members = torch.rand(MODELS, POOL, generator=draw) < 0.5
    sharpness = torch.where(members, 6.0, 2.0)[..., None]
    outputs = (sharpness * torch.randn(MODELS, POOL, CLASSES, generator=draw)).softmax(-1)
    reference = (2.0 * torch.randn(MODELS, POOL, CLASSES, generator=draw)).softmax(-1)
    return outputs, members, reference


@pytest.fixture(scope="module")
def served():
    outputs, members, reference = planted()
    serving = Serving(
        outputs=outputs,
        labels=torch.zeros(POOL, dtype=torch.int64),
        members=members,
        reference_outputs=reference,
        reference_labels=torch.zeros(POOL, dtype=torch.int64),
        predict=lambda inputs: pytest.fail("MemGuard asks the models about nothing else"),
        shape=(1,),
        low=torch.zeros(1),
        high=torch.ones(1),
        binary=torch.zeros(1, dtype=torch.bool),
        generator=generator(1),
    )
    return serving, MemGuard(epochs=150, lr=0.05).fit_release(serving)


def test_the_contract():
    check_defense(MemGuard(epochs=1, iterations=20))
    check_defense(MemGuard(epochs=1, budget=0.0))


def test_claims_do_not_survive_a_classifier_of_the_members():
    assert Composition((MemGuard(),)).claim_dropped_by == ("memguard",)


def test_the_classifier_tells_members_from_others(served):
    serving, state = served
    classifier = MembershipClassifier.of(state)
    log_odds = classifier.logits(serving.outputs.sort(-1).values)
    for found, members in zip(log_odds > 0, serving.members, strict=True):
        assert found[members].float().mean() - found[~members].float().mean() > 0.4


def test_every_classifier_learns_from_its_own_model():
    outputs, members, reference = planted(3)

    def first(other: torch.Tensor) -> torch.Tensor:
        lesson = Lesson(torch.stack([outputs[0], other]), members, reference)
        trained = MembershipClassifier.trained(
            lesson, epochs=3, batch_size=32, lr=0.1, generator=generator(4)
        )
        return torch.stack([trained.weights[1][0], trained.weights[1][1]])

    (one, its), (same, others) = first(outputs[1]), first(outputs[1].flip(0))
    assert torch.equal(one, same)
    assert not torch.equal(its, others)


def test_the_classifiers_slopes_are_those_of_its_log_odds(served):
    serving, state = served
    classifier = MembershipClassifier.of({name: value.double() for name, value in state.items()})
    vectors = serving.outputs[1].double().requires_grad_()
    expected = classifier.logits(vectors.sort(-1).values[None].expand(MODELS, -1, -1))[1]
    (slopes,) = torch.autograd.grad(expected.sum(), vectors)
    log_odds, found = classifier.logits_and_slopes(1, vectors.detach())
    torch.testing.assert_close(log_odds, expected.detach())
    torch.testing.assert_close(found, slopes)


def slow_search(state, model: int, given: torch.Tensor, iterations: int) -> torch.Tensor:
    """Phase I as the paper writes it: one query, the loss by automatic differentiation."""

    def log_odds(vector: torch.Tensor) -> torch.Tensor:
        hidden = vector.sort().values
        for layer in range(len(HIDDEN)):
            weight, bias = state[f"weight{layer}"][model], state[f"bias{layer}"][model, 0]
            hidden = torch.relu(hidden @ weight + bias)
        last = len(HIDDEN)
        return (hidden @ state[f"weight{last}"][model] + state[f"bias{last}"][model, 0])[0]

    label, before = int(given.argmax()), float(log_odds(given))
    origin = given.log().softmax(-1)  # the first vector: it is not distorted at all
    found, weight = given, 0.1
    if abs(1 / (1 + math.exp(-before)) - 0.5) <= 1e-5:
        return found
    while weight < 2e5:
        logits, success = given.log(), False
        for _ in range(iterations):
            leaf = logits.clone().requires_grad_()
            vector = leaf.softmax(-1)
            rest = torch.cat([leaf[:label], leaf[label + 1 :]])
            loss = (
                log_odds(vector).abs()
                + 10 * torch.relu(rest.max() - leaf[label])
                + weight * (vector - origin).abs().sum()
            )
            (gradient,) = torch.autograd.grad(loss, leaf)
            logits = logits - 0.1 * gradient / gradient.norm()
            vector = logits.softmax(-1)
            if int(vector.argmax()) == label and float(log_odds(vector)) * before <= 0:
                success = True
                break
        if not success:
            return found
        found, weight = vector, 10 * weight
    return found


def test_phase_one_is_the_papers_search_one_query_at_a_time(served):
    serving, state = served
    state = {name: value.double() for name, value in state.items() if name != "secret"}
    queries = serving.outputs[1, :6].double()
    queries /= queries.sum(-1, keepdim=True)
    fast = hidden_membership(MembershipClassifier.of(state), 1, queries, iterations=40)
    slow = torch.stack([slow_search(state, 1, query, 40) for query in queries])
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-9)
    assert (fast != queries).any(-1).sum() > 3


def test_a_masked_vector_lies_across_the_boundary_and_keeps_the_label(served):
    serving, state = served
    classifier = MembershipClassifier.of(state)
    given = serving.outputs[0]
    masked = hidden_membership(classifier, 0, given, iterations=STEPS)
    changed = (masked != given).any(-1)
    assert changed.float().mean() > 0.95
    sides = [classifier.logits_and_slopes(0, vectors)[0][changed] for vectors in (given, masked)]
    assert bool((sides[0] * sides[1] <= 0).all())
    assert torch.equal(masked.argmax(-1), given.argmax(-1))
    torch.testing.assert_close(masked.sum(-1), torch.ones(POOL))


def test_a_saturated_softmax_is_searched_too():
    # The classifier likes spread vectors: its log odds are 5 - 6 max p.
    state = {f"weight{i}": torch.zeros(1, a, b) for i, (a, b) in enumerate(layers())}
    state |= {f"bias{i}": torch.zeros(1, 1, b) for i, (_, b) in enumerate(layers())}
    state["weight0"][0, -1, 0] = 1.0
    state["weight1"][0, 0, 0] = state["weight2"][0, 0, 0] = 1.0
    state["weight3"][0, 0, 0], state["bias3"][0, 0, 0] = -6.0, 5.0
    sure = torch.tensor([[1.0, 1e-9, 0.0, 0.0, 0.0, 0.0], [1.0, 1e-30, 0.0, 0.0, 0.0, 0.0]])
    masked = hidden_membership(MembershipClassifier.of(state), 0, sure, iterations=300)
    assert bool(masked.isfinite().all())
    assert bool((masked[:, 0] < 5 / 6 + 1e-6).all())
    assert bool((masked[:, 0] > 0.7).all())  # no further across than one step


def layers() -> list[tuple[int, int]]:
    sizes = (CLASSES, *HIDDEN, 1)
    return list(itertools.pairwise(sizes))


def test_the_expected_distortion_meets_the_budget(served):
    serving, state = served
    full = MemGuard(budget=2.0, iterations=STEPS).release(serving.outputs, state=state)
    wanted = distortion(serving.outputs, full)
    assert torch.equal(MemGuard(budget=0.0).release(serving.outputs, state=state), serving.outputs)
    for budget in (0.1, 0.3):
        seen = MemGuard(budget=budget, iterations=STEPS).release(serving.outputs, state=state)
        moved = (seen != serving.outputs).any(-1)
        assert torch.equal(seen[moved], full[moved])
        chance = (budget / wanted).clamp_max(1.0)[wanted > 0]
        rate, expected = moved[wanted > 0].float().mean(), chance.mean()
        spread = (chance * (1 - chance)).sum().sqrt() / len(chance)
        assert abs(rate - expected) < 4 * spread + 1e-6
        assert distortion(serving.outputs, seen).mean() < budget + 4 * spread


def test_a_larger_budget_masks_whatever_a_smaller_one_masks(served):
    serving, state = served
    moved = [
        (
            MemGuard(budget=budget, iterations=STEPS).release(serving.outputs, state=state)
            != serving.outputs
        ).any(-1)
        for budget in (0.05, 0.2, 0.8)
    ]
    assert bool((moved[0] <= moved[1]).all())
    assert bool((moved[1] <= moved[2]).all())
    assert moved[0].sum() < moved[2].sum()


def test_the_classifier_is_left_unsure(served):
    serving, state = served
    classifier = MembershipClassifier.of(state)
    seen = MemGuard(budget=2.0, iterations=STEPS).release(serving.outputs, state=state)
    before, after = (
        classifier.logits(o.sort(-1).values).sigmoid() for o in (serving.outputs, seen)
    )
    assert (after - 0.5).abs().mean() < 0.2 * (before - 0.5).abs().mean()


def test_asking_again_shows_the_same_answer_whatever_else_is_asked(served):
    serving, state = served
    defense = MemGuard(budget=0.2, iterations=STEPS)
    everything = defense.release(serving.outputs, state=state)
    some = torch.arange(POOL - 1, 0, -7)
    again = defense.release(serving.outputs[:, some], state=state)
    torch.testing.assert_close(again, everything[:, some], rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.floats(0.5, 20.0))
def test_coins_are_even_and_differ_between_secrets(seed, sharpness):
    draw = generator(seed)
    vectors = (sharpness * torch.randn(4000, CLASSES, generator=draw)).softmax(-1)
    secrets = 2 * torch.randint(2**62, (2, 1 + CLASSES), generator=draw) + 1
    first, second = (coins(vectors, secret) for secret in secrets)
    assert bool(((first >= 0) & (first < 1)).all())
    for share in (0.1, 0.5, 0.9):
        slack = 5 * math.sqrt(share * (1 - share) / 4000)
        assert abs((first < share).float().mean() - share) < slack
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 5 / math.sqrt(4000)
    nudged = vectors * (1 + 1e-7 * torch.randn(vectors.shape, generator=draw))
    assert (coins(nudged, secrets[0]) != first).float().mean() < 0.02
