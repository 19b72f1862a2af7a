"""What a fit of the sum of all spectra does not explain: elements that it lacks, and where it fails most."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from etcli.core.spectra.detector import FWHM_PER_SIGMA
from etcli.core.spectra.sum_fit import MOST_STRAYS, SumFit
from etcli.core.spectra.sum_search import SumSearch
from etcli.core.spectra.unnamed_elements import most_likely_element

DEVIATIONS, TOLERATED, NEAR_FWHM = 5.0, 0.1, 1.5
"""Deviations from which a fit is wrong: so many standard deviations, and this share of the counts within
so many FWHM, which errors of tables of lines may cause."""


def elements_left_over(fit: SumFit, *, beam_kV: float = 200.0) -> tuple[str, ...]:
    """Find the elements whose lines a fit leaves over.

    Parameters
    ----------
    fit : SumFit
    beam_kV : float
        Accelerating voltage.

    Returns
    -------
    tuple of str
        The one that explains most comes first; empty where nothing significant is left over.
    """
    known = [one.element for one in fit.elements]
    named, strays = tuple(known[: fit.n_named]), tuple(known[fit.n_named :])
    search = SumSearch(fit.observed, fit.axis, replace(fit.detector, escape=0.0), named, strays, beam_kV)
    if fit.pile_up.sum() > 0:
        search.pile_up = fit.pile_up[np.newaxis] / fit.pile_up.sum()
    # the last parameter of a search is the deviation of the escape peaks from those expected
    parameters = np.array([0.0, 0.0, 0.0, fit.detector.escape - 1])
    while len(search.strays) < len(strays) + MOST_STRAYS:
        element = most_likely_element(search, parameters)
        if element is None:
            break
        search.strays = (*search.strays, element)
    return search.strays[len(strays) :]


def worst_deviation(fit: SumFit) -> tuple[float, float] | None:
    """Find where a fit deviates from the sum by more than noise and errors of line tables.

    Parameters
    ----------
    fit : SumFit

    Returns
    -------
    tuple of float, or None
        Energy in keV, and the deviation over the width of a line relative to the counts that are fitted
        there; None where all is explained.
    """
    width_px = max(fit.detector.fwhm_keV / fit.axis.step_keV / FWHM_PER_SIGMA, 0.5)
    norm = 2 * np.sqrt(np.pi) * width_px  # channels that share the noise of a Gaussian mean
    left, fitted = (
        gaussian_filter1d(values * fit.used, width_px, mode="constant")
        for values in (fit.observed - fit.model, fit.model)
    )
    near = maximum_filter1d(fitted, int(NEAR_FWHM * FWHM_PER_SIGMA * width_px) * 2 + 1)
    bar = DEVIATIONS * np.sqrt(np.maximum(fitted, 1 / norm) / norm) + TOLERATED * near
    place = int((np.abs(left) / bar).argmax())
    if abs(left[place]) <= bar[place]:
        return None
    return float(fit.axis.energy_keV[place]), float(left[place] / max(fitted[place], 1 / norm))
