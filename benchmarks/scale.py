"""How the time of a reconstruction grows with views, slices and voxels.

    python benchmarks/scale.py [--largest 1024]

SIRT of some iterations on one thread, in seconds of the processor, and the line ``a + b n`` that is nearest
to them, in relative terms.
"""

import argparse
import time

import numpy as np

from etcli.core.geometry import SliceGeometry
from etcli.core.reconstruction.slab_by_slab import reconstruct
from etcli.core.reconstruction.slab_plan import plan_reconstruction
from etcli.core.reconstruction.solve import slab_solver
from etcli.core.solvers.methods import MethodParameters

ITERATIONS, REPEATS = 5, 3


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=1024)
    largest = parser.parse_args().largest
    sizes = [n for n in (128, 256, 512, 1024, 2048) if n <= largest]
    table("views of 512 pixels, 64 slices", {n: seconds(n, 64, 512) for n in (15, 31, 61, 121)})
    table("slices of 256 x 256 voxels, 61 views", {n: seconds(61, n, 256) for n in (64, 128, 256, 512)})
    table("voxels of a slice, 61 views, 64 slices", {n * n: seconds(61, 64, n) for n in sizes})


def seconds(n_views: int, n_slices: int, size: int) -> float:
    """Return the least time of some runs."""
    geometry = SliceGeometry(np.linspace(-60, 60, n_views), size, size, size)
    method = slab_solver(MethodParameters("sirt", iterations=ITERATIONS), geometry)
    plan = plan_reconstruction(n_slices, geometry, method, threads=1, memory=8 << 30)
    views = np.ones((n_views, n_slices, size), np.float32)
    times = []
    for _ in range(REPEATS + 1):  # the first compiles, or takes the memory
        start = time.process_time()
        reconstruct(lambda y0, y1: views[:, y0:y1], lambda y0, block: None, geometry, method, plan=plan)
        times.append(time.process_time() - start)
    return min(times[1:])


def table(what: str, found: dict[int, float]) -> None:
    """Print times, and how they grow."""
    n, taken = np.array(list(found), float), np.array(list(found.values()))
    slope, start = np.polyfit(n, taken, 1, w=1 / taken)
    off = np.abs((start + slope * n) / taken - 1).max()
    listed = ", ".join(f"{key}: {value:.2f} s" for key, value in found.items())
    print(f"{what}: {listed}; {start:.3f} s + n {slope:.3g} s, within {100 * off:.0f} %", flush=True)


if __name__ == "__main__":
    main()
