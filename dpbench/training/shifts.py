"""Random shifts and reflections of images, drawn anew for every image."""

import torch
from torch import Generator, Tensor


def random_shifts(inputs: Tensor, generator: Generator, *, pixels: int, flip: bool) -> Tensor:
    """Returns images `(K, B, channels, height, width)`, each moved and mirrored on its own.

    Args:
        inputs: The images.
        generator: Randomness, on the device of the images.
        pixels: Largest shift down and to the right, uniform on `-pixels ... pixels`; what a shift
            uncovers repeats the edge.
        flip: Mirror every other image, left to right, by a fair coin.
    """
    height, width = inputs.shape[-2:]
    device = inputs.device

    def drawn(low: int, high: int) -> Tensor:
        size = (*inputs.shape[:2], 1)
        return torch.randint(low, high, size, generator=generator, device=device)

    rows = (torch.arange(height, device=device) + drawn(-pixels, pixels + 1)).clamp(0, height - 1)
    columns = torch.arange(width, device=device).expand(*inputs.shape[:2], width)
    if flip:
        columns = torch.where(drawn(0, 2) == 1, width - 1 - columns, columns)
    columns = (columns + drawn(-pixels, pixels + 1)).clamp(0, width - 1)
    first, second = (torch.arange(size, device=device) for size in inputs.shape[:2])
    # Advanced indices around a slice come first in the result: (K, B, height, width, channels).
    moved = inputs[
        first[:, None, None, None],
        second[:, None, None],
        :,
        rows[..., :, None],
        columns[..., None, :],
    ]
    return moved.movedim(-1, 2)
