"""Signals of edges in energy-loss spectra: windows, minus a background that falls as a power of the energy.

References
----------
R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, Springer (2011), section 4.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from etcli.core.errors import UsageError
from etcli.core.spectra.detector import EnergyAxis
from etcli.core.spectra.windows import share_of_channels
from etcli.core.spectra.x_ray_lines import subshells

Doubles = NDArray[np.float64]

MAJOR_EDGES = ("K", "L3", "M5")
BEFORE, AFTER = (0.80, 0.97), (0.98, 1.12)
"""Limits of the windows before and after the edge, relative to the energy of an atom; bonds shift it."""
CLEAR_OF, SHORTEST = 1.04, 0.94
"""Begin of the window before after another edge, relative to that; at the latest, relative to its own."""
NEIGHBOURS_PX = 3
"""Edge of the square of pixels that give the exponent of the background together."""
X_RAY_STEP_keV, X_RAY_BEGIN_keV = 0.004, 0.1
"""Least width of a channel of X-ray detectors, which spectrometers of energy losses do not reach, and the
energy below which their axes begin."""
FLATTEST = 1.2
"""Exponent below which a background is none of energy losses: that of bremsstrahlung is about 1."""
LEAST_EXPONENT, MOST_EXPONENT = 1.0, 8.0


@dataclass(frozen=True)
class EdgeWindows:
    """Windows of one edge.

    Parameters
    ----------
    element, shell : str
        As in Ti, L3.
    edge_keV : float
    before_keV, after_keV : tuple of float
        Limits of the windows before and after the edge.
    """

    element: str
    shell: str
    edge_keV: float
    before_keV: tuple[float, float]
    after_keV: tuple[float, float]

    def weights(self, axis: EnergyAxis) -> Doubles:
        """Compute the weights of channels for the two halves of the window before the edge, and that after.

        Parameters
        ----------
        axis : EnergyAxis

        Returns
        -------
        ndarray of shape (n_channels, 3), float64
        """
        first, last = self.before_keV
        middle = float(np.sqrt(first * last))
        limits = ((first, middle), (middle, last), self.after_keV)
        return np.stack([share_of_channels(axis, *limit) for limit in limits], axis=1)

    def signal(self, sums: NDArray[np.float32]) -> tuple[NDArray[np.float32], Doubles]:
        """Subtract the background A E^−r from the counts after the edge.

        r follows from the sums of the two halves before the edge, r = 1 + 2 ln(I1/I2) / ln(E2/E1), over
        neighbouring pixels; A of each pixel by least squares with the weights of Poisson noise, which is the
        ratio of the counts to what E^−r predicts.

        Parameters
        ----------
        sums : ndarray of shape (3, n_views, ny, nx), float32
            Counts of the windows, by `weights`.

        Returns
        -------
        signal : ndarray of shape (n_views, ny, nx), float32
            May be negative.
        exponent : ndarray of shape (n_views, ny, nx), float64
        """
        low, high, after = np.asarray(sums, np.float64)
        size = (1, NEIGHBOURS_PX, NEIGHBOURS_PX)
        exponent = self._exponent(*(uniform_filter(half, size) for half in (low, high)))
        exponent = np.clip(exponent, LEAST_EXPONENT + 1e-3, MOST_EXPONENT)
        background = (low + high) * _integral(self.after_keV, exponent) / _integral(self.before_keV, exponent)
        return (after - background).astype(np.float32), exponent

    def exponent_of(self, spectrum: Doubles, axis: EnergyAxis) -> float:
        """Return the exponent r before the edge in one spectrum (n_channels,), of any sign."""
        return float(self._exponent(*(spectrum @ self.weights(axis))[:2]))

    def _exponent(self, low: Doubles, high: Doubles) -> Doubles:
        """Return r for counts of the two halves of the window before the edge."""
        first, last = self.before_keV
        ratio = np.maximum(low, 1e-6) / np.maximum(high, 1e-6)
        return np.asarray(1 + 2 * np.log(ratio) / np.log(last / first))


def edge_windows(
    element: str, axis: EnergyAxis, *, family: str = "", others_keV: Sequence[float] = ()
) -> EdgeWindows:
    """Choose the windows of an element.

    Parameters
    ----------
    element : str
    axis : EnergyAxis
        Energy loss.
    family : str
        K, L or M; by default that of the lowest edge for which both windows are within the axis.
    others_keV : sequence of float
        Edges of other elements: the window before begins after them, the window after ends at them.

    Returns
    -------
    EdgeWindows

    Raises
    ------
    UsageError
        When no edge is within the axis.
    """
    low, high = axis.edges_keV[[0, -1]]
    fitting = [
        shell
        for shell in subshells(element)
        if shell.name in MAJOR_EDGES
        and shell.name.startswith(family)
        and BEFORE[0] * shell.edge_keV >= low
        and shell.edge_keV * (1 + AFTER[1]) / 2 <= high
    ]
    if not fitting:
        raise UsageError(
            f"{element} has no {family or 'K, L or M'} edge with a background before it from "
            f"{1e3 * low:.4g} to {1e3 * high:.4g} eV; leave it out"
        )
    chosen = min(fitting, key=lambda shell: shell.edge_keV)
    edge = chosen.edge_keV
    end = min([AFTER[1] * edge, high, *(AFTER[0] * other for other in others_keV if other > 1.03 * edge)])
    clear = [CLEAR_OF * other for other in others_keV if CLEAR_OF * other < SHORTEST * edge]
    begin = max([BEFORE[0] * edge, *clear])
    return EdgeWindows(element, chosen.name, edge, (begin, BEFORE[1] * edge), (AFTER[0] * edge, float(end)))


def looks_like_x_rays(axis: EnergyAxis, exponents: Sequence[float]) -> bool:
    """Tell X-rays from energy losses by their energies and their background.

    Parameters
    ----------
    axis : EnergyAxis
    exponents : sequence of float
        Exponents of the background before the edges, in the sum of all spectra.

    Returns
    -------
    bool
        True where channels are as wide as those of X-ray detectors and begin near 0, or no background falls
        as a power law of energy losses does, with an exponent of 2 to 5.
    """
    wide = axis.step_keV >= X_RAY_STEP_keV and axis.offset_keV < X_RAY_BEGIN_keV
    return wide or max(exponents) < FLATTEST


def _integral(limits: tuple[float, float], exponent: Doubles) -> Doubles:
    """Return the integral of E^−r, relative to that at the lower limit, with r above 1."""
    low, high = limits
    power = 1 - exponent
    return np.asarray((high**power - low**power) / power)
