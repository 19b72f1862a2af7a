"""Checks that the files given to ``measure`` belong together."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.measurement.label_sums import Labels
from etcli.core.measurement.measures import Measures
from etcli.core.series import Volume
from etcli.io.segmentation_step import is_labels_file
from etcli.pipeline.session import Session
from etcli.pipeline.volume_origin import volume_origin

Array = NDArray[np.float32]

LEAST_LIKENESS = 0.3
"""Correlation of labels and grey levels, in and near labels, below which they are of different places."""
MOST_UNLIKE = 0.5
"""Share of neighbouring voxels with different labels, of those with any, above which they are grey levels."""
FEW_VOXELS = 27
"""Labels of fewer voxels may have neighbours of other labels everywhere."""
SAME_SPECIMEN = 0.3
"""Correlation with the volume below which a half-set is one of something else."""


def check_order(volume: Volume, labels: Volume) -> None:
    """Check that the measured volume is none of labels, as its history tells; raise DataError otherwise."""
    if is_labels_file(volume.history):
        why = (
            "the files are swapped" if not is_labels_file(labels.history) else "give the volume they are from"
        )
        raise DataError(f"{volume.name}: IN is a file of labels by segment; {why}: measure IN LABELS")


def check_labels(labels: Volume, numbers: Labels, counts: NDArray[np.int64]) -> None:
    """Check that labels are bodies, not grey levels that happen to be whole; raise DataError otherwise."""
    here, there = numbers[..., 1:], numbers[..., :-1]
    pairs = np.count_nonzero((here > 0) & (there > 0))
    unlike = np.count_nonzero((here > 0) & (there > 0) & (here != there))
    if counts.mean() >= FEW_VOXELS and unlike > MOST_UNLIKE * pairs:
        raise DataError(
            f"{labels.name}: most neighbouring voxels have different labels, as grey levels do; are IN and "
            "LABELS swapped?"
        )


def check_place(volume: Volume, labels: Volume, measures: Measures) -> None:
    """Check that labels lie on the bodies of the volume; raise DataError otherwise."""
    known = measures.likeness[np.isfinite(measures.likeness)]
    if len(known) and np.median(known) < LEAST_LIKENESS:
        low = int(np.count_nonzero(known < LEAST_LIKENESS))
        raise DataError(
            f"{labels.name}: {low} of {len(known)} labels are hardly brighter or darker than what is around "
            f"them in {volume.name}; are the labels of another volume, mirrored or shifted?"
        )


def check_halves(session: Session, volume: Volume, halves: list[Volume], grey: list[Array]) -> None:
    """Check that two half-sets are those of a volume.

    Parameters
    ----------
    session : Session
    volume : Volume
    halves : list of Volume
        None, or the volumes of the odd and the even views.
    grey : list of ndarray of shape (nz, ny, nx), float32
        Grey levels of the volume and of the halves.

    Raises
    ------
    DataError
        When both halves are the same, one is the volume, or they are of another method or specimen.
    """
    if not halves:
        return
    whole, odd, even = grey
    if np.array_equal(odd, even):
        raise DataError(f"{halves[1].name}: is the same as {halves[0].name}; give the odd and the even half")
    origin = volume_origin(volume.history)
    for half, values in zip(halves, (odd, even), strict=True):
        if np.array_equal(values, whole):
            raise DataError(f"{half.name}: is the same as {volume.name}; give a half of the views")
        method = volume_origin(half.history).method
        if method and origin.method and method != origin.method:
            raise DataError(
                f"{half.name}: is by {method}, but {volume.name} by {origin.method}; give its own halves"
            )
        likeness = _correlation(values, whole)
        if not likeness > SAME_SPECIMEN:
            raise DataError(
                f"{half.name}: correlates with {volume.name} by {likeness:.2f} only; give halves of its views"
            )


def _correlation(one: Array, two: Array) -> float:
    """Correlate two volumes, section by section; NaN where one is constant."""
    sums = np.zeros(5)
    for a, b in zip(one, two, strict=True):
        x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        sums += [x.sum(), y.sum(), x @ x, y @ y, x @ y]
    n = one.size
    mean_x, mean_y, xx, yy, xy = sums / n
    spread = np.sqrt(max(xx - mean_x**2, 0.0) * max(yy - mean_y**2, 0.0))
    return float((xy - mean_x * mean_y) / spread) if spread else float("nan")
