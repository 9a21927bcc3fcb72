"""What a data set was taken for, in a line: a wrong reading is seen before anything is trained."""

import numpy as np

from dpbench.data.base import RawData

_MOST_CLASSES = 10


def understood(raw: RawData, *, name: str) -> str:
    """Returns rows, features, label column, and classes with their shares; then the notes.

    Args:
        raw: The data, of the wanted classes only.
        name: The file, or the data set.
    """
    rows = len(raw.train_y) + (0 if raw.test_y is None else len(raw.test_y))
    shape = raw.train_x.shape[1:]
    bits = int(raw.binary.sum())
    what = (
        f"images of {'x'.join(map(str, shape))}"
        if raw.is_image
        else f"{int(np.prod(shape))} features" + (f" ({bits} of them bits)" if bits else "")
    )
    label = f"label column '{raw.told.label_column}', " if raw.told.label_column else ""
    line = f"{name}: {rows:,} rows, {what}, {label}{raw.n_classes} classes: {_shares(raw)}"
    if raw.told.read_as:
        line += f"; {raw.told.read_as}"
    lines = [line, *(f"note: {note}" for note in raw.told.notes)]
    return "\n".join("".join(c if c.isprintable() else "?" for c in text) for text in lines)


def _shares(raw: RawData) -> str:
    labels = raw.train_y if raw.test_y is None else np.concatenate([raw.train_y, raw.test_y])
    shares = 100 * np.bincount(labels, minlength=raw.n_classes) / len(labels)
    if raw.n_classes > _MOST_CLASSES:
        return f"{shares.min():.1f} % to {shares.max():.1f} % each"
    names = raw.told.class_names or tuple(map(str, range(raw.n_classes)))
    return ", ".join(
        f"{name if len(name) <= 20 else name[:19] + '…'} ({share:.1f} %)"
        for name, share in zip(names, shares, strict=True)
    )
