"""Loop that blurs a volume by its nearest neighbours."""

import numpy as np

from etcli.core.jit import jit

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)


@jit
def blurred(volume, share, n_rows, out):  # type: ignore[no-untyped-def]
    """Give each neighbour along z, x and y a share of a voxel, in turn; what leaves the volume is lost.

    Parameters
    ----------
    volume, out : ndarray of shape (z, x, y), float32
        Different arrays. The operation is its own transpose.
    share : float32
    n_rows : int
        Voxels along y; those beyond are ignored, and zero in ``out``.
    """
    nz, nx, _ = volume.shape
    own = ONE - TWO * share
    row = np.empty(n_rows, np.float32)
    for z in range(nz):
        for x in range(nx):
            row[:] = ZERO
            for i in range(max(z - 1, 0), min(z + 2, nz)):
                for j in range(max(x - 1, 0), min(x + 2, nx)):
                    factor = (own if i == z else share) * (own if j == x else share)
                    values = volume[i, j]
                    for y in range(n_rows):
                        row[y] += factor * values[y]
            target = out[z, x]
            for y in range(n_rows):
                target[y] = own * row[y]
            for y in range(1, n_rows):
                target[y] += share * row[y - 1]
            for y in range(n_rows - 1):
                target[y] += share * row[y + 1]
            target[n_rows:] = ZERO
