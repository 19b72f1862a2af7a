"""Kernels of the Laplace equation on the voxels of a body."""

from typing import Any

from etcli.core.jit import jit


@jit
def list_neighbours(sites: Any, neighbours: Any, links: Any) -> None:
    """List the sites that share a face with each site, and count the faces through which it conducts.

    Parameters
    ----------
    sites : ndarray of shape (n0, n1, n2), int32
        Number of each voxel that conducts; -1 elsewhere. Both ends of the first axis are electrodes.
    neighbours : ndarray of shape (n, 6), int32
        Written; n where there is none.
    links : ndarray of shape (n,), float64
        Written: the sum of the conductances. An electrode is half a voxel away, so its conductance is 2.
    """
    n0, n1, n2 = sites.shape
    n = len(links)
    for k in range(n0):
        for j in range(n1):
            for i in range(n2):
                own = sites[k, j, i]
                if own < 0:
                    continue
                links[own] = 2.0 * ((k == 0) + (k == n0 - 1))
                for c in range(6):
                    step = 2 * (c & 1) - 1
                    z, y, x = k + step * (c < 2), j + step * (c // 2 == 1), i + step * (c > 3)
                    outside = z < 0 or y < 0 or x < 0 or z >= n0 or y >= n1 or x >= n2
                    other = -1 if outside else sites[z, y, x]
                    neighbours[own, c] = n if other < 0 else other
                    links[own] += other >= 0


@jit
def apply_laplacian(neighbours: Any, links: Any, values: Any, out: Any, first: int, last: int) -> None:
    """Compute links * values less the values of the neighbours, for the sites `first` to `last` - 1.

    Parameters
    ----------
    neighbours, links
        From `list_neighbours`.
    values : ndarray of shape (n + 1,), float64
        Potentials, and 0 for neighbours that are none.
    out : ndarray of shape (n,), float64
        Written.
    """
    for own in range(first, last):
        total = 0.0
        for c in range(6):
            total += values[neighbours[own, c]]
        out[own] = links[own] * values[own] - total
