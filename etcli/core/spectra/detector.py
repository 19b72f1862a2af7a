"""Silicon drift detector: energy of its channels, width of its lines, efficiency, escape of silicon photons.

References
----------
.. [1] C. E. Fiori, D. E. Newbury, Scanning Electron Microscopy I, 401 (1978): width of lines.
.. [2] S. J. B. Reed, N. G. Ware, J. Phys. E 5, 582 (1972), doi:10.1088/0022-3735/5/6/029: escape peaks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from etcli.core.errors import DataError

Doubles = NDArray[np.float64]

MN_KA_keV = 5.895
"""Energy at which the width of lines is stated: Mn Kα."""
FANO_keV = 2.5e-3
"""Increase of FWHM² in keV² for each keV, by the statistics of charges in silicon [1]_."""
NARROWEST_keV = 0.03
FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))
SI_K_keV, SI_EDGE_keV = 1.740, 1.839
"""Photon of silicon that can leave the detector, and the edge above which it is excited."""
SI_YIELD, SI_K_SHARE, ABSORPTION_RATIO = 0.043, 0.92, 9.3
"""Of silicon just above its edge: fluorescence yield, share of the absorption that is by the K shell, and
absorption relative to that of its own photons."""


@dataclass(frozen=True)
class EnergyAxis:
    """Energies of the channels of a spectrum.

    Parameters
    ----------
    offset_keV : float
        Middle of channel 0.
    step_keV : float
        Width of a channel.
    n : int
        Number of channels.

    Raises
    ------
    DataError
        When the width is not positive, or there are fewer than 8 channels.
    """

    offset_keV: float
    step_keV: float
    n: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.offset_keV) and self.step_keV > 0 and self.n >= 8):
            raise DataError(
                f"{self.n} channels of {self.step_keV:g} keV from {self.offset_keV:g} keV are no energy axis"
            )

    @property
    def energy_keV(self) -> Doubles:
        """Middles of the channels, (n,)."""
        return self.offset_keV + self.step_keV * np.arange(self.n, dtype=np.float64)

    @property
    def edges_keV(self) -> Doubles:
        """Limits of the channels, (n + 1,)."""
        return self.offset_keV + self.step_keV * (np.arange(self.n + 1, dtype=np.float64) - 0.5)

    def calibrated(self, offset_keV: float, gain: float) -> "EnergyAxis":
        """Return the axis with energies times `gain`, plus `offset_keV`."""
        return EnergyAxis(self.offset_keV * gain + offset_keV, self.step_keV * gain, self.n)


@dataclass(frozen=True)
class Detector:
    """Silicon detector behind a thin window.

    Parameters
    ----------
    fwhm_keV : float
        Full width at half maximum of a line at 5.895 keV (Mn Kα).
    window_keV : float
        Energy at which window and dead layer let 1/e of the photons through.
    escape : float
        Escape peaks relative to those of an ideal silicon detector; 0 for none.
    """

    fwhm_keV: float = 0.130
    window_keV: float = 0.3
    escape: float = 0.0

    def width_keV(self, energy_keV: ArrayLike) -> Doubles:
        """Compute the full width at half maximum of lines, in keV [1]_."""
        energy = np.asarray(energy_keV, np.float64)
        squared = self.fwhm_keV**2 + FANO_keV * (energy - MN_KA_keV)
        width: Doubles = np.sqrt(np.maximum(squared, NARROWEST_keV**2))
        return width

    def efficiency(self, energy_keV: ArrayLike) -> Doubles:
        """Compute the share of the photons that the detector counts: exp(−(window/E)³)."""
        energy = np.maximum(np.asarray(energy_keV, np.float64), 0.02)
        passed: Doubles = np.exp(-((self.window_keV / energy) ** 3))
        return passed

    def response(self, axis: EnergyAxis, energy_keV: ArrayLike, counts: ArrayLike) -> Doubles:
        """Compute the spectrum of lines.

        Parameters
        ----------
        axis : EnergyAxis
        energy_keV : array_like of shape (n_lines,)
        counts : array_like of shape (n_lines,)
            Counts of each line, with those in its escape peak.

        Returns
        -------
        ndarray of shape (n_channels,), float64
            Expected counts: Gaussians, integrated over each channel.
        """
        energy, height = np.asarray(energy_keV, np.float64), np.asarray(counts, np.float64)
        escaped = self.escape * escape_share(energy)
        return _gaussians(axis, energy, (1 - escaped) * height, self.width_keV(energy)) + _gaussians(
            axis, energy - SI_K_keV, escaped * height, self.width_keV(energy - SI_K_keV)
        )


def escape_share(energy_keV: ArrayLike) -> Doubles:
    """Compute the share of photons that are counted lower by the energy of a silicon photon, which escapes.

    Half of the photons of silicon go towards the surface, and leave if they come from near it: with the
    ratio r of the absorption of the incident photons to that of silicon's, the share is
    ω/2 (1 − ln(1 + r)/r) [2]_. Above the edge, r falls as E^−2.8.

    Parameters
    ----------
    energy_keV : array_like
        Energies of photons.

    Returns
    -------
    ndarray, float64
        Of the same shape; 0 below the edge, 1.5 % above it, .1 % at 8 keV.
    """
    energy = np.asarray(energy_keV, np.float64)
    ratio = ABSORPTION_RATIO * (SI_EDGE_keV / np.maximum(energy, SI_EDGE_keV)) ** 2.8
    share = SI_YIELD * SI_K_SHARE / 2 * (1 - np.log1p(ratio) / ratio)
    return np.where(energy > SI_EDGE_keV, share, 0.0)


def _gaussians(axis: EnergyAxis, energy_keV: Doubles, counts: Doubles, fwhm_keV: Doubles) -> Doubles:
    """Return the sum of Gaussians, integrated over channels."""
    scale = FWHM_PER_SIGMA / (np.sqrt(2) * fwhm_keV)
    below = erf((axis.edges_keV[:, np.newaxis] - energy_keV) * scale)
    return np.asarray(0.5 * np.diff(below, axis=0) @ counts)
