"""How well the labels of a volume agree with those of a reference."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class LabelAgreement(NamedTuple):
    """Agreement of labels with a reference.

    Parameters
    ----------
    dice : float
        Voxels that both label, twice, over the sum of the voxels that each labels.
    pairs : ndarray of shape (n, 2), int64
        Labels that belong together, of the volume and of the reference.
    volumes : ndarray of shape (n, 2), int64
        Their voxels.
    n_labels : (int, int)
        Numbers of labels.
    """

    dice: float
    pairs: Integers
    volumes: Integers
    n_labels: tuple[int, int]

    @property
    def differences(self) -> NDArray[np.float64]:
        """Differences of the volumes of pairs, relative to the reference."""
        return self.volumes[:, 0] / self.volumes[:, 1] - 1


def label_agreement(labels: NDArray[np.integer], reference: NDArray[np.integer]) -> LabelAgreement:
    """Pair labels with those of a reference, one to one.

    Parameters
    ----------
    labels, reference : ndarray of one shape, integer
        0 is the background.

    Returns
    -------
    LabelAgreement
        Two labels are a pair where each is the one with which the other shares most voxels.
    """
    (ours, n_ours), (theirs, n_theirs) = (
        np.unique(each[each > 0], return_counts=True) for each in (labels, reference)
    )
    both = (labels > 0) & (reference > 0)
    rows, columns = np.searchsorted(ours, labels[both]), np.searchsorted(theirs, reference[both])
    codes, shared = np.unique(rows.astype(np.int64) * len(theirs) + columns, return_counts=True)
    order = np.argsort(-shared, kind="stable")
    row, column = np.divmod(codes[order], max(len(theirs), 1))
    best_of_row, best_of_column = np.full(len(ours), -1), np.full(len(theirs), -1)
    best_of_row[row[::-1]] = column[::-1]  # the last one written, with most voxels, stays
    best_of_column[column[::-1]] = row[::-1]
    matched = np.flatnonzero(best_of_row >= 0)
    matched = matched[best_of_column[best_of_row[matched]] == matched]
    partner = best_of_row[matched]
    total = int(n_ours.sum() + n_theirs.sum())
    return LabelAgreement(
        2 * int(np.count_nonzero(both)) / total if total else 1.0,
        np.stack([ours[matched], theirs[partner]], axis=-1).astype(np.int64),
        np.stack([n_ours[matched], n_theirs[partner]], axis=-1),
        (len(ours), len(theirs)),
    )
