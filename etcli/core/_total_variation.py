"""Fast gradient projection on the dual of the total-variation problem.

Images are volumes ``(nz, ny, nx)``, one section thick where they are flat. Differences are forward ones, and
zero across the border.

References
----------
A. Beck, M. Teboulle, IEEE Trans. Image Process. 18, 2419 (2009), doi:10.1109/TIP.2009.2028250, section 4.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit

TOLERANCE, MOST_ITERATIONS = 1e-3, 300


def minimise(data: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """Find the image u that minimises ``½ ‖u - data‖² + weight Σ |∇u|``.

    Parameters
    ----------
    data : ndarray of shape (nz, ny, nx), float32
    weight : float
        Positive, in the units of the data.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
        Such that another iteration changes it by less than 0.001 of the weight (rms).
    """
    smooth = data.copy()
    dual = np.zeros((3, *data.shape), np.float32)
    ahead = np.zeros_like(dual)
    n_directions = sum(n > 1 for n in data.shape)
    step, pace = np.float32(1 / (4 * max(n_directions, 1) * weight)), 1.0
    for k in range(MOST_ITERATIONS):
        change = update_image(data, ahead, np.float32(weight), smooth)
        if k and change < (TOLERANCE * weight) ** 2 * data.size:
            break
        next_pace = (1 + sqrt(1 + 4 * pace**2)) / 2
        update_dual(smooth, step, np.float32((pace - 1) / next_pace), dual, ahead)
        pace = next_pace
    return smooth


@jit
def update_image(data: Any, dual: Any, weight: Any, out: Any) -> float:
    """Set ``out = data + weight div(dual)`` and return the summed square of its change.

    Parameters
    ----------
    data : ndarray of shape (nz, ny, nx), float32
    dual : ndarray of shape (3, nz, ny, nx), float32
        Zero where a difference would leave the array.
    weight : float32
    out : ndarray of shape (nz, ny, nx), float32
        Overwritten.

    Returns
    -------
    float
    """
    nz, ny, nx = data.shape
    change = 0.0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                divergence = dual[0, z, y, x] + dual[1, z, y, x] + dual[2, z, y, x]
                if z > 0:
                    divergence -= dual[0, z - 1, y, x]
                if y > 0:
                    divergence -= dual[1, z, y - 1, x]
                if x > 0:
                    divergence -= dual[2, z, y, x - 1]
                value = data[z, y, x] + weight * divergence
                change += (value - out[z, y, x]) ** 2
                out[z, y, x] = value
    return change


@jit
def update_dual(image: Any, step: Any, momentum: Any, dual: Any, ahead: Any) -> None:
    """Step along the image's gradient from ``ahead``, project on the unit ball, extrapolate.

    Parameters
    ----------
    image : ndarray of shape (nz, ny, nx), float32
    step, momentum : float32
    dual, ahead : ndarray of shape (3, nz, ny, nx), float32
        The dual variable, components along z, y, x, and where the next step starts from. Overwritten.
    """
    nz, ny, nx = image.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                at = image[z, y, x]
                pz, py, px = ahead[0, z, y, x], ahead[1, z, y, x], ahead[2, z, y, x]
                if z < nz - 1:
                    pz += step * (image[z + 1, y, x] - at)
                if y < ny - 1:
                    py += step * (image[z, y + 1, x] - at)
                if x < nx - 1:
                    px += step * (image[z, y, x + 1] - at)
                shrink = 1 / max(np.float32(1), np.sqrt(pz * pz + py * py + px * px))
                pz, py, px = pz * shrink, py * shrink, px * shrink
                ahead[0, z, y, x] = pz + momentum * (pz - dual[0, z, y, x])
                ahead[1, z, y, x] = py + momentum * (py - dual[1, z, y, x])
                ahead[2, z, y, x] = px + momentum * (px - dual[2, z, y, x])
                dual[0, z, y, x], dual[1, z, y, x], dual[2, z, y, x] = pz, py, px
