"""Errors of all methods of reconstruction on phantoms whose truth is known exactly.

    python benchmarks/quality.py --data DIR [--methods sirt fista]

Four slices of the catalyst that ETSpy ships, binned to 150 x 150 voxels: all 90 views over 180°, every
second, every fifth, and those within 70°; clean, and with normal noise of 3 % of the brightest pixel. The
number is ‖x - truth‖ / ‖truth‖ over the four slices; no parameter is set by hand but the iterations of SIRT,
SART and CGLS. DIR is the folder of data of other people, ETCLI_SHARED/data by default; its `etspy` is used.

ETSpy 1.3 at its best on the same input, of FBP, SIRT of 20 and 100 iterations with and without a lower bound,
and SART of 20 sweeps: clean .045, .041, -, .062; noisy .142, .179, -, .182.

A second table has the percentage of wrong voxels on a phantom of the densities 0, 0.5 and 1, a star with
holes and a cross, of 128 x 128 voxels: DART, its densities given or found, and SIRT with halfway thresholds.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SlabGeometry
from etcli.core.projectors.slab import SlabProjector, from_slab, to_slab
from etcli.core.solvers.cgls import cgls
from etcli.core.solvers.dart import dart
from etcli.core.solvers.filtered_backprojection import filtered_backprojection
from etcli.core.solvers.grey_levels import find_levels
from etcli.core.solvers.left_out import best_weight, leave_out
from etcli.core.solvers.priors import make_prior
from etcli.core.solvers.regularised import as_series, regularised
from etcli.core.solvers.sart import sart
from etcli.core.solvers.sirt import sirt

SLICES = 29, 61, 86, 112  # counted from the other end of y
N = 150
NOISE = 0.03
KERNEL = "strip"  # the phantom was projected so
LEVELS, STAR_SIZE = np.array([0, 0.5, 1], np.float32), 128

Array = NDArray[np.float32]
Method = Callable[[Array, SlabGeometry], Array]


def main() -> None:
    """Print the table."""
    shared = os.environ.get("ETCLI_SHARED")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(shared, "data") if shared else None)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args()
    if not args.data:
        print("left out: it needs --data DIR")
        return
    rows, tilt, truth = catalyst(args.data / "etspy")
    noise = np.random.default_rng(1).normal(0, NOISE * rows.max(), rows.shape)
    chosen = {
        "90": tilt < 180,
        "45": tilt % 4 == 0,
        "18": tilt % 10 == 0,
        "±70°": (tilt <= 70) | (tilt >= 110),
    }
    titles = ["method", *chosen, *(f"{name}, noisy" for name in chosen)]
    print_titles(titles)
    for name in args.methods:
        errors = [
            np.linalg.norm(reconstructed(METHODS[name], views[:, used], tilt[used]) - truth)
            / np.linalg.norm(truth)
            for views in (rows, rows + noise)
            for used in chosen.values()
        ]
        print(f"| {' | '.join([name, *(f'{error:.3f}' for error in errors)])} |", flush=True)
    few_densities()


def few_densities() -> None:
    """Print the table of wrong voxels on the star."""
    classes = star()
    shape = (STAR_SIZE, STAR_SIZE, 16)
    volume = np.ascontiguousarray(np.broadcast_to(LEVELS[classes][..., None], shape))
    chosen = {"18": np.arange(18) * 10.0, "36": np.arange(36) * 5.0, "36 of ±70°": np.linspace(-70, 70, 36)}
    print_titles(["wrong voxels, %", *chosen, *(f"{name}, noisy" for name in chosen)])
    series = []
    for noise in (0, NOISE):
        for tilt_deg in chosen.values():
            projector = SlabProjector(SlabGeometry(tilt_deg, *[STAR_SIZE] * 3), n_slices=16, kernel=KERNEL)
            views = projector.forward(volume)
            views += np.random.default_rng(1).normal(0, noise * views.max(), views.shape).astype(np.float32)
            series.append((projector, views))
    for name, classify in CLASSIFIERS.items():
        wrong = [100 * np.mean(classify(*one) != classes[..., None]) for one in series]
        print(f"| {' | '.join([name, *(f'{percent:.2f}' for percent in wrong)])} |", flush=True)


def star() -> NDArray[np.intp]:
    """Return the classes (z, x) of a star with holes and a cross."""
    z, x = (np.indices((STAR_SIZE, STAR_SIZE)) - (STAR_SIZE - 1) / 2) * 64 / STAR_SIZE
    classes = (np.hypot(z, x) < 20 + 6 * np.cos(5 * np.arctan2(z, x))).astype(np.intp)
    classes[((abs(z - 2) < 2.2) & (abs(x) < 10)) | ((abs(x + 3) < 2.2) & (abs(z) < 11))] = 2
    classes[(np.hypot(z + 10, x - 8) < 3.3) | (np.hypot(z - 9, x - 9) < 1.5)] = 0
    return classes


def by_dart(projector: SlabProjector, views: Array, levels: NDArray[np.floating] | None) -> NDArray[np.intp]:
    """Return the classes that DART finds, with the levels given or found."""
    used = find_levels(projector, views, len(LEVELS)) if levels is None else levels
    return np.searchsorted(used.astype(np.float32), dart(projector, views, levels=used))


def by_sirt(projector: SlabProjector, views: Array, iterations: int) -> NDArray[np.intp]:
    """Return the classes that densities by SIRT fall into."""
    density = sirt(projector, views, iterations=iterations, lower=0.0)
    return np.digitize(density, (LEVELS[1:] + LEVELS[:-1]) / 2)


def print_titles(titles: list[str]) -> None:
    """Print the head of a table."""
    print(*(f"| {' | '.join(line)} |" for line in (titles, ["---"] * len(titles))), sep="\n")


def catalyst(
    folder: Path,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return rows of views, tilts, and the slices (z, x) that they should give."""
    tilt = np.loadtxt(folder / "catalyst_180_bin2.rawtlt")
    with mrcfile.mmap(folder / "catalyst_180_bin2.mrc", permissive=True) as file:
        pairs = [file.data[:, [299 - 2 * k, 298 - 2 * k]].astype(float).mean(axis=1) for k in SLICES]
    rows = np.array([pair.reshape(len(tilt), N, 2).mean(axis=2) / 2 for pair in pairs])
    with mrcfile.mmap(folder / "catalyst_truth_bin4.mrc", permissive=True) as file:
        truth = np.array([file.data[N - 1 - k][::-1] for k in SLICES], float)
    return rows, tilt, truth


