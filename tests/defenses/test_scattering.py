"""Scattering coefficients: their defining properties, and the defense that uses them."""

import math

import pytest
import torch

from dpbench.defenses import Composition, DpSgd, Scattering
from dpbench.errors import UserError
from dpbench.models import MLP, Softmax
from dpbench.models.scattering import DIRECTIONS, _filters, _gabor, scattering
from dpbench.testing import check_defense
from dpbench.training.recipe import Sampling


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("octaves", [1, 2])
def test_the_contract(octaves):
    check_defense(Scattering(octaves=octaves))


@pytest.mark.parametrize(("side", "octaves", "paths"), [(14, 1, 9), (16, 2, 81), (28, 2, 81)])
def test_paths_and_sizes(side, octaves, paths):
    images = torch.rand(3, 2, side, side, generator=generator())
    step = 2**octaves
    assert scattering(images, octaves=octaves).shape == (3, 2 * paths, side // step, side // step)


def test_filters_have_the_properties_of_their_definition():
    low, bands = _filters(32, 32, 2)
    assert float(low[0, 0]) == pytest.approx(1.0, abs=0.02)  # a local mean
    for octave, band in enumerate(bands):
        assert len(band) == DIRECTIONS
        for direction, wavelet in enumerate(band):
            assert abs(float(wavelet[0, 0])) < 1e-5  # blind to the mean
            peak = int(wavelet.argmax())
            rows, columns = ((index + 16) % 32 - 16 for index in (peak // 32, peak % 32))
            radius = 2 * math.pi / 32 * math.hypot(rows, columns)
            assert radius == pytest.approx(3 * math.pi / 4 / 2**octave, rel=0.3)
            angle = (DIRECTIONS // 2 - 1 - direction) * math.pi / DIRECTIONS
            assert abs(math.cos(math.atan2(columns, rows) - angle)) > 0.95
    envelope = _gabor(32, 32, 1.6, 0.0, 0.0, 1.0).real
    assert float(envelope.sum()) == pytest.approx(1.0, abs=1e-6)


def test_coefficients_are_a_slow_convolution():
    """S0 and one path of S1 by sums over the padded image, in space."""
    image = torch.rand(1, 1, 8, 8, generator=generator(1))
    padded = torch.nn.functional.pad(image, (2,) * 4, mode="reflect")[0, 0].double()
    low, bands = _filters(12, 12, 1)

    def convolved(values, spectrum):
        kernel = torch.fft.ifft2(spectrum.double())
        out = torch.zeros(12, 12, dtype=torch.complex128)
        for row in range(12):
            for column in range(12):
                shifted = torch.roll(values, (row, column), (0, 1))
                out += kernel[row, column] * shifted
        return out

    found = scattering(image, octaves=1)[0]
    mean = convolved(padded, low).real[::2, ::2][1:-1, 1:-1]
    torch.testing.assert_close(found[0].double(), mean, atol=1e-5, rtol=1e-4)
    envelope = convolved(padded, bands[0][3]).abs()
    path = convolved(envelope, low).real[::2, ::2][1:-1, 1:-1]
    torch.testing.assert_close(found[4].double(), path, atol=1e-5, rtol=1e-4)


def test_second_order_is_scattering_of_the_first():
    """Paths come order by order, the first wavelet outermost, so that groups hold one order."""
    image = torch.rand(1, 1, 16, 16, generator=generator(5))
    padded = torch.nn.functional.pad(image, (4,) * 4, mode="reflect")[0, 0]
    low, bands = _filters(24, 24, 2)

    def smooth(values):
        return torch.fft.ifft2(torch.fft.fft2(values) * low).real[::4, ::4][1:-1, 1:-1]

    found = scattering(image, octaves=2)[0]
    for octave, turn in ((0, 0), (0, 5), (1, 2)):
        envelope = torch.fft.ifft2(torch.fft.fft2(padded) * bands[octave][turn]).abs()
        path = found[1 + DIRECTIONS * octave + turn]
        torch.testing.assert_close(path, smooth(envelope), atol=1e-5, rtol=1e-4)
        if octave == 0:
            again = torch.fft.ifft2(torch.fft.fft2(envelope) * bands[1][3]).abs()
            path = found[1 + 2 * DIRECTIONS + DIRECTIONS * turn + 3]
            torch.testing.assert_close(path, smooth(again), atol=1e-5, rtol=1e-4)


def test_brightness_moves_the_mean_alone_and_contrast_scales_all():
    image = torch.rand(2, 1, 16, 16, generator=generator(2))
    plain, brighter = (scattering(x, octaves=2) for x in (image, image + 3))
    torch.testing.assert_close(plain[:, 1:], brighter[:, 1:], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(scattering(5 * image, octaves=2), 5 * plain, atol=1e-4, rtol=1e-4)


def test_features_are_normalised_within_an_image():
    features = Scattering().represent(20 * torch.rand(4, 1, 14, 14, generator=generator(3)))
    groups = features.view(4, 3, -1)
    torch.testing.assert_close(groups.mean(-1), torch.zeros(4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(groups.var(-1, correction=0), torch.ones(4, 3), atol=1e-2, rtol=0)
    assert Scattering().remodel(MLP()) == Softmax()


@pytest.mark.parametrize("shape", [(3, 9), (3, 1, 7, 7), (3, 1, 2, 2)])
def test_other_inputs_are_explained(shape):
    with pytest.raises(UserError, match="scattering"):
        Scattering().represent(torch.zeros(shape))


def test_a_claim_holds_on_frozen_features():
    both = Composition((Scattering(), DpSgd(noise_multiplier=1.0)))
    sampling = Sampling(rate=1.0, steps=10, batch=100.0, steps_per_epoch=1.0)
    assert both.mechanism(sampling).claim is not None


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_kymatio_agrees(monkeypatch):
    # Its one-dimensional and solid harmonic parts import what SciPy has removed.
    monkeypatch.setattr("scipy.special.sph_harm", None, raising=False)
    kymatio = pytest.importorskip("kymatio.scattering2d.frontend.torch_frontend")
    image = torch.rand(2, 1, 16, 16, generator=generator(4))
    theirs = kymatio.ScatteringTorch2D(J=2, shape=(16, 16), L=DIRECTIONS)(image).flatten(1, 2)
    ours = scattering(image, octaves=2)
    # Its intermediate samples are coarser.
    torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=0)
