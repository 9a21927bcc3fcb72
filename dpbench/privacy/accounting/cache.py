"""Results of the numeric accountant, remembered in memory and on disk.

Accounting is a pure function of its query, so a result is stored under the digest of the query. The
folder is `$DPBENCH_CACHE`, or `~/.cache/dpbench/accounting`; where no home folder is known, memory
alone is used. A cache that cannot be read or written costs time, never a result.
"""

import hashlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dpbench.home import home

# Raised by hand when the accountant's numbers change.
VERSION = 4

_memory: dict[str, Any] = {}


def recall(query: dict[str, Any], compute: Callable[[], Any]) -> Any:
    """Returns the stored answer to `query`, or computes and stores it.

    Args:
        query: JSON values that determine the answer.
        compute: Returns the answer, a JSON value.
    """
    versions = [VERSION, importlib.metadata.version("dp-accounting")]
    text = json.dumps({"versions": versions, **query}, sort_keys=True)
    if text not in _memory:
        kept = folder()
        name = f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.json"
        stored = _read(kept / name) if kept else {}
        if stored.get("query") != text:
            stored = {"query": text, "answer": compute()}
            if kept:
                _write(kept / name, stored)
        _memory[text] = stored["answer"]
    return _memory[text]


def forget() -> None:
    """Empties the cache in memory; files stay."""
    _memory.clear()


def folder() -> Path | None:
    """Returns the folder of the cache's files, or None if there is no place for one."""
    if named := os.environ.get("DPBENCH_CACHE"):
        return Path(named)
    base = home()
    return base / ".cache" / "dpbench" / "accounting" if base else None


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) and "answer" in stored else {}


def _write(file: Path, stored: dict[str, Any]) -> None:
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".partial")
        try:
            with os.fdopen(handle, "w") as partial:
                json.dump(stored, partial)
            os.replace(name, file)
        except OSError:
            os.unlink(name)
