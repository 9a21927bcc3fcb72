"""Where commands print."""

from rich.console import Console


def console() -> Console:
    """Returns the terminal; where there is none, something wide that folds no line.

    Names and labels are the user's: brackets in them are no markup.
    """
    terminal = Console(markup=False)
    return terminal if terminal.is_terminal else Console(width=200, soft_wrap=True, markup=False)
