"""Attainable precision of depths: Cramér-Rao lower bounds of whole columns and of single atoms."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from etcli.core.arguments import checked_positive
from etcli.core.depth.focal_library import FocalLibrary, blur_of_source
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.isolated_column import depth_derivatives
from etcli.core.errors import UsageError

Doubles = NDArray[np.float64]

LARGEST_CONDITION = 1e6
"""Condition number of a Fisher matrix above which bounds depend on the model and on rounding."""
HALF_REGION_A = 3.0
"""Half the side of the square around a column from which information is taken."""


@dataclass(frozen=True, eq=False)
class AtomBounds:
    """Lower bounds of the depths of the single atoms of a column, all unknown at the same time.

    Parameters
    ----------
    sigma_A : ndarray of shape (n_atoms,), float64
        Smallest standard deviation of an unbiased estimate of each depth in Å.
    condition : float
        Condition number of the Fisher matrix.
    """

    sigma_A: Doubles
    condition: float

    @property
    def trusted(self) -> bool:
        """Whether the bounds are determined by the model and not by its details."""
        return self.condition <= LARGEST_CONDITION


def column_depth_bounds(
    library: FocalLibrary, focus_A: Doubles, *, dose_e_A2: float, half_region_A: float = HALF_REGION_A
) -> Doubles:
    """Compute the lower bound of the depth of columns that move as a whole, by atom count.

    σ_d = (dose Σ_f ∫ (∂I/∂z_f)² / I d²r)^−1/2: the counts of the pixels have Poisson distributions, and
    moving the column is the same as moving the focal plane the other way.

    Parameters
    ----------
    library : FocalLibrary
    focus_A : ndarray of shape (n_sections,), float64
        Depths of the focal plane minus that of the column's centre in Å.
    dose_e_A2 : float
        Electrons per Å² in each image.
    half_region_A : float
        Half the side of the square around the column in Å.

    Returns
    -------
    ndarray of shape (n_counts,), float64
        σ_d in Å for 1, 2, ... atoms.

    Raises
    ------
    UsageError
        If the dose is not positive, or the square or the foci reach beyond the library.

    References
    ----------
    Alania et al., Ultramicroscopy 177, 36 (2017), figure 2.
    """
    checked_positive("dose_e_A2", dose_e_A2)
    if np.min(focus_A) < library.focus_A[0] or np.max(focus_A) > library.focus_A[-1]:
        raise UsageError(
            f"foci from {np.min(focus_A):g} to {np.max(focus_A):g} Å reach beyond the library, which holds "
            f"{library.focus_A[0]:g} to {library.focus_A[-1]:g} Å"
        )
    area = square_areas(library.radius_A, half_region_A)
    profile = CubicSpline(library.focus_A, library.intensity, axis=1)
    information = _per_intensity(profile(focus_A, 1) ** 2, profile(focus_A)) @ area
    return np.asarray(1 / np.sqrt(dose_e_A2 * information.sum(axis=1)))


def atom_depth_bounds(
    kind: ColumnKind,
    optics: FocalOptics,
    *,
    n_atoms: int,
    focus_A: Doubles,
    dose_e_A2: float,
    half_region_A: float = HALF_REGION_A,
) -> AtomBounds:
    """Compute the lower bounds of the depths of all atoms of a column.

    Parameters
    ----------
    kind : ColumnKind
        Element, spacing and Debye-Waller factor.
    optics : FocalOptics
        Microscope.
    n_atoms : int
        Atoms of the column.
    focus_A : ndarray of shape (n_sections,), float64
        Depths of the focal plane minus that of the column's centre in Å.
    dose_e_A2 : float
        Electrons per Å² in each image.
    half_region_A : float
        Half the side of the square around the column in Å.

    Returns
    -------
    AtomBounds
        With a condition number above `LARGEST_CONDITION` they change by orders of magnitude with the model of
        the thermal motion: take them as "not determined" then.

    Raises
    ------
    UsageError
        If a number is not positive.

    References
    ----------
    Alania et al., Ultramicroscopy 177, 36 (2017), table 2.
    """
    checked_positive("dose_e_A2", dose_e_A2)
    if n_atoms < 1:
        raise UsageError(f"a column of {n_atoms} atoms has no bound; ask for 1 or more")
    depth = (np.arange(n_atoms, dtype=np.float64) - (n_atoms - 1) / 2) * kind.spacing_A
    radius, blur = blur_of_source(sqrt(2) * checked_positive("half_region_A", half_region_A), optics)
    intensity, slope = depth_derivatives(kind, optics, depth, np.asarray(focus_A, float), radius)
    intensity, slope = intensity @ blur.T, slope @ blur.T
    weighted = slope * (
        _per_intensity(np.ones_like(intensity), intensity) * square_areas(radius, half_region_A)
    )
    fisher = dose_e_A2 * np.tensordot(weighted, slope, axes=((1, 2), (1, 2)))
    values, vectors = np.linalg.eigh(fisher)
    # An eigenvalue below the rounding error of the largest is not known: it counts as that error.
    values = np.maximum(values, values[-1] * np.finfo(float).eps)
    return AtomBounds(np.sqrt((vectors**2 / values).sum(axis=1)), float(values[-1] / values[0]))


def square_areas(radius_A: Doubles, half_side_A: float) -> Doubles:
    """Compute weights that integrate a rotationally symmetric image over a square around its centre.

    Parameters
    ----------
    radius_A : ndarray of shape (n_radii,), float64
        Equally spaced from 0, in Å, at least to the edges of the square; the image is 0 beyond.
    half_side_A : float
        Half the side of the square in Å.

    Returns
    -------
    ndarray of shape (n_radii,), float64
        Areas in Å².

    Raises
    ------
    UsageError
        If the edges of the square lie beyond the radii.
    """
    if not 0 < half_side_A <= radius_A[-1]:
        raise UsageError(
            f"a square of ±{half_side_A:g} Å does not fit in the simulated radius of {radius_A[-1]:g} Å"
        )
    fine = 20
    step = radius_A[1] / fine
    at = (np.arange(fine * (len(radius_A) - 1)) + 0.5) * step
    angle = 2 * np.pi - 8 * np.arccos(np.minimum(half_side_A / at, 1))
    ring = np.maximum(angle, 0) * at * step
    cell, share = np.divmod(at / radius_A[1], 1)
    index = cell.astype(int)
    area = np.bincount(index, ring * (1 - share), len(radius_A))
    return np.asarray(area + np.bincount(index + 1, ring * share, len(radius_A)))


def _per_intensity(values: Doubles, intensity: Doubles) -> Doubles:
    """Divide by the intensity; where it is so small that it is rounding error, nothing is known."""
    return np.divide(values, intensity, out=np.zeros_like(values), where=intensity > 1e-7)
