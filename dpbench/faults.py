"""Faults of the machine: a full disk, a file server that is gone. No job is to blame for them."""

import errno
import os
import re
from pathlib import Path

from dpbench.errors import UserError

EXIT_CODE = 75
"""Of a worker that cannot go on until somebody mends the machine (EX_TEMPFAIL of sysexits.h)."""

MEND = "nothing is lost: mend it (make room, say), and the same command goes on from here"
"""What to do then."""

_NUMBERS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "ENOTCONN", "EHOSTDOWN")
    if hasattr(errno, name)
)
_IN_WORDS = re.compile(r"\(os error (\d+)\)")


def is_fault(error: BaseException) -> bool:
    """Tells whether an error is the machine's, whoever met it."""
    return isinstance(error, OSError) and error.errno in _NUMBERS


def as_os_error(error: Exception, path: Path) -> OSError | None:
    """Returns the error of the operating system that a library has put into words, or None."""
    found = _IN_WORDS.search(str(error))
    if found is None:
        return None
    number = int(found[1])
    return OSError(number, os.strerror(number), str(path))


def explained(error: OSError, folder: Path) -> UserError:
    """Returns what to tell the user."""
    what = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    return UserError(
        f"{error.filename or folder}: {what}",
        next_step=MEND,
    )
