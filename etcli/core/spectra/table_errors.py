"""What errors of the tables of lines leave over in the sum of all spectra, near lines of strong elements.

Tabulated energies are off by up to 2 eV, and strengths of lines within a family by up to 10 %. Of a strong
element this is more than noise, and looks like lines of others.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.pure_spectra import PureSpectrum, element_spectra
from etcli.core.spectra.x_ray_lines import x_ray_lines

Doubles = NDArray[np.float64]

STRENGTH_ERROR, ENERGY_ERROR_keV = 0.1, 0.002
"""Standard deviations of tabulated lines: strength within its family, relative, and energy."""
LEAST_SHARE = 1e-3
"""Share of the lines of an element from which errors of a line count."""


def left_by_tables(
    rays: list[PureSpectrum], heights: Doubles, axis: EnergyAxis, detector: Detector, *, beam_kV: float
) -> Doubles:
    """Compute what an error of one standard deviation leaves over, for each line of the elements of a fit.

    Parameters
    ----------
    rays : list of PureSpectrum
        Spectra of the elements, some of which belong to the same one.
    heights : ndarray of shape (n_rays,), float64
        Counts of each in the sum.
    axis : EnergyAxis
    detector : Detector
    beam_kV : float
        Accelerating voltage.

    Returns
    -------
    ndarray of shape (n_errors, n_channels), float64
        Counts; errors are independent of each other.
    """
    found = [np.zeros((0, axis.n))]
    for element in dict.fromkeys(ray.element for ray in rays):
        own = [k for k, ray in enumerate(rays) if ray.element == element]
        counts = sum(heights[k] / rays[k].strength * rays[k].counts for k in own)
        if not np.any(counts):
            continue
        families, errors = _errors(element, axis, detector, beam_kV)
        factors, _ = nnls(families.T, counts)
        found += [factor * of_family for factor, of_family in zip(factors, errors, strict=True)]
    return np.concatenate(found)


@lru_cache(maxsize=16)
def _errors(
    element: str, axis: EnergyAxis, detector: Detector, beam_kV: float
) -> tuple[Doubles, tuple[Doubles, ...]]:
    """Return the families of an element (n_families, n_channels), and what errors of lines add to each."""
    families = element_spectra(element, axis, detector, beam_kV=beam_kV)
    whole = sum(one.strength for one in families)
    errors = []
    for one in families:
        lines = [line for line in x_ray_lines(element, beam_kV=beam_kV) if line.family == one.family]
        energy = np.array([line.energy_keV for line in lines])
        strength = np.array([line.strength for line in lines]) * detector.efficiency(energy)
        of_line = []
        for e, counts in zip(energy, strength, strict=True):
            if counts < LEAST_SHARE * whole:
                continue
            here, above = (detector.response(axis, [place], [counts]) for place in (e, e + ENERGY_ERROR_keV))
            of_line += [STRENGTH_ERROR * here, above - here]
        errors.append(np.array(of_line).reshape(-1, axis.n))
    return np.stack([one.counts for one in families]), tuple(errors)
