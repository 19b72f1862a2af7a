"""The frame of a reconstructed volume: where its rotation centre lies, and how it is turned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry

LEAST_SHIFT = 0.05
"""Part of a voxel below which a shift comes from rounding."""


@dataclass(frozen=True)
class VolumeFrame:
    """Where a volume lies.

    Parameters
    ----------
    centre_A : (float, float, float)
        The rotation centre along x, y and z of the file, where the first voxel is at the header's origin.
    voxel_A : float
        Size of a voxel; where the header has another, it has been corrected, and lengths are others as well.
    x_tilt_deg : float
        What the volume is turned by about x, from y to z.
    along_y : bool
        Sections along y, with z downwards, as IMOD's tilt writes them.
    n_views : int or None
        How many views it was made of.
    """

    centre_A: tuple[float, float, float]
    voxel_A: float
    x_tilt_deg: float = 0.0
    along_y: bool = False
    n_views: int | None = None

    def upright(self) -> "VolumeFrame":
        """Frame of the volume after it was turned to have sections along z."""
        if not self.along_y:
            return self
        x, z, y = self.centre_A
        return replace(self, centre_A=(x, y, z), along_y=False)

    def middle_A(
        self, shape: Sequence[int], origin_A: Sequence[float], pixel_A: float
    ) -> NDArray[np.float64]:
        """Place of the middle of a volume from the rotation centre.

        Parameters
        ----------
        shape : (int, int, int)
            Of the volume, (nz, ny, nx).
        origin_A : (float, float, float)
            Place of its first voxel (x, y, z) in Å.
        pixel_A : float
            Size of its voxels in Å.

        Returns
        -------
        ndarray of shape (3,), float64
            x, y and z in Å; 0 where only rounding makes a difference.
        """
        middle = np.array(origin_A) + np.array(shape[::-1]) * pixel_A / 2 - self.centre_A
        return np.where(np.abs(middle) < LEAST_SHIFT * pixel_A, 0.0, middle)


@dataclass(frozen=True)
class Placement:
    """Where a volume that is reconstructed from views comes to lie, in the coordinates of the views' file.

    The volume has the tilt axis in its middle, wherever that lies in the views; the rotation centre is on the
    axis, half way up the views.

    Parameters
    ----------
    corner_A : (float, float, float)
        Place (x, y, z) of the first voxel.
    centre_A : (float, float, float)
        Place of the rotation centre.
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
    ) -> "Placement":
        """Find the place.

        Parameters
        ----------
        geometry : SliceGeometry
            Views and slice.
        n_rows : int
            Rows of a view.
        first_row : int
            The row that the volume begins with, counted from 0.
        origin_A : (float, float, float)
            Place of the first pixel of the views.
        pixel_A : float or None
            Pixel size; where it is not known all lengths are 0.

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
                origin_A[1] + pixel * (n_rows / 2),
                pixel * middle,
            ),
        )