def reconstructed(method: Method, rows: NDArray[np.float64], tilt_deg: NDArray[np.float64]) -> Array:
    """Reconstruct rows that are far from each other one by one."""
    geometry = SlabGeometry(tilt_deg, n_detector=N, thickness=N, width=N)
    return np.array([method(np.ascontiguousarray(row[:, np.newaxis], np.float32), geometry) for row in rows])


def slab_method(solve: Callable[..., Array]) -> Method:
    """Return a method that works slab by slab."""

    def method(views: Array, geometry: SlabGeometry) -> Array:
        projector = SlabProjector(geometry, n_slices=16, kernel=KERNEL)
        return from_slab(solve(projector, to_slab(views)), 1)[:, 0]

    return method


def total_variation(views: Array, geometry: SlabGeometry) -> Array:
    """Reconstruct under total variation, its weight found by views left out."""
    how = {"make_projector": partial(SlabProjector, kernel=KERNEL), "threads": 2}
    prior = partial(make_prior, "tv", lower=0.0)
    weight = best_weight(leave_out(as_series(views, geometry, **how)), prior).best
    series = as_series(views, geometry, **how)
    return regularised(series, prior(series.shape), weight=weight, iterations=60)[..., 0]


METHODS: dict[str, Method] = {
    "fbp": slab_method(filtered_backprojection),
    "fbp hann": slab_method(partial(filtered_backprojection, window="hann")),
    "sirt 20": slab_method(partial(sirt, iterations=20)),
    "sirt 100, x >= 0": slab_method(partial(sirt, iterations=100, lower=0.0)),
    "sart 20": slab_method(partial(sart, iterations=20)),
    "cgls 10": slab_method(partial(cgls, iterations=10)),
    "fista, tv, auto": total_variation,
}
CLASSIFIERS: dict[str, Callable[[SlabProjector, Array], NDArray[np.intp]]] = {
    "sirt 20": partial(by_sirt, iterations=20),
    "sirt 100": partial(by_sirt, iterations=100),
    "dart": partial(by_dart, levels=LEVELS),
    "dart, levels found": partial(by_dart, levels=None),
}

if __name__ == "__main__":
    main()
