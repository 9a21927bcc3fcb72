"""Atomic replacement of a file: readers see the old one or the new one, never a part."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a unique temporary path, and renames the result to `path`."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Replaces a text file."""
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_synced(path: Path, text: str) -> None:
    """Writes a text file and syncs it, so that it survives a power cut."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
