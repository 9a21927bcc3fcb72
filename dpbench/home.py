"""The user's home folder. A user id without an account, as in containers, has none."""

from pathlib import Path

from dpbench.errors import UserError


def home() -> Path | None:
    """Returns the home folder, or None if none is known."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expanded(path: str | Path, *, field: str) -> Path:
    """Returns a path with its leading `~` replaced.

    Args:
        path: As typed.
        field: What it was typed for.

    Raises:
        UserError: It starts with the home folder of a user who has none.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            f"{field}: '{path}' starts at a home folder that is not known",
            next_step="write the whole path, or set HOME",
        ) from None
