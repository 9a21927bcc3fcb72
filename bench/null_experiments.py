"""What is found where nothing leaks: how often an interval excludes 0 on models that know nothing.

`python -m bench.null_experiments` trains nothing. The models' answers depend on the examples and on
chance, never on who was a member, so every advantage is 0 and a 95 % interval should exclude it in
at most 5 of 100 experiments. Thresholds, and the most exposed examples, are chosen on one half of
the models and used on the other, in two ways: by scores that have all other models as shadows, the
target among them, and by scores whose shadows are of the choosing half alone
(`metrics.thresholds`).
`--models 64 --examples 1000 --runs 200` are the defaults; `--attacks lira,gap` takes some only.
"""

import argparse
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.attacks import (
    Access,
    Attack,
    AttackR,
    Gap,
    LabelLira,
    Lira,
    Malt,
    Mast,
    Oracle,
    Rmia,
    View,
    Watson,
)
from dpbench.metrics.examples import most_exposed, top_advantage
from dpbench.metrics.intervals import Interval
from dpbench.metrics.paired import Resampling, interval
from dpbench.metrics.roc import rank
from dpbench.metrics.thresholds import best_decisions, decide, fold_curves
from dpbench.seeds import rng_for

CLASSES, REFERENCE, REPLICATES = 4, 200, 100
ATTACKS: tuple[Attack, ...] = (
    Gap(),
    Malt(),
    Mast(),
    Lira(),
    Lira(variance="per_example"),
    Lira(mode="offline"),
    Rmia(),
    AttackR(),
    Watson(),
    LabelLira(),
)
WAYS = ("all other models", "one half alone")


class Game(NamedTuple):
    """Answers that know no bit: `(M, n, C)` on the challenge points, `(M, r, C)` on public ones."""

    outputs: NDArray[np.float32]
    public: NDArray[np.float32]
    labels: NDArray[np.int64]
    public_labels: NDArray[np.int64]
    members: NDArray[np.bool_]


def draw(models: int, examples: int, rng: np.random.Generator) -> Game:
    """Returns a game in which examples differ in difficulty and models in confidence."""
    labels, public_labels = (rng.integers(CLASSES, size=size) for size in (examples, REFERENCE))
    outputs, public = (_answers(models, known, rng) for known in (labels, public_labels))
    members = rng.random((models, examples)) < 0.5
    return Game(outputs, public, labels, public_labels, members)


def _answers(
    models: int, labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    logits = rng.normal(size=(models, len(labels), CLASSES), scale=1.0)
    logits += rng.normal(size=(1, len(labels), CLASSES))
    logits[:, np.arange(len(labels)), labels] += 1 + 0.3 * rng.normal(size=(models, 1))
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    answers: NDArray[np.float32] = (odds / odds.sum(-1, keepdims=True)).astype(np.float32)
    return answers


def view(game: Game, models: NDArray[np.int64], seed: int) -> View:
    """Returns what an attack sees of some models, which are each other's shadows."""

    def query(inputs: NDArray[np.floating]) -> NDArray[np.floating]:
        return (game.outputs if len(inputs) == len(game.labels) else game.public)[models]

    oracle = Oracle(
        access=Access.SCORE, budget=None, pool_outputs=lambda: game.outputs[models], query=query
    )
    shape = np.ones(1, np.float32)
    return View(
        labels=game.labels,
        inputs=np.zeros((len(game.labels), 1), np.float32),
        n_classes=CLASSES,
        target=oracle,
        shadows=oracle,
        members=game.members[models],
        reference_inputs=np.zeros((REFERENCE, 1), np.float32),
        reference_labels=game.public_labels,
        low=0 * shape,
        high=shape,
        unit=shape,
        binary=np.zeros(1, bool),
        is_image=False,
        rng=rng_for(seed, "null attack"),
    )


def advantages(
    scores: NDArray[np.floating], source: NDArray[np.floating], members: NDArray[np.bool_]
) -> tuple[Interval, Interval]:
    """Returns the advantage, and that on the most exposed 1 % of the examples."""
    models, examples = members.shape
    everyone = np.arange(models)
    resampling = Resampling(
        models=models,
        examples=examples,
        tests=1,
        rng=rng_for(0, "null replicates"),
        replicates=REPLICATES,
    )
    draws = resampling.advantage(scores, members, everyone, source)
    curves = fold_curves(rank(source, members), examples)
    chosen = best_decisions(source, curves)
    even, odd = (most_exposed(chosen[half::2], members[half::2]) for half in (0, 1))
    top = top_advantage(
        decide(scores, everyone, curves),
        members,
        models=everyone,
        exposed=(even, odd),
        rng=rng_for(0, "null replicates", "top"),
        replicates=REPLICATES,
    )
    return interval(draws, models=models, examples=examples), top


def experiment(attack: Attack, game: Game, seed: int) -> dict[str, tuple[Interval, Interval]]:
    """Returns the advantages by how thresholds and exposed examples are chosen."""
    models = np.arange(len(game.members))
    scores = attack.score(view(game, models, seed))
    within = scores.copy()
    if attack.needs_shadows:
        for half in (0, 1):
            within[half::2] = attack.score(view(game, models[half::2], seed))
    return {
        way: advantages(scores, source, game.members)
        for way, source in zip(WAYS, (scores, within), strict=True)
    }


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--attacks", default="")
    options = parser.parse_args()
    wanted = options.attacks.split(",") if options.attacks else None
    found: dict[tuple[str, str, int], list[Interval]] = defaultdict(list)
    for seed in range(options.runs):
        game = draw(options.models, options.examples, rng_for(seed, "null experiment"))
        for attack in ATTACKS:
            if wanted and attack.label() not in wanted:
                continue
            for way, pair in experiment(attack, game, seed).items():
                for number, one in enumerate(pair):
                    found[attack.label(), way, number].append(one)
    print(f"{options.models} models, {options.examples} examples, {options.runs} experiments")
    heads = ("advantage", "excl. 0", "top 1 %", "excl. 0")
    print(f"{'attack':34} {'shadows':18} " + "{:>18} {:>8} {:>18} {:>8}".format(*heads))
    for label, way in dict.fromkeys((label, way) for label, way, _ in found):
        cells = [_cells(found[label, way, number]) for number in (0, 1)]
        print(f"{label:34} {way:18} {' '.join(cells)}")


def _cells(intervals: list[Interval]) -> str:
    values = np.array([one.value for one in intervals])
    missed = np.mean([not one.low <= 0 <= one.high for one in intervals])
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():+9.4f} +-{error:.4f} {100 * missed:7.1f}%"


if __name__ == "__main__":
    main()
