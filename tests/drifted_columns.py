"""Focal series of Gaussian columns whose width grows with the distance from the focus, with known drift."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a crystal: places (x, y) from the middle of the image in px, atoms in each, depths in px."""

    place_px: Float
    n_atoms: Float
    depth_px: Float


def disc(radius_px: float, *, spacing_px: float = 5.0, tilt: float = 0.2, seed: int = 0) -> Columns:
    """Square lattice of columns within a radius, of uneven thickness, tilted about y."""
    rng = np.random.default_rng(seed)
    steps = np.arange(-np.ceil(radius_px / spacing_px), np.ceil(radius_px / spacing_px) + 1)
    place = spacing_px * np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) + [0.3, -0.2]
    place = place[np.hypot(*place.T) < radius_px]
    thickness = 3 + 7 * np.sqrt(np.maximum(1 - (np.hypot(*place.T) / radius_px) ** 2, 0))
    return Columns(place, np.round(thickness + rng.normal(0, 1, len(place))), tilt * place[:, 0])


def focal_images(
    columns: Columns, focus_px: Float, drift_px: Float, *, size: int = 64, narrowest_px: float = 1.2
) -> Float:
    """Images without noise, one for each depth of the focus, their content displaced by a drift (x, y)."""
    grid = np.arange(size) - (size - 1) / 2
    images = np.empty((len(focus_px), size, size))
    for image, focus, drift in zip(images, focus_px, drift_px, strict=True):
        variance = narrowest_px**2 + (0.05 * (focus - columns.depth_px)) ** 2
        x, y = (columns.place_px + drift).T[:, :, np.newaxis]
        along_x, along_y = (np.exp(-((grid - at) ** 2) / (2 * variance[:, np.newaxis])) for at in (x, y))
        image[:] = (along_y * (columns.n_atoms / variance)[:, np.newaxis]).T @ along_x
    return images


def counted(images: Float, *, peak: float, seed: int = 0) -> NDArray[np.int16]:
    """Count electrons: `peak` in the brightest pixel of all, on a background of a twentieth of it."""
    expected = peak * (images / images.max() + 0.05)
    return np.random.default_rng(seed).poisson(expected).astype(np.int16)


def walk(n: int, step_px: float, *, seed: int = 0) -> Float:
    """Random walk (x, y) of a drift."""
    return np.cumsum(np.random.default_rng(seed).normal(0, step_px, (n, 2)), axis=0)


def error_px(shift_px: Float, drift_px: Float) -> float:
    """Root mean square error of shifts that should undo a drift, but for a common shift."""
    error = shift_px + drift_px
    return float(np.sqrt(((error - error.mean(axis=0)) ** 2).sum(axis=1).mean()))
