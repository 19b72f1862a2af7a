"""Surfaces of labelled bodies."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError
from etcli.core.surfaces.grey_surface import Surface, grey_surface

LEAST_EQUAL = 0.5
"""Part of the pairs of neighbours in a body that have equal values; in images with noise it is small."""
SAMPLED = 4_000_000
"""Voxels from which this part is estimated."""
MOST_LABELS = 1 << 31


def are_labels(volume: NDArray[Any]) -> bool:
    """Whether a volume holds labels or a mask: whole numbers from 0, mostly alike in neighbouring voxels."""
    step = -(-volume.size // SAMPLED)
    sections = volume[::step]
    if volume.dtype.kind not in "iufb" or not _are_whole(sections) or volume.min() == volume.max():
        return False
    left, right = sections[..., :-1], sections[..., 1:]
    inside = (left > 0) & (right > 0)
    equal = int(np.count_nonzero(inside & (left == right)))
    return equal >= LEAST_EQUAL * int(np.count_nonzero(inside)) and _are_whole(volume)


def checked_labels(volume: NDArray[Any], name: str = "labels") -> NDArray[np.int64]:
    """Return labels as integers; raise DataError for values that are none."""
    if not _are_whole(volume) or volume.max(initial=0) >= MOST_LABELS:
        raise DataError(
            f"{name}: labels are whole numbers from 0, and it holds others; make them with segment"
        )
    return volume.astype(np.int64)


def label_surfaces(labels: NDArray[np.int64], *, closed: bool = True) -> Iterator[tuple[int, Surface]]:
    """Yield each label and its surface, half-way between its voxels and others.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), int
        0 where there is no body. Numbers without voxels are left out.
    closed : bool
        Whether surfaces close at the border of the volume; see `grey_surface`.

    Yields
    ------
    label : int
    surface : Surface
        In voxels. Its area has the steps of the voxels: 3 to 9 % too much for balls, and, once smoothed,
        3 % (radius 3) or 1 % (radius 4 and more). Its volume is that of the voxels within 1 %.
    """
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        body = (labels[around] == number).astype(np.float32)
        surface = grey_surface(body, 0.5, closed=closed)
        start = np.array([side.start for side in around], np.float64)
        yield number, Surface(surface.vertices + start, surface.faces)


def _are_whole(values: NDArray[Any]) -> bool:
    """Whether all values are whole numbers from 0."""
    if values.dtype.kind in "ub":
        return True
    if values.min(initial=0) < 0 or not np.isfinite(values).all():
        return False
    return values.dtype.kind == "i" or bool((values == np.floor(values)).all())
