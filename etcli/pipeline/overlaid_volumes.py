"""Volumes to compare, laid over each other as their frames place them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.series import ImageStack, TiltSeries, Volume
from etcli.core.volume_overlap import Box, common_boxes, frame_offset_px, have_same_voxels
from etcli.core.volume_search import find_part
from etcli.pipeline.inputs import load_images
from etcli.pipeline.session import Session

DISPLACED_PX = 0.2
"""Displacement of voxels from which it is warned of."""
SAME_PLACE_PX = 0.6
"""Displacement, half a voxel and some rounding, up to which volumes of one size are at the same place."""
MARGIN = 0.25
"""How far from where its frame places it a part is searched for, relative to its size."""
SEARCH_COPIES = 7


class Overlaid(NamedTuple):
    """Images of one size, and which part of the files they are.

    Parameters
    ----------
    first, second : TiltSeries or Volume
    parts : dict
        Ranges along x, y and z as in `Box.ranges`, ``part_a`` and ``part_b``; empty where all is compared.
    rest_px : (float, float, float)
        How far the frames place the voxels of the first from those of the second, along z, y and x.
    """

    first: ImageStack
    second: ImageStack
    parts: dict[str, dict[str, list[int]]]
    rest_px: tuple[float, ...] = (0.0, 0.0, 0.0)


def overlaid(session: Session, first: ImageStack, second: ImageStack, *, align: bool) -> Overlaid:
    """Return what two stacks both show: for volumes, the part in which they overlap.

    Parameters
    ----------
    session : Session
        Is told which part that is.
    first, second : TiltSeries or Volume
        Volumes with the same order of axes.
    align : bool
        Whether a volume may be moved from the place that its frame gives: one that lies in the other is
        searched for there.

    Returns
    -------
    Overlaid

    Raises
    ------
    DataError
        When one is a series and the other a volume, the sizes differ and nothing tells how they lie, or they
        have nothing in common.
    """
    _check_kinds(first, second)
    if not isinstance(first, Volume) or not isinstance(second, Volume):
        if first.shape != second.shape:
            raise DataError(f"{_sizes(first, second)}; bin or crop one")
        return Overlaid(first, second, {})
    by_frames_px = frame_offset_px(first, second)
    whole_px = _whole_px(first, second, by_frames_px)
    if align and first.shape != second.shape:
        whole_px = _searched(session, first, second, whole_px)
    if whole_px is None:
        raise DataError(f"{_sizes(first, second)}; {_remedy(first, second, align=align)}")
    offset_px = np.zeros(3) if by_frames_px is None else by_frames_px
    rest_px = tuple((offset_px - whole_px).tolist())
    if not align and max(map(abs, rest_px)) > DISPLACED_PX:
        x, y, z = (round(rest, 2) + 0.0 for rest in reversed(rest_px))
        session.reporter.warn(
            f"{first.name} lies {x:g}, {y:g}, {z:g} voxels (x, y, z) from the voxels of {second.name}, which "
            "are compared one by one; --align shifts them onto each other"
        )
    boxes = common_boxes(first, second, whole_px)
    if boxes[0].is_all and boxes[1].is_all:
        return Overlaid(first, second, {}, rest_px)
    words = [_words(box, stack.name) for box, stack in zip(boxes, (first, second), strict=True)]
    session.reporter.report(f"compared where both are: {words[0]}, and {words[1]}")
    parts = {name: box.ranges for name, box in zip(("part_a", "part_b"), boxes, strict=True)}
    return Overlaid(boxes[0].of(first), boxes[1].of(second), parts, rest_px)


def _check_kinds(first: ImageStack, second: ImageStack) -> None:
    """Raise DataError for a tilt series and a volume; images without any description may be either."""
    series = next((stack for stack in (first, second) if isinstance(stack, TiltSeries)), None)
    volume = next((stack for stack in (first, second) if isinstance(stack, Volume)), None)
    if series is None or volume is None or (volume.frame is None and volume.shape == series.shape):
        return
    why = "" if volume.frame else ", as it has no tilt angles"
    raise DataError(
        f"{series.name} is a tilt series and {volume.name} a volume{why}; compare the series with the views "
        f"of the volume: etcli project --tilts {series.name} {volume.name} VIEWS.mrc"
    )


def _whole_px(
    first: Volume, second: Volume, by_frames_px: NDArray[np.float64] | None
) -> NDArray[np.int_] | None:
    """Return the index in the second volume at which the first begins, None where nothing tells it."""
    is_same_size = first.shape == second.shape
    if by_frames_px is None or (is_same_size and np.abs(by_frames_px).max() < SAME_PLACE_PX):
        return np.zeros(3, int) if is_same_size else None
    return np.rint(by_frames_px).astype(int)


def _searched(
    session: Session, first: Volume, second: Volume, whole_px: NDArray[np.int_] | None
) -> NDArray[np.int_] | None:
    """Return the index in the second volume at which the first begins, searched where one is in the other."""
    backwards = first.shape > second.shape
    part, whole = (second, first) if backwards else (first, second)
    if (np.array(part.shape) > whole.shape).any() or not have_same_voxels(first, second):
        return whole_px
    region = Box((0, 0, 0), whole.shape, whole.shape)
    if whole_px is not None:
        begin = -whole_px if backwards else whole_px
        reach = np.ceil(MARGIN * np.array(part.shape)).astype(int)
        start, stop = (begin - reach).clip(0), np.minimum(begin + part.shape + reach, whole.shape)
        region = Box(tuple(start.tolist()), tuple(stop.tolist()), whole.shape)
        if (begin < 0).any() or (begin + part.shape > whole.shape).any():
            return whole_px
    images = load_images(session, region.of(whole), copies=SEARCH_COPIES)
    found = np.array(find_part(load_images(session, part, copies=1), images, threads=session.threads))
    found += region.start
    return -found if backwards else found


def _sizes(first: ImageStack, second: ImageStack) -> str:
    """Return which sizes cannot be compared."""
    sizes = [" x ".join(map(str, stack.shape[::-1])) for stack in (first, second)]
    return f"{first.name}: {sizes[0]} cannot be compared with the {sizes[1]} of {second.name}"


def _remedy(first: Volume, second: Volume, *, align: bool) -> str:
    """Return what can be done about volumes of different size of which it is unknown how they lie."""
    if not have_same_voxels(first, second):
        fine, coarse = sorted((stack.pixel_A or 0.0, stack.name) for stack in (first, second))
        return f"bin the voxels of {fine[1]}, {fine[0]:.4g} Å, to the {coarse[0]:.4g} Å of {coarse[1]}"
    unplaced = " and ".join(stack.name for stack in (first, second) if stack.frame is None)
    are = "are" if first.frame is second.frame is None else "is"
    lacks = f"no frame tells where {unplaced} {are}" if unplaced else "their frames do not fit their voxels"
    common = " x ".join(map(str, np.minimum(first.shape, second.shape)[::-1]))
    crop = f"crop both to the same {common} voxels"
    return f"{lacks}: {crop}{'' if align else ', or, where one is a part of the other, find it with --align'}"


def _words(box: Box, name: str) -> str:
    """Return a part of a volume in words."""
    if box.is_all:
        return f"all of {name}"
    ranges = ", ".join(f"{axis} {first}-{last}" for axis, (first, last) in box.ranges.items())
    return f"{ranges} of {name}"
