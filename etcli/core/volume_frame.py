"""Coordinate frame of a reconstructed volume: its rotation centre and orientation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.volume_axes import IMOD_TILT, UPRIGHT, VolumeAxes

LEAST_SHIFT = 0.05
"""Smallest meaningful shift in voxels; smaller ones come from rounding."""


@dataclass(frozen=True)
class VolumeFrame:
    """Position and orientation of a volume.

    Parameters
    ----------
    centre_A : (float, float, float)
        Rotation centre (x, y, z) in Å in the coordinates of the file, in which the first voxel is at the
        header's origin.
    voxel_A : float
        Size of a voxel in Å, for which the lengths here hold. Where the header has another size, that was
        changed later, and the lengths no longer hold.
    x_tilt_deg : float
        Rotation of the volume about x in degrees, positive from y to z.
    axes : VolumeAxes
        Axes of the file in terms of those of the reconstruction: the tilt axis along y, the beam along z at
        tilt 0.
    n_views : int or None
        Number of views that the volume was reconstructed from.
    half : {"", "odd", "even"}
        Which half of the views these are; "" for all.
    wedge_deg : (float, float) or None
        Missing wedge of a half-set: the direction where it begins, and its width, in degrees; None where
        there is no single one.
    """

    centre_A: tuple[float, float, float]
    voxel_A: float
    x_tilt_deg: float = 0.0
    axes: VolumeAxes = UPRIGHT
    n_views: int | None = None
    half: str = ""
    wedge_deg: tuple[float, float] | None = None

    @classmethod
    def central(cls, shape: Sequence[int], pixel_A: float) -> "VolumeFrame":
        """Return the frame of a volume (nz, ny, nx) that begins at the origin and turns about its middle."""
        z, y, x = (n * pixel_A / 2 for n in shape)
        return cls((x, y, z), pixel_A)

    @property
    def along_y(self) -> bool:
        """Whether sections are along y, with z downwards, as IMOD's tilt writes them."""
        return self.axes == IMOD_TILT

    def turned(self, turn: VolumeAxes) -> "VolumeFrame":
        """Return the frame of the volume after a turn, which leaves the rotation centre in its place."""
        return replace(self, centre_A=turn.ordered(self.centre_A), axes=self.axes.then(turn))

    def middle_A(
        self, shape: Sequence[int], origin_A: Sequence[float], pixel_A: float
    ) -> NDArray[np.float64]:
        """Compute the position of the middle of a volume relative to the rotation centre.

        Parameters
        ----------
        shape : (int, int, int)
            Shape of the volume, (nz, ny, nx).
        origin_A : (float, float, float)
            Position of its first voxel (x, y, z) in Å.
        pixel_A : float
            Size of its voxels in Å.

        Returns
        -------
        ndarray of shape (3,), float64
            x, y and z in Å; 0 where the difference comes from rounding only.
        """
        middle = np.array(origin_A) + np.array(shape[::-1]) * pixel_A / 2 - self.centre_A
        return np.where(np.abs(middle) < LEAST_SHIFT * pixel_A, 0.0, middle)


@dataclass(frozen=True)
class Placement:
    """Position of a reconstructed volume in the coordinates of the file of its views.

    The tilt axis is in the middle of the volume, wherever it lies in the views; the rotation centre is on the
    axis, at half the height of the views before they were cropped.

    Parameters
    ----------
    corner_A : (float, float, float)
        Position (x, y, z) of the first voxel.
    centre_A : (float, float, float)
        Position of the rotation centre.
    """

    corner_A: tuple[float, float, float]
    centre_A: tuple[float, float, float]

    @classmethod
    def of(
        cls,
        geometry: SliceGeometry,
        *,
        n_rows: int,
        first_row: int = 0,
        origin_A: Sequence[float] = (0.0, 0.0, 0.0),
        pixel_A: float | None = None,
        centre_y_px: float = 0.0,
    ) -> "Placement":
        """Compute the position.

        Parameters
        ----------
        geometry : SliceGeometry
            Views and slice.
        n_rows : int
            Rows of a view.
        first_row : int
            First row of the views in the volume, counted from 0.
        origin_A : (float, float, float)
            Position of the first pixel of the views.
        pixel_A : float or None
            Pixel size; where it is unknown all lengths are 0.
        centre_y_px : float
            Position of the rotation centre along y from the middle of the views.

        Returns
        -------
        Placement
        """
        nx, pixel = geometry.n_detector, pixel_A or 0.0
        x, z = ((nx - n) / 2 for n in (geometry.width, geometry.thickness))
        x += geometry.axis_offset_px
        z += geometry.z_offset_px
        middle = nx / 2
        return cls(
            (origin_A[0] + pixel * x, origin_A[1] + pixel * first_row, pixel * z),
            (
                origin_A[0] + pixel * (middle + geometry.axis_offset_px),
                origin_A[1] + pixel * (n_rows / 2 + centre_y_px),
                pixel * middle,
            ),
        )
