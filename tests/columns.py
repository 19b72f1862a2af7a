"""Images of columns, written out from the definition of the model."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


def column_image(
    place: ArrayLike,
    shape: tuple[int, int],
    *,
    width_px: ArrayLike = 2.0,
    height: ArrayLike = 1.0,
    background: float = 0.0,
    box: float = 8.0,
) -> Float:
    """Sum of round Gaussians at places (x, y), 0 outside of a square of half side ``box`` widths."""
    place = np.asarray(place, float).reshape(-1, 2)
    width_px, height = (np.broadcast_to(value, len(place)) for value in (width_px, height))
    image, (rows, columns) = np.full(shape, background), np.indices(shape)
    for (x, y), width, top in zip(place, width_px, height, strict=True):
        inside = np.maximum(np.abs(columns - x), np.abs(rows - y)) <= box * width + 0.5
        image += top * inside * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))
    return image


def square_lattice(n: int, *, step: float, spread: float = 0.0, seed: int = 0) -> Float:
    """Places (x, y) of n² columns, from one step inside the border on, each displaced at random."""
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2) + 1.0
    return step * grid + np.random.default_rng(seed).uniform(-spread, spread, grid.shape)
