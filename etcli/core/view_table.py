"""Table of the views of a series: tilt angle, orientation, defocus, dose, time, weight, channel."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.orientation import rotation_matrices, tilts_as_euler

Float = NDArray[np.float64]

SAME_TILT_DEG = 0.01
"""Views whose tilt angles differ by less were taken at one tilt."""
SAME_DEFOCUS_UM = 1e-4
"""Defoci that differ by less are equal."""
ONE_VIEW_A_TILT = (
    "a linear reconstruction takes one view a tilt, so choose with --views; phase contrast is for "
    "recon --method multislice"
)
ALIGNED_BY_RECON = (
    "alignment takes the views for projections; recon --method multislice --refine shifts aligns "
    "phase-contrast images"
)
"""What to do with a series of several defoci, for messages."""


@dataclass(frozen=True, eq=False, repr=False)
class ViewTable:
    """Table of the views of a series, one row per view.

    A column that is not known at all is None; single unknown values are NaN.

    Parameters
    ----------
    section : ndarray of shape (n_views,), intp
        Index of the view's image in the file, counted from 0.
    tilt_deg : ndarray of shape (n_views,), float64, optional
        Tilt angle in degrees.
    euler_deg : ndarray of shape (n_views, 3), float64, optional
        Orientation φ, θ, ψ in degrees, where views are not tilted about one axis only; see
        `etcli.core.orientation`.
    defocus_um : ndarray of shape (n_views,), float64, optional
        Defocus in µm, negative for underfocus.
    dose_e_A2, prior_dose_e_A2 : ndarray of shape (n_views,), float64, optional
        Electrons per Å² in the view, and those that the specimen had received before it.
    time_s : ndarray of shape (n_views,), float64, optional
        Time of acquisition in seconds from the first view.
    weight : ndarray of shape (n_views,), float64, optional
        Weight of the view; equal weights where None.
    channel : ndarray of shape (n_views,), str, optional
        Detector, element or component that the view shows.

    Raises
    ------
    DataError
        When columns are not as long as the table, or a weight is not positive.
    """

    section: NDArray[np.intp]
    tilt_deg: Float | None = None
    euler_deg: Float | None = None
    defocus_um: Float | None = None
    dose_e_A2: Float | None = None
    prior_dose_e_A2: Float | None = None
    time_s: Float | None = None
    weight: Float | None = None
    channel: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "section", np.asarray(self.section, np.intp))
        for name, column in self._columns().items():
            column = np.asarray(column, str if name == "channel" else np.float64)
            if column.shape != ((len(self), 3) if name == "euler_deg" else (len(self),)):
                raise DataError(f"{name} of {len(self)} views cannot have the shape {column.shape}")
            object.__setattr__(self, name, column)
        if self.weight is not None and not (self.weight > 0).all():
            raise DataError(f"a view has the weight {self.weight.min():g}; weights are above 0")

    @classmethod
    def tilted(cls, tilt_deg: ArrayLike) -> "ViewTable":
        """Create the table of views with known tilt angles, in the order of the images."""
        angles = np.atleast_1d(np.asarray(tilt_deg, np.float64))
        return cls(np.arange(len(angles)), angles)

    @classmethod
    def oriented(cls, euler_deg: ArrayLike) -> "ViewTable":
        """Create the table of views with known Euler angles, in the order of the images."""
        angles = _three_a_row(euler_deg)
        return cls.tilted(np.zeros(len(angles))).with_orientations(angles)

    @classmethod
    def joined(cls, tables: "Sequence[ViewTable]") -> "ViewTable":
        """Concatenate the tables of several series; sections are renumbered, weights are dropped.

        Where some series have orientations, those of the others follow from their tilt angles.
        """
        if any(table.euler_deg is not None for table in tables):
            tables = [table._with_any_orientations() for table in tables]
        columns: dict[str, Any] = {}
        for name in [field.name for field in fields(cls) if field.name != "section"]:
            parts = [getattr(table, name) for table in tables]
            known = next((part for part in parts if part is not None), None)
            if known is None or name == "weight":
                continue
            unknown = "" if name == "channel" else np.nan
            columns[name] = np.concatenate(
                [
                    np.full((len(table), *known.shape[1:]), unknown, known.dtype) if part is None else part
                    for table, part in zip(tables, parts, strict=True)
                ]
            )
        return cls(np.arange(sum(map(len, tables))), **columns)

    def __repr__(self) -> str:
        return f"<ViewTable of {len(self)} views: {', '.join(self._columns()) or 'no columns'}>"

    def __len__(self) -> int:
        return len(self.section)

    def _columns(self) -> dict[str, NDArray[Any]]:
        """Return the known columns by name, except the sections."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "section"}
        return {name: column for name, column in named.items() if column is not None}

    def select(self, views: Sequence[int] | NDArray[np.intp]) -> "ViewTable":
        """Return the table of the given views, counted from 0, in that order."""
        chosen = np.asarray(views, np.intp)
        columns = {name: column[chosen] for name, column in self._columns().items()}
        return replace(self, section=self.section[chosen], **columns)

    def with_tilts(self, tilt_deg: ArrayLike) -> "ViewTable":
        """Return the table with other tilt angles, and without orientations, which would contradict them."""
        return replace(self, tilt_deg=np.asarray(tilt_deg, np.float64), euler_deg=None)

    def with_orientations(self, euler_deg: ArrayLike) -> "ViewTable":
        """Return the table with other orientations; θ gives the tilt angles as well."""
        angles = _three_a_row(euler_deg)
        return replace(self, euler_deg=angles, tilt_deg=-angles[:, 1])

    def _with_any_orientations(self) -> "ViewTable":
        """Return the table with orientations that follow from the tilt angles, where it has no others."""
        if self.euler_deg is not None or self.tilt_deg is None:
            return self
        return replace(self, euler_deg=tilts_as_euler(self.tilt_deg))

    @property
    def has_tilts(self) -> bool:
        """Whether all tilt angles are known."""
        return self.tilt_deg is not None and bool(np.isfinite(self.tilt_deg).all())

    def rotations(self, x_tilt_deg: float = 0.0) -> Float | None:
        """Compute the rotation matrix of every view; see `etcli.core.orientation`.

        Parameters
        ----------
        x_tilt_deg : float
            Rotation of the volume about x in degrees, positive from y to z.

        Returns
        -------
        ndarray of shape (n_views, 3, 3), float64, or None
            None where all views are tilted about the vertical axis only.

        Raises
        ------
        DataError
            When the orientation of a view is not known.
        """
        if self.euler_deg is None and x_tilt_deg == 0:
            return None
        euler_deg = self._with_any_orientations().euler_deg
        if euler_deg is None:
            raise DataError("no view has a tilt angle; give them")
        unknown = np.flatnonzero(np.isnan(euler_deg).any(axis=1))
        if unknown.size:
            raise DataError(
                f"{unknown.size} of {len(self)} views have no Euler angles, the first at section "
                f"{self.section[unknown[0]] + 1}; exclude them, or give --euler"
            )
        matrices: Float = rotation_matrices(euler_deg) @ rotation_matrices([[0.0, 0.0, x_tilt_deg]])[0]
        return matrices

    def groups(self) -> list[list[int]]:
        """Group the views by tilt; both the groups and the views of each are in the order of the table."""
        groups: list[list[int]] = []
        if self.tilt_deg is None:
            return [[k] for k in range(len(self))]
        for k, angle in enumerate(self.tilt_deg):
            for group in groups:
                if abs(self.tilt_deg[group[0]] - angle) < SAME_TILT_DEG:
                    group.append(k)
                    break
            else:
                groups.append([k])
        return groups

    def focal_groups(self) -> list[list[int]]:
        """Return the groups of views that were taken at one tilt and at different defoci."""
        if self.defocus_um is None:
            return []
        known = np.isfinite(self.defocus_um)
        defocus = np.where(known, self.defocus_um, 0.0)
        groups = [[k for k in group if known[k]] for group in self.groups()]
        return [group for group in groups if group and np.ptp(defocus[group]) > SAME_DEFOCUS_UM]

    @property
    def is_focal_series(self) -> bool:
        """Whether all views are of one tilt, at two or more defoci."""
        return len(self.groups()) == 1 and len(self.focal_groups()) == 1

    def check_one_focus(
        self,
        name: str,
        advice: str = ONE_VIEW_A_TILT,
    ) -> None:
        """Check that each tilt has one defocus, for processing that treats the views as projections.

        Parameters
        ----------
        name : str
            Name of the series.
        advice : str
            What to do instead, for the message.

        Raises
        ------
        UsageError
            When a tilt has views at several defoci; the message names the first such tilt and its views.
        """
        focal_groups = self.focal_groups()
        if focal_groups and self.tilt_deg is not None and self.defocus_um is not None:
            first = focal_groups[0]
            listed = ", ".join(f"{k + 1} ({self.defocus_um[k]:g} µm)" for k in first[:6])
            raise UsageError(
                f"{name}: {len(focal_groups)} tilt{'s' * (len(focal_groups) > 1)} at several defoci, as at "
                f"{self.tilt_deg[first[0]]:g}° views {listed}; {advice}"
            )


def _three_a_row(euler_deg: ArrayLike) -> Float:
    """Return Euler angles as an array of three per view; raise DataError for another shape."""
    angles = np.asarray(euler_deg, np.float64)
    if angles.ndim != 2 or angles.shape[1] != 3:
        raise DataError(f"Euler angles are three for each view, not of the shape {angles.shape}")
    return angles
