"""Library of simulated focal series of isolated columns: intensity by atom count, focus and radius."""

from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.special import ive

from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.isolated_column import column_intensities
from etcli.core.errors import DataError, UsageError

Doubles = NDArray[np.float64]

FOCUS_STEP = 0.25
"""Largest step in focus in units of λ/α²; images of a probe of semi-angle α have no period below 2 λ/α²."""
RADIUS_STEP = 0.125
"""Step in radius in units of λ/α; the images have no period below λ/2α."""
WIDEST_A = 50.0
"""Largest radius that is simulated: the cost grows with its third power."""
BRIGHTNESS_RADIUS_A = 0.5
"""Radius of the disc in which the brightest focus is looked for."""
SOURCE_TAIL = 3.0
BLUR_NODES = 8


@dataclass(frozen=True, eq=False)
class FocalLibrary:
    """Simulated focal series of isolated columns of 1, 2, ... atoms.

    Parameters
    ----------
    focus_A : ndarray of shape (n_foci,), float64
        Depth of the focal plane minus that of the column's centre in Å, increasing.
    radius_A : ndarray of shape (n_radii,), float64
        Distances from the column in Å, from 0.
    intensity : ndarray of shape (n_counts, n_foci, n_radii), float64
        Fraction of the beam that reaches the detector, for 1, 2, ... atoms.
    """

    focus_A: Doubles
    radius_A: Doubles
    intensity: Doubles

    @property
    def most_atoms(self) -> int:
        """Largest atom count."""
        return len(self.intensity)

    def at(self, n_atoms: int, focus_A: Doubles, radius_A: Doubles) -> Doubles:
        """Compute the intensity of a column at other foci and radii.

        Parameters
        ----------
        n_atoms : int
            From 1 to most_atoms.
        focus_A, radius_A : ndarray, float64
            Values of the same shape. The intensity is 0 beyond the largest radius; foci beyond the range of
            the library are those of its ends.

        Returns
        -------
        ndarray of that shape, float64
        """
        values = self._splines[n_atoms - 1].ev(focus_A, radius_A)
        return np.where(np.asarray(radius_A) <= self.radius_A[-1], values, 0.0)

    @cached_property
    def peak_A(self) -> Doubles:
        """Focus, from the column's centre, at which each count is brightest: (n_counts,), float64, in Å."""
        return self.core_profiles(BRIGHTNESS_RADIUS_A).peak_A

    def core_profiles(self, core_radius_A: float) -> "CoreProfiles":
        """Compute the mean intensities in a disc around the column.

        Parameters
        ----------
        core_radius_A : float
            Radius of the disc in Å.

        Returns
        -------
        CoreProfiles

        Raises
        ------
        UsageError
            If the disc is larger than the library.
        """
        if not 0 < core_radius_A <= self.radius_A[-1]:
            raise UsageError(
                f"a core radius of {core_radius_A:g} Å does not lie in the library, which reaches "
                f"{self.radius_A[-1]:g} Å"
            )
        node, weight = np.polynomial.legendre.leggauss(24)
        radius = core_radius_A * (node + 1) / 2
        values = CubicSpline(self.radius_A, self.intensity, axis=2)(radius)
        return CoreProfiles(self.focus_A, values @ (weight * radius) / (weight @ radius))

    @cached_property
    def _splines(self) -> tuple[RectBivariateSpline, ...]:
        return tuple(RectBivariateSpline(self.focus_A, self.radius_A, table) for table in self.intensity)


@dataclass(frozen=True, eq=False)
class CoreProfiles:
    """Mean intensity in the core disc of isolated columns against focus, for 1, 2, ... atoms.

    Parameters
    ----------
    focus_A : ndarray of shape (n_foci,), float64
        Depth of the focal plane minus that of the column's centre in Å, increasing.
    intensity : ndarray of shape (n_counts, n_foci), float64
        Fraction of the beam.
    """

    focus_A: Doubles
    intensity: Doubles

    @property
    def most_atoms(self) -> int:
        """Largest atom count."""
        return len(self.intensity)

    def at(self, n_atoms: int, focus_A: Doubles) -> Doubles:
        """Compute the profile of a count at any focus; beyond the range it has the values of its ends."""
        return np.asarray(self._splines[n_atoms - 1](self._inside(focus_A)))

    def slope_at(self, n_atoms: int, focus_A: Doubles) -> Doubles:
        """Compute the derivative of the profile of a count with respect to focus, 0 beyond its range."""
        inside = self._inside(focus_A)
        return np.where(inside == focus_A, self._splines[n_atoms - 1](inside, 1), 0.0)

    @cached_property
    def peak_A(self) -> Doubles:
        """Focus at which each profile is highest in Å: ndarray of shape (n_counts,), float64."""
        fine = np.linspace(self.focus_A[0], self.focus_A[-1], 20 * (len(self.focus_A) - 1) + 1)
        highest = np.stack([spline(fine) for spline in self._splines]).argmax(axis=1)
        refined = []
        for spline, start in zip(self._splines, fine[highest], strict=True):
            curvature = spline(start, 2)
            refined.append(start - spline(start, 1) / curvature if curvature < 0 else start)
        return np.array(refined)

    @cached_property
    def _splines(self) -> tuple[CubicSpline, ...]:
        return tuple(CubicSpline(self.focus_A, values) for values in self.intensity)

    def _inside(self, focus_A: Doubles) -> Doubles:
        return np.clip(focus_A, self.focus_A[0], self.focus_A[-1])


