"""The loop that looks for maxima."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit


@jit
def maxima(volume: Any, threshold: float, found: NDArray[np.int32]) -> int:
    """Write (z, y, x) of voxels above a threshold that no neighbour of 26 exceeds; return how many there are.

    Of equal neighbours the first in memory counts. Voxels at the border have fewer neighbours. Only as many
    are written as there is room for.
    """
    nz, ny, nx = volume.shape
    n = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                value = volume[z, y, x]
                if not value > threshold:
                    continue
                highest = True
                for k in range(max(z - 1, 0), min(z + 2, nz)):
                    for j in range(max(y - 1, 0), min(y + 2, ny)):
                        for i in range(max(x - 1, 0), min(x + 2, nx)):
                            other = volume[k, j, i]
                            before = (k, j, i) < (z, y, x)
                            if other > value or (before and other == value):
                                highest = False
                                break
                        if not highest:
                            break
                    if not highest:
                        break
                if highest:
                    if n < len(found):
                        found[n, 0], found[n, 1], found[n, 2] = z, y, x
                    n += 1
    return n
