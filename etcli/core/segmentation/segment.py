"""Labels of the bodies in a volume: threshold, pieces, splitting, and a level for each label."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.segmentation.distance import distance_inside
from etcli.core.segmentation.local_half import local_half
from etcli.core.segmentation.local_levels import LocalLevels, local_levels
from etcli.core.segmentation.pieces import (
    Labels,
    Mask,
    border_labels,
    by_volume,
    components,
    holes_of,
    voxel_counts,
)
from etcli.core.segmentation.splitting import Cuts, cuts, split
from etcli.core.segmentation.thresholds import grey_range, histogram_of

Array = NDArray[np.float32]

ONE_BODY = 0.5
"""Share of the solid above which its largest piece is the specimen, not one body of many."""
ONE_MATERIAL = 0.15
"""Relative scatter of the contrast of labels, weighted by volume, up to which they are of one material."""
LIGHTER = 0.6
"""Contrast over that of all labels below which a body is of a lighter material; blur does less to it."""
FAINT, APART_PX = 0.3, 4.0
"""Share of the contrast, above streaks of the missing wedge, and distance from labels, beyond their blur."""
BODY_PX, BODY_DEPTH_PX = 50, 2.0
"""Least number of voxels, and least depth, of labels whose contrast tells a material, not blur or noise."""


@dataclass(frozen=True)
class LabelRules:
    """What is done to the voxels above a threshold.

    Parameters
    ----------
    split_px : float or None
        Dynamics of the splitting in voxels; None to leave pieces whole.
    min_size : int
        Smallest number of voxels of a label.
    fill_holes : bool
        Whether enclosed background becomes solid.
    faces : bool
        Whether only voxels that share a face are neighbours, as in pores.
    threads : int
    """

    split_px: float | None = 0.75
    min_size: int = 20
    fill_holes: bool = False
    faces: bool = False
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Found:
    """Labels found with one threshold.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), int32
        By falling volume.
    n_small : int
        Number of pieces left out because they are small.
    n_pieces : int
        Number of pieces before they were split.
    largest_share : float
        Share of the solid that the largest piece holds.
    filled : ndarray of shape (nz, ny, nx), bool, or None
        Holes that were filled.
    surroundings : bool
        Whether the surroundings of the specimen were left out, where what is darker is labelled.
    """

    labels: Labels
    n_small: int
    n_pieces: int
    largest_share: float
    filled: Mask | None = None
    surroundings: bool = False


def find_labels(solid: Mask, rules: LabelRules) -> Found:
    """Label the pieces of a solid, and split those that touch at necks.

    Parameters
    ----------
    solid : ndarray of shape (nz, ny, nx), bool
    rules : LabelRules

    Returns
    -------
    Found

    Raises
    ------
    DataError
        When nothing, or everything, is solid, or all pieces are too small.
    """
    verb, less, more = ("lies below", "higher", "lower") if rules.faces else ("exceeds", "lower", "higher")
    if not solid.any():
        raise DataError(f"nothing {verb} the threshold; give a {less} --method VALUE")
    if solid.all():
        raise DataError(f"everything {verb} the threshold; give a {more} --method VALUE")
    pieces, n_small = by_volume(components(solid, faces=rules.faces)[0], least=rules.min_size)
    counts = voxel_counts(pieces)[1:]
    if not len(counts):
        raise _too_small(n_small, rules)
    share = float(counts[0] / counts.sum())
    around = rules.faces and len(counts) > 1 and share > ONE_BODY and 1 in border_labels(pieces)
    if around:
        pieces[pieces == 1] = 0
    # closed pores make no necks; what is dark and encloses the specimen has none
    holes = None if rules.faces else holes_of(pieces > 0)
    if rules.split_px is None:
        labels = pieces
        if rules.fill_holes and holes is not None:
            labels, _ = components((pieces > 0) | holes)
    else:
        whole = pieces > 0 if holes is None else (pieces > 0) | holes
        del pieces
        labels, _ = split(whole, rules.split_px, faces=rules.faces, threads=rules.threads)
        if holes is not None and not rules.fill_holes:
            labels[holes] = 0
    filled = holes if rules.fill_holes else None
    labels, n_fragments = by_volume(labels, least=rules.min_size)
    if not labels.any():
        raise _too_small(n_small + n_fragments, rules)
    return Found(labels, n_small + n_fragments, len(counts) - around, share, filled, around)


def _too_small(n: int, rules: LabelRules) -> DataError:
    """Error of pieces that are all left out."""
    return DataError(
        f"no piece has {rules.min_size} voxels (of {n}); give a smaller --min-size or another --method"
    )


def are_separate_bodies(volume: Array, found: Found, *, threads: int = 1) -> bool:
    """Whether labels need thresholds of their own: bodies apart from each other, or of several materials.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    found : Found
    threads : int

    Returns
    -------
    bool
        False where one piece holds most of the solid and its parts have the same contrast: a porous body, a
        network. The median of a part's core says less of its surface there than all of the surface does.
    """
    if found.largest_share <= ONE_BODY:
        return True
    return contrasts_of(volume, found.labels, threads=threads).are_of_several_materials


@dataclass(frozen=True, eq=False)
class Contrasts:
    """How labels differ in contrast.

    Parameters
    ----------
    contrast : ndarray of shape (n,), float64
        Level of the core of each label above its surroundings.
    weights : ndarray of shape (n,), int64
        Number of voxels.
    is_body : ndarray of shape (n,), bool
        Whether a label is large and deep enough for its contrast to be that of a material.
    """

    contrast: NDArray[np.float64]
    weights: NDArray[np.int64]
    is_body: Mask

    @property
    def mean(self) -> float:
        """Mean contrast, weighted by volume."""
        return float(np.average(self.contrast, weights=self.weights))

    @property
    def are_of_several_materials(self) -> bool:
        """Whether the contrasts scatter, or there is a body of a lighter material, however small."""
        scatter = np.sqrt(np.average((self.contrast - self.mean) ** 2, weights=self.weights))
        is_lighter = self.is_body & (self.contrast < LIGHTER * self.mean)
        return bool(scatter > ONE_MATERIAL * abs(self.mean) or is_lighter.any())


def contrasts_of(volume: Array, labels: Labels, *, threads: int = 1) -> Contrasts:
    """Measure the contrast of each label.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    labels : ndarray of shape (nz, ny, nx), int32
        From 1 on without gaps.
    threads : int

    Returns
    -------
    Contrasts
    """
    levels = local_levels(volume, labels, threads=threads)
    weights = voxel_counts(labels)
    depth = distance_inside(labels, outside=True, threads=threads)
    is_deep = np.zeros(len(weights), bool)
    for section, depths in zip(labels, depth, strict=True):
        is_deep[section[depths >= BODY_DEPTH_PX]] = True
    is_body = is_deep & (weights >= BODY_PX)
    return Contrasts((levels.plateau - levels.background)[1:], weights[1:], is_body[1:])


def count_fainter(volume: Array, labels: Labels, *, threads: int = 1) -> tuple[int, float]:
    """Count bodies that a threshold for all has left out, as they are of a much lighter material.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    labels : ndarray of shape (nz, ny, nx), int32
    threads : int

    Returns
    -------
    int
        Pieces above 30 % of the contrast, more than 4 voxels from labels, as large and deep as a body.
    float
        That level.
    """
    low, high = grey_range(histogram_of(volume))
    level = low + FAINT * (high - low)
    rest = volume > np.float32(level)
    rest &= distance_inside(labels == 0, threads=threads) > APART_PX
    pieces, _ = by_volume(components(rest)[0], least=BODY_PX)
    deep = pieces[distance_inside(pieces > 0, threads=threads) >= BODY_DEPTH_PX]
    return len(np.unique(deep[deep > 0])), float(level)


def with_own_levels(
    volume: Array, found: Found, rules: LabelRules, *, region: Mask | None = None
) -> tuple[Labels, LocalLevels, int]:
    """Move the surface of each label to half of its own contrast.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    found : Found
        Its labels are used up.
    rules : LabelRules
    region : ndarray of shape (nz, ny, nx), bool, optional
        Beyond which no label grows.

    Returns
    -------
    labels : ndarray of shape (nz, ny, nx), int32
        By falling volume.
    levels : LocalLevels
        Those of these labels.
    n_small : int
        Number of labels that are left out as they have become small, or are no brighter than what surrounds
        them.
    """
    n_before = int(found.labels.max())
    labels, levels = local_half(
        volume, found.labels, always=found.filled, faces=rules.faces, threads=rules.threads
    )
    if region is not None:
        labels[~region] = 0
    counts = voxel_counts(labels)
    order = np.argsort(-counts[1:], kind="stable") + 1
    kept = np.concatenate([[0], order[counts[order] >= max(rules.min_size, 1)]])
    labels, _ = by_volume(labels, least=rules.min_size)
    if not labels.any():
        raise DataError(
            f"no label has {rules.min_size} voxels above half of its contrast; give a smaller --min-size, or "
            "--global"
        )
    return labels, LocalLevels(levels.background[kept], levels.plateau[kept]), n_before - len(kept) + 1


def cuts_between(labels: Labels, *, threads: int = 1) -> Cuts:
    """Describe the necks between labels that touch; see `etcli.core.segmentation.splitting.cuts`."""
    return cuts(labels, distance_inside(labels > 0, threads=threads))


def grown_mask(labels: NDArray[Any], by_px: float, *, threads: int = 1) -> Mask:
    """Mask of labels and of what is within a distance of them, as ``recon --mask`` takes it.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), integer
    by_px : float
        In voxels.
    threads : int

    Returns
    -------
    ndarray of shape (nz, ny, nx), bool
    """
    return np.asarray(distance_inside(labels == 0, threads=threads) <= by_px)
