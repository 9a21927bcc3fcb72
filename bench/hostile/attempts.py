"""What reads a wrong file, and what may come of it: it is read, or refused with a message."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.hostile.arrays import score_bytes
from bench.hostile.data import MEMBER, archive_bytes, data_bytes
from bench.hostile.grids import grid_text
from dpbench.data import Population, PopulationSpec, load_population
from dpbench.data.published import archive_member
from dpbench.errors import UserError
from dpbench.jobs.store import Store
from dpbench.privacy.audits.score_file import ScoreFile
from dpbench.seeds import rng_for
from dpbench.study.context import Context
from dpbench.study.plan import make_plan
from dpbench.study.spec import Grid, read_grids

# Of what loads, grids up to this size are planned, too: larger ones are slow, not wrong.
_MOST_CELLS, _MOST_MODELS = 40, 1000


def try_grid(number: int, folder: Path) -> str:
    """Reads a wrong grid and plans what can be read; returns what came of it."""
    path = folder / "grid.yaml"
    text = grid_text(rng_for(number, "hostile grid"))
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return outcome(lambda: [_plan(grid, folder) for grid in read_grids(path)])


def try_scores(number: int, folder: Path) -> str:
    """Reads a wrong score file; returns what came of it."""
    path = folder / "scores.npz"
    path.write_bytes(score_bytes(rng_for(number, "hostile scores")))
    return outcome(lambda: _checked(ScoreFile.read(path)))


def try_data(number: int, folder: Path) -> str:
    """Makes a population of a wrong data file; returns what came of it."""
    content, ending = data_bytes(rng_for(number, "hostile data"))
    path = folder / f"data{ending}"
    path.write_bytes(content)
    spec = PopulationSpec(dataset="file", path=str(path), pool=20, test=10, reference=20)
    return outcome(lambda: _finite(load_population(spec, seed=0, data_dir=None)))


def try_archive(number: int, folder: Path) -> str:
    """Opens one file of a wrong archive; returns what came of it."""
    del folder
    content = archive_bytes(rng_for(number, "hostile archive"))
    return outcome(lambda: _member(content))


def outcome(read: Callable[[], object]) -> str:
    """Returns whether something was read or refused; anything else is raised."""
    try:
        read()
    except UserError as error:
        str(error).encode()  # it can be printed
        return "refused"
    return "loaded"


def _plan(grid: Grid, folder: Path) -> None:
    if len(grid.cells) > _MOST_CELLS or grid.models > _MOST_MODELS:
        return
    context = Context(grid=grid, store=Store(folder / "store"))
    context.__dict__["population"] = _population(grid.population, grid.seed)
    make_plan(context)


@lru_cache(maxsize=20)
def _population(spec: PopulationSpec, seed: int) -> Population:
    return load_population(spec, seed=seed, data_dir=None)


def _checked(file: ScoreFile) -> None:
    assert not np.isnan(file.scores).any()


def _finite(population: Population) -> None:
    for inputs in (population.pool_x, population.test_x, population.reference_x):
        assert np.isfinite(inputs).all()


def _member(content: bytes) -> None:
    # A flipped byte may go unnoticed here: the digest of the whole archive was compared before.
    with archive_member(content, MEMBER, where="archive") as stream:
        found = stream.read()
    assert len(found) < 100_000
    assert b"root:" not in found, "a link was followed out of the archive"
