"""Spectrum images of a small specimen, recorded by a detector that is not as the file says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.pure_spectra import bremsstrahlung, element_spectra

Doubles = NDArray[np.float64]

AXIS = EnergyAxis(0.02, 0.04, 256)
TILTS = np.arange(-60.0, 61.0, 20.0)
PERCENT = {"Ti": 30.0, "Fe": 22.0, "Mo": 12.0, "O": 30.0, "Cu": 6.0}
"""Counts of the elements in the sum, relative to each other."""


@dataclass(frozen=True)
class Imperfection:
    """What a detector does that the file does not tell.

    Parameters
    ----------
    fwhm : float
        Factor of the width of lines.
    offset_keV : float
        Added to all energies.
    sum_peaks : float
        Share of the counts that are recorded as pairs.
    escape : float
        Escape peaks, relative to those expected.
    background : float
        Relative change of the background from one end of the spectrum to the other.
    """

    fwhm: float = 1.0
    offset_keV: float = 0.0
    sum_peaks: float = 0.0
    escape: float = 0.0
    background: float = 0.0


PERFECT = Imperfection()


def pure(element: str, fault: Imperfection = PERFECT) -> Doubles:
    """The spectrum of an element, with the sum 1."""
    axis = EnergyAxis(AXIS.offset_keV - fault.offset_keV, AXIS.step_keV, AXIS.n)
    detector = Detector(0.130 * fault.fwhm, escape=fault.escape)
    counts = sum((one.counts for one in element_spectra(element, axis, detector)), start=np.zeros(AXIS.n))
    return np.asarray(counts / counts.sum())


def ground(fault: Imperfection = PERFECT) -> Doubles:
    """The spectrum of the background, with the sum 1."""
    axis = EnergyAxis(AXIS.offset_keV - fault.offset_keV, AXIS.step_keV, AXIS.n)
    tilted = bremsstrahlung(axis, Detector()) * (1 + fault.background * np.linspace(-0.5, 0.5, AXIS.n))
    return np.asarray(tilted / tilted.sum())


def true_maps(size: int = 24) -> dict[str, Doubles]:
    """Maps of a Ti-O film with an Fe and a Mo particle, and of copper everywhere: each with the mean 1."""
    y, x = np.mgrid[:size, :size] / (size - 1.0) - 0.5
    maps = {}
    film = np.exp(-((x / 0.28) ** 4))
    for name, image in (
        ("Ti", film), ("O", film), ("Cu", np.ones_like(x)),
        ("Fe", np.sqrt(np.maximum(0.04 - (x + 0.12) ** 2 - (y - 0.2) ** 2, 0))),
        ("Mo", np.sqrt(np.maximum(0.03 - (x - 0.1) ** 2 - (y + 0.2) ** 2, 0))),
    ):  # fmt: skip
        maps[name] = np.stack([image / np.cos(np.deg2rad(tilt)) ** 0.5 for tilt in TILTS])
        maps[name] /= maps[name].mean()
    return maps


def record(
    fault: Imperfection = PERFECT, *, counts: float = 40.0, seed: int = 0, size: int = 24
) -> NDArray[np.uint16]:
    """Counted spectra (views, rows, columns, channels), so many counts a pixel, 40 % of them background."""
    maps, whole = true_maps(size), sum(PERCENT.values())
    mass = sum(maps[name] for name in ("Ti", "Fe", "Mo")) / 3
    expected = 0.4 * counts * mass[..., np.newaxis] * ground(fault)
    for name, share in PERCENT.items():
        expected = expected + 0.6 * counts * share / whole * maps[name][..., np.newaxis] * pure(name, fault)
    if fault.sum_peaks:
        summed = expected.sum(axis=(0, 1, 2))
        pairs = np.convolve(summed, summed)
        energy_keV = 2 * AXIS.offset_keV + AXIS.step_keV * np.arange(len(pairs))
        peaks = np.interp(AXIS.energy_keV, energy_keV, pairs)
        lost = fault.sum_peaks * expected.sum(axis=-1, keepdims=True)
        expected = (1 - fault.sum_peaks) * expected + lost * peaks / peaks.sum()
    return np.random.default_rng(seed).poisson(expected).astype(np.uint16)
