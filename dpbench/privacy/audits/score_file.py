"""A file of attack scores, made by any program."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpbench.arrays import Bools, Floats
from dpbench.errors import UserError
from dpbench.npz import Npz, Unreadable, open_npz

_EXAMPLE = "numpy.savez('scores.npz', scores=scores, members=members, delta=1e-5)"


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreFile:
    """Scores and bits, `(k,)` of single pairs or `(M, n)` of M models on n examples.

    Attributes:
        scores: Higher means more likely a member; infinities are allowed, NaN is not.
        members: The bits.
        delta: The delta at which epsilon is bounded.
    """

    scores: Floats
    members: Bools
    delta: float

    @classmethod
    def read(cls, path: Path) -> "ScoreFile":
        """Reads `scores`, `members` and, if it is there, `delta` (0 otherwise). Never unpickles.

        Raises:
            UserError: The file is not an npz archive, or an array is missing or invalid.
        """
        arrays = _load(path)
        scores, members = _scores(path, arrays["scores"]), arrays["members"]
        if members.shape != scores.shape:
            raise UserError(
                f"{path}: members has shape {members.shape}, but scores {scores.shape}",
                allowed="the same shape for both",
            )
        bits = _bits(path, members)
        delta = _delta(f"{path}: delta", arrays["delta"]) if "delta" in arrays else 0.0
        return cls(scores=scores, members=bits, delta=delta)

    def at(self, delta: float | None) -> "ScoreFile":
        """Returns the same data at another delta, or itself if that is None.

        Raises:
            UserError: The delta is not in [0, 1).
        """
        if delta is None:
            return self
        checked = _delta("--delta", np.asarray(delta))
        return ScoreFile(scores=self.scores, members=self.members, delta=checked)


def _load(path: Path) -> dict[str, NDArray[np.generic]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file", allowed="an npz file", next_step=_EXAMPLE)
    try:
        with open_npz(path) as archive:
            missing = [name for name in ("scores", "members") if name not in archive.names]
            if missing:
                present = ", ".join(archive.names) or "nothing"
                raise UserError(
                    f"{path}: no array '{missing[0]}', only {present}",
                    allowed="scores, members, and optionally delta",
                    next_step=_EXAMPLE,
                )
            wanted = [name for name in ("scores", "members", "delta") if name in archive.names]
            return {name: _array(path, archive, name) for name in wanted}
    except Unreadable:
        raise UserError(f"{path}: this is no npz file", allowed="npz", next_step=_EXAMPLE) from None


def _array(path: Path, archive: Npz, name: str) -> NDArray[np.generic]:
    try:
        array = archive.array(name)
    except Unreadable as error:
        raise UserError(f"{path}: {name} {error}", allowed="an array of numbers") from None
    if array.dtype.kind not in "fiub":
        raise UserError(f"{path}: {name} has type {array.dtype}", allowed="numbers")
    return array


def _scores(path: Path, array: NDArray[np.generic]) -> Floats:
    if array.ndim not in (1, 2) or array.size < 2:
        raise UserError(
            f"{path}: scores has shape {array.shape}",
            allowed="(k,) for single pairs or (M, n) for M models and n examples; two at least",
        )
    scores = array.astype(np.float64)
    nans = int(np.count_nonzero(np.isnan(scores)))
    if nans:
        raise UserError(
            f"{path}: scores has {nans} NaN among {scores.size} values",
            allowed="numbers; -inf and inf too",
            next_step="find out why the attack failed there; NaN is no score",
        )
    return scores


def _bits(path: Path, array: NDArray[np.generic]) -> Bools:
    # Checked before the conversion, which would make a member of any number but 0.
    odd = np.unique(array[~np.isin(array, (0, 1))])
    if odd.size:
        raise UserError(
            f"{path}: members has {odd[0]}, which is no membership bit",
            allowed="1 or true for members, 0 or false for non-members",
        )
    bits = array.astype(np.bool_)
    if bits.all() or not bits.any():
        only = "members" if bits.all() else "non-members"
        raise UserError(f"{path}: members has only {only}", allowed="both kinds of bits")
    return bits


def _delta(where: str, array: NDArray[np.generic]) -> float:
    if array.size != 1 or not 0 <= float(array.reshape(()).astype(np.float64)) < 1:
        raise UserError(f"{where} is {array}", allowed="one number from 0 up to, not including, 1")
    return float(array.reshape(()).astype(np.float64))
