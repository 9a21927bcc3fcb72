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
_IMAGES_AT_ONCE = 128


def scattering(images: Tensor, *, octaves: int) -> Tensor:
    """Returns the coefficients `(N, channels * paths, height / 2^J, width / 2^J)`.

    Args:
        images: `(N, channels, height, width)`, sides divisible by 2^J.
        octaves: J; paths are `1 + L J + L² J (J - 1) / 2`.
    """
    blocks = [_block(part, octaves) for part in torch.split(images, _IMAGES_AT_ONCE)]
    return torch.cat(blocks) if blocks else images.new_empty(0)


def _block(images: Tensor, octaves: int) -> Tensor:
    margin = 2**octaves
    padded = functional.pad(images, (margin,) * 4, mode="reflect")
    low, bands = _filters(padded.shape[-2], padded.shape[-1], octaves)

    def smooth(values: Tensor) -> Tensor:
        blurred: Tensor = torch.fft.ifft2(torch.fft.fft2(values) * low)
        return blurred.real[..., ::margin, ::margin][..., 1:-1, 1:-1]

    paths = [smooth(padded)]
    for first, band in enumerate(bands):
        spectrum = torch.fft.fft2(padded)
        for wavelet in band:
            envelope = torch.fft.ifft2(spectrum * wavelet).abs()
            paths.append(smooth(envelope))
            inner = torch.fft.fft2(envelope)
            for other in bands[first + 1 :]:
                paths += [smooth(torch.fft.ifft2(inner * second).abs()) for second in other]
    return torch.stack(paths, 2).flatten(1, 2)


@functools.lru_cache(maxsize=8)
def _filters(height: int, width: int, octaves: int) -> tuple[Tensor, list[list[Tensor]]]:
    """Returns φ and, for each octave, its wavelets in all directions, in the Fourier domain."""
    low = _spectrum(_gabor(height, width, 0.8 * 2 ** (octaves - 1), 0.0, 0.0, 1.0))
    bands = [
        [_morlet(height, width, octave, direction) for direction in range(DIRECTIONS)]
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
