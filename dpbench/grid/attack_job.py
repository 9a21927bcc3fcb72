"""Running one attack on one cell, with one kind of shadow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dpbench.attacks import Access, Attack, NotApplicable, Oracle, View
from dpbench.attacks.base import Floats, Ints
from dpbench.grid.job import Context, Job, Output
from dpbench.grid.observe_job import ReleasedModels, blocks_of
from dpbench.seeds import rng_for
from dpbench.training.white_box import TrainedModels


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A cell's models together with what was already asked of them.

    Attributes:
        key: The observation job.
        models: Answer further queries.
        informed: The adversary knows the release stage and undoes what can be undone.
    """

    key: str
    models: ReleasedModels
    informed: bool

    @property
    def repeats(self) -> int:
        """How often the adversary asks the same query."""
        return self.models.defense.repeats if self.informed else 1

    def oracle(
        self, context: Context, attack: Attack, access: Access, models: Ints, points: int
    ) -> Oracle:
        """Returns an oracle that shows what `access` allows of some models and the first points."""
        asked, labels_only = 0, access == Access.LABEL

        def name() -> str:
            nonlocal asked
            asked += 1
            return f"query{asked}"

        def blocks(inputs: Floats | None) -> Iterator[Floats]:
            return self._blocks(context, models, points, inputs, name, labels_only)

        def joined(inputs: Floats | None) -> Floats:
            found = [*blocks(inputs)]
            return found[0] if len(found) == 1 else np.concatenate(found)

        def query_each(which: Ints, points: Ints, inputs: Floats) -> Floats:
            del points  # models answer alike on whoever's account
            asked = self.models.query_each(
                context,
                models[which],
                _tensor(inputs),
                name=name(),
                labels_only=labels_only,
                repeats=self.repeats,
            )
            return self._seen(asked).numpy()

        sees_weights = access == Access.WHITE_BOX
        return Oracle(
            access=access,
            budget=attack.budget,
            pool_outputs=lambda: joined(None),
            query=joined,
            query_each=query_each,
            blocks=blocks,
            white_box=self._trained(context, models, points) if sees_weights else None,
        )

    def asked(self, context: Context, model: int, inputs: torch.Tensor) -> torch.Tensor:
        """Returns what one model answers, `(N, C)`, as the adversary sees it."""
        shape = (1, len(inputs), *inputs.shape[1:])
        which = np.array([model])
        answers = self.models.query_each(context, which, inputs.view(shape), name="lessons")
        return self._seen(answers)[0]

    def _blocks(
        self,
        context: Context,
        models: Ints,
        points: int,
        inputs: Floats | None,
        name: Callable[[], str],
        labels_only: bool,
    ) -> Iterator[Floats]:
        """Yields what is released on inputs, or (None) on the pool, some models after others.

        About the pool that is what was observed; where answers are random, they are asked again.
        """
        population = context.population
        some = blocks_of((len(models), points, population.n_classes))
        if inputs is None and self.repeats == 1:
            for rows in some:
                yield self._seen(self._observed(context, models[rows], points)).numpy()
            return
        if inputs is None and len(some) == 1:
            yield self._asked_again(context, models, points, name())
            return
        asked = self._pool(context, points) if inputs is None else inputs
        for released in self.models.blocks(
            context,
            _tensor(asked),
            name=name(),
            models=models,
            labels_only=labels_only,
            repeats=self.repeats,
        ):
            yield self._seen(released).numpy()

    def _asked_again(self, context: Context, models: Ints, points: int, name: str) -> Floats:
        """Returns the mean of random answers about the pool.

        Every attack on scores asks for the same ones: those of the last cell stay in memory.
        """
        kept = context.cache.setdefault("asked again", {})
        key = (self.key, models.tobytes(), points, name)
        if key not in kept:
            if any(other[0] != self.key for other in kept):
                kept.clear()
            pool, repeats = _tensor(self._pool(context, points)), self.repeats
            found = self.models.query(context, pool, name=name, models=models, repeats=repeats)
            kept[key] = self._seen(found).numpy()
        answers: Floats = kept[key]
        return answers.copy()

    @staticmethod
    def _pool(context: Context, points: int) -> Floats:
        population = context.population
        return population.pool_x[population.challenge][:points]

    def _observed(self, context: Context, models: Ints, points: int) -> torch.Tensor:
        first, stop = int(models.min()), int(models.max()) + 1
        rows = context.store.rows(self.key, "outputs", first, stop)
        if len(models) == stop - first and (np.diff(models) == 1).all():
            return torch.from_numpy(rows[:, :points])
        return torch.from_numpy(rows[models - first, :points])

    def _trained(self, context: Context, models: Ints, points: int) -> TrainedModels:
        population, represented = context.population, self.models.represented
        challenge = np.flatnonzero(population.challenge)[:points]
        weights = self.models.weights(context)
        return TrainedModels(
            architecture=self.models.network(context).architecture,
            trained={name: value[torch.from_numpy(models)] for name, value in weights.items()},
            numbers=tuple(models.tolist()),
            inputs=represented(torch.from_numpy(population.pool_x[challenge])),
            labels=torch.from_numpy(population.pool_y[challenge]),
            n_classes=population.n_classes,
            seed=context.grid.seed,
            reference=represented(torch.from_numpy(population.reference_x)),
            device=context.device,
        )

    def _seen(self, released: torch.Tensor) -> torch.Tensor:
        return self.models.defense.undo(released) if self.informed else released


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackJob(Job):
    """Scores every challenge point for every target; the result is `scores (M, n)` float32.

    Attributes:
        attack: The attack.
        target: What is attacked.
        shadows: What the adversary calibrates with.
        students: Keys of the jobs with every target's students, in the order of the targets.
        within_folds: A target's shadows are the others of its own fold (even or odd) alone. What
            is chosen by such scores on one fold knows no bit of the other (`metrics.thresholds`).
            Where a fold has too few models for the attack, the result is empty and says why.
    """

    attack: Attack
    target: Observed
    shadows: Observed
    students: tuple[str, ...] = ()
    within_folds: bool = False

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "attack"

    def run(self, context: Context) -> Output:
        """Attacks; raises NotApplicable where the setting lacks what the attack needs."""
        if self.within_folds:
            return self._run_within_folds(context)
        view = self.view(context)
        scores = self._scored(view)
        queries = view.target.queries * self.target.repeats + bool(self.students)
        return Output({"queries": queries}, {"scores": scores})

    def _run_within_folds(self, context: Context) -> Output:
        models, points = self.attack.extent.of(*context.challenge_members.shape)
        scores = np.empty((models, points), np.float32)
        for fold in (0, 1):
            try:
                scores[fold::2] = self._scored(self.view(context, np.arange(fold, models, 2)))
            except NotApplicable as reason:
                return Output({"reason": str(reason)}, {"scores": np.zeros((0, 0), np.float32)})
        return Output({}, {"scores": scores})

    def _scored(self, view: View) -> Floats:
        scores = np.asarray(self.attack.score(view))
        if scores.shape != view.members.shape:
            raise ValueError(f"scores have shape {scores.shape}, expected {view.members.shape}")
        if not np.isfinite(scores).all():
            raise ValueError("a score is NaN or infinite")
        return scores.astype(np.float32)

    def view(self, context: Context, models: Ints | None = None, *, instance: int = 0) -> View:
        """Returns what the adversary sees.

        Args:
            context: The run.
            models: The targets, which are each other's shadows; by default all in the extent.
            instance: Another number draws other random numbers.
        """
        population, attack = context.population, self.attack
        count, points = attack.extent.of(*context.challenge_members.shape)
        models = np.arange(count) if models is None else models
        challenge = np.flatnonzero(population.challenge)[:points]
        target = self.target.oracle(context, attack, attack.access, models, points)
        shadows, access = target, attack.shadow_access or attack.access
        if self.shadows != self.target or access != attack.access:
            shadows = self.shadows.oracle(context, attack, access, models, points)
        return View(
            labels=population.pool_y[challenge],
            inputs=population.pool_x[challenge],
            n_classes=population.n_classes,
            target=target,
            shadows=shadows,
            members=context.challenge_members[models, :points],
            reference_inputs=population.reference_x,
            reference_labels=population.reference_y,
            low=population.low,
            high=population.high,
            unit=population.unit,
            binary=population.binary,
            is_image=population.is_image,
            rng=rng_for(context.grid.seed, "attack", attack.name, *[instance] * (instance > 0)),
            students=(lambda: self._students(context, models)) if self.students else None,
        )

    def _students(self, context: Context, models: Ints) -> Floats:
        return np.stack([context.store.array(self.students[m], "outputs") for m in models])


def _tensor(inputs: Floats) -> torch.Tensor:
    # The view's own inputs are read-only, which a tensor cannot be: those are copied.
    return torch.from_numpy(np.require(inputs, np.float32, ["W"]))
