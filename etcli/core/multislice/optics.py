"""Optics of phase-contrast images: aperture, aberrations and partial coherence of the objective lens."""

from dataclasses import dataclass
from math import cos, inf, isfinite, pi, radians, sin

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import checked_number, checked_positive
from etcli.core.errors import UsageError
from etcli.core.multislice.constants import interaction_rad_per_V_A, wavelength_A

Doubles = NDArray[np.float64]

EDGE = 1 + 1e-9
"""Factor of the radius of an aperture, so that rounding does not decide about frequencies on its edge."""


@dataclass(frozen=True)
class WaveGrid:
    """Square pixels on which a wave is sampled.

    Parameters
    ----------
    shape : (int, int)
        Numbers of rows and columns (ny, nx).
    pixel_A : float
        Size of a pixel in Å.
    """

    shape: tuple[int, int]
    pixel_A: float

    @property
    def frequencies_per_A(self) -> tuple[Doubles, Doubles]:
        """Spatial frequencies of an FFT along y, of shape (ny, 1), and along x, of shape (1, nx)."""
        qy, qx = (np.asarray(np.fft.fftfreq(n, self.pixel_A), np.float64) for n in self.shape)
        return qy[:, np.newaxis], qx[np.newaxis]


@dataclass(frozen=True)
class PhaseContrastOptics:
    """Objective lens and illumination by a plane wave.

    Parameters
    ----------
    voltage_kV : float
        Accelerating voltage in kV.
    aperture_mrad : float
        Semi-angle of the objective aperture in mrad; infinite without an aperture.
    cs_mm : float
        Coefficient of the spherical aberration in mm.
    astigmatism_A, astigmatism_deg : float
        Two-fold astigmatism: half of the difference between the largest and the smallest defocus, in Å, and
        the direction, counter-clockwise from +x, along which the defocus is largest.
    focal_spread_A : float
        Standard deviation of the defocus during an exposure, in Å (temporal coherence).
    convergence_mrad : float
        Standard deviation of the directions of the illumination, in mrad (spatial coherence).

    Raises
    ------
    UsageError
        If a value is impossible.
    """

    voltage_kV: float = 300.0
    aperture_mrad: float = inf
    cs_mm: float = 0.0
    astigmatism_A: float = 0.0
    astigmatism_deg: float = 0.0
    focal_spread_A: float = 0.0
    convergence_mrad: float = 0.0

    def __post_init__(self) -> None:
        if not 5 <= checked_positive("voltage_kV", self.voltage_kV) <= 5000:
            raise UsageError(
                f"a voltage of {self.voltage_kV:g} kV is none of a microscope; give it in kV, not in V"
            )
        if not self.aperture_mrad > 0:
            raise UsageError(f"an aperture of {self.aperture_mrad:g} mrad lets nothing pass; give it in mrad")
        for name in ("cs_mm", "astigmatism_A", "astigmatism_deg"):
            checked_number(name, getattr(self, name))
        for name in ("focal_spread_A", "convergence_mrad"):
            checked_positive(name, getattr(self, name), or_zero=True)

    @property
    def wavelength_A(self) -> float:
        """Wavelength of the electrons in Å."""
        return wavelength_A(self.voltage_kV)

    @property
    def interaction_rad_per_V_A(self) -> float:
        """Interaction parameter σ in rad/(V Å)."""
        return interaction_rad_per_V_A(self.voltage_kV)

    @property
    def aperture_per_A(self) -> float:
        """Highest spatial frequency that passes the aperture, in 1/Å."""
        return self.aperture_mrad * 1e-3 / self.wavelength_A

    def delocalisation_A(self, distance_A: float, highest_per_A: float = inf) -> float:
        """Compute how far from an atom its signal is seen: an upper limit of λ |∂χ/∂q| / 2π.

        Parameters
        ----------
        distance_A : float
            Largest distance in Å from an atom to the plane in focus.
        highest_per_A : float
            Highest spatial frequency of the image in 1/Å, if it is lower than that of the aperture.

        Returns
        -------
        float
            λq (|d| + |A| + |Cs| λ²q²) in Å, with the highest q.
        """
        angle = self.wavelength_A * min(self.aperture_per_A, highest_per_A)
        return angle * (distance_A + abs(self.astigmatism_A) + abs(self.cs_mm) * 1e7 * angle**2)

    def summary(self) -> str:
        """Describe the microscope in a few words, for the history of a volume, in ASCII."""
        words = [f"{self.voltage_kV:g} kV"]
        for value, text in (
            (self.aperture_mrad, f"aperture {self.aperture_mrad:.4g} mrad"),
            (self.cs_mm, f"Cs {self.cs_mm:g} mm"),
            (self.astigmatism_A, f"astigmatism {self.astigmatism_A:g} A at {self.astigmatism_deg:g} deg"),
            (self.focal_spread_A, f"focal spread {self.focal_spread_A:g} A"),
            (self.convergence_mrad, f"convergence {self.convergence_mrad:g} mrad"),
        ):
            words += [text] if value and isfinite(value) else []
        return ", ".join(words)

    def pupil(self, grid: WaveGrid) -> NDArray[np.complex128]:
        """Compute the part of the transfer function that does not depend on the defocus.

        Parameters
        ----------
        grid : WaveGrid

        Returns
        -------
        ndarray of shape ``grid.shape``, complex128
            exp(-iχ) inside the aperture and 0 outside, with the aberrations
            χ = πλ (Cs λ² q⁴ / 2 + A q² cos 2(φ - φ_A)), where A is the astigmatism and φ_A its direction.
        """
        qy, qx = grid.frequencies_per_A
        squared = qx**2 + qy**2
        turn = radians(2 * self.astigmatism_deg)
        two_fold = (qx**2 - qy**2) * cos(turn) + 2 * qx * qy * sin(turn)
        spherical = self.cs_mm * 1e7 * (self.wavelength_A * squared) ** 2 / 2
        aberrations = pi * self.wavelength_A * (spherical + self.astigmatism_A * two_fold)
        passes = squared <= (EDGE * self.aperture_per_A) ** 2
        return np.asarray(np.where(passes, np.exp(-1j * aberrations), 0))

    def envelope(self, grid: WaveGrid, defocus_A: float) -> Doubles:
        """Compute the envelope of partial coherence for a weak object.

        Parameters
        ----------
        grid : WaveGrid
        defocus_A : float
            Distance of free propagation in Å, positive for overfocus.

        Returns
        -------
        ndarray of shape ``grid.shape``, float64
            exp(-(πλΔ q²)²/2 - 2 (π β/λ)² |∇χ/2π|²), with the focal spread Δ and the convergence β, both
            standard deviations; 1 for coherent illumination.

        References
        ----------
        Kirkland, Advanced Computing in Electron Microscopy (2010), section 3.2.
        """
        qy, qx = grid.frequencies_per_A
        squared = qx**2 + qy**2
        temporal = (pi * self.wavelength_A * self.focal_spread_A * squared) ** 2 / 2
        slope = self.wavelength_A * (defocus_A + self.cs_mm * 1e7 * self.wavelength_A**2 * squared)
        source = self.convergence_mrad * 1e-3 / self.wavelength_A
        spatial = 2 * (pi * source * slope) ** 2 * squared
        return np.asarray(np.exp(-temporal - spatial))

    def transfer(self, grid: WaveGrid, defocus_A: float) -> NDArray[np.complex128]:
        """Compute the transfer function from the plane that the defocus is measured from to the image.

        Parameters
        ----------
        grid : WaveGrid
        defocus_A : float
            Distance of free propagation in Å: positive for overfocus, along the beam.

        Returns
        -------
        ndarray of shape ``grid.shape``, complex128
            `pupil` times `envelope` times exp(-iπλ d q²), to multiply the spectrum of a wave with.
        """
        qy, qx = grid.frequencies_per_A
        focus = np.exp(-1j * pi * self.wavelength_A * defocus_A * (qx**2 + qy**2))
        return np.asarray(self.pupil(grid) * self.envelope(grid, defocus_A) * focus)

    def propagator(
        self, grid: WaveGrid, distance_A: float, *, band_limit: float = inf
    ) -> NDArray[np.complex128]:
        """Compute the propagator through free space by the angular-spectrum method.

        Parameters
        ----------
        grid : WaveGrid
        distance_A : float
            Distance along the beam in Å.
        band_limit : float
            Highest spatial frequency that is kept, as a fraction of the Nyquist frequency 1/(2 pixel); all
            are kept by default.

        Returns
        -------
        ndarray of shape ``grid.shape``, complex128
            exp(2πi d (√(1/λ² - q²) - 1/λ)), to multiply the spectrum of a wave with; evanescent waves are 0.

        References
        ----------
        J. W. Goodman, Introduction to Fourier Optics (2005), section 3.10.
        """
        qy, qx = grid.frequencies_per_A
        squared = qx**2 + qy**2
        remainder = 1 - self.wavelength_A**2 * squared
        # 1/λ (√(1 - λ²q²) - 1) without loss of digits
        path = -self.wavelength_A * squared / (np.sqrt(np.maximum(remainder, 0)) + 1)
        kept = (remainder > 0) & (squared <= (band_limit / (2 * grid.pixel_A)) ** 2)
        return np.asarray(np.where(kept, np.exp(2j * pi * distance_A * path), 0))
