"""The runs behind the claims: each grid on each data set, finished once and then read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dpbench
from dpbench.errors import UserError
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.document import read_document, write_document
from dpbench.study.run import Run
from dpbench.study.shipped import find_grid
from dpbench.study.spec import read_grid

OWN_GRID = {
    "fashion_mnist": "claims",
    "location": "claims-location",
    "adult": "claims-adult",
    "cifar10": "claims-cifar",
}
"""The grid that holds a data set's resolution and recipe."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """All runs of the study.

    Attributes:
        folder: Holds one run's folder for each grid and data set.
        workers: Worker processes.
        data: Names of the data sets.
    """

    folder: Path
    workers: int
    data: tuple[str, ...] = tuple(OWN_GRID)

    def main(self, data: str) -> Run:
        """Returns the run of a data set's own grid."""
        return self._run(data, read_document(find_grid(OWN_GRID[data])))

    def grid(self, name: str) -> Run:
        """Returns the run of a shipped grid as it is."""
        return self._run(name, read_document(find_grid(name)))

    def variant(
        self,
        name: str,
        data: str,
        *,
        label: str = "",
        epochs: float | None = None,
        **population: Any,
    ) -> Run:
        """Returns the run of the grid `claims-NAME` on a data set.

        Args:
            name: Which grid.
            data: Where.
            label: Names the changes in the run's folder.
            epochs: Of training, where they are not those of the data set's own grid.
            population: Fields of the population to change; None removes one.
        """
        document = variant_document(name, data, **population)
        if epochs is not None:
            document["recipe"] = {**document["recipe"], "epochs": epochs}
        return self._run(f"{data}-{name}{label}", document)

    def available(self) -> list[str]:
        """Returns the data sets that are here; says which are not."""
        found = []
        for data in self.data:
            try:
                self.context(read_document(find_grid(OWN_GRID[data])), self.folder / data)
            except UserError as error:
                print(f"{data} is left out: {error}", flush=True)
            else:
                found.append(data)
        return found

    def context(self, document: dict[str, Any], out: Path) -> Context:
        """Returns the context of a grid whose data are known to be here."""
        out.mkdir(parents=True, exist_ok=True)
        write_document(document, out / "asked.yaml")
        context = Context(grid=read_grid(out / "asked.yaml"), store=Store(out / "store"))
        _ = context.population
        return context

    def _run(self, folder: str, document: dict[str, Any]) -> Run:
        out = self.folder / folder
        context = self.context(document, out)
        plan = execution.prepare(context, out)
        left = len(JobStates(plan.jobs, context.store).open)
        if left or not (out / "attacks.parquet").is_file():
            print(f"{folder}: {left} of {len(plan.jobs)} jobs to do", flush=True)
            outcome = execution.execute(
                context, plan, out, workers=self.workers, report=lambda states: None
            )
            for where, reason in outcome.failures:
                raise UserError(f"{folder}: {where} failed: {reason}")
        return dpbench.load(out)


def variant_document(name: str, data: str, **population: Any) -> dict[str, Any]:
    """Returns the grid `claims-NAME` with the resolution and the recipe of a data set."""
    document = read_document(find_grid(f"claims-{name}"))
    own = read_document(find_grid(OWN_GRID[data]))
    fields = dict(document["population"])
    if data != fields["dataset"]:
        fields |= {"dataset": data, "average_pool": own["population"].get("average_pool")}
    fields |= population
    document["population"] = {key: value for key, value in fields.items() if value is not None}
    document["recipe"] = own["recipe"]
    return document
