"""Surfaces of labels in a grey volume, and the volumes that its grey levels add up to."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.measurement.label_sums import EVERYWHERE, LabelSums, Mask
from etcli.core.segmentation.distance import grown_labels
from etcli.core.surfaces.grey_surface import Surface, area, grey_surface

Doubles = NDArray[np.float64]
Grey = NDArray[np.float32]

REACH = 3
"""Voxels around a label that belong to it where no other label is nearer: its surface is in them."""
SOFT = 0.5
"""Range of grey levels about the threshold, relative to the contrast, in which a voxel is counted in part."""
SLAB_VOXELS, LEAST_SLAB = 1 << 18, 4
"""Voxels, and least sections, of a label whose triangles are in memory at once, with 150 bytes a voxel."""
NEIGHBOURS = np.ones((3, 3, 3), bool)


class Levels(NamedTuple):
    """Grey levels of labels, arrays of shape (n,).

    Parameters
    ----------
    background, plateau, threshold : ndarray of shape (n,), float64
        Level around each label, in its core, and at its surface.
    """

    background: Doubles
    plateau: Doubles
    threshold: Doubles


class LabelShape(NamedTuple):
    """Shape of a label.

    Parameters
    ----------
    surface : float
        Area in px² of the surface at the threshold; NaN where nothing is brighter.
    mass_volume : float
        Volume in voxels as Σ (v - background) / (plateau - background).
    level_volume, half_volume : float
        Numbers of voxels that exceed the threshold, and the level half way to the core.
    likeness : float
        Correlation of grey levels with the label, in it and near it: 0 where the label is somewhere else; NaN
        where the label is alone.
    soft_volumes : list of float
        Volumes in other volumes, with voxels near the threshold counted in part.
    points : ndarray of shape (n_points, 3), float32
        Vertices of the surface.
    """

    surface: float
    mass_volume: float
    level_volume: float
    half_volume: float
    likeness: float
    soft_volumes: list[float]
    points: Grey


class Other(NamedTuple):
    """Another volume of the same specimen, such as half of the views give.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
    plateau : ndarray of shape (n,), float64
        Level in the core of each label there.
    """

    volume: NDArray[Any]
    plateau: Doubles


class LabelShare(NamedTuple):
    """What a volume holds of one label.

    Parameters
    ----------
    box : tuple of 3 slice
        Around the label.
    share : ndarray, float32
        Grey levels in the box, 0 the background and 1 the plateau; 0 where other labels are nearer.
    mine : ndarray, bool
        Where no other label is nearer.
    level : float
        Level of the surface in ``share``; NaN where the label is as bright as its surroundings.
    above : int
        Number of voxels that exceed the level.
    """

    box: tuple[slice, slice, slice]
    share: Grey
    mine: Mask
    level: float
    above: int


def label_shapes(
    volume: NDArray[Any],
    sums: LabelSums,
    levels: Levels,
    *,
    region: Mask = EVERYWHERE,
    others: Sequence[Other] = (),
) -> Iterator[LabelShape]:
    """Measure the shape of one label after the other, with its neighbours set to the background.

    Labels may be darker than what is around them, as pores are.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Finite grey levels.
    sums : LabelSums
    levels : Levels
    region : ndarray of shape (nz, ny, nx), bool, optional
        Where shapes count; its faces, and those at the ends of the volume, are no surface.
    others : sequence of Other
        Volumes in which the volume of each label is wanted as well.

    Yields
    ------
    LabelShape
        In the order of the rows.
    """
    for row, (box, share, mine, level, _) in enumerate(label_shares(volume, sums, levels)):
        if np.isnan(level):
            unknown = [np.nan] * len(others)
            nothing = np.empty((0, 3), np.float32)
            is_alone = bool((sums.numbers[sums.box(row, 1)] == row + 1).all())
            likeness = np.nan if is_alone else 0.0
            yield LabelShape(np.nan, np.nan, np.nan, np.nan, likeness, unknown, nothing)
            continue
        background = float(levels.background[row])
        counted = mine if region is EVERYWHERE else mine & region[box]
        inside, sign = sums.numbers[box] == row + 1, np.float32(np.sign(levels.plateau[row] - background))
        likeness = _likeness(volume[box][counted].astype(np.float32) * sign, inside[counted])
        surface, points = _surface_in(share, level, box, volume.shape, region)
        mass = float(share[counted].clip(0).sum(dtype=float))
        soft = [
            _soft_volume(other.volume[box][counted] - background, other.plateau[row] - background, level)
            for other in others
        ]
        own, half = (float(np.count_nonzero(share[counted] > at)) for at in (level, 0.5))
        yield LabelShape(surface, mass, own, half, likeness, soft, points)


def _likeness(grey: Grey, inside: Mask) -> float:
    """Correlate grey levels with being inside."""
    n, n_inside = len(inside), np.count_nonzero(inside)
    scatter = float(grey.std(dtype=float)) * np.sqrt(n_inside * (n - n_inside)) / n if n else 0.0
    if not scatter:
        return np.nan
    return float(grey[inside].sum(dtype=float) / n - grey.mean(dtype=float) * n_inside / n) / scatter


def label_shares(volume: NDArray[Any], sums: LabelSums, levels: Levels) -> Iterator[LabelShare]:
    """Cut one label after the other out of a volume, with its neighbours set to the background.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
    sums : LabelSums
    levels : Levels

    Yields
    ------
    LabelShare
        In the order of the rows.
    """
    owner = grown_labels(sums.numbers, REACH)
    for row in range(len(sums)):
        background, plateau, threshold = (float(level[row]) for level in levels)
        contrast = plateau - background
        box = sums.box(row, REACH + 1)
        mine = owner[box] == row + 1
        if not contrast:
            yield LabelShare(box, np.zeros(mine.shape, np.float32), mine, np.nan, 0)
            continue
        share = np.where(mine, (volume[box] - background) / contrast, 0).astype(np.float32)
        _remove_specks(share, sums.numbers[box] == row + 1, level := (threshold - background) / contrast)
        yield LabelShare(box, share, mine, level, int(np.count_nonzero(share > level)))


def _remove_specks(share: Grey, inside: Mask, level: float) -> None:
    """Set what exceeds the level near a label without touching it to 0, in place."""
    bright = share > level
    if not (bright & ~inside).any():
        return
    pieces, n_pieces = ndimage.label(bright, NEIGHBOURS)
    touching = np.zeros(n_pieces + 1, bool)
    touching[pieces[inside]] = True
    touching[0] = True
    share[~touching[pieces]] = 0


def _surface_in(
    values: Grey, level: float, box: tuple[slice, ...], shape: tuple[int, ...], region: Mask
) -> tuple[float, Grey]:
    """Measure the surface in the part of a volume that counts, and list its vertices.

    At the ends of the volume its outermost voxels go on; of the triangles there, those up to half a voxel
    beyond their centres, where their cubes end, are counted. Large boxes are worked on in slabs.
    """
    beyond = [(int(at.start == 0), int(at.stop == n)) for at, n in zip(box, shape, strict=True)]
    first = np.array([at.start - before for at, (before, _) in zip(box, beyond, strict=True)])
    values = np.pad(values, beyond, mode="edge")
    step = max(LEAST_SLAB, SLAB_VOXELS // values[0].size)
    total, points = 0.0, [np.empty((0, 3), np.float32)]
    for z in range(0, max(len(values) - 1, 1), step):
        surface = grey_surface(values[z : z + step + 1], level, closed=False)  # the next begins where it ends
        vertices = surface.vertices + first + (z, 0, 0)
        middle = np.rint(vertices[surface.faces].mean(axis=1)).astype(int)
        kept = ((middle >= 0) & (middle < shape)).all(axis=1)
        if region is not EVERYWHERE:
            kept[kept] = region[tuple(middle[kept].T)]
        faces = surface.faces[kept]
        total += area(Surface(vertices, faces))
        points.append(vertices[np.unique(faces)].astype(np.float32))
    found = np.concatenate(points)
    return (total if len(found) else np.nan), found


def _soft_volume(values: NDArray[Any], contrast: float, level: float) -> float:
    """Add up voxels, in part where they are near the level; values are from the background on."""
    if not contrast:
        return np.nan
    return float(((values / contrast - level) / SOFT + 0.5).clip(0, 1).sum(dtype=float))
