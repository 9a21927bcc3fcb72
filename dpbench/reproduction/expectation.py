"""An expectation file: what a paper reported, at which scale we run, and what must hold there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from dpbench.component import Settings
from dpbench.errors import UserError, suggest
from dpbench.study.document import read_document
from dpbench.study.shipped import EXPECTATION, grid_folders

Metric = Literal[
    "advantage",
    "balanced_accuracy",
    "auc",
    "tpr_at_fpr_0.01",
    "tpr_at_fpr_0.001",
    "precision_of_top_0.01",
    "test_accuracy",
    "train_accuracy",
]


@dataclass(frozen=True, kw_only=True)
class Measure(Settings):
    """A number of a run: of a cell, or of an attack on it.

    Attributes:
        grid: The grid, by name.
        cell: The cell's id.
        metric: Which number. The accuracies are the cell's and need no attack;
            `precision_of_top_0.01` is how many of the highest hundredth of scores are members'.
        attack: The attack's id as the grid's plan shows it: its name, and the fields that differ
            from the defaults.
        knowledge: `adaptive` or `static`.
        track: `average` or `canary`.
    """

    grid: str
    cell: str
    metric: Metric
    attack: str | None = None
    knowledge: Literal["adaptive", "static"] = "adaptive"
    track: Literal["average", "canary"] = "average"


@dataclass(frozen=True, kw_only=True)
class Reported(Settings):
    """A number that a paper printed, beside the same number of ours.

    Attributes:
        what: What it is, in the paper's words.
        value: The number.
        source: Where it stands, with its provenance code.
        ours: Where ours is.
        within: Where the experiment is the same: how far ours may be away, with its whole interval.
            Left out where it is a miniature: both are then shown, and orderings are judged.
        because: Why ours is another, if it is known to be; with the evidence.
    """

    what: str
    value: float
    source: str
    ours: Measure
    within: Annotated[float, Field(ge=0)] | None = None
    because: str = ""


@dataclass(frozen=True, kw_only=True)
class Ordering(Settings):
    """A statement of a paper that should survive the change of scale.

    Attributes:
        claim: The statement.
        source: Where it stands, with its provenance code.
        more: What is larger: a number of a run, or a constant, such as a bound,
        than: than what: likewise. One of the two must be a number of a run.
        factor: `than` is multiplied by this first.
        margin: How much larger it must be at least; negative where nearly as large is enough.
        because: Why it does not hold here, if it is known not to; with the evidence.
    """

    claim: str
    source: str
    more: Measure | float
    than: Measure | float
    factor: float = 1.0
    margin: float = 0.0
    because: str = ""


@dataclass(frozen=True, kw_only=True)
class NotAttempted(Settings):
    """Published numbers for which no run exists, and why."""

    what: str
    value: str
    source: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Variant(Settings):
    """A shipped grid on other data, or trained otherwise.

    Attributes:
        of: The shipped grid.
        population: Fields of its population that are replaced.
        recipe: Fields of its recipe that are replaced.
    """

    of: str
    population: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Paper(Settings):
    """One paper.

    Attributes:
        name: Names its page.
        citation: Authors, title, place and year.
        scale: What is smaller or different here, in plain words.
        grids: The grids that it needs: shipped ones, and names of its variants.
        variants: Grids that differ from a shipped one in a few fields, by name.
        simulations: Games that are simulated, by name; their numbers are read like a grid's.
        reported: Numbers.
        orderings: Statements.
        not_attempted: The rest.
    """

    name: str
    citation: str
    scale: str
    grids: tuple[str, ...] = ()
    variants: dict[str, Variant] = field(default_factory=dict)
    simulations: tuple[str, ...] = ()
    reported: tuple[Reported, ...] = ()
    orderings: tuple[Ordering, ...] = ()
    not_attempted: tuple[NotAttempted, ...] = ()


def read_paper(path: Path) -> Paper:
    """Reads an expectation file.

    Raises:
        UserError: A key is unknown, missing or not valid, a number is of a grid not listed, a
            variant is not used, or a statement compares two constants.
    """
    paper = Paper.parse(read_document(path), where=str(path))
    for measure in measures_of(paper):
        if measure.grid not in (*paper.grids, *paper.simulations):
            raise UserError(
                f"{path}: grid '{measure.grid}' is not in the paper's grids",
                allowed=", ".join((*paper.grids, *paper.simulations)),
            )
    for name in paper.variants:
        if name not in paper.grids:
            raise UserError(
                f"{path}: variant '{name}' is not in the paper's grids",
                next_step=f"add {name} to grids, or remove the variant",
            )
    for one in paper.orderings:
        if not isinstance(one.more, Measure) and not isinstance(one.than, Measure):
            raise UserError(
                f"{path}: '{one.claim}' compares two constants",
                next_step="write {grid: ..., cell: ..., metric: ...} for more or for than",
            )
    return paper


def measures_of(paper: Paper) -> Iterable[Measure]:
    """Yields every number of a run that a paper's lines are about."""
    for one in paper.reported:
        yield one.ours
    for other in paper.orderings:
        for side in (other.more, other.than):
            if isinstance(side, Measure):
                yield side


def list_papers() -> dict[str, Path]:
    """Returns the name and expectation file of every paper."""
    found: dict[str, Path] = {}
    for folder in grid_folders():
        for path in sorted(folder.rglob(f"*{EXPECTATION}")):
            found.setdefault(path.name.removesuffix(EXPECTATION), path)
    return found


def find_papers(name: str | None) -> list[Paper]:
    """Returns the paper of a name, or all.

    Raises:
        UserError: There is no such paper.
    """
    papers = list_papers()
    if name is None:
        return [read_paper(path) for path in papers.values()]
    if name not in papers:
        raise UserError(
            f"{name}: no such paper",
            allowed=", ".join(papers),
            next_step=suggest(name, papers) or "leave it out to reproduce all",
        )
    return [read_paper(papers[name])]
