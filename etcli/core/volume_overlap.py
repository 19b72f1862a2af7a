"""Part that two volumes of one specimen have in common, from where their frames place them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.series import SAME_VOXEL, Volume


@dataclass(frozen=True)
class Box:
    """Whole voxels of a volume.

    Parameters
    ----------
    start, stop : (int, int, int)
        First index along z, y and x, and the index after the last.
    shape : (int, int, int)
        Shape of the volume.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def is_all(self) -> bool:
        """Whether this is the whole volume."""
        return not any(self.start) and self.stop == self.shape

    @property
    def ranges(self) -> dict[str, list[int]]:
        """First and last voxel along x, y and z, counted from 1."""
        pairs = zip("xyz", self.start[::-1], self.stop[::-1], strict=True)
        return {axis: [start + 1, stop] for axis, start, stop in pairs}

    def of(self, volume: Volume) -> Volume:
        """Return this part of a volume, read on demand; it lies where it did."""
        if self.is_all:
            return volume
        part = tuple(slice(*ends) for ends in zip(self.start, self.stop, strict=True))
        sides_A = _sides_A(volume)
        x, y, z = (
            origin + side * start
            for origin, side, start in zip(volume.origin_A, sides_A, self.start[::-1], strict=True)
        )
        return replace(volume, data=volume.images()[part], origin_A=(x, y, z))


def frame_offset_px(first: Volume, second: Volume) -> NDArray[np.float64] | None:
    """Compute from the frames of two volumes how they lie to each other.

    Parameters
    ----------
    first, second : Volume
        With the same order of axes.

    Returns
    -------
    ndarray of shape (3,), float64, or None
        Index (z, y, x) in the second at which the first begins, with fractions; None where it is unknown: one
        has no frame, or their voxels differ in size.
    """
    corner_A, other_A = _corner_A(first), _corner_A(second)
    if corner_A is None or other_A is None or not have_same_voxels(first, second):
        return None
    return np.asarray((corner_A - other_A) / _sides_A(second))[::-1]


def have_same_voxels(first: Volume, second: Volume) -> bool:
    """Whether the voxels of two volumes are of one size, as far as it is known."""
    sides_A = np.array([_sides_A(first), _sides_A(second)])
    return bool((np.abs(sides_A[0] - sides_A[1]) <= SAME_VOXEL * sides_A[1]).all()) or not sides_A.all()


def common_boxes(first: Volume, second: Volume, whole_px: NDArray[np.int_]) -> tuple[Box, Box]:
    """Find the part that two volumes have in common.

    Parameters
    ----------
    first, second : Volume
    whole_px : ndarray of shape (3,), int
        Index (z, y, x) in the second at which the first begins.

    Returns
    -------
    Box, Box
        The part in each of them, of one size.

    Raises
    ------
    DataError
        When they have nothing in common.
    """
    start, stop = np.maximum(whole_px, 0), np.minimum(whole_px + first.shape, second.shape)
    if (stop <= start).any():
        axis = "zyx"[int(np.argmax(start - stop))]
        raise DataError(
            f"{first.name} and {second.name} lie beside each other along {axis} by their frames, and show "
            "nothing in common; compare others"
        )
    return (
        Box(_integers(start - whole_px), _integers(stop - whole_px), first.shape),
        Box(_integers(start), _integers(stop), second.shape),
    )


def _corner_A(volume: Volume) -> NDArray[np.float64] | None:
    """Return the place (x, y, z) of the first voxel from the rotation centre, None where it is unknown."""
    frame = volume.valid_frame
    return None if frame is None else np.subtract(volume.origin_A, frame.centre_A)


def _sides_A(volume: Volume) -> tuple[float, ...]:
    """Return the sides of a voxel along x, y and z; 0 where they are unknown."""
    return volume.voxel_A if volume.voxel_A and volume.voxel_A[0] else (volume.pixel_A or 0.0,) * 3


def _integers(values: NDArray[np.int_]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
