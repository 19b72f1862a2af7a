"""Counts in windows around lines, minus the background that windows beside them show."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.pure_spectra import PureSpectrum

Doubles = NDArray[np.float64]

HALF_WIDTH = 0.5
"""Half of the width of a window around a line, in its FWHM."""
SIDE_AT, SIDE_HALF_WIDTH = 1.6, 0.4
"""Distance of the windows beside it, and half of their width, in FWHM."""
CLEAR_keV = 1.0
"""Energy from which lines are apart from those of other elements, and not absorbed."""


def clearest_family(families: Sequence[PureSpectrum]) -> PureSpectrum:
    """Return the family of an element with the most counts, one above 1 keV where there is one."""
    clear = [one for one in families if one.main.energy_keV > CLEAR_keV]
    return max(clear or families, key=lambda one: one.strength)


def window_weights(lines_keV: Sequence[float], axis: EnergyAxis, detector: Detector) -> Doubles:
    """Compute the weights of channels that give the net counts of lines.

    Parameters
    ----------
    lines_keV : sequence of float
        One line for each map.
    axis : EnergyAxis
    detector : Detector

    Returns
    -------
    ndarray of shape (n_channels, n_lines), float64
        1 in a window of 1 FWHM around the line; negative in two windows beside it, so that a background
        which is a straight line gives 0. Channels at the borders of windows count in part.
    """
    columns = []
    for line in lines_keV:
        fwhm_keV = float(detector.width_keV(line))
        inside = _window(axis, line, HALF_WIDTH * fwhm_keV)
        beside = [
            _window(axis, line + side * SIDE_AT * fwhm_keV, SIDE_HALF_WIDTH * fwhm_keV) for side in (-1, 1)
        ]
        # so much of each that a straight line leaves nothing, also where windows end within channels
        moments = np.stack([np.ones(axis.n), axis.energy_keV - line])
        factors = np.linalg.lstsq(moments @ np.stack(beside, axis=1), moments @ inside)[0]
        columns.append(inside - factors @ np.stack(beside))
    return np.stack(columns, axis=1)


def _window(axis: EnergyAxis, middle_keV: float, half_keV: float) -> Doubles:
    """Return which share of each channel is in a window."""
    return share_of_channels(axis, middle_keV - half_keV, middle_keV + half_keV)


def share_of_channels(axis: EnergyAxis, low_keV: float, high_keV: float) -> Doubles:
    """Compute which share of each channel lies between two energies.

    Parameters
    ----------
    axis : EnergyAxis
    low_keV, high_keV : float

    Returns
    -------
    ndarray of shape (n_channels,), float64
    """
    edges = np.clip(axis.edges_keV, low_keV, high_keV)
    return np.asarray(np.diff(edges) / axis.step_keV)
