"""Result of ``measure``: measures of labels as columns with units, and their totals with errors."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.measurement.crofton import SURE_CONTACT
from etcli.core.measurement.measures import Measures
from etcli.core.measurement.uncertainty import diameters, mean_diameter, sigma_of_diameters, total_volume
from etcli.core.measurement.wedge import crowding, expected_elongation
from etcli.pipeline.pore_result import PoreMeasures
from etcli.pipeline.volume_origin import VolumeOrigin

SIGMA_SURFACE = {True: 0.03, False: 0.06}
"""Relative standard deviation of surfaces in volumes with and without total variation."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Measures of the labels of a volume.

    Parameters
    ----------
    measures : Measures
        In voxels.
    origin : VolumeOrigin
        How the volume was made.
    pixel_A : float or None
        Size of its voxels.
    middle_px : (float, float, float)
        Middle (x, y, z) of the volume from the rotation centre, in voxels.
    field_px : float
        Number of voxels of the volume, or of the region.
    sigma_known : bool
        Whether the errors of volumes can be told.
    density_lsq : ndarray of shape (n,), float64, optional
        Densities that explain the views.
    pore_measures : PoreMeasures, optional
        Measures of pores and networks.
    """

    measures: Measures
    origin: VolumeOrigin
    pixel_A: float | None
    middle_px: tuple[float, float, float]
    field_px: float
    sigma_known: bool = True
    density_lsq: NDArray[np.float64] | None = None
    pore_measures: PoreMeasures | None = None

    @property
    def unit(self) -> str:
        """Unit of lengths: nm, or px where the size of the voxels is unknown."""
        return "nm" if self.pixel_A else "px"

    @property
    def step(self) -> float:
        """Size of a voxel in that unit."""
        return self.pixel_A / 10 if self.pixel_A else 1.0

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """A row for each label, by names with units; NaN where a value is unknown or means nothing."""
        found, u, a = self.measures, self.unit, self.step
        sigma = self._where_known(found.sigma_volume)
        shape = np.array(found.sums.numbers.shape)
        place = (found.sums.centre - (shape - 1) / 2)[:, ::-1] + self.middle_px
        unknown = np.full(len(found), np.nan)
        return {
            "label": found.sums.label,
            f"volume_{u}3": found.volume * a**3,
            f"sigma_volume_{u}3": sigma * a**3,
            f"surface_{u}2": found.surface * a**2,
            f"surface_crofton_{u}2": found.surface_crofton * a**2,
            f"eq_diameter_{u}": found.diameter * a,
            f"sigma_eq_diameter_{u}": sigma_of_diameters(found.volume, sigma) * a,
            "sphericity": found.sphericity,
            **{f"axis{k + 1}_{u}": found.axes.length[:, k] * a for k in range(3)},
            **{f"axis1_{axis}": found.axes.direction[:, k] for axis, k in zip("xyz", (2, 1, 0), strict=True)},
            "angle_z_deg": found.axes.angle_z_deg,
            **{f"{axis}_{u}": place[:, k] * a for k, axis in enumerate("xyz")},
            "density_core": found.levels.plateau,
            "density_lsq": unknown if self.density_lsq is None else self.density_lsq,
            "threshold": found.levels.threshold,
            "border": found.sums.border.astype(int),
            "contacts": found.n_contacts,
            f"nearest_{u}": found.nearest * a,
            f"gap_{u}": found.gap * a,
            "flag": flags(found),
        }

    @cached_property
    def pore_columns(self) -> dict[str, NDArray[Any]] | None:
        """A row for each pore, with most of the names of `columns`; None where pores were not asked for."""
        pores = self.pore_measures.pores if self.pore_measures else None
        if not pores:
            return None
        as_labels = replace(self, measures=pores.measures, density_lsq=None, pore_measures=None)
        return pores.columns(as_labels.columns)

    @property
    def thickness(self) -> NDArray[np.float32] | None:
        """Local thickness at each voxel of labels and pores, 0 elsewhere; None where it was not asked for."""
        found = self.pore_measures.thickness if self.pore_measures else None
        return found.values * np.float32(self.step) if found else None

    @property
    def weight(self) -> NDArray[np.float64]:
        """Weights of whole bodies in statistics, which make up for those that the border cuts."""
        return self.measures.weight

    @cached_property
    def totals(self) -> dict[str, Any]:
        """Sums and means of all labels with standard deviations."""
        return {
            "unit": self.unit,
            "labels": len(self.measures),
            "labels_cut": int(self.measures.sums.border.sum()),
            "labels_rough": int(self.measures.is_rough.sum()),
            "labels_off_threshold": int((self.measures.is_off_level | self.measures.is_far_level).sum()),
            **self._sums(),
            **self._means(),
            **self._wedge(),
            "surface_shift_px": self.measures.shift_px,
            "contacts": self._contacts(),
            **self._pores(),
        }

    def _pores(self) -> dict[str, Any]:
        if not self.pore_measures:
            return {}
        has_prior = self.origin.has_prior or not self.origin.method
        return self.pore_measures.totals(
            self.unit, self.step, sigma_known=self.sigma_known, has_prior=has_prior
        )

    def _sums(self) -> dict[str, Any]:
        """Return volume and surface of all, cut ones included, and their part of the field."""
        found, u, a = self.measures, self.unit, self.step
        volume = total_volume(
            found.volume, found.sigma_half, found.solid_surface, found.shift_px, float(found.doubt.sum())
        )
        sigma = volume.sigma if self.sigma_known else np.nan
        surface, relative = found.solid_surface, SIGMA_SURFACE[self.origin.has_prior]
        values = {
            f"volume_{u}3": volume.value * a**3,
            f"sigma_volume_{u}3": sigma * a**3,
            f"surface_{u}2": surface * a**2,
            f"sigma_surface_{u}2": surface * a**2 * relative if self.sigma_known else np.nan,
        }
        if self.origin.has_prior:
            values[f"mass_volume_{u}3"] = float(found.mass_volume.sum()) * a**3
        return values | {
            f"field_{u}3": self.field_px * a**3,
            "volume_fraction": volume.value / self.field_px,
            "sigma_volume_fraction": sigma / self.field_px,
            f"surface_per_volume_{u}-1": surface / self.field_px / a,
            f"sigma_surface_per_volume_{u}-1": surface / self.field_px / a * relative
            if self.sigma_known
            else np.nan,
        }

    def _means(self) -> dict[str, Any]:
        """Return the mean diameter of whole bodies, as they are and weighted, and its scatter."""
        found, u, a = self.measures, self.unit, self.step
        whole = found.whole
        parts = found.volume[whole], found.sigma_half[whole], found.known_surface[whole], found.shift_px
        values: dict[str, Any] = {"labels_whole": int(whole.sum())}
        for name, weight in (("mean", np.ones(int(whole.sum()))), ("weighted_mean", found.weight[whole])):
            mean = mean_diameter(*parts, weight, found.doubt[whole])
            values[f"{name}_eq_diameter_{u}"] = mean.value * a
            values[f"sigma_{name}_eq_diameter_{u}"] = mean.sigma * a if self.sigma_known else np.nan
        each = diameters(parts[0])
        values[f"sd_eq_diameter_{u}"] = float(each.std(ddof=1)) * a if len(each) > 1 else np.nan
        values[f"median_eq_diameter_{u}"] = float(np.median(each)) * a if len(each) else np.nan
        return values

    def _wedge(self) -> dict[str, Any]:
        """Return the elongation along z that is expected and that of the whole bodies, and their crowding."""
        found = self.measures
        whole = found.sums.covariance[found.whole]
        reach = self.origin.reach_deg
        return {
            "method": self.origin.method or None,
            "reach_deg": reach,
            "expected_elongation": None if reach is None else expected_elongation(reach),
            "median_elongation": float(np.median(np.sqrt(whole[:, 0, 0] / whole[:, 2, 2])))
            if len(whole)
            else np.nan,
            "axes_crowding": crowding(found.axes.direction[found.whole]),
        }

    def _contacts(self) -> list[dict[str, Any]]:
        """Return the pairs of labels in contact, with the area where it is known."""
        label, contacts, a = self.measures.sums.label, self.measures.contacts, self.step
        return [
            {
                "labels": [int(label[i - 1]), int(label[j - 1])],
                f"area_{self.unit}2": float(area) * a**2 if area >= SURE_CONTACT else None,
            }
            for (i, j), area in zip(contacts.rows, contacts.area, strict=True)
        ]

    def _where_known(self, sigma: NDArray[np.float64]) -> NDArray[np.float64]:
        return sigma if self.sigma_known else np.full_like(sigma, np.nan)


def flags(found: Measures) -> NDArray[np.str_]:
    """Return what makes the values of each label doubtful: words with spaces between them."""
    doubts = {
        "rough": found.is_rough | np.isnan(found.surface),
        "threshold": found.is_off_level | found.is_far_level,
    }
    rows = zip(
        *([word if doubtful else "" for doubtful in is_it] for word, is_it in doubts.items()), strict=True
    )
    return np.array([" ".join(filter(None, row)) for row in rows], dtype=str)
