"""Data sets that come with the package, each checked against its digest whenever it is read."""

import hashlib
import json
from importlib.resources import files
from io import BytesIO

import numpy as np

from dpbench.data.base import Array
from dpbench.errors import UserError


def read_embedded(name: str) -> dict[str, Array]:
    """Returns the arrays of one embedded set.

    Raises:
        UserError: The installed file is not the one that was shipped.
    """
    folder = files(__name__)
    content = (folder / f"{name}.npz").read_bytes()
    expected = json.loads((folder / "digests.json").read_text())[f"{name}.npz"]
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise UserError(
            f"embedded data {name}.npz: sha256 {found} is not the shipped one",
            allowed=expected,
            next_step="reinstall dp-defense-bench",
        )
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}
