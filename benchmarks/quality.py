"""Errors of all methods of reconstruction on a published phantom whose truth is known exactly.

    python benchmarks/quality.py --data DIR [--methods sirt fista]

Four slices of the catalyst that ETSpy ships, binned to 150 x 150 voxels: all 90 views over 180°, every
second, every fifth, and those within 70°; clean, and with normal noise of 3 % of the brightest pixel. The
number is ‖x - truth‖ / ‖truth‖ over the four slices; no parameter is set by hand but the iterations of SIRT,
SART and CGLS. DIR is the folder of data of other people, ETCLI_SHARED/data by default; its `etspy` is used.

ETSpy 1.3 at its best on the same input, of FBP, SIRT of 20 and 100 iterations with and without a lower bound,
and SART of 20 sweeps: clean .045, .041, -, .062; noisy .142, .179, -, .182.
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
from etcli.core.solvers.filtered_backprojection import filtered_backprojection
from etcli.core.solvers.left_out import best_weight, leave_out
from etcli.core.solvers.priors import make_prior
from etcli.core.solvers.regularised import as_series, regularised
from etcli.core.solvers.sart import sart
from etcli.core.solvers.sirt import sirt

SLICES = 29, 61, 86, 112  # counted from the other end of y
N = 150
NOISE = 0.03
KERNEL = "strip"  # the phantom was projected so

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
    print(*(f"| {' | '.join(line)} |" for line in (titles, ["---"] * len(titles))), sep="\n")
    for name in args.methods:
        errors = [
            np.linalg.norm(reconstructed(METHODS[name], views[:, used], tilt[used]) - truth)
            / np.linalg.norm(truth)
            for views in (rows, rows + noise)
            for used in chosen.values()
        ]
        print(f"| {' | '.join([name, *(f'{error:.3f}' for error in errors)])} |", flush=True)


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
    return regularised(series, prior(series.shape), weight=weight, iterations=150)[..., 0]


METHODS: dict[str, Method] = {
    "fbp": slab_method(filtered_backprojection),
    "fbp hann": slab_method(partial(filtered_backprojection, window="hann")),
    "sirt 20": slab_method(partial(sirt, iterations=20)),
    "sirt 100, x >= 0": slab_method(partial(sirt, iterations=100, lower=0.0)),
    "sart 20": slab_method(partial(sart, iterations=20)),
    "cgls 10": slab_method(partial(cgls, iterations=10)),
    "fista, tv, auto": total_variation,
}

if __name__ == "__main__":
    main()
