"""The command `dpbench bound`: what differential privacy allows a membership-inference attack."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from dpbench.cli.console import console
from dpbench.errors import UserError

if TYPE_CHECKING:
    from dp_accounting import DpEvent

    from dpbench.privacy.bounds.game import Game
    from dpbench.privacy.bounds.guarantee import Guarantee

Adjacency = Literal["add_remove", "replace_one"]

_FPRS = (0.01, 0.001)


def bound(
    epsilon: Annotated[float | None, typer.Option(help="Of the whole training.")] = None,
    delta: Annotated[float, typer.Option(help="At which epsilon holds; 0 is pure DP.")] = 1e-5,
    mu: Annotated[float | None, typer.Option(help="Of a Gaussian mechanism, exact.")] = None,
    noise_multiplier: Annotated[float | None, typer.Option(help="DP-SGD's sigma.")] = None,
    sampling_rate: Annotated[float | None, typer.Option(help="DP-SGD's q; 1 if left out.")] = None,
    steps: Annotated[int | None, typer.Option(help="DP-SGD's T; 1 if left out.")] = None,
    game: Annotated[
        str, typer.Option(help="bernoulli, canary, fixed_size, yeom or shifted.")
    ] = "bernoulli",
    prior: Annotated[float, typer.Option(help="Probability of membership.")] = 0.5,
    copies: Annotated[int, typer.Option(help="Copies of the record in a member's data.")] = 1,
    fpr: Annotated[
        list[float] | None, typer.Option(help="Repeatable; 0.01 and 0.001 if left out.")
    ] = None,
    adjacency: Annotated[
        Adjacency | None,
        typer.Option(
            help="Of the guarantee; if left out, add_remove for --epsilon and --mu, that of the "
            "game for a mechanism."
        ),
    ] = None,
    convert: Annotated[
        bool, typer.Option("--convert", help="From add_remove to the replace_one of the game.")
    ] = False,
) -> None:
    """Show what differential privacy allows a membership-inference attack.

    Takes one of --epsilon, --mu, and --noise-multiplier with --sampling-rate and --steps.
    """
    from dpbench.privacy.bounds.game import GAMES, Game
    from dpbench.privacy.bounds.limit import game_refusal

    if [epsilon, mu, noise_multiplier].count(None) != 2:
        raise UserError(
            "bound: give exactly one guarantee",
            allowed="--epsilon, --mu, or --noise-multiplier with --sampling-rate and --steps",
        )
    if noise_multiplier is None and (sampling_rate, steps) != (None, None):
        raise UserError(
            "--sampling-rate and --steps belong to --noise-multiplier: epsilon and mu are those of "
            "the whole training, and a subsampled one has no exact mu",
            next_step="--noise-multiplier SIGMA --sampling-rate Q --steps T",
        )
    played = Game(kind=game, prior=prior, copies=copies)
    accounted = played.adjacency if noise_multiplier is not None else None
    stated: Adjacency = adjacency or accounted or "add_remove"
    converted = convert and (stated, played.adjacency) == ("add_remove", "replace_one")
    mismatch = game_refusal(played, "replace_one" if converted else stated)
    if mismatch is not None:
        raise UserError(
            f"no bound holds in the game '{game}': {mismatch.reason}", next_step=mismatch.instead
        )
    table = Table("bound", "name", "limits", "value", "because")
    if noise_multiplier is None:
        promise = _promised(table, epsilon, mu, delta=delta, adjacency=stated)
    else:
        event = _event(noise_multiplier, sampling_rate, steps)
        promise = _accounted(table, event, delta=delta, adjacency=stated)
    if converted:
        promise = promise.replace_one()
        _state(table, "epsilon", promise, "a replacement is one removal and one addition")
    if copies > 1:
        _state(table, "epsilon", promise.group(copies), f"group privacy of {copies} copies")
    _limits(table, promise, played, fpr=_FPRS if fpr is None else fpr)
    out = console()
    out.print(f"game '{game}', prior {prior:g}: {GAMES[game].sets}", markup=False)
    out.print(table)


def _promised(
    table: Table, epsilon: float | None, mu: float | None, *, delta: float, adjacency: Adjacency
) -> "Guarantee":
    from dpbench.privacy.bounds.guarantee import Guarantee

    if epsilon is not None:
        promise = Guarantee(epsilon=epsilon, delta=delta, adjacency=adjacency)
        _state(table, "epsilon", promise, "given")
    else:
        assert mu is not None
        promise = Guarantee.of_mu(mu, delta=delta, adjacency=adjacency)
        _state(table, "epsilon", promise, f"exact for mu = {mu:g}")
    return promise


def _event(noise_multiplier: float, sampling_rate: float | None, steps: int | None) -> "DpEvent":
    from dpbench.privacy.accounting.mechanism import SampledGaussian

    fields = {
        "noise_multiplier": noise_multiplier,
        "sampling_rate": 1.0 if sampling_rate is None else sampling_rate,
        "steps": 1 if steps is None else steps,
    }
    return SampledGaussian.parse(fields, where="bound").event()


def _accounted(
    table: Table, event: "DpEvent", *, delta: float, adjacency: Adjacency
) -> "Guarantee":
    from dpbench.privacy.accounting.accountants import epsilon_prv, epsilon_rdp
    from dpbench.privacy.bounds.guarantee import Guarantee

    promise = Guarantee.of_event(event, delta=delta, adjacency=adjacency)
    _state(table, "epsilon_pld", promise, "privacy-loss distribution: the one used below")
    if adjacency == "add_remove":
        for function, note in (
            (epsilon_rdp, "Rényi: an upper bound like PLD, and looser"),
            (epsilon_prv, "Opacus: a cross-check, one direction only"),
        ):
            try:
                other = f"{function(event, delta):.4g}"
            except UserError as error:
                other, note = "-", str(error)
            table.add_row("", function.__name__, _at(promise), other, Text(note))
    return promise


def _state(table: Table, name: str, promise: "Guarantee", note: str) -> None:
    table.add_row("", name, _at(promise), f"{promise.epsilon:.4g}", note)


def _at(promise: "Guarantee") -> str:
    return f"epsilon at delta {promise.delta:g}, {promise.adjacency}"


def _limits(table: Table, promise: "Guarantee", game: "Game", *, fpr: Sequence[float]) -> None:
    """Adds a row for each bound that holds and each FPR, then one for each that does not."""
    from dpbench.privacy.bounds.catalogue import BOUNDS
    from dpbench.privacy.bounds.limit import limit, refusal

    refused = {bound.name: refusal(bound, promise, game) for bound in BOUNDS}
    table.add_section()
    for bound in BOUNDS:
        if refused[bound.name] is not None:
            continue
        for rate in fpr if "fpr" in bound.arguments else [None]:
            value = float(limit(bound.name, promise, game, fpr=rate))
            limits = bound.quantity if rate is None else f"{bound.quantity} {rate:g}"
            note = bound.formula if bound.tight else f"{bound.formula} (loose)"
            note = "says nothing" if value >= 1 else note
            table.add_row(bound.number, bound.name, limits, f"{value:.4g}", note)
    table.add_section()
    for bound in BOUNDS:
        reason = refused[bound.name]
        if reason is not None:
            note = f"{reason.reason}; {reason.instead}"
            table.add_row(bound.number, bound.name, bound.quantity, "refused", note)
