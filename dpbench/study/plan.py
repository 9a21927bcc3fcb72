"""From a grid to jobs: what must be trained, observed, attacked and evaluated."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from dpbench.attacks import Access, Attack
from dpbench.defenses import Composition
from dpbench.game.attack import AttackJob
from dpbench.game.candidates import comparable
from dpbench.game.ensemble import EnsembleJob
from dpbench.game.evaluate import EvaluateJob
from dpbench.game.fit_release import FitReleaseJob
from dpbench.game.network import network_of
from dpbench.game.observe import ObserveJob
from dpbench.game.observed import Observed
from dpbench.game.released_models import ReleasedModels
from dpbench.game.strongest import StrongestJob
from dpbench.game.students import StudentsJob, student_recipe
from dpbench.game.train import TrainJob
from dpbench.jobs.job import Job, ordered
from dpbench.study.cell import Cell, Plan, Row
from dpbench.study.context import Context
from dpbench.study.spec import AVERAGE, expand_attacks
from dpbench.training.fit import engine_for
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism

_J = TypeVar("_J", bound=Job)

KNOWLEDGE = ("adaptive", "static")


class _Draft(NamedTuple):
    """A cell before its training jobs exist: several drafts may share one training.

    Attributes:
        defense: The defense.
        recipe: What it makes of the grid's recipe.
        sampling: The recipe's batches and steps.
        mechanism: What it clips, adds and claims.
        first: The cell's first training job as if no other cell shared it.
        step: The checkpoint that the cell releases.
    """

    defense: Composition
    recipe: Recipe
    sampling: Sampling
    mechanism: Mechanism | None
    first: TrainJob
    step: int


class _Seen(NamedTuple):
    """The observation jobs of a cell: with its release stage, and without."""

    trains: tuple[TrainJob, ...]
    released: ObserveJob
    raw: ObserveJob


def make_plan(context: Context) -> Plan:
    """Returns the cells and jobs of the context's grid.

    Raises:
        UserError: A defense cannot be trained as asked; nothing has run yet.
    """
    planners = [_Planner(context.on(track)) for track in context.grid.tracks]
    cells, *others = [planner.cells() for planner in planners]
    for canary in others:
        cells = [replace(cell, canary=twin) for cell, twin in zip(cells, canary, strict=True)]
    return Plan(tuple(cells), ordered([job for made in planners for job in made.jobs.values()]))


class _Planner:
    """Plans one track of a grid; equal jobs are one job."""

    def __init__(self, context: Context) -> None:
        self.context, self.grid = context, context.grid
        self.jobs: dict[str, Job] = {}
        self.suffix = "" if context.track == AVERAGE else f" ({context.track} track)"

    def cells(self) -> list[Cell]:
        drafts = [self._draft(defense) for defense in self.grid.cells]
        # Cells that differ in their stop epoch alone are checkpoints of one training.
        steps: dict[str, set[int]] = defaultdict(set)
        for draft in drafts:
            steps[draft.first.key].add(draft.step)
        seen = [self._observe(draft, sorted(steps[draft.first.key])) for draft in drafts]
        pairs = list(zip(drafts, seen, strict=True))
        undefended = next((one for draft, one in pairs if draft.defense.name == "none"), None)
        return [self._cell(draft, one, undefended) for draft, one in pairs]

    def _draft(self, defense: Composition) -> _Draft:
        game = self.context.game
        defense.require(game.training_data)
        recipe = defense.adapt(self.grid.recipe)
        sampling = recipe.sampling(game.population.expected_members)
        mechanism = defense.mechanism(sampling)
        step = sampling.steps if recipe.stop_epoch is None else sampling.step_of(recipe.stop_epoch)
        first = TrainJob(
            game=game,
            architecture=self.grid.model,
            defense=defense.in_training,
            recipe=replace(recipe, stop_epoch=None),
            mechanism=mechanism if mechanism and mechanism.clips else None,
            models=(),
            checkpoints=(),
            cell=defense.label + self.suffix,
            cost=defense.cost,
        )
        return _Draft(defense, recipe, sampling, mechanism, first, step)

    def _observe(self, draft: _Draft, steps: list[int]) -> _Seen:
        masks = Composition(draft.defense.masks)
        observe, cell = ObserveJob, draft.first.cell
        trains = tuple(
            self._keep(replace(draft.first, models=models, checkpoints=tuple(steps)))
            for models in self._blocks(draft)
        )
        bare = ReleasedModels(trains=trains, step=draft.step, masks=Composition(()))
        raw = self._keep(observe(models=bare, cell=cell))
        if not masks.parts:
            return _Seen(trains, raw, raw)
        fitted = None
        if masks.learns_release:
            fitted = self._keep(FitReleaseJob(models=raw.models, masks=masks, cell=raw.cell))
        masked = ReleasedModels(trains=trains, step=draft.step, masks=masks, fitted=fitted)
        return _Seen(trains, self._keep(observe(models=masked, cell=cell)), raw)

    def _blocks(self, draft: _Draft) -> Iterable[tuple[int, ...]]:
        """Yields the numbers of the models that are trained side by side."""
        network = network_of(self.grid.model, self.context.population, draft.defense)
        engine = engine_for(network, draft.recipe)
        size = engine.models_per_job(network, draft.sampling.batch)
        for start in range(0, self.grid.models, size):
            yield tuple(range(start, min(start + size, self.grid.models)))

    def _cell(self, draft: _Draft, seen: _Seen, undefended: _Seen | None) -> Cell:
        rows: list[Row] = []
        for knowledge in KNOWLEDGE:
            shadows = seen if knowledge == "adaptive" else undefended
            if shadows is not None:
                rows += self._rows(draft, knowledge, seen, shadows)
        return Cell(
            defense=draft.defense,
            recipe=draft.recipe,
            sampling=draft.sampling,
            mechanism=draft.mechanism,
            trains=seen.trains,
            observe=seen.released,
            rows=tuple(rows),
            track=self.context.track,
        )

    def _rows(self, draft: _Draft, knowledge: str, seen: _Seen, shadows: _Seen) -> list[Row]:
        defense, delta = draft.defense, draft.mechanism.delta if draft.mechanism else 0.0
        rows, evaluated = [], dict[Attack, EvaluateJob]()
        for attack in self._attacks(defense, knowledge):
            undo = attack.access == Access.SCORE and defense.can_be_undone
            informed = knowledge == "adaptive" and undo
            ask = partial(self._attack, attack, defense, informed=informed)
            scores = ask(seen, shadows)
            selection, source = (ask(one, shadows, within_folds=True) for one in (seen, shadows))
            evaluated[attack] = self._keep(
                EvaluateJob(scores=scores, selection=selection, source=source, delta=delta)
            )
            rows.append(Row(attack, knowledge, scores, evaluated[attack]))
        candidates = tuple(comparable(evaluated, defense))
        ensemble = self._keep(EnsembleJob(candidates=candidates, delta=delta))
        best = self._keep(StrongestJob(candidates=(*candidates, ensemble), delta=delta))
        return [*rows, Row(None, knowledge, None, ensemble), Row(None, knowledge, None, best)]

    def _attacks(self, defense: Composition, knowledge: str) -> Iterable[Attack]:
        """Returns the grid's attacks, then those that fit the defense and are not among them."""
        if knowledge == "static":
            return self.grid.attacks
        fitting = expand_attacks(defense.adaptive_attacks, where=f"attacks on {defense.label}")
        return dict.fromkeys((*self.grid.attacks, *fitting))

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
        # No mask hides weights, and few change labels.
        unmasked = attack.access == Access.WHITE_BOX or (
            attack.access == Access.LABEL and defense.keeps_argmax
        )
        of_target, of_shadows = (one.raw if unmasked else one.released for one in (target, shadows))
        observed = Observed(observe=of_target, informed=informed)
        # Scores that use no shadows do not depend on them, and are the same within folds.
        if attack.needs_shadows:
            known = Observed(observe=of_shadows, informed=informed)
        else:
            known, within_folds = observed, False
        students = self._students(attack, observed)
        return self._keep(
            AttackJob(
                attack=attack,
                target=observed,
                shadows=known,
                students=students,
                within_folds=within_folds,
            )
        )

    def _students(self, attack: Attack, target: Observed) -> tuple[StudentsJob, ...]:
        """Returns the jobs that train every target's students, where the attack has any."""
        if not attack.n_students:
            return ()
        recipe, count = student_recipe(self.grid.recipe), attack.n_students
        return tuple(
            self._keep(StudentsJob(target=target, model=model, students=count, recipe=recipe))
            for model in range(attack.extent.of(self.grid.models, 1)[0])
        )

    def _keep(self, job: _J) -> _J:
        present = self.jobs.setdefault(job.key, job)
        assert type(present) is type(job)
        return present
