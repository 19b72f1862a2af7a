"""Images with their geometry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError


@dataclass(frozen=True)
class TiltSeries:
    """Views of one specimen at many tilt angles.

    Parameters
    ----------
    data : ndarray of shape (n_views, ny, nx)
        Views; row 0 is the bottom.
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angle of each view in degrees.
    pixel_A : float
        Pixel size in Å.
    axis_deg : float
        Angle from +y to the tilt axis, counter-clockwise, in degrees.
    dose_e_A2 : float or None
        Electrons per Å² in a view.
    defocus_um : float or None
        Defocus in µm, negative for underfocus.
    """

    data: NDArray[np.float32]
    tilt_deg: NDArray[np.float64]
    pixel_A: float = 1.0
    axis_deg: float = 0.0
    dose_e_A2: float | None = None
    defocus_um: float | None = None

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or len(self.data) != len(self.tilt_deg):
            raise DataError(
                f"a tilt series needs one tilt angle a view, not {len(self.tilt_deg)} angles "
                f"for an array of shape {self.data.shape}"
            )


@dataclass(frozen=True)
class Volume:
    """A reconstruction or a specimen.

    Parameters
    ----------
    data : ndarray of shape (nz, ny, nx)
        Density; sections along z.
    pixel_A : float
        Voxel size in Å.
    """

    data: NDArray[np.float32]
    pixel_A: float = 1.0
