"""Where the images lie that transforms are found on, and where these leave the rotation centre."""

from dataclasses import dataclass, replace

import numpy as np

from etcli.core.registration.transforms import Transforms
from etcli.core.series import TiltSeries

Point = tuple[float, float]
CENTRAL_PX = 0.01
"""Distance of the rotation centre from the middle that is none."""


@dataclass(frozen=True)
class ImagePlace:
    """Size of the images of a series, and the place of the rotation centre in them.

    Parameters
    ----------
    size : (int, int)
        Columns and rows.
    centre_px : (float, float)
        Rotation centre (x, y) in pixels from the middle of the images.
    """

    size: tuple[int, int]
    centre_px: Point

    @classmethod
    def of(cls, series: TiltSeries) -> "ImagePlace":
        """Return the place of the images of a series."""
        return cls((series.shape[2], series.shape[1]), series.centre_px)


def turned_centre(centre_px: Point, transforms: Transforms) -> Point:
    """Return a rotation centre (x, y), in pixels from the middle, after the rotation of transforms.

    Shifts are left out: they are what brings each view to the place of the others. The views turn about the
    middle of the images that the transforms were found on.
    """
    middle_px = np.array(transforms.middle_px)
    x, y = middle_px + transforms.matrix.mean(axis=0) @ (centre_px - middle_px)
    return float(x), float(y)


def centre_after(centre_px: Point, transforms: Transforms) -> Point:
    """Return the rotation centre after transforms that bring the tilt axis to the middle.

    Its place along the axis stays that of the views.
    """
    return float(transforms.middle_px[0]), turned_centre(centre_px, transforms)[1]


def with_centre_px(series: TiltSeries, centre_px: Point, shape: tuple[int, int]) -> TiltSeries:
    """Return a series whose rotation centre (x, y) is that far from the middle of views of a shape."""
    near = np.abs(centre_px).max() < CENTRAL_PX
    if near or not series.pixel_A:
        return replace(series, centre_A=None)
    x, y = (
        first + series.pixel_A * (n / 2 + at)
        for first, n, at in zip(series.origin_A, shape[::-1], centre_px, strict=False)
    )
    return replace(series, centre_A=(x, y))
