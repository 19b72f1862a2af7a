"""Volumes and views of Gaussian atoms, written out from the definition."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def gaussian_volume(
    place: ArrayLike, shape: tuple[int, int, int], *, sigma_px: ArrayLike = 1.25, height: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """Sum of round Gaussians at places (x, y, z), as indices."""
    place = np.asarray(place, float).reshape(-1, 3)
    sigma_px, height = (np.broadcast_to(value, len(place)) for value in (sigma_px, height))
    volume = np.zeros(shape)
    for (x, y, z), sigma, top in zip(place, sigma_px, height, strict=True):
        bells = [
            np.exp(-((np.arange(n) - at) ** 2) / (2 * sigma**2))
            for n, at in zip(shape, (z, y, x), strict=True)
        ]
        volume += top * bells[0][:, None, None] * bells[1][:, None] * bells[2]
    return volume


def jittered(n: int, *, step: float = 8.0, spread: float = 0.5, seed: int = 0) -> NDArray[np.float64]:
    """Places (x, y, z) of n³ atoms far from each other, from one step inside the border on."""
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return (grid + 1) * step + np.random.default_rng(seed).uniform(-spread, spread, grid.shape)


def noisy(volume: ArrayLike, noise: float, *, seed: int = 0) -> NDArray[np.float32]:
    """The volume in white noise."""
    volume = np.asarray(volume)
    return (volume + noise * np.random.default_rng(seed).normal(size=volume.shape)).astype(np.float32)


def bound_px(noise: float, sigma_px: float) -> float:
    """Least standard deviation of a coordinate of an atom of height 1 in white noise (Cramér and Rao).

    The information on x is ∫ (∂g/∂x)² / n² = π^1.5 σ / (2 n²) for a Gaussian g.
    """
    return float(np.sqrt(2 * noise**2 / (np.pi**1.5 * sigma_px)))


def nearest(found: ArrayLike, true: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far every true place is from the nearest found, as vectors (x, y, z) and as distances."""
    step = np.asarray(found)[None] - np.asarray(true)[:, None]
    distance = np.linalg.norm(step, axis=2)
    return step[np.arange(len(step)), distance.argmin(axis=1)], distance.min(axis=1)
