"""What one score file proves, read in the way that cannot claim too much."""

from dpbench.audit.metrics import FEWEST_MODELS, pair_metrics, table_metrics
from dpbench.audit.reading import Bits, Shadows
from dpbench.audit.rows import AuditRow, pair_bounds, table_bounds
from dpbench.errors import UserError
from dpbench.privacy.audits.score_file import ScoreFile


def audit_rows(
    data: ScoreFile, *, bits: Bits | None = None, shadows: Shadows | None = None, seed: int = 0
) -> list[AuditRow]:
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