def focal_library(
    kind: ColumnKind, optics: FocalOptics, *, most_atoms: int, focus_range_A: float, radius_A: float = 6.0
) -> FocalLibrary:
    """Simulate the library of a kind of column.

    Parameters
    ----------
    kind : ColumnKind
        Element, spacing and Debye-Waller factor.
    optics : FocalOptics
        Microscope with the size of its source.
    most_atoms : int
        Largest atom count.
    focus_range_A : float
        Largest distance of the focal plane from the centre of a column in Å.
    radius_A : float
        Largest distance from a column in Å.

    Returns
    -------
    FocalLibrary

    Raises
    ------
    UsageError
        If the element is unknown, the library would be empty, or the probe is too wide.

    References
    ----------
    Alania et al., Ultramicroscopy 177, 36 (2017).
    """
    check_probe_width(radius_A, focus_range_A)
    if most_atoms < 1:
        raise UsageError(f"a library of {most_atoms} atoms holds no column; ask for 1 or more")
    depth = np.arange(most_atoms, dtype=np.float64) * kind.spacing_A
    step = FOCUS_STEP / (1e-3 * optics.semi_angle_mrad * optics.aperture_per_A)
    focus = _steps(-focus_range_A, focus_range_A, step)
    from_first = _steps(-focus_range_A, focus_range_A + depth[-1] / 2, step)
    radius, blur = blur_of_source(radius_A, optics)
    point_source = column_intensities(kind, optics, depth, from_first, radius)
    centred = [
        CubicSpline(from_first, table)(focus + centre)
        for table, centre in zip(point_source, depth / 2, strict=True)
    ]
    blurred = np.stack(centred) @ blur.T
    kept = radius < radius_A + radius[1]
    return FocalLibrary(focus, radius[kept], blurred[..., kept])


def check_probe_width(radius_A: float, focus_range_A: float) -> None:
    """Check that a probe is not too wide to be simulated.

    Parameters
    ----------
    radius_A : float
        Its radius in Å.
    focus_range_A : float
        How far out of focus it is, in Å.

    Raises
    ------
    UsageError
        If it is too wide.
    """
    if radius_A > WIDEST_A:
        raise UsageError(
            f"{focus_range_A:.0f} Å out of focus the probe is too wide to be simulated, up to {radius_A:.0f} "
            "Å from a column; check the defoci, which are in µm"
        )


def check_counts(count: NDArray[np.int64], most_atoms: int) -> None:
    """Check that a library holds the atom counts of columns.

    Parameters
    ----------
    count : ndarray of shape (n_columns,), int64
    most_atoms : int
        Largest atom count of the library.

    Raises
    ------
    DataError
        If a count is below 1 or above the largest.
    """
    wrong = (np.asarray(count) < 1) | (np.asarray(count) > most_atoms)
    if wrong.any():
        raise DataError(
            f"a column of {np.asarray(count)[wrong][0]} atoms is not in the library, which holds 1 to "
            f"{most_atoms}; use a larger library"
        )


def blur_of_source(radius_A: float, optics: FocalOptics) -> tuple[Doubles, Doubles]:
    """Return radii that reach beyond a largest one, and the matrix that blurs an image by the source.

    Parameters
    ----------
    radius_A : float
        Largest radius that is wanted, in Å.
    optics : FocalOptics

    Returns
    -------
    radius_A : ndarray of shape (n_radii,), float64
        In Å, from 0.
    blur : ndarray of shape (n_radii, n_radii), float64
        See `blur_in_radius`.
    """
    sigma = optics.source_fwhm_A / sqrt(8 * log(2))
    step = RADIUS_STEP / optics.aperture_per_A
    radius = np.arange(0, radius_A + SOURCE_TAIL * sigma + step, step)
    return radius, blur_in_radius(radius, sigma)


def blur_in_radius(radius_A: Doubles, sigma_A: float) -> Doubles:
    """Make the matrix that convolves rotationally symmetric images with a Gaussian.

    Parameters
    ----------
    radius_A : ndarray of shape (n_radii,), float64
        Equally spaced from 0, in Å; the images are 0 beyond the last one.
    sigma_A : float
        Standard deviation of the Gaussian in Å, along each axis.

    Returns
    -------
    ndarray of shape (n_radii, n_radii), float64
    """
    n_radii = len(radius_A)
    if sigma_A == 0:
        return np.eye(n_radii)
    node, weight = np.polynomial.legendre.leggauss(BLUR_NODES)
    step = radius_A[1]
    source = np.add.outer(radius_A[:-1], step * (node + 1) / 2).ravel()
    area = np.tile(step * weight / 2, n_radii - 1) * source / sigma_A**2
    # exp(−(r² + s²) / 2σ²) I0(rs / σ²), without its overflow
    distance = np.subtract.outer(radius_A, source)
    kernel = np.exp(-(distance**2) / (2 * sigma_A**2)) * ive(0, np.outer(radius_A, source) / sigma_A**2)
    values = CubicSpline(radius_A, np.eye(n_radii))(source)
    return np.asarray((kernel * area) @ values)


def _steps(first: float, last: float, largest: float) -> Doubles:
    return np.linspace(first, last, int(np.ceil((last - first) / largest - 1e-9)) + 1)
