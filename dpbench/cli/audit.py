"""`dpbench audit`: what scores and bits made by any program prove about epsilon."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from dpbench.audit.reading import Bits, Shadows
from dpbench.cli.console import console

if TYPE_CHECKING:
    from dpbench.audit.rows import AuditRow
    from dpbench.privacy.audits.score_file import ScoreFile


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
    from dpbench.audit.score_file import audit_rows
    from dpbench.privacy.audits.score_file import ScoreFile

    data = ScoreFile.read(file).at(delta)
    rows = audit_rows(data, bits=bits, shadows=shadows, seed=seed)
    _show(rows, title=f"{file}: scores {data.scores.shape}, delta {data.delta:g}")
    if csv is not None:
        import pandas as pd

        pd.DataFrame([asdict(row) for row in rows]).to_csv(csv, index=False)
    if json_file is not None:
        json_file.write_text(json.dumps(_document(file, data, rows), indent=1) + "\n")


def _show(rows: "list[AuditRow]", *, title: str) -> None:
    screen = console()
    metrics = Table("metric", "value", "95 % interval", "which", title=title)
    bounds = Table("method", "epsilon >=", "counted", "assumes", title="95 % lower bounds")
    for row in rows:
        note = f"not applicable: {row.reason}" if row.reason else row.assumes
        if row.kind == "metric":
            interval = f"[{_number(row.low)}, {_number(row.high)}]" if row.low is not None else ""
            metrics.add_row(row.name, _number(row.value), interval, note)
        else:
            bounds.add_row(row.name, _number(row.value), row.counts, note)
    screen.print(metrics)
    screen.print(bounds)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _document(file: Path, data: "ScoreFile", rows: "list[AuditRow]") -> dict[str, Any]:
    return {
        "file": str(file),
        "shape": list(data.scores.shape),
        "delta": data.delta,
        "confidence": 0.95,
        "rows": [asdict(row) for row in rows],
    }
