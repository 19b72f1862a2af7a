"""Axes of images in files that name them: which are the views, the rows and the columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.units import angle_unit_deg, length_unit_A, plain_unit

TILT_NAMES = ("angle", "angles", "tilt", "tilts", "alpha", "tilt angle", "tilt_angle", "tilt angles")
SQUARE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Axis:
    """Axis of an array.

    Parameters
    ----------
    name, unit : str
        As in the file.
    values : ndarray of shape (n,), float64
        Coordinates, in that unit; not always evenly spaced.
    """

    name: str
    unit: str
    values: NDArray[np.float64]

    @property
    def is_tilt(self) -> bool:
        """Whether the coordinates are angles."""
        return angle_unit_deg(self.unit) is not None or self.name.strip().lower() in TILT_NAMES

    @property
    def is_length(self) -> bool:
        """Whether the coordinates are lengths."""
        return length_unit_A(self.unit) is not None

    @property
    def is_foreign(self) -> bool:
        """Whether it is no axis of a stack of images: an energy, or reciprocal space."""
        unit = plain_unit(self.unit)
        return "energy" in self.name.lower() or unit.endswith("ev") or "^-1" in unit or unit.startswith("1/")

    @property
    def step_A(self) -> float | None:
        """Step in Å, None where the unit is no length."""
        unit_A = length_unit_A(self.unit)
        if unit_A is None or len(self.values) < 2:
            return None
        step = abs(self.values[-1] - self.values[0]) / (len(self.values) - 1) * unit_A
        return float(f"{step:.7g}") if step > 0 else None

    def __str__(self) -> str:
        return f"{self.name or 'unnamed'} ({self.unit})" if self.unit else self.name or "unnamed"


def as_stack(data: NDArray[Any], axes: Sequence[Axis]) -> tuple[NDArray[Any], tuple[Axis, Axis, Axis]]:
    """Turn an array so that its axes are views (or sections), rows and columns.

    Parameters
    ----------
    data : ndarray of two or three dimensions
    axes : sequence of Axis
        Its axes.

    Returns
    -------
    data : ndarray of shape (n, ny, nx)
    axes : tuple of Axis
        In that order; those of a single image are those of a stack of one.

    Raises
    ------
    DataError
        When it is no stack of images; the message names its axes.
    """
    listed = ", ".join(map(str, axes))
    if (
        data.ndim not in (2, 3)
        or not data.size
        or data.dtype.kind not in "uif"
        or any(axis.is_foreign for axis in axes)
    ):
        raise DataError(f"data of shape {data.shape} with the axes {listed} is no stack of images")
    if data.ndim == 2:
        data, axes = data[np.newaxis], [Axis("", "", np.zeros(1)), *axes]
    order = _order(axes)
    first, rows, columns = (axes[k] for k in order)
    return data.transpose(order), (first, rows, columns)


def _order(axes: Sequence[Axis]) -> list[int]:
    """Return which axes are views, rows and columns: by angles, names and lengths, else as they are."""
    names = [axis.name.strip().lower() for axis in axes]
    tilts = [k for k, axis in enumerate(axes) if axis.is_tilt]
    others = [k for k, axis in enumerate(axes) if not axis.is_length]
    if len(tilts) == 1:
        views = tilts[0]
    elif sorted(names) == ["x", "y", "z"]:
        views = names.index("z")
    else:
        views = others[0] if len(others) == 1 else 0
    plane = [k for k in range(3) if k != views]
    if [names[k] for k in plane] == ["x", "y"]:
        plane.reverse()
    return [views, *plane]


def tilts_on(axis: Axis) -> NDArray[np.float64] | None:
    """Return the tilt angles on an axis of views in degrees, None where it is another axis."""
    if not axis.is_tilt:
        return None
    return axis.values * (angle_unit_deg(axis.unit) or 1.0)


def pixel_on(rows: Axis, columns: Axis) -> tuple[float | None, list[str]]:
    """Return the pixel size along x in Å, None if unknown, and warnings."""
    x_A, y_A = columns.step_A, rows.step_A
    if x_A and y_A and abs(y_A / x_A - 1) > SQUARE_TOLERANCE:
        return x_A, [f"pixels of {x_A:g} x {y_A:g} Å are not square; the first counts"]
    return x_A, []
