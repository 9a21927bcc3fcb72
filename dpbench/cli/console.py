"""Where commands print."""

from rich.console import Console


def console() -> Console:
    """Returns the terminal; where there is none, something wide that folds no line."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=200, soft_wrap=True)
