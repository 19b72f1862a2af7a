"""Wrong voxels of DART, and of SIRT with thresholds, on a star with holes and a cross."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.reconstruction.grey_levels import find_levels
from etcli.core.solvers.dart import dart
from etcli.core.solvers.sirt import sirt

NOISE = 0.03  # of the brightest pixel
LEVELS, SIZE = np.array([0, 0.5, 1], np.float32), 128

Array = NDArray[np.float32]
Classes = NDArray[np.intp]

TILT_DEG = {"18": np.arange(18) * 10.0, "36": np.arange(36) * 5.0, "36 of ±70°": np.linspace(-70, 70, 36)}
TITLES = "wrong voxels, %", *TILT_DEG, *(f"{name}, noisy" for name in TILT_DEG)


def wrong_voxels() -> Iterator[list[str]]:
    """Yield the rows of a table, one a method."""
    classes = star()
    volume = np.ascontiguousarray(np.broadcast_to(LEVELS[classes][..., None], (SIZE, SIZE, 16)))
    series = []
    for noise in (0, NOISE):
        for tilt_deg in TILT_DEG.values():
            projector = SlabProjector(SliceGeometry(tilt_deg, *[SIZE] * 3), n_slices=16, kernel="strip")
            views = projector.forward(volume)
            views += np.random.default_rng(1).normal(0, noise * views.max(), views.shape).astype(np.float32)
            series.append((projector, views))
    for name, classify in CLASSIFIERS.items():
        wrong = [100 * np.mean(classify(*one) != classes[..., None]) for one in series]
        yield [name, *(f"{percent:.2f}" for percent in wrong)]


def star() -> Classes:
    """Return the classes (z, x) of a star with holes and a cross."""
    z, x = (np.indices((SIZE, SIZE)) - (SIZE - 1) / 2) * 64 / SIZE
    classes = (np.hypot(z, x) < 20 + 6 * np.cos(5 * np.arctan2(z, x))).astype(np.intp)
    classes[((abs(z - 2) < 2.2) & (abs(x) < 10)) | ((abs(x + 3) < 2.2) & (abs(z) < 11))] = 2
    classes[(np.hypot(z + 10, x - 8) < 3.3) | (np.hypot(z - 9, x - 9) < 1.5)] = 0
    return classes


def by_dart(projector: SlabProjector, views: Array, levels: NDArray[np.floating] | None) -> Classes:
    """Return the classes that DART finds, with the levels given or found."""
    used = find_levels(projector, views, len(LEVELS)) if levels is None else levels
    return np.searchsorted(used.astype(np.float32), dart(projector, views, levels=used))


def by_sirt(projector: SlabProjector, views: Array, iterations: int) -> Classes:
    """Return the classes that densities by SIRT fall into."""
    density = sirt(projector, views, iterations=iterations, lower=0.0)
    return np.digitize(density, (LEVELS[1:] + LEVELS[:-1]) / 2)


CLASSIFIERS: dict[str, Callable[[SlabProjector, Array], Classes]] = {
    "sirt 20": partial(by_sirt, iterations=20),
    "sirt 100": partial(by_sirt, iterations=100),
    "dart": partial(by_dart, levels=LEVELS),
    "dart, levels found": partial(by_dart, levels=None),
}
