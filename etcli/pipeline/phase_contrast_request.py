"""Request of a reconstruction from phase contrast: the microscope, and the scale of the intensities."""

from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any

from etcli.core.arguments import checked_number, checked_positive
from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.core.multislice.normalisation import VACUUM_LEVELS
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.series import TiltSeries
from etcli.pipeline.session import Session

SAME_VOLTAGE = 0.01
"""Largest relative difference of two voltages that are the same."""

PASSES_NOTHING = 0.02
"""Part of the frequencies that the pixels resolve below which an aperture cannot be meant."""
COARSE_A = 4.0
"""Smallest detail in an image, in Å, above which no atoms are seen."""


@dataclass(frozen=True)
class PhaseContrastRequest:
    """Options of phase-contrast images, named as those of ``etcli recon``.

    Parameters
    ----------
    kv : float or None
        Accelerating voltage in kV; None for that of the series.
    alpha : float or None
        Semi-angle of the objective aperture in mrad; None for the angle to which the pixels resolve.
    cs : float
        Spherical aberration in mm.
    astigmatism : (float, float)
        Two-fold astigmatism in Å, and its direction in degrees; see `PhaseContrastOptics`.
    focal_spread : Length
        Standard deviation of the defocus.
    convergence : float
        Standard deviation of the directions of the illumination in mrad.
    vacuum : {"mean", "mode", "none"}, float or None
        Intensity of the vacuum, by which the images are divided: measured in each, not at all, or a level.
        None where the images are expected to be in units of the vacuum.
    hot_pixels : bool
        Whether hot pixels are replaced.

    Raises
    ------
    UsageError
        When a value is impossible.
    """

    kv: float | None = None
    alpha: float | None = None
    cs: float = 0.0
    astigmatism: tuple[float, float] = (0.0, 0.0)
    focal_spread: Length = Length(0.0, "A")
    convergence: float = 0.0
    vacuum: float | str | None = None
    hot_pixels: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "vacuum", _checked_vacuum(self.vacuum))
        object.__setattr__(self, "focal_spread", Length.parse(self.focal_spread, "A"))
        if self.alpha is not None:
            checked_positive("alpha", self.alpha)
        if len(self.astigmatism) != 2:
            raise UsageError(f"astigmatism {self.astigmatism!r} is not a length in Å and an angle in degrees")

    @classmethod
    def names(cls) -> set[str]:
        """Return the names of the options."""
        return {field.name for field in fields(cls)}

    def optics(self, session: Session, series: TiltSeries, pixel_A: float) -> PhaseContrastOptics:
        """Return the optics of a series, and tell what follows from the pixel size or contradicts the file.

        Parameters
        ----------
        session : Session
        series : TiltSeries
        pixel_A : float
            Pixel size in Å.

        Returns
        -------
        PhaseContrastOptics

        Raises
        ------
        UsageError
            When the voltage is unknown or a value is impossible.
        """
        voltage_kV = self.kv or series.voltage_kv
        if not voltage_kV:
            raise UsageError(f"{series.name}: the accelerating voltage is not known; give it with --kv")
        if self.kv and series.voltage_kv and abs(self.kv / series.voltage_kv - 1) > SAME_VOLTAGE:
            session.reporter.warn(
                f"{series.name}: --kv {self.kv:g} is used, but the description says {series.voltage_kv:g} kV"
            )
        astigmatism_A, astigmatism_deg = self.astigmatism
        optics = PhaseContrastOptics(
            voltage_kV,
            self.alpha or inf,
            cs_mm=self.cs,
            astigmatism_A=astigmatism_A,
            astigmatism_deg=astigmatism_deg,
            focal_spread_A=self.focal_spread.angstrom(pixel_A),
            convergence_mrad=self.convergence,
        )
        resolved_mrad = 1e3 * optics.wavelength_A / (2 * pixel_A)
        if optics.aperture_mrad < PASSES_NOTHING * resolved_mrad:
            raise UsageError(
                f"an aperture of {optics.aperture_mrad:g} mrad lets almost nothing pass of what pixels of "
                f"{pixel_A:g} Å resolve ({resolved_mrad:.4g} mrad); give it in mrad, not in rad"
            )
        finest_A = 1 / min(optics.aperture_per_A, 0.5 / pixel_A)
        if finest_A > COARSE_A:
            session.reporter.warn(
                f"{series.name}: {'pixels' if self.alpha is None else 'aperture or pixels'} pass details of "
                f"{finest_A:.3g} Å and more, which do not show single atoms"
            )
        if self.alpha is None:
            session.reporter.note(
                f"{voltage_kV:g} kV; an aperture of {resolved_mrad:.4g} mrad, to which the pixels resolve"
            )
            return replace(optics, aperture_mrad=resolved_mrad)
        if self.alpha > resolved_mrad:
            session.reporter.report(
                f"the aperture of {self.alpha:g} mrad passes more than pixels of {pixel_A:g} Å resolve "
                f"({resolved_mrad:.4g} mrad); smaller pixels would show more"
            )
        return optics


def _checked_vacuum(requested: Any) -> float | str | None:
    """Return a requested level of the vacuum; raise UsageError if it is none."""
    if requested is None or (isinstance(requested, str) and requested in (*VACUUM_LEVELS, "none")):
        return requested
    level = checked_number("vacuum", requested, or_else="one of mean, mode and none")
    if level <= 0:
        raise UsageError(f"--vacuum {level:g} is no intensity of a bright field; it must be above 0")
    return level
