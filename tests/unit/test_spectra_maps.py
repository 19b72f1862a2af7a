"""Maps of known spectra, windows, and edges of energy losses, against closed forms and true maps."""

import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.spectra.counts import SpectrumCounts
from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.poisson_fit import fit_maps, fit_parts
from etcli.core.spectra.power_law import edge_windows
from etcli.core.spectra.windows import share_of_channels, window_weights
from tests.spectrum_images import AXIS, PERCENT, ground, pure, record, true_maps

NAMES = tuple(PERCENT)


@pytest.fixture(scope="module")
def counts() -> SpectrumCounts:
    return SpectrumCounts.of(record())


@pytest.fixture(scope="module")
def spectra(counts: SpectrumCounts) -> np.ndarray:
    whole = counts.total
    share = [0.6 * PERCENT[name] / 100 for name in NAMES]
    return whole * np.stack([*(s * pure(name) for s, name in zip(share, NAMES, strict=True)), 0.4 * ground()])


def test_maps_show_what_is_there(counts: SpectrumCounts, spectra: np.ndarray) -> None:
    maps = fit_maps(counts, spectra)
    for k, name in enumerate(NAMES):
        true = true_maps()[name]
        if name != "Cu":  # which is the same everywhere
            assert np.corrcoef(maps[k].ravel(), true.ravel())[0, 1] > {"Mo": 0.9}.get(name, 0.9)
        assert maps[k].sum() / counts.total == pytest.approx(0.6 * PERCENT[name] / 100, rel=0.15)


def test_maps_of_a_pixel_add_up_to_its_counts(counts: SpectrumCounts, spectra: np.ndarray) -> None:
    maps = fit_maps(counts, spectra)
    pixels = counts.sums(np.ones((AXIS.n, 1)))[0]
    assert np.allclose(maps.sum(axis=0), pixels, rtol=1e-4)
    assert (maps >= 0).all()


def test_threads_do_not_change_the_maps(counts: SpectrumCounts, spectra: np.ndarray) -> None:
    assert np.array_equal(fit_maps(counts, spectra), fit_maps(counts, spectra, threads=2))


def test_a_single_spectrum_gets_all_counts(counts: SpectrumCounts, spectra: np.ndarray) -> None:
    maps = fit_maps(counts, spectra.sum(axis=0, keepdims=True))
    assert np.allclose(maps[0], counts.sums(np.ones((AXIS.n, 1)))[0], rtol=1e-5)


def test_parts_have_the_counts_of_the_whole(counts: SpectrumCounts, spectra: np.ndarray) -> None:
    whole = fit_maps(counts, spectra).sum(axis=(1, 2, 3))
    training, test = fit_parts(*counts.thinned(0.8), spectra)
    sums = training.sum(axis=(1, 2, 3)), test.sum(axis=(1, 2, 3))
    # an element with many counts; minor ones are biased by noise, in both parts alike
    assert sums[0][:2] / 0.8 == pytest.approx(whole[:2], rel=0.02)
    assert sums[1] / 0.2 == pytest.approx(sums[0] / 0.8, rel=0.1)


def test_windows_take_off_a_straight_background() -> None:
    weights = window_weights([4.51, 6.40], AXIS, Detector())
    energy_keV = AXIS.energy_keV
    assert np.allclose((3 - 0.2 * energy_keV) @ weights, 0, atol=1e-9)
    line = Detector().response(AXIS, [4.51], [1000.0])
    # a window of 1 FWHM holds erf(√ln 2) of a Gaussian, and a little of it is in the side windows
    assert 0.70 < line @ weights[:, 0] / 1000 < 0.7612


def test_channels_count_in_part() -> None:
    axis = EnergyAxis(0.5, 1.0, 10)  # from 0 to 10
    assert np.allclose(share_of_channels(axis, 2.25, 4.5), [0, 0, 0.75, 1, 0.5, 0, 0, 0, 0, 0])


LOSS = EnergyAxis(0.35, 0.001, 300)


def test_a_power_law_leaves_the_signal() -> None:
    windows = edge_windows("Ti", LOSS)
    assert (windows.shell, windows.edge_keV) == ("L3", pytest.approx(0.454, abs=1e-3))
    weights, edges = windows.weights(LOSS), LOSS.edges_keV
    signal = np.zeros((1, 6, 6))
    signal[:, 2:, :] = 50.0
    # each channel holds the integral of the power law over it
    law = -np.diff(edges ** (1 - 3.2)) / (3.2 - 1)
    after = (weights[:, 2] > 0) / (weights[:, 2] > 0).sum()
    spectra = 40 * law / law[0] + signal[..., np.newaxis] * after
    found, exponent = windows.signal(np.moveaxis(spectra @ weights, -1, 0).astype(np.float32))
    assert exponent == pytest.approx(3.2, abs=1e-3)
    assert found == pytest.approx(signal * (after @ weights[:, 2]), abs=0.02)


def test_the_window_ends_at_the_next_edge() -> None:
    axis = EnergyAxis(0.35, 0.001, 600)
    assert edge_windows("Ti", axis, others_keV=[0.48]).after_keV[1] == 0.48
    with pytest.raises(UsageError, match="Si has no K, L or M edge"):
        edge_windows("Si", axis)
