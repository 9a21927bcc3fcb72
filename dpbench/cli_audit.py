"""`dpbench audit`: what scores and bits made by any program prove about epsilon."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dpbench.audit_rows import Bits, Row, Shadows, pair_bounds, table_bounds
from dpbench.errors import UserError
from dpbench.privacy.score_file import ScoreFile


def audit(
    file: Annotated[
        Path, typer.Argument(help="An npz file with `scores`, `members`, and perhaps `delta`.")
    ],
    bits: Annotated[
        Bits | None,
        typer.Option(help="For scores (k,): whose bits they are. One model's, unless said."),
    ] = None,
    shadows: Annotated[
        Shadows | None,
        typer.Option(
            help="For scores (M, n): whether a model's scores were made with the other rows' bits. "
            "Taken to be leave-one-out, unless said."
        ),
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help="Bound epsilon at this delta, not the file's (or 0).")
    ] = None,
    seed: Annotated[int, typer.Option(help="For splits, draws and ties.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this file, too.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the rows to this file, too.")
    ] = None,
) -> None:
    """Show how well scores tell members apart, and every lower bound on epsilon they prove."""
    data = ScoreFile.read(file).at(delta)
    rows = audit_rows(data, bits=bits, shadows=shadows, seed=seed)
    _show(rows, title=f"{file}: scores {data.scores.shape}, delta {data.delta:g}")
    if csv is not None:
        import pandas as pd

        pd.DataFrame([asdict(row) for row in rows]).to_csv(csv, index=False)
    if json_file is not None:
        json_file.write_text(json.dumps(_document(file, data, rows), indent=1) + "\n")


def audit_rows(
    data: ScoreFile, *, bits: Bits | None = None, shadows: Shadows | None = None, seed: int = 0
) -> list[Row]:
    """Returns all metrics and all lower bounds on epsilon of a file.

    What is not said is read in the way that cannot claim too much.

    Args:
        data: The file.
        bits: For `(k,)` scores, whether all pairs are of one model (assumed if None) or each has
            its own.
        shadows: For `(M, n)` scores, whether those of a model were computed with the bits of other
            models (assumed if None) or not.
        seed: For splits, draws and ties.

    Raises:
        UserError: An option does not fit the shape of the scores.
    """
    from dpbench.audit_metrics import FEWEST_MODELS, pair_metrics, table_metrics

    if data.scores.ndim == 1:
        _refuse("--shadows", shadows, shape="(k,)", fits="(M, n)")
        own = bits == "independent-models"
        covers = "each pair has its own model" if own else "covers other examples, not other models"
        bounds = pair_bounds(data, bits=bits or "one-run", seed=seed)
        return [*pair_metrics(data, covers=covers, seed=seed), *bounds]
    _refuse("--bits", bits, shape="(M, n)", fits="(k,)")
    reading: Shadows = shadows or "leave-one-out"
    bounds = table_bounds(data, shadows=reading, seed=seed)
    if len(data.scores) >= FEWEST_MODELS:
        return [*table_metrics(data, shadows=reading, seed=seed), *bounds]
    covers = f"too few models ({len(data.scores)}) to cover others: covers other examples"
    return [*pair_metrics(data, covers=covers, seed=seed), *bounds]


def _refuse(option: str, value: str | None, *, shape: str, fits: str) -> None:
    if value is not None:
        raise UserError(
            f"{option} {value}: the scores have shape {shape}",
            allowed=f"{option} with scores of shape {fits}",
        )


def _show(rows: list[Row], *, title: str) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=200, soft_wrap=True)
    metrics = Table("metric", "value", "95 % interval", "which", title=escape(title))
    bounds = Table("method", "epsilon >=", "counted", "assumes", title="95 % lower bounds")
    for row in rows:
        note = f"not applicable: {row.reason}" if row.reason else row.assumes
        if row.kind == "metric":
            interval = f"[{_number(row.low)}, {_number(row.high)}]" if row.low is not None else ""
            metrics.add_row(row.name, _number(row.value), interval, note)
        else:
            bounds.add_row(row.name, _number(row.value), row.counts, note)
    console.print(metrics)
    console.print(bounds)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _document(file: Path, data: ScoreFile, rows: list[Row]) -> dict[str, Any]:
    return {
        "file": str(file),
        "shape": list(data.scores.shape),
        "delta": data.delta,
        "confidence": 0.95,
        "rows": [asdict(row) for row in rows],
    }
