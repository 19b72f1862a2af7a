"""Microscope and specimen of a focal series: illumination, detector, and the kind of the columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import check_choice, checked_positive
from etcli.core.errors import UsageError
from etcli.core.multislice.constants import wavelength_A

Doubles = NDArray[np.float64]

DIFFUSE_MODELS = ("local", "nonlocal", "multiple")
CLOSEST_ATOMS_A = 0.9
"""Smallest distance of two atoms in a crystal; less is a wrong unit."""


@dataclass(frozen=True)
class FocalOptics:
    """Microscope of a focal series: illumination and annular detector.

    Parameters
    ----------
    voltage_kV : float
        Accelerating voltage in kV.
    semi_angle_mrad : float
        Semi-angle of convergence in mrad.
    detector_mrad : tuple of float
        Inner and outer semi-angle of the detector in mrad.
    source_fwhm_A : float
        Full width at half maximum of the image of the electron source in Å, 0 for a point source.
    diffuse : {"local", "nonlocal", "multiple"}
        Model of the thermal diffuse scattering into the detector.

    Raises
    ------
    UsageError
        If a value is impossible, or the detector overlaps the illumination.
    """

    voltage_kV: float = 300.0
    semi_angle_mrad: float = 21.0
    detector_mrad: tuple[float, float] = (48.0, 180.0)
    source_fwhm_A: float = 0.7
    diffuse: str = "local"

    def __post_init__(self) -> None:
        checked_positive("voltage_kV", self.voltage_kV)
        checked_positive("semi_angle_mrad", self.semi_angle_mrad)
        if not 5 <= self.voltage_kV <= 5000:
            raise UsageError(
                f"a voltage of {self.voltage_kV:g} kV is none of a microscope; give it in kV, not in V"
            )
        if not 1 <= self.semi_angle_mrad <= 150 or self.detector_mrad[1] > 1000:
            raise UsageError(
                f"semi-angles of {self.semi_angle_mrad:g} mrad (probe) and {self.detector_mrad[1]:g} mrad "
                "(detector) are none of a scanning microscope; give them in mrad"
            )
        checked_positive("source_fwhm_A", self.source_fwhm_A, or_zero=True)
        check_choice("diffuse", self.diffuse, DIFFUSE_MODELS)
        inner, outer = self.detector_mrad
        if not self.semi_angle_mrad <= inner < outer:
            raise UsageError(
                f"a detector from {inner:g} to {outer:g} mrad is no dark-field detector of a probe of "
                f"{self.semi_angle_mrad:g} mrad: its inner angle must lie outside the probe"
            )

    @property
    def aperture_per_A(self) -> float:
        """Highest spatial frequency of the probe in 1/Å."""
        return self.semi_angle_mrad * 1e-3 / wavelength_A(self.voltage_kV)

    @property
    def detector_per_A(self) -> tuple[float, float]:
        """Inner and outer spatial frequency of the detector in 1/Å."""
        inner, outer = (angle * 1e-3 / wavelength_A(self.voltage_kV) for angle in self.detector_mrad)
        return inner, outer

    def detected_share(self, frequency_per_A: Doubles) -> Doubles:
        """Compute the share of each of a list of frequency bands that reaches the detector.

        Without shares, the edges of the detector would jump from one frequency to the next, and the
        intensity by 1 to 2 %.

        Parameters
        ----------
        frequency_per_A : ndarray of shape (n,), float64
            Spatial frequencies in 1/Å, increasing; the bands end halfway between them.

        Returns
        -------
        ndarray of shape (n,), float64
            From 0 to 1.
        """
        inner, outer = self.detector_per_A
        between = (frequency_per_A[1:] + frequency_per_A[:-1]) / 2
        edges = np.concatenate([[0.0], between, [2 * frequency_per_A[-1] - between[-1]]])
        return np.asarray(np.diff(np.clip(edges, inner, outer)) / np.diff(edges))


@dataclass(frozen=True)
class ColumnKind:
    """Atomic column of one element with equal distances between its atoms.

    Parameters
    ----------
    element : str
        Chemical symbol.
    spacing_A : float
        Distance between neighbouring atoms of the column in Å.
    debye_waller_A2 : float
        Debye-Waller factor B = 8π²⟨u²⟩ in Å², with ⟨u²⟩ the mean square displacement along one axis.

    Raises
    ------
    UsageError
        If a value is impossible.
    """

    element: str
    spacing_A: float
    debye_waller_A2: float

    def __post_init__(self) -> None:
        checked_positive("spacing_A", self.spacing_A)
        if self.spacing_A < CLOSEST_ATOMS_A:
            raise UsageError(
                f"atoms {self.spacing_A:.3g} Å apart along a column are too close for a crystal; lengths are "
                "in Å"
            )
        checked_positive("debye_waller_A2", self.debye_waller_A2, or_zero=True)
