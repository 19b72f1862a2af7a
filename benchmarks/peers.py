"""Other reconstruction programs, run as their users would: ASTRA, scikit-image, IMOD.

As a program it does the whole job of one peer, from file to file:

    python benchmarks/peers.py astra-sirt IN.mrc TILTS.tlt OUT.mrc --iterations 20 --processes 2
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.astra import astra_available, astra_fbp, astra_sirt

Array = NDArray[np.float32]
METHODS = ("astra-sirt", "astra-fbp", "iradon")


def solve_slice(views: Array, *, tilt_deg: NDArray[np.float64], method: str, iterations: int) -> Array:
    """Reconstruct one square slice from its views (n_views, n_detector)."""
    n = views.shape[1]
    if method == "iradon":
        from skimage.transform import iradon

        found: Array = iradon(views.T, tilt_deg, circle=True)[::-1]
        return found
    geometry = SliceGeometry(tilt_deg, n, n, n)
    if method == "astra-sirt":
        return astra_sirt(views, geometry, iterations=iterations)
    return astra_fbp(views, geometry)


def pool(processes: int) -> Executor:
    """Return worker processes with the peers imported, each with one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    workers = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    tiny = partial(solve_slice, tilt_deg=np.array([0.0, 90.0]), iterations=1)
    for method in available():
        list(workers.map(partial(tiny, method=method), [np.ones((2, 8), np.float32)] * 2 * processes))
    return workers


def available() -> tuple[str, ...]:
    """Return the methods that are installed."""
    return METHODS if astra_available() else METHODS[2:]


def tilt_program() -> str | None:
    """Return IMOD's reconstruction program if it is on the PATH."""
    return shutil.which("tilt")


def time_slices(
    workers: Executor, series: Array, tilt_deg: NDArray[np.float64], *, method: str, iterations: int
) -> tuple[float, list[Array]]:
    """Reconstruct all slices of a series in memory; return seconds and slices."""
    solve = partial(solve_slice, tilt_deg=tilt_deg, method=method, iterations=iterations)
    start = time.perf_counter()
    slices = list(workers.map(solve, np.ascontiguousarray(series.swapaxes(0, 1))))
    return time.perf_counter() - start, slices


def time_program(*command: str | Path) -> float:
    """Run a program; return seconds from start to end."""
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def time_peer_from_files(
    series: Path, tilts: Path, output: Path, *, method: str, iterations: int, processes: int
) -> float:
    """Run this module as a program on files; return seconds."""
    return time_program(
        sys.executable, __file__, method, series, tilts, output,
        "--iterations", str(iterations), "--processes", str(processes),
    )  # fmt: skip


def time_imod(series: Path, tilts: Path, output: Path, *, thickness: int, iterations: int = 0) -> float:
    """Run IMOD's tilt on files, for weighted back-projection or so many SIRT iterations; return seconds."""
    sirt = ("-SIRTIterations", str(iterations), "-FlatFilterFraction", "2", "-PERPENDICULAR")
    return time_program(
        "tilt", "-input", series, "-output", output, "-TILTFILE", tilts, "-THICKNESS", str(thickness),
        "-MODE", "2", "-RADIAL", "0.5,0.05", *(sirt if iterations else ()),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("series", type=Path)
    parser.add_argument("tilts", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    series = mrcfile.mmap(args.series, mode="r").data
    tilt_deg = np.loadtxt(args.tilts)
    _, ny, nx = series.shape
    volume = np.empty((nx, ny, nx), np.float32)
    solve = partial(solve_slice, tilt_deg=tilt_deg, method=args.method, iterations=args.iterations)
    rows = (np.array(series[:, y], np.float32) for y in range(ny))
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as workers:
        for y, found in enumerate(workers.map(solve, rows)):
            volume[:, y] = found
    with mrcfile.new(args.output, volume, overwrite=True) as file:
        file.set_volume()


if __name__ == "__main__":
    main()
