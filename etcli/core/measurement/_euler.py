"""Kernel that counts the parts of a body made of unit cubes."""

from typing import Any

from etcli.core.jit import jit


@jit
def euler_of_cubes(padded: Any) -> int:
    """Compute corners - edges + faces - cubes of the union of closed unit cubes.

    Parameters
    ----------
    padded : ndarray of shape (nz, ny, nx), bool
        Voxels that are cubes; none at the border.
    """
    nz, ny, nx = padded.shape
    total = 0
    for k in range(1, nz):
        for j in range(1, ny):
            for i in range(1, nx):
                near = 0
                for c in range(8):
                    near |= padded[k - (c >> 2), j - (c >> 1 & 1), i - (c & 1)] << c
                if near:
                    total += 1  # the corner; the edges, faces and the cube that begin at it follow
                    for edge in (0b00001111, 0b00110011, 0b01010101):
                        total -= (near & edge) != 0
                    for face in (0b00000011, 0b00000101, 0b00010001):
                        total += (near & face) != 0
                    total -= near & 1
    return total
