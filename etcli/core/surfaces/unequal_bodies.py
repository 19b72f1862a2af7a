"""Whether the bodies of a volume differ so much in grey level that no level is right for all."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.segmentation.local_levels import local_levels
from etcli.core.segmentation.pieces import by_volume, components

FAINT = 0.6
"""Height of the level at which bodies are looked for, relative to that given: faint ones are seen."""
LEAST_VOXELS = 200
"""Voxels from which the level of a body is known."""
SECTIONS = 32
"""Sections that tell the background."""
MOST_UNEQUAL = 0.7
"""Contrast of one body relative to another's at which half of one is not half of the other."""


def unequal_plateaus(volume: NDArray[np.float32], level: float, *, threads: int = 1) -> tuple[float, float]:
    """Return the lowest and the highest level of bodies that differ much, equal ones otherwise.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    level : float
        Half-way between the background and most bodies.
    threads : int

    Returns
    -------
    (float, float)
        Of pieces with 200 voxels or more; (0, 0) where no two contrasts differ by 30 %.
    """
    background = float(np.median(volume[:: -(-len(volume) // SECTIONS)]))
    faint = background + FAINT * (level - background)
    pieces, _ = by_volume(components(volume > faint)[0], least=LEAST_VOXELS)
    if pieces.max(initial=0) < 2:
        return 0.0, 0.0
    found = local_levels(volume, pieces, threads=threads)
    contrast, plateau = (found.plateau - found.background)[1:], found.plateau[1:]
    if not 0 < contrast.min() < MOST_UNEQUAL * contrast.max():
        return 0.0, 0.0
    return float(plateau.min()), float(plateau.max())
