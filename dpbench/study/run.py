"""A finished or unfinished run: the tables, the scores behind them, and where they came from."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpbench import privacy
from dpbench.errors import UserError, suggest
from dpbench.game.attack_scores import AttackScores
from dpbench.game.strongest import StrongestJob
from dpbench.jobs.keys import key_of
from dpbench.jobs.store import Store
from dpbench.metrics import CalibratedPrecision, calibrated_precision
from dpbench.seeds import rng_for
from dpbench.study.cell import Cell, Plan
from dpbench.study.context import Context
from dpbench.study.plan import make_plan
from dpbench.study.shipped import list_grids
from dpbench.study.spec import AVERAGE, Grid, read_grid


def load(folder: str | Path, *, data_dir: Path | None = None) -> "Run":
    """Opens the run in a folder.

    Raises:
        UserError: There is no run.
    """
    return Run(Path(folder), data_dir=data_dir)


class Run:
    """What a grid measured.

    Attributes:
        folder: The run's folder.
        cells: One row per cell (columns: docs/tables.md).
        attacks: One row per cell, attack and knowledge.
    """

    def __init__(self, folder: Path, *, data_dir: Path | None = None) -> None:
        if not (folder / "grid.yaml").is_file():
            raise UserError(f"{folder}: no run here", next_step="dpbench run GRID --out DIR")
        if not (folder / "cells.parquet").is_file():
            raise UserError(
                f"{folder}: the run has no tables yet", next_step="finish it: dpbench run GRID"
            )
        self.folder = folder
        self.cells = pd.read_parquet(folder / "cells.parquet")
        self.attacks = pd.read_parquet(folder / "attacks.parquet")
        self._data_dir = data_dir

    @property
    def name(self) -> str:
        """The grid's name."""
        return self.context.grid.name

    @property
    def command(self) -> str:
        """The command that makes this run: by the shipped grid's name, or by the run's own file.

        It names no folder: the run may have moved since, and its reader has another machine.
        """
        shipped = list_grids().get(self.name)
        same = shipped is not None and _reads_as(shipped, self.context.grid)
        return f"dpbench run {self.name if same else 'grid.yaml'}"

    @property
    def document(self) -> str:
        """The grid as it was run, with every default and seed, as YAML."""
        return (self.folder / "grid.yaml").read_text(encoding="utf-8")

    @cached_property
    def key(self) -> str:
        """The key of everything the tables depend on."""
        return key_of(list(self.plan.jobs))

    @cached_property
    def context(self) -> Context:
        """The grid, its data and the store."""
        store = Store.of(self.folder)
        store.require_format()
        return Context(
            grid=read_grid(self.folder / "grid.yaml"),
            store=store,
            data_dir=self._data_dir,
        )

    @cached_property
    def plan(self) -> Plan:
        """The cells and jobs of the grid."""
        return make_plan(self.context)

    @property
    def labels(self) -> NDArray[np.int64]:
        """True labels `(n,)` of the challenge points."""
        population = self.context.population
        labels: NDArray[np.int64] = population.pool_y[population.challenge]
        return labels

    def outputs(self, cell: str) -> NDArray[np.float32]:
        """Returns the released scores `(M, n, C)` of a cell on the challenge points."""
        key = self.cell(cell).observe.key
        self._require(key, cell)
        values: NDArray[np.float32] = self.context.store.array(key, "outputs")
        return values

    def scores(
        self,
        cell: str,
        attack: str,
        knowledge: str = "adaptive",
        params: str | None = None,
        *,
        track: str = AVERAGE,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns an attack's scores and the membership bits, both `(M, n)`.

        Attacks of thousands of queries run on fewer models and points: the first ones.

        Args:
            cell: The cell's id.
            attack: The attack's id (its name and the fields that differ from the defaults) or name,
                `best` or `ensemble`.
            knowledge: `adaptive` or `static`.
            params: `attack_params` of the row, where several attacks share a name; the one whose
                id it is, else the first such attack of the grid, is meant otherwise.
            track: `average`, or `canary` where the grid has canaries.

        Raises:
            UserError: There is no such row or track, or it has no scores.
        """
        found = self.attack_scores(cell, attack, knowledge, params, track=track)
        return found.scores, self.context.on(track).bits_of(found.scores)

    def attack_scores(
        self,
        cell: str,
        attack: str,
        knowledge: str = "adaptive",
        params: str | None = None,
        *,
        track: str = AVERAGE,
    ) -> AttackScores:
        """Returns an attack's scores, with those on which thresholds are chosen.

        `best` is the winner by advantage. Arguments and errors are those of `scores`.
        """
        found = self.cell(cell, track)
        rows = [row for row in found.rows if row.knowledge == knowledge]
        # An id may be the name of other variants too: `lira` is the online attack before any LiRA.
        named = [row for row in rows if row.attack and attack == row.attack.label()]
        rows = [*named, *(row for row in rows if attack == row.name and row not in named)]
        if rows and isinstance(rows[0].evaluate, StrongestJob):
            self._require(rows[0].evaluate.key, f"the best attack on {cell}")
            rows = [found.winner(rows[0], self.context.store, "advantage")]
        for row in rows:
            job = row.scores or row.evaluate
            fields = row.attack.to_json() if row.attack else None
            if params is None or attack in ("best", "ensemble") or json.loads(params) == fields:
                self._require(job.key, f"{attack} on {cell}")
                assert not isinstance(row.evaluate, StrongestJob)
                for parent in row.evaluate.parents if row.scores else ():
                    self._require(parent, f"{attack} on {cell}")
                return row.evaluate.attack_scores(self.context.on(track).results(row.evaluate))
        raise _unknown("attack", attack, [a.name for a in self.context.grid.attacks])

    def calibrated_precision(
        self,
        cell: str,
        attack: str,
        knowledge: str = "adaptive",
        params: str | None = None,
        *,
        precision: float,
        track: str = AVERAGE,
    ) -> CalibratedPrecision:
        """Returns what thresholds achieve that promise a precision on the other fold of models.

        Args:
            cell: The cell's id.
            attack: As in `scores`, and so are `knowledge`, `params` and `track`.
            knowledge: `adaptive` or `static`.
            params: `attack_params` of the row.
            precision: The level wanted, TPR / (TPR + FPR), above 1/2 and at most 1.
            track: `average` or `canary`.

        Raises:
            UserError: There is no such row or track, it has no scores, or the precision is out of
                range.
        """
        if not 0.5 < precision <= 1:
            raise UserError(f"precision: {precision}", allowed="above 0.5 and at most 1")
        found = self.attack_scores(cell, attack, knowledge, params, track=track)
        return calibrated_precision(
            found.scores,
            self.context.on(track).bits_of(found.scores),
            source=found.source,
            precision=precision,
            rng=rng_for(self.context.grid.seed, "precision", cell, attack),
        )

    def trade_off(
        self, cell: str, fpr: NDArray[np.floating], *, track: str = AVERAGE
    ) -> NDArray[np.floating] | None:
        """Returns the largest TPR the cell's mechanism allows at each FPR; None without a claim.

        Args:
            cell: The cell's id.
            fpr: False positive rates.
            track: `average`, or `canary`, whose trainings have their own sampling rate: a batch of
                the same size is another share of another number of members.

        Raises:
            UserError: There is no such cell or track.
        """
        found = self.cell(cell, track)
        if not found.claims:
            return None
        assert found.mechanism is not None
        return privacy.trade_off(found.mechanism.claim, fpr, "remove")

    def cell(self, label: str, track: str = AVERAGE) -> Cell:
        """Returns a cell of the plan, with the jobs behind its rows.

        Raises:
            UserError: There is no such cell or track.
        """
        if track not in self.context.grid.tracks:
            raise _unknown("track", track, list(self.context.grid.tracks))
        for cell in self.plan.cells:
            if cell.defense.label == label:
                return cell if track == AVERAGE or cell.canary is None else cell.canary
        raise _unknown("cell", label, [cell.defense.label for cell in self.plan.cells])

    def _require(self, key: str, what: str) -> None:
        if not self.context.store.has(key):
            failure = self.context.store.failure(key)
            reason = failure.reason if failure else "it is not finished"
            raise UserError(f"{what} has no result: {reason}", next_step="see `dpbench status`")


def _reads_as(path: Path, grid: Grid) -> bool:
    """Returns whether a grid file still means the grid that was run."""
    try:
        return read_grid(path) == grid
    except UserError:  # a grid of that name for other plugins, or in the making
        return False


def _unknown(kind: str, name: str, known: Sequence[str]) -> UserError:
    return UserError(
        f"there is no {kind} '{name}'", allowed=", ".join(known), next_step=suggest(name, known)
    )
