"""`dpbench plan`: what a grid would do, before it does anything."""

from pathlib import Path

from rich.table import Table

from dpbench.cli.console import console
from dpbench.jobs.runner import default_workers
from dpbench.study.cell import Plan
from dpbench.study.context import Context
from dpbench.study.plan import make_plan
from dpbench.study.tables import claim_columns
from dpbench.study.trials import require_networks


def show_plan(context: Context, folder: Path) -> None:
    """Prints the cells with what they claim, the jobs with what they cost, and what is left."""
    screen = console()
    screen.print(context.population.understood, markup=False, highlight=False, soft_wrap=True)
    made = make_plan(context)
    require_networks(context, made)
    done = context.store.finished() & made.jobs.keys()
    screen.print(_cells(made, title=context.grid.name))
    jobs = Table("job", "key", "state", "cost")
    for job in made.jobs.values():
        state = "done" if job.key in done else "open"
        jobs.add_row(job.label, job.key[:12], state, f"{job.seconds:.2f} s")
    screen.print(jobs)
    left = sum(job.seconds for job in made.jobs.values() if job.key not in done)
    cores = default_workers()
    screen.print(
        f"{len(made.jobs)} jobs, {len(done)} done in {folder}; "
        f"the rest is about {left / 60:.1f} core-minutes, "
        f"{left / 60 / cores:.1f} min on {cores} cores"
    )


def _cells(made: Plan, *, title: str) -> Table:
    table = Table("cell", "epsilon", "noise", "q", "steps", "bound", "key", title=title)
    for cell in made.cells:
        claim = claim_columns(cell)
        table.add_row(
            cell.defense.label,
            f"{claim['epsilon']:.4g}",
            f"{claim['noise_multiplier']:.4g}" if "noise_multiplier" in claim else "-",
            f"{cell.sampling.rate:.4g}",
            str(cell.observe.models.step),
            f"{claim['bound_advantage_mechanism']:.3f}",
            cell.observe.key[:12],
        )
    return table
