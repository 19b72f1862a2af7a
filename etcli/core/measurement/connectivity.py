"""Connectivity of a body: pieces, cavities, loops and the Euler number."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etcli.core.measurement._euler import euler_of_cubes
from etcli.core.segmentation.pieces import by_volume, components, holes_of, voxel_counts

LEAST_VOXELS = 20
"""Smaller pieces and cavities cannot be told from noise."""


class Connectivity(NamedTuple):
    """How the parts of a body hang together.

    Parameters
    ----------
    pieces : int
        Number of pieces, with neighbours through faces, edges and corners.
    largest_share : float
        Part of the volume that is in the largest piece.
    cavities : int
        Number of closed pores.
    euler_number : int
        Pieces - loops + cavities.
    n_small : int
        Number of smaller pieces and cavities that were left out.
    """

    pieces: int
    largest_share: float
    cavities: int
    euler_number: int
    n_small: int

    @property
    def loops(self) -> int:
        """Number of independent closed paths, as handles have them."""
        return self.pieces + self.cavities - self.euler_number


def connectivity(mask: NDArray[np.bool_], *, least: int = LEAST_VOXELS) -> Connectivity:
    """Count pieces, cavities and loops of a body.

    Parameters
    ----------
    mask : ndarray of shape (nz, ny, nx), bool
    least : int, optional
        Pieces and cavities with fewer voxels are left out.

    Returns
    -------
    Connectivity

    References
    ----------
    Kong & Rosenfeld, Comput. Vis. Graph. Image Process. 48, 357 (1989): digital topology, with 26
    neighbours in the body and 6 outside.
    """
    pieces, n_small = by_volume(components(mask)[0], least=least)
    counts = voxel_counts(pieces)[1:]
    body = pieces > 0
    holes = components(holes_of(body), faces=True)[0]
    sizes = voxel_counts(holes)
    small = sizes < least
    small[0] = False
    body |= small[holes]
    cavities = int(len(sizes) - 1 - small.sum())
    return Connectivity(
        len(counts),
        float(counts[0] / counts.sum()) if len(counts) else np.nan,
        cavities,
        int(euler_of_cubes(np.pad(body, 1))),
        n_small + int(small.sum()),
    )
