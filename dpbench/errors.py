"""The exception a user sees as a message: what is wrong, what is allowed, what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class UserError(Exception):
    """The input is wrong, and its author can mend it.

    The command line prints the message alone and exits with code 2.

    Args:
        problem: What is wrong, in one sentence, naming the field and the value as typed.
        allowed: What would have been accepted.
        next_step: What to do now.
    """

    def __init__(self, problem: str, *, allowed: str = "", next_step: str = "") -> None:
        lines = [problem]
        if allowed:
            lines.append(f"  allowed: {allowed}")
        if next_step:
            lines.append(f"  next: {next_step}")
        super().__init__("\n".join(lines))


class NoResult(Exception):
    """A job has no result, for a reason that the tables show beside its status.

    Attributes:
        status: `failed`, or `not_applicable` where there is nothing to compute.
    """

    status: ClassVar[str] = "failed"


def suggest(word: str, choices: Iterable[str]) -> str:
    """Returns "did you mean ...?" for the nearest choice, or an empty string."""
    near = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else ""
