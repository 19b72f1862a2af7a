"""Result of a segmentation: labels, how they were found, and where they touch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.segmentation.local_levels import LocalLevels
from etcli.core.segmentation.splitting import Cuts
from etcli.core.series import Volume


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels of the bodies in a volume.

    Parameters
    ----------
    labels : Volume
        0 is the background; from 1 on by falling volume.
    rule : str
        How the threshold was found.
    thresholds : tuple of float
        The threshold; of rules with two levels both.
    levels : LocalLevels or None
        Grey levels of the labels, where each has its own threshold.
    volume_px : ndarray of shape (n + 1,), int64
        Number of voxels by label; the background is at 0.
    border : ndarray of int32
        Labels that a face of the volume cuts.
    cuts : Cuts
        Necks between labels that touch.
    n_pieces : int
        Number of pieces before the splitting.
    n_small : int
        Number of pieces left out because they are small.
    surroundings : bool
        Whether the surroundings of the specimen were left out, where what is darker is labelled.
    """

    labels: Volume
    rule: str
    thresholds: tuple[float, ...]
    levels: LocalLevels | None
    volume_px: NDArray[np.int64]
    border: NDArray[np.int32]
    cuts: Cuts
    n_pieces: int
    n_small: int
    surroundings: bool = False

    @property
    def mode(self) -> int:
        """MRC mode that holds the labels: 6 (unsigned 16 bits), or 2 for more than 65535 of them."""
        return 6 if self.labels.data.dtype == np.uint16 else 2
