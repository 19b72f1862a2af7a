"""Tilt series of Gaussian particles in closed form, about any axis and displaced as asked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Particles:
    """Places (x, y, z) from the centre with y along the axis, widths and heights, n of each."""

    place: Float
    sigma: Float
    height: Float


def scattered(
    n: int, seed: int, reach: tuple[float, float, float], sigma: tuple[float, float] = (1.5, 4.0)
) -> Particles:
    """Particles at random places within a box of half edges ``reach``."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(-1, 1, (n, 3)) * reach
    return Particles(place, rng.uniform(*sigma, n), rng.uniform(0.5, 2, n))


def particle_views(
    particles: Particles,
    tilt_deg: ArrayLike,
    shape: tuple[int, int],
    *,
    axis_deg: float = 0.0,
    offset_px: float = 0.0,
    moved_px: ArrayLike = 0.0,
) -> NDArray[np.float32]:
    """Views (view, y, x) about an axis ``offset_px`` off the middle and then turned counter-clockwise by
    ``axis_deg``, the content of each view moved by ``moved_px`` (x, y)."""
    tilt, axis = np.deg2rad(np.asarray(tilt_deg, float)), np.deg2rad(axis_deg)
    moved = np.broadcast_to(moved_px, (tilt.size, 2))
    rows, columns = (np.arange(n)[:, None] - (n - 1) / 2 for n in shape)
    views = []
    for angle, (right, up) in zip(tilt, moved, strict=True):
        p = offset_px + particles.place @ [np.cos(angle), 0, np.sin(angle)]
        q = particles.place[:, 1]
        x, y = p * np.cos(axis) - q * np.sin(axis) + right, p * np.sin(axis) + q * np.cos(axis) + up
        along_y = np.exp(-0.5 * ((rows - y) / particles.sigma) ** 2) * particles.height
        views.append(along_y @ np.exp(-0.5 * ((columns - x) / particles.sigma) ** 2).T)
    return np.array(views, np.float32)


def left_over(shift_px: Float, moved_px: Float, tilt_deg: ArrayLike) -> tuple[float, float]:
    """RMS of what shifts leave of the motion: along the axis, and across it beyond a + b cos θ + c sin θ."""
    tilt = np.deg2rad(np.asarray(tilt_deg, float))
    left = shift_px + moved_px
    free = np.stack([np.ones_like(tilt), np.cos(tilt), np.sin(tilt)], axis=1)
    across = left[:, 0] - free @ np.linalg.lstsq(free, left[:, 0])[0]
    return float(np.std(left[:, 1])), float(np.sqrt(np.mean(across**2)))
