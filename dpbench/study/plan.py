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
from dpbench.game.observe import ObserveJob
from dpbench.game.observed import Observed
from dpbench.game.released_models import ReleasedModels
from dpbench.game.strongest import StrongestJob
from dpbench.game.students import StudentsJob, student_recipe
from dpbench.game.train import TrainJob
from dpbench.jobs.job import Job, ordered
from dpbench.study.cell import AttackRow, Cell, Plan
from dpbench.study.context import Context
from dpbench.study.draft import Draft, draft_of
from dpbench.study.spec import expand_attacks

_J = TypeVar("_J", bound=Job)

KNOWLEDGE = ("adaptive", "static")


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

    def cells(self) -> list[Cell]:
        drafts = [draft_of(self.context, defense) for defense in self.grid.cells]
        # Cells that differ in their stop epoch alone are checkpoints of one training.
        steps: dict[str, set[int]] = defaultdict(set)
        for draft in drafts:
            steps[draft.first.key].add(draft.step)
        seen = [self._observe(draft, sorted(steps[draft.first.key])) for draft in drafts]
        pairs = list(zip(drafts, seen, strict=True))
        undefended = next((one for draft, one in pairs if draft.defense.name == "none"), None)
        return [self._cell(draft, one, undefended) for draft, one in pairs]

    def _observe(self, draft: Draft, steps: list[int]) -> _Seen:
        masks = Composition(draft.defense.masks)
        observe, cell = ObserveJob, draft.first.cell
        trains = tuple(
            self._keep(replace(draft.first, models=models, checkpoints=tuple(steps)))
            for models in draft.blocks(self.grid.models)
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

    def _cell(self, draft: Draft, seen: _Seen, undefended: _Seen | None) -> Cell:
        rows: list[AttackRow] = []
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

    def _rows(self, draft: Draft, knowledge: str, seen: _Seen, shadows: _Seen) -> list[AttackRow]:
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
            rows.append(AttackRow(attack, knowledge, scores, evaluated[attack]))
        candidates = tuple(comparable(evaluated, defense))
        ensemble = self._keep(EnsembleJob(candidates=candidates, delta=delta))
        best = self._keep(StrongestJob(candidates=(*candidates, ensemble), delta=delta))
        return [
            *rows,
            AttackRow(None, knowledge, None, ensemble),
            AttackRow(None, knowledge, None, best),
        ]

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
