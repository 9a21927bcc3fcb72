"""Content keys: equal work has an equal key, on every machine and in every order."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> str:
    """Returns the one JSON text of a plain value: sorted keys, no spaces, infinities by name."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True)


def key_of(value: Any) -> str:
    """Returns the 32-digit BLAKE2b key of a plain value."""
    # With 128 bits, a billion keys collide with a probability of about 1e-21.
    return hashlib.blake2b(canonical(value).encode(), digest_size=16).hexdigest()
