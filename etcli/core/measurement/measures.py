"""Measures of all labels of a volume, in voxels."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.measurement.axes import Axes, ellipsoid_axes
from etcli.core.measurement.crofton import SURE_CONTACT, Contacts, crofton_surfaces
from etcli.core.measurement.label_shapes import LabelShape, Levels, Other, label_shapes
from etcli.core.measurement.label_sums import EVERYWHERE, LabelSums, Mask
from etcli.core.measurement.neighbours import nearest_centres, surface_gaps
from etcli.core.measurement.uncertainty import (
    diameters,
    inclusion_weights,
    sigma_of_halves,
    sigma_of_volumes,
)

Doubles = NDArray[np.float64]

LEAST_ROUND = 500
"""Voxels from which the sphericity of a body is known: smaller ones seem rounder than a ball."""
ROUGH = 0.05
"""Difference of the two surfaces, relative to the first, above which one of them is wrong."""

NEAR_HALF = (0.3, 0.7)
"""Range of thresholds, from the background to the core of a label, that are near its own: half way."""
MOST_OFF = 3.0
"""Distance of the surface of a label from the threshold, relative to the standard deviation of its place."""


@dataclass(frozen=True, eq=False)
class Measures:
    """Measures of labels, arrays of one value for each; lengths in voxels, NaN where unknown.

    Parameters
    ----------
    sums : LabelSums
        Labels, numbers of voxels, centres and boxes.
    levels : Levels
    field : (int, int, int)
        Size of the box around all that is measured.
    axes : Axes
    surface, surface_crofton : ndarray of shape (n,), float64
        Areas of the grey surface, and by counting of crossings.
    mass_volume : ndarray of shape (n,), float64
    level_volume, half_volume : ndarray of shape (n,), float64
        Volumes of what exceeds the thresholds, and the levels half way between background and core.
    likeness : ndarray of shape (n,), float64
        Correlations of the grey levels with labels.
    sigma_half : ndarray of shape (n,), float64
        Standard deviations of the volumes by noise.
    shift_px : float
        Standard deviation of the place of surfaces.
    contacts : Contacts
    nearest, gap : ndarray of shape (n,), float64
        Distances to the nearest centre and to the nearest surface; 0 in contact.
    """

    sums: LabelSums
    levels: Levels
    field: tuple[int, ...]
    axes: Axes
    surface: Doubles
    surface_crofton: Doubles
    mass_volume: Doubles
    level_volume: Doubles
    half_volume: Doubles
    likeness: Doubles
    sigma_half: Doubles
    shift_px: float
    contacts: Contacts
    nearest: Doubles
    gap: Doubles

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def volume(self) -> Doubles:
        """Numbers of voxels."""
        return self.sums.count.astype(float)

    @property
    def whole(self) -> Mask:
        """Whether the body is not cut, so that it belongs in statistics."""
        return ~self.sums.border

    @property
    def diameter(self) -> Doubles:
        """Diameters of spheres of equal volume."""
        return diameters(self.volume)

    @property
    def known_surface(self) -> Doubles:
        """The grey surface, or the counted one where there is none."""
        return np.where(np.isnan(self.surface), self.surface_crofton, self.surface)

    @property
    def sphericity(self) -> Doubles:
        """Surface of the sphere of equal volume over the surface; NaN for small and for cut bodies."""
        value = np.pi * self.diameter**2 / self.surface
        return np.where((self.volume >= LEAST_ROUND) & self.whole, value, np.nan)

    @property
    def is_rough(self) -> Mask:
        """Whether both surfaces differ by so much that one of them is wrong."""
        return np.asarray(np.abs(self.surface_crofton - self.surface) > ROUGH * self.surface)

    @property
    def is_off_level(self) -> Mask:
        """Whether a label does not end where its threshold is, so that its errors do not hold for it."""
        off = np.abs(self.volume - self.level_volume)
        return np.asarray(off > MOST_OFF * self.shift_px * self.known_surface)

    @property
    def is_far_level(self) -> Mask:
        """Whether the threshold is that of other bodies, far from half way to the core of the label."""
        background, plateau, threshold = self.levels
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (threshold - background) / (plateau - background)
        return np.asarray((share < NEAR_HALF[0]) | (share > NEAR_HALF[1]))

    @property
    def doubt(self) -> Doubles:
        """Volumes at half the contrast less those of the labels, where a label ends at no level of its own.

        It is an error that all labels have in common.
        """
        differs = self.half_volume - self.volume
        return np.where(self.is_far_level | self.is_off_level, np.nan_to_num(differs), 0.0)

    @property
    def sigma_volume(self) -> Doubles:
        """Standard deviations of the volumes."""
        return np.hypot(sigma_of_volumes(self.sigma_half, self.known_surface, self.shift_px), self.doubt)

    @property
    def n_contacts(self) -> NDArray[np.int64]:
        """Numbers of labels in contact with each."""
        return np.bincount(self.contacts.rows.reshape(-1), minlength=len(self) + 1)[1:]

    @property
    def weight(self) -> Doubles:
        """Weights of whole bodies in statistics that make up for those that were cut; NaN for these."""
        weights = inclusion_weights(self.sums.low, self.sums.high, self.field)
        return np.where(self.whole, weights, np.nan)

    @property
    def solid_surface(self) -> float:
        """Surface of all labels together: without their contacts, as far as these are known."""
        sure = self.contacts.area[self.contacts.area >= SURE_CONTACT]
        return float(self.known_surface.sum() - 2 * sure.sum())


def measure_labels(
    volume: NDArray[Any],
    sums: LabelSums,
    levels: Levels,
    *,
    region: Mask = EVERYWHERE,
    halves: Sequence[Other] = (),
    shift_px: float,
    track: Callable[[Iterable[LabelShape]], Iterable[LabelShape]] = iter,
) -> Measures:
    """Measure all labels of a volume.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Finite grey levels.
    sums : LabelSums
        Of the same region.
    levels : Levels
        Grey levels of each label.
    region : ndarray of shape (nz, ny, nx), bool, optional
        The part to measure in; by default everywhere.
    halves : sequence of Other
        None, or the volumes of the odd and the even views.
    shift_px : float
        Standard deviation of the place of surfaces, in voxels.
    track : callable
        Passes on the labels one by one, to show the progress.

    Returns
    -------
    Measures
    """
    n = len(sums)
    shapes = list(track(label_shapes(volume, sums, levels, region=region, others=halves)))
    surface = np.array([shape.surface for shape in shapes], float)
    crofton, contacts = crofton_surfaces(sums.numbers, n, region)
    soft = np.array([shape.soft_volumes for shape in shapes], float).reshape(n, len(halves)).T
    sigma_half = sigma_of_halves(soft, n)
    touching = np.zeros(n, bool)
    touching[contacts.rows.reshape(-1) - 1] = True
    return Measures(
        sums=sums,
        levels=levels,
        field=_extent(region) if region.size else volume.shape,
        axes=ellipsoid_axes(sums.covariance),
        surface=surface,
        surface_crofton=crofton,
        mass_volume=np.array([shape.mass_volume for shape in shapes], float),
        level_volume=np.array([shape.level_volume for shape in shapes], float),
        half_volume=np.array([shape.half_volume for shape in shapes], float),
        likeness=np.array([shape.likeness for shape in shapes], float),
        sigma_half=sigma_half,
        shift_px=shift_px,
        contacts=contacts,
        nearest=nearest_centres(sums.centre),
        gap=surface_gaps([shape.points for shape in shapes], touching),
    )


def _extent(region: Mask) -> tuple[int, ...]:
    """Return the size of the box around a region."""
    others = ((1, 2), (0, 2), (0, 1))
    return tuple(int(np.ptp(np.flatnonzero(region.any(axis=axes)))) + 1 for axes in others)
