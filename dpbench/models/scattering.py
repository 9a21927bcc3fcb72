"""The scattering transform of images: features that nobody has to learn (Mallat 2012).

`S0 = x * φ`, `S1 = |x * ψ1| * φ`, `S2 = ||x * ψ1| * ψ2| * φ` with Morlet wavelets ψ of L directions
and J octaves and a Gaussian φ, sampled every 2^J pixels; orders as in Oyallon & Mallat 2015. It is
stable to small deformations, and data-independent.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

DIRECTIONS = 8
_IMAGES_AT_ONCE = 16


def scattering(images: Tensor, *, octaves: int) -> Tensor:
    """Returns the coefficients `(N, channels * paths, height / 2^J, width / 2^J)`.

    Args:
        images: `(N, channels, height, width)`, sides divisible by 2^J.
        octaves: J; paths are `1 + L J + L² J (J - 1) / 2`, order by order as Kymatio has them.
    """
    blocks = [_block(part, octaves) for part in torch.split(images, _IMAGES_AT_ONCE)]
    return torch.cat(blocks) if blocks else images.new_empty(0)


def _block(images: Tensor, octaves: int) -> Tensor:
    margin = 2**octaves
    padded = functional.pad(images, (margin,) * 4, mode="reflect")[:, :, None]
    low, bands = _filters(padded.shape[-2], padded.shape[-1], octaves)
    # The Gaussian is separable: two narrow products smooth and sample at once.
    kernel = torch.fft.ifft2(low).real
    down = _sampled(kernel.sum(1), margin)
    across = _sampled(kernel.sum(0) / kernel.sum(), margin).T

    zeroth, first, second = [down @ padded @ across], [], []
    spectrum = torch.fft.fft2(padded)
    for octave, band in enumerate(bands):
        envelopes = torch.fft.ifft2(spectrum * band).abs()
        first.append(down @ envelopes @ across)
        coarser = bands[octave + 1 :]
        if coarser:
            inner = torch.fft.fft2(envelopes)[:, :, :, None]
            again = torch.fft.ifft2(inner * torch.cat(coarser)).abs()
            second.append((down @ again @ across).flatten(2, 3))
    return torch.cat([*zeroth, *first, *second], 2).flatten(1, 2)


def _sampled(kernel: Tensor, step: int) -> Tensor:
    """Returns the matrix of a circular convolution, every `step`-th row without the margins."""
    shifts = torch.arange(step, len(kernel) - step, step)[:, None] - torch.arange(len(kernel))
    return kernel[shifts % len(kernel)]


@functools.lru_cache(maxsize=8)
def _filters(height: int, width: int, octaves: int) -> tuple[Tensor, list[Tensor]]:
    """Returns φ and, for each octave, its wavelets `(L, height, width)`, in the Fourier domain."""
    low = _spectrum(_gabor(height, width, 0.8 * 2 ** (octaves - 1), 0.0, 0.0, 1.0))
    bands = [
        torch.stack([_morlet(height, width, octave, turn) for turn in range(DIRECTIONS)])
        for octave in range(octaves)
    ]
    return low, bands


def _morlet(height: int, width: int, octave: int, direction: int) -> Tensor:
    """A wave under a Gaussian, minus what is left of its mean."""
    deviation, frequency = 0.8 * 2**octave, 3 * math.pi / 4 / 2**octave
    angle = (DIRECTIONS // 2 - 1 - direction) * math.pi / DIRECTIONS
    slant = 4 / DIRECTIONS
    wave = _gabor(height, width, deviation, angle, frequency, slant)
    envelope = _gabor(height, width, deviation, angle, 0.0, slant)
    return _spectrum(wave - wave.sum() / envelope.sum() * envelope)


def _spectrum(filter_: Tensor) -> Tensor:
    """Returns a filter's transform, which is real by symmetry."""
    transformed: Tensor = torch.fft.fft2(filter_)
    return transformed.real.float()


def _gabor(
    height: int, width: int, deviation: float, angle: float, frequency: float, slant: float
) -> Tensor:
    """Returns a wave under an elongated Gaussian, wrapped around the edges, `(height, width)`."""
    total = torch.zeros(height, width, dtype=torch.complex128)
    cos, sin = math.cos(angle), math.sin(angle)
    for up in range(-2, 3):
        for left in range(-2, 3):
            rows = torch.arange(height, dtype=torch.float64)[:, None] + up * height
            columns = torch.arange(width, dtype=torch.float64) + left * width
            along, across = cos * rows + sin * columns, -sin * rows + cos * columns
            bell = (along**2 + slant**2 * across**2) / (2 * deviation**2)
            total += torch.exp(torch.complex(-bell, frequency * along))
    return total * slant / (2 * math.pi * deviation**2)
