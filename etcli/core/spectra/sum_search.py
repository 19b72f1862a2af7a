"""Search for the energy axis, the width of lines and the heights that explain the sum of all spectra."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares, nnls

from etcli.core.errors import UsageError
from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.pure_spectra import PureSpectrum, bremsstrahlung, element_spectra, joined
from etcli.core.spectra.x_ray_lines import LOWEST_keV

Doubles = NDArray[np.float64]

HIGHEST_keV = 400.0
"""No microscope records X-rays above it."""

FAMILY_RATIO = (0.2, 2.5)
"""Range of the ratio of two families of an element, relative to that of `x_ray_lines`: yields are uncertain,
and low lines are absorbed in the specimen. Without it, an element that is not there could be fitted by one
family."""
BACKGROUND_DEGREE = 3
"""Degree of the polynomial by which the background may deviate from bremsstrahlung."""
OFFSET_STEPS, GAIN_SD, WIDTH_SD, ESCAPE_SD = 1.0, 0.004, 0.1, 1.0
"""Standard deviations of what a detector may be off: the offset in channels, gain, relative width, escape."""
SYSTEMATIC = 0.01
"""Relative error of the model, which counting noise does not include."""


@dataclass(eq=False)
class SumSearch:
    """Search for the energy axis and the detector that explain a sum of spectra best.

    Its parameters are the offset of the axis, its gain, the width of lines and the share of escape peaks, as
    deviations from what is given, in their standard deviations.

    Parameters
    ----------
    observed : ndarray of shape (n_channels,), float64
        Counts of the sum.
    axis : EnergyAxis
    detector : Detector
    elements, strays : tuple of str
        Elements that are named, and others.
    beam_kV : float
        Accelerating voltage.
    """

    observed: Doubles
    axis: EnergyAxis
    detector: Detector
    elements: tuple[str, ...]
    strays: tuple[str, ...]
    beam_kV: float

    def __post_init__(self) -> None:
        self.used = self.axis.energy_keV >= LOWEST_keV
        smooth = gaussian_filter1d(self.observed, 1.0, mode="nearest")
        self.weight = 1 / np.sqrt(smooth + (SYSTEMATIC * smooth) ** 2 + 1)
        self.pile_up = np.zeros((1, self.axis.n))
        # families that are lost or gained at the end of the axis would make the search uneven
        self.spectra(np.zeros(4))

    def instrument(self, parameters: Doubles) -> tuple[EnergyAxis, Detector]:
        """Return the energy axis and the detector for some parameters."""
        offset, gain, width, escape = parameters
        axis = self.axis.calibrated(offset * OFFSET_STEPS * self.axis.step_keV, 1 + gain * GAIN_SD)
        fwhm_keV = self.detector.fwhm_keV * np.exp(width * WIDTH_SD)
        return axis, replace(self.detector, fwhm_keV=fwhm_keV, escape=max(1 + escape * ESCAPE_SD, 0.0))

    def spectra(self, parameters: Doubles) -> list[list[PureSpectrum]]:
        """Return the families of each element."""
        axis, detector = self.instrument(parameters)
        found = []
        for element in (*self.elements, *self.strays):
            families = element_spectra(element, axis, detector, beam_kV=self.beam_kV)
            if not families and element in self.elements:
                low, high = self.axis.energy_keV[[0, -1]]
                raise UsageError(
                    f"{element} has no lines from {max(low, LOWEST_keV):.3g} to {high:.3g} keV; leave it out"
                    + (", or give the energies in keV, if these are eV" if high > HIGHEST_keV else "")
                )
            found += [families] if families else []
        return found

    def design(self, parameters: Doubles) -> tuple[list[PureSpectrum], Doubles]:
        """Return the columns of the fit: elements with extreme ratios of families, and the background."""
        axis, detector = self.instrument(parameters)
        rays = [ray for families in self.spectra(parameters) for ray in extreme_ratios(families)]
        columns = [ray.counts / ray.strength for ray in rays]
        return rays, np.stack([*columns, *_backgrounds(axis, detector, self.beam_kV), *self.pile_up])

    def heights(self, columns: Doubles, weight: Doubles | None = None) -> Doubles:
        """Return the counts of each column in the sum, by channels with weights."""
        weight = self.weight * self.used if weight is None else weight
        weighted = columns * weight
        scale = np.maximum(np.linalg.norm(weighted, axis=1), 1e-300)
        found, _ = nnls((weighted / scale[:, np.newaxis]).T, self.observed * weight)
        return np.asarray(found / scale)

    def residual(self, parameters: Doubles) -> Doubles:
        """Return the deviations of the fit and of its parameters in standard deviations."""
        _, columns = self.design(parameters)
        model = self.heights(columns) @ columns
        return np.concatenate([((self.observed - model) * self.weight)[self.used], parameters])

    def calibrated(self, parameters: Doubles) -> Doubles:
        """Return the best parameters; sum peaks follow from what a first fit has found."""
        for _ in range(2):
            best = least_squares(
                self.residual, parameters, bounds=(-3.0, 3.0), diff_step=0.02, xtol=1e-3, ftol=1e-4
            )
            parameters = best.x
            self.pile_up = self.sum_peaks(parameters)
        return np.asarray(parameters)

    def sum_peaks(self, parameters: Doubles) -> Doubles:
        """Return the spectrum of pairs of photons, with the sum 1."""
        axis, _ = self.instrument(parameters)
        _, columns = self.design(parameters)
        model = self.heights(columns) @ columns * self.used
        pairs = np.convolve(model, model)
        energy_keV = 2 * axis.offset_keV + axis.step_keV * np.arange(len(pairs))
        found = np.interp(axis.energy_keV, energy_keV, pairs)
        return np.asarray(found / max(found.sum(), 1e-300))[np.newaxis]


def extreme_ratios(families: list[PureSpectrum]) -> list[PureSpectrum]:
    """Return the spectra of an element with the ratios of its families at the ends of their range."""
    first = int(np.argmax([one.strength for one in families]))
    ranges = [(1.0,) if k == first else FAMILY_RATIO for k in range(len(families))]
    return [joined(families, np.array(weights)) for weights in product(*ranges)]


def _backgrounds(axis: EnergyAxis, detector: Detector, beam_kV: float) -> Doubles:
    """Return bremsstrahlung times the Bernstein polynomials of the logarithm of the energy."""
    shape = bremsstrahlung(axis, detector, beam_kV=beam_kV)
    energy = np.maximum(axis.energy_keV, LOWEST_keV)
    place = np.log(energy / LOWEST_keV) / np.log(energy[-1] / LOWEST_keV)
    k = np.arange(BACKGROUND_DEGREE + 1)[:, np.newaxis]
    columns = shape * place**k * (1 - place) ** (BACKGROUND_DEGREE - k)
    return np.asarray(columns / np.maximum(columns.sum(axis=1, keepdims=True), 1e-300))
