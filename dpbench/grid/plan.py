"""From a grid to jobs: what must be trained, asked, attacked and evaluated, each with its key."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from dpbench.attacks import Access, Attack
from dpbench.defenses import Composition
from dpbench.grid.attack_job import AttackJob, Observed
from dpbench.grid.best_job import BestJob
from dpbench.grid.candidates import comparable
from dpbench.grid.cell import Cell, Plan, Row, ordered
from dpbench.grid.distil_job import DistilJob, student_recipe
from dpbench.grid.ensemble_job import EnsembleJob
from dpbench.grid.evaluate_job import EvaluateJob
from dpbench.grid.guard_job import GuardJob
from dpbench.grid.job import REFERENCE_FLOPS, Context, Job
from dpbench.grid.keys import key_of
from dpbench.grid.network import Network, network_of
from dpbench.grid.observe_job import ObserveJob, ReleasedModels
from dpbench.grid.spec import AVERAGE, expand_attacks
from dpbench.grid.train_job import TrainJob
from dpbench.training.fit import block_size
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism

# Raised by hand when the results of a kind of job change for every component.
_VERSIONS = {"train": 1, "guard": 1, "observe": 1, "distil": 1, "attack": 1, "evaluate": 3}

# Nominal seconds per (model, example) pair: the means over the default grid (docs/speed.md).
_SECONDS_PER_SCORE = 0.25e-6
_SECONDS_PER_EVALUATION = 0.68e-6

_J = TypeVar("_J", bound=Job)

KNOWLEDGE = ("adaptive", "static")


class _Draft(NamedTuple):
    """A cell before its training jobs exist: several drafts may share one training."""

    defense: Composition
    recipe: Recipe
    sampling: Sampling
    mechanism: Mechanism | None
    training: dict[str, Any]
    step: int
    network: Network
    flops: float


def make_plan(context: Context) -> Plan:
    """Returns the cells and jobs of the context's grid.

    Raises:
        UserError: A defense cannot be trained as asked; nothing has run yet.
    """
    planners = [_Planner(context.on(track)) for track in context.grid.tracks]
    cells, *others = [_track(planner) for planner in planners]
    for canary in others:
        cells = [replace(cell, canary=twin) for cell, twin in zip(cells, canary, strict=True)]
    return Plan(tuple(cells), ordered([job for made in planners for job in made.jobs.values()]))


def _track(planner: "_Planner") -> list[Cell]:
    """Returns the cells of one track."""
    drafts = [planner.draft(defense) for defense in planner.grid.cells]
    steps: dict[str, set[int]] = defaultdict(set)
    for draft in drafts:
        steps[key_of(draft.training)].add(draft.step)
    observed = [planner.observe(draft, sorted(steps[key_of(draft.training)])) for draft in drafts]
    undefended = next(
        (
            seen
            for seen, draft in zip(observed, drafts, strict=True)
            if draft.defense.name == "none"
        ),
        None,
    )
    return [
        planner.cell(draft, seen, undefended) for draft, seen in zip(drafts, observed, strict=True)
    ]


def _can_undo(attack: Attack, defense: Composition) -> bool:
    return attack.access == Access.SCORE and defense.can_be_undone


class _Seen(NamedTuple):
    """The observation jobs of a cell: with its release stage, and without."""

    trains: tuple[TrainJob, ...]
    released: ObserveJob
    raw: ObserveJob


class _Planner:
    def __init__(self, context: Context) -> None:
        self.context, self.grid = context, context.grid
        self.population = context.population
        self.jobs: dict[str, Job] = {}
        undefended = network_of(self.grid.model, self.population, Composition(()))
        self.parameters = undefended.parameters
        self.suffix = "" if context.track == AVERAGE else f" ({context.track} track)"

    def draft(self, defense: Composition) -> _Draft:
        defense.require(self.context.training_data)
        recipe = defense.adapt(self.grid.recipe)
        sampling = recipe.sampling(self.population.expected_members)
        mechanism = defense.mechanism(sampling)
        training = {
            "kind": "train",
            "version": _VERSIONS["train"],
            "population": self.population.digest,
            "model": self.grid.model.identity(),
            "recipe": replace(recipe, stop_epoch=None).to_json(),
            "mechanism": mechanism.identity() if mechanism else None,
            "defenses": defense.training_identity(),
            "seed": self.grid.seed,
        }
        step = sampling.steps if recipe.stop_epoch is None else sampling.step_of(recipe.stop_epoch)
        network = network_of(self.grid.model, self.population, defense)
        flops = 6 * network.parameters * defense.cost
        return _Draft(defense, recipe, sampling, mechanism, training, step, network, flops)

    def observe(self, draft: _Draft, steps: list[int]) -> _Seen:
        trains = tuple(self._train(draft, models, steps) for models in self._blocks(draft))
        raw = self._observe(draft, trains, Composition(()))
        masks = Composition(draft.defense.masks)
        guard = self._guard(raw, masks) if masks.learns_release else ""
        released = self._observe(draft, trains, masks, guard) if masks.parts else raw
        return _Seen(trains, released, raw)

    def cell(self, draft: _Draft, seen: _Seen, undefended: _Seen | None) -> Cell:
        rows = []
        for knowledge in KNOWLEDGE:
            shadows = seen if knowledge == "adaptive" else undefended
            if shadows is None:
                continue
            delta = draft.mechanism.delta if draft.mechanism else 0.0
            evaluated: dict[Attack, EvaluateJob] = {}
            for attack in self._attacks(draft.defense, knowledge):
                informed = knowledge == "adaptive" and _can_undo(attack, draft.defense)
                ask = partial(self._attack, attack, draft.defense, informed=informed)
                scores = ask(seen, shadows)
                selection, source = (
                    ask(target, shadows, within_folds=True) for target in (seen, shadows)
                )
                evaluated[attack] = self._evaluate(scores, selection, source, delta)
                rows.append(Row(attack, knowledge, scores, evaluated[attack]))
            candidates = comparable(evaluated, draft.defense)
            ensemble = self._ensemble(candidates, delta)
            rows.append(Row(None, knowledge, None, ensemble))
            rows.append(Row(None, knowledge, None, self._best(candidates, ensemble, delta)))
        return Cell(
            defense=draft.defense,
            recipe=draft.recipe,
            sampling=draft.sampling,
            mechanism=draft.mechanism,
            trains=seen.trains,
            observe=seen.released,
            rows=tuple(rows),
        )

    def _attacks(self, defense: Composition, knowledge: str) -> Iterable[Attack]:
        """Returns the grid's attacks, then those that fit the defense and are not among them."""
        if knowledge == "static":
            return self.grid.attacks
        fitting = expand_attacks(defense.adaptive_attacks, where=f"attacks on {defense.label}")
        return dict.fromkeys((*self.grid.attacks, *fitting))

    def _blocks(self, draft: _Draft) -> Iterable[tuple[int, ...]]:
        network, batch = draft.network, draft.sampling.batch
        size = block_size(
            network.architecture, draft.recipe, network.shape, network.n_classes, batch=batch
        )
        for start in range(0, self.grid.models, size):
            yield tuple(range(start, min(start + size, self.grid.models)))

    def _train(self, draft: _Draft, models: tuple[int, ...], steps: list[int]) -> TrainJob:
        key = key_of({**draft.training, "models": list(models), "checkpoints": steps})
        examples = draft.sampling.batch * steps[-1] * len(models)
        return self._keep(
            TrainJob(
                key=key,
                label=f"train {draft.defense.label}{self.suffix} models {models[0]}-{models[-1]}",
                track=self.context.track,
                parents=(),
                seconds=draft.flops * examples / REFERENCE_FLOPS,
                defense=draft.defense,
                recipe=draft.recipe,
                sampling=draft.sampling,
                mechanism=draft.mechanism,
                models=models,
                checkpoints=tuple(steps),
            )
        )

    def _guard(self, raw: ObserveJob, masks: Composition) -> str:
        """Returns the key of the job in which masks learn about the models behind them."""
        population = self.population
        asked = (len(population.pool_x) + len(population.reference_x)) * self.grid.models
        spec = {
            "kind": "guard",
            "version": _VERSIONS["guard"],
            "models": raw.key,
            "release": [part.identity() for part in masks.parts],
            "seed": self.grid.seed,
        }
        job = GuardJob(
            key=key_of(spec),
            label=f"prepare the release of {masks.label} on {raw.label.removeprefix('observe ')}",
            track=self.context.track,
            parents=raw.models.trains,
            seconds=2 * self.parameters * asked / REFERENCE_FLOPS,
            models=raw.models,
            defense=masks,
        )
        return self._keep(job).key

    def _observe(
        self, draft: _Draft, trains: tuple[TrainJob, ...], masks: Composition, guard: str = ""
    ) -> ObserveJob:
        keys = tuple(train.key for train in trains)
        population = self.population
        asked = (len(population.pool_x) + len(population.test_x)) * self.grid.models
        spec = {
            "kind": "observe",
            "version": _VERSIONS["observe"],
            "trains": list(keys),
            "step": draft.step,
            "release": [part.identity() for part in masks.parts],
            **({"guard": guard} if guard else {}),
        }
        models = ReleasedModels(
            trains=keys, step=draft.step, trained=draft.defense, defense=masks, guard=guard
        )
        return self._keep(
            ObserveJob(
                key=key_of(spec),
                label=f"observe {draft.defense.label}{self.suffix}",
                track=self.context.track,
                parents=(*keys, guard) if guard else keys,
                seconds=2 * self.parameters * asked / REFERENCE_FLOPS,
                models=models,
            )
        )

    def _attack(
        self,
        attack: Attack,
        defense: Composition,
        target: _Seen,
        shadows: _Seen,
        *,
        informed: bool,
        within_folds: bool = False,
    ) -> AttackJob:
        of_target = self._visible(attack, defense, target)
        # Scores that use no shadows do not depend on which shadows the adversary has.
        of_shadows = self._visible(attack, defense, shadows) if attack.needs_shadows else of_target
        seen = Observed(key=of_target.key, models=of_target.models, informed=informed)
        students = self._students(attack, seen, of_target.label)
        # Scores that use no shadows are the same within folds.
        within_folds = within_folds and attack.needs_shadows
        spec = {
            "kind": "attack",
            "version": _VERSIONS["attack"],
            "attack": attack.identity(),
            "target": of_target.key,
            "shadows": of_shadows.key,
            "informed": [informed, seen.repeats],
            "seed": self.grid.seed,
            # Students follow from the grid's own recipe, which no key of the target need hold.
            **({"students": list(students)} if students else {}),
            **({"within_folds": True} if within_folds else {}),
        }
        pairs = math.prod(attack.extent.of(self.grid.models, int(self.population.challenge.sum())))
        queries = 2 * self.parameters * (attack.budget - 1) * pairs / REFERENCE_FLOPS
        return self._keep(
            AttackJob(
                key=key_of(spec),
                label=f"{attack.label()} on {of_target.label}{' within folds' * within_folds}",
                track=self.context.track,
                parents=tuple(dict.fromkeys((of_target.key, of_shadows.key, *students))),
                seconds=_SECONDS_PER_SCORE * pairs + queries,
                attack=attack,
                target=seen,
                shadows=Observed(key=of_shadows.key, models=of_shadows.models, informed=informed),
                students=students,
                within_folds=within_folds,
            )
        )

    def _students(self, attack: Attack, target: Observed, label: str) -> tuple[str, ...]:
        """Returns the keys of the jobs that train every target's students, where there are any."""
        if not attack.n_students:
            return ()
        recipe = student_recipe(self.context)
        sampling = recipe.sampling(len(self.population.reference_y) / 2 or 1)
        examples = sampling.batch * sampling.steps * attack.n_students
        spec = {
            "kind": "distil",
            "version": _VERSIONS["distil"],
            "target": target.key,
            "informed": target.informed,
            "students": attack.n_students,
            "recipe": recipe.to_json(),
            "seed": self.grid.seed,
        }
        jobs = [
            DistilJob(
                key=key_of({**spec, "model": model}),
                label=f"{attack.n_students} students of model {model}, {label}",
                track=self.context.track,
                parents=(target.key,),
                seconds=6 * self.parameters * examples / REFERENCE_FLOPS,
                target=target,
                model=model,
                students=attack.n_students,
            )
            for model in range(attack.extent.of(self.grid.models, 1)[0])
        ]
        return tuple(self._keep(job).key for job in jobs)

    @staticmethod
    def _visible(attack: Attack, defense: Composition, seen: _Seen) -> ObserveJob:
        """What an attack sees of a cell: no mask hides weights, and few change labels."""
        same_labels = attack.access == Access.LABEL and defense.keeps_argmax
        same = same_labels or attack.access == Access.WHITE_BOX
        return seen.raw if same else seen.released

    def _evaluate(
        self, scores: AttackJob, selection: AttackJob, source: AttackJob, delta: float
    ) -> EvaluateJob:
        spec = {
            "kind": "evaluate",
            "version": _VERSIONS["evaluate"],
            "scores": scores.key,
            "selection": selection.key,
            "source": source.key,
            "delta": delta,
        }
        return self._keep(
            EvaluateJob(
                key=key_of(spec),
                label=f"evaluate {scores.label}",
                track=self.context.track,
                parents=tuple(dict.fromkeys((scores.key, selection.key, source.key))),
                seconds=self._evaluation_seconds(),
                scores=scores.key,
                selection=selection.key,
                source=source.key,
                delta=delta,
                uses_other_bits=scores.attack.needs_shadows or scores.attack.knows_other_bits,
            )
        )

    def _best(
        self, candidates: Sequence[EvaluateJob], ensemble: EnsembleJob, delta: float
    ) -> BestJob:
        facts = self._together("best", (*candidates, ensemble))
        return self._keep(BestJob(seconds=self._evaluation_seconds(), delta=delta, **facts))

    def _ensemble(self, candidates: Sequence[EvaluateJob], delta: float) -> EnsembleJob:
        seconds, facts = self._evaluation_seconds(), self._together("ensemble", candidates)
        return self._keep(EnsembleJob(seconds=len(candidates) * seconds, delta=delta, **facts))

    def _together(
        self, kind: str, candidates: Sequence[EvaluateJob | EnsembleJob]
    ) -> dict[str, Any]:
        """Returns what a job on several rows, of which some may have failed, is made of."""
        keys = tuple(job.key for job in candidates)
        spec = {"kind": kind, "version": _VERSIONS["evaluate"], "candidates": list(keys)}
        return {
            "key": key_of(spec),
            "label": f"{kind} of {len(keys)} attacks{self.suffix}",
            "track": self.context.track,
            "parents": keys,
            "tolerant": True,
            "candidates": tuple(candidates),
        }

    def _evaluation_seconds(self) -> float:
        return _SECONDS_PER_EVALUATION * self.grid.models * int(self.population.challenge.sum())

    def _keep(self, job: _J) -> _J:
        present = self.jobs.setdefault(job.key, job)
        assert type(present) is type(job)
        return present
