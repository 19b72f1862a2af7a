"""Reconstruction speed and agreement, side by side with peers in one run.

    python benchmarks/reconstruction.py                       the marks: 512 x 512 x 61 views
    python benchmarks/reconstruction.py --methods fbp --size 1024 --views 91 --fbp-slices 256 --peer-slices 32

Slow peers reconstruct only --peer-slices slices; their time a slice is scaled up to all slices, which the
table says. Whole-process rows start a program on files and wait for its end; for slow peers the start is
measured with one slice a process and not scaled. scikit-image makes round slices, the others square ones, and
has its axis at n // 2, half a pixel beside the others where n is even: that is most of its difference.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mrcfile
import numpy as np
import peers
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.reconstruction.slab_by_slab import project, reconstruct
from etcli.core.reconstruction.slab_plan import plan_projection, plan_reconstruction
from etcli.core.reconstruction.solve import slab_solver
from etcli.core.reconstruction.streamed_backprojection import backproject, plan_backprojection
from etcli.core.solvers.methods import MethodParameters

MEMORY = 4 << 30

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    who: str
    seconds: float
    slices: int
    remark: str = ""


def phantom_views(geometry: SliceGeometry, n_slices: int, threads: int) -> Array:
    """Project balls of random place, size and density, and add a little noise."""
    rng = np.random.default_rng(0)
    nz, nx = geometry.thickness, geometry.width
    volume = np.zeros((nz, n_slices, nx), np.float32)
    z, y, x = np.ogrid[:nz, :n_slices, :nx]
    for _ in range(12):
        radius = rng.uniform(0.03, 0.12) * nx
        at = (nx - 1) / 2 + rng.uniform(-0.28, 0.28, 2) * nx
        low, high = (at - radius).astype(int), (at + radius).astype(int) + 1
        box = slice(low[0], high[0]), slice(None), slice(low[1], high[1])
        squared = (
            (z[box[0]] - at[0]) ** 2 + (y - rng.uniform(0, n_slices)) ** 2 + (x[..., box[2]] - at[1]) ** 2
        )
        volume[box] += rng.uniform(0.3, 1) * (squared < radius**2)
    views = np.empty((geometry.n_views, n_slices, geometry.n_detector), np.float32)

    def write(y0: int, block: Array) -> None:
        views[:, y0 : y0 + block.shape[1]] = block

    plan = plan_projection(n_slices, geometry, threads=threads, memory=MEMORY)
    project(lambda y0, y1: volume[:, y0:y1], write, geometry, plan=plan)
    views += rng.normal(0, 0.01 * views.max(), views.shape).astype(np.float32)
    return views


def ours_sirt(
    series: Array, volume: Array, geometry: SliceGeometry, *, threads: int, iterations: int
) -> None:
    """Reconstruct a series in memory, sums of the geometry included."""

    def write(y0: int, block: Array) -> None:
        volume[:, y0 : y0 + block.shape[1]] = block

    method = slab_solver(MethodParameters("sirt", iterations=iterations), geometry)
    plan = plan_reconstruction(series.shape[1], geometry, method, threads=threads, memory=MEMORY)
    reconstruct(lambda y0, y1: series[:, y0:y1], write, geometry, method, plan=plan)


def ours_fbp(series: Array, volume: Array, geometry: SliceGeometry, *, threads: int) -> None:
    """Reconstruct a series in memory."""

    def write(y0: int, block: Array, *, z0: int) -> None:
        volume[z0 : z0 + len(block), y0 : y0 + block.shape[1]] = block

    plan = plan_backprojection(series.shape[1], geometry, threads=threads, memory=MEMORY)
    backproject(lambda y0, y1: series[:, y0:y1], write, geometry, plan=plan)


def in_process(args: argparse.Namespace, series: Array, geometry: SliceGeometry) -> list[Row]:
    """Compare the libraries on arrays."""
    jobs: dict[str, tuple[Callable[..., None], int, tuple[str, ...]]] = {
        "sirt": (partial(ours_sirt, iterations=args.iterations), args.sirt_slices, ("astra-sirt",)),
        "fbp": (ours_fbp, args.fbp_slices, ("astra-fbp", "iradon")),
    }
    rows = []
    with peers.pool(args.threads) as workers:
        for name in args.methods:
            solve, n_slices, methods = jobs[name]
            part = series[:, :n_slices]
            volume = np.zeros((geometry.thickness, n_slices, geometry.width), np.float32)
            for _ in range(2):  # the first time compiles
                start = time.perf_counter()
                solve(part, volume, geometry, threads=args.threads)
                seconds = time.perf_counter() - start
            rows.append(Row(f"{name}, arrays", "etcli", seconds, n_slices))
            for method in methods:
                if method not in peers.available():
                    continue
                few = part[:, :: max(1, n_slices // args.peer_slices)][:, : args.peer_slices]
                seconds, slices = peers.time_slices(
                    workers, few, geometry.tilt_deg, method=method, iterations=args.iterations
                )
                mine = volume[:, :: max(1, n_slices // args.peer_slices)][:, : args.peer_slices]
                rows.append(
                    Row(
                        f"{name}, arrays",
                        method,
                        seconds * n_slices / len(slices),
                        n_slices,
                        f"from {len(slices)} slices; differs from ours by "
                        f"{difference(mine, np.stack(slices, axis=1)):.1e}",
                    )
                )
    return rows


def difference(ours: Array, theirs: Array) -> float:
    """Return the relative difference within the inscribed cylinder, after scaling theirs to ours.

    ASTRA and scikit-image take a limited range of angles for half a turn, which is only a factor.
    """
    d = np.arange(len(ours)) - (len(ours) - 1) / 2
    inside = np.hypot(d[:, None], d[None, :])[:, None, :] < 0.48 * len(ours)
    a, b = ours * inside, theirs * inside
    b *= np.vdot(a, b) / np.vdot(b, b)
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


def write_mrc(path: Path, series: Array) -> Path:
    """Write a series for all programs."""
    with mrcfile.new(path, np.ascontiguousarray(series), overwrite=True) as file:
        file.voxel_size = 1
    return path


def whole_process(
    args: argparse.Namespace, series: Array, geometry: SliceGeometry, folder: Path
) -> list[Row]:
    """Compare the programs on files."""
    tilts, output = folder / "series.tlt", folder / "out.mrc"
    np.savetxt(tilts, geometry.tilt_deg, fmt="%.2f")
    rows = []
    for name in args.methods:
        n_slices = args.sirt_slices if name == "sirt" else args.fbp_slices
        what = f"{name}, files"
        full = write_mrc(folder / "full.mrc", series[:, :n_slices])
        n_few = min(args.peer_slices, n_slices)
        few = write_mrc(folder / "few.mrc", series[:, :n_few])
        iterations = ("--iterations", str(args.iterations)) if name == "sirt" else ()
        recon = (
            sys.executable, "-m", "etcli", "recon", "--method", name, *iterations, "--tilts", tilts,
            "--background", "none", "--threads",
        )  # fmt: skip
        peers.time_program(*recon, "1", few, output)  # compiles
        seconds = peers.time_program(*recon, str(args.threads), full, output)
        rows.append(Row(what, "etcli", seconds, n_slices))
        if f"astra-{name}" in peers.available():
            one = write_mrc(folder / "one.mrc", series[:, : args.threads])
            start, seconds = (
                peers.time_peer_from_files(
                    path,
                    tilts,
                    output,
                    method=f"astra-{name}",
                    iterations=args.iterations,
                    processes=args.threads,
                )
                for path in (one, few)
            )
            per_slice = max(seconds - start, 0) / (n_few - args.threads)
            scaled = start + per_slice * (n_slices - args.threads)
            rows.append(Row(what, f"astra-{name}", scaled, n_slices, f"from {n_few} slices"))
        if peers.tilt_program():
            what = f"{name}, 1 core"
            rows.append(Row(what, "etcli", peers.time_program(*recon, "1", full, output), n_slices))
            path, made = (few, n_few) if name == "sirt" else (full, n_slices)
            seconds = peers.time_imod(
                path, tilts, output, thickness=args.size, iterations=args.iterations if name == "sirt" else 0
            )
            remark = f"from {made} slices" if made < n_slices else ""
            rows.append(Row(what, "IMOD tilt", seconds * n_slices / made, n_slices, remark))
    return rows


def report(rows: list[Row]) -> None:
    """Print the table; the ratio is the time of the peer over ours."""
    base: dict[str, float] = {}
    print(f"{'what':<14}{'who':<12}{'seconds':>10}{'ms/slice':>10}{'ratio':>8}  remark")
    for row in rows:
        base.setdefault(row.what, row.seconds)
        per_slice = 1000 * row.seconds / row.slices
        ratio = row.seconds / base[row.what]
        print(f"{row.what:<14}{row.who:<12}{row.seconds:>10.2f}{per_slice:>10.2f}{ratio:>8.1f}  {row.remark}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=("sirt", "fbp"), default=["sirt", "fbp"])
    parser.add_argument("--size", type=int, default=512, help="pixels of a view, voxels of a slice")
    parser.add_argument("--views", type=int, default=61)
    parser.add_argument("--sirt-slices", type=int, default=128)
    parser.add_argument("--fbp-slices", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--peer-slices", type=int, default=8, help="slices that slow peers really make")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-files", action="store_true", help="leave the whole-process part out")
    args = parser.parse_args()
    if args.peer_slices <= args.threads:
        parser.error("--peer-slices must be more than --threads")
    geometry = SliceGeometry(np.linspace(-60, 60, args.views), args.size, args.size, args.size)
    print(
        f"{args.size} px, {args.views} views, SIRT {args.sirt_slices} slices x {args.iterations} iterations, "
        f"FBP {args.fbp_slices} slices, {args.threads} threads or processes"
    )
    series = phantom_views(geometry, max(args.sirt_slices, args.fbp_slices), args.threads)
    rows = in_process(args, series, geometry)
    if not args.no_files:
        with tempfile.TemporaryDirectory() as folder:
            rows += whole_process(args, series, geometry, Path(folder))
    report(rows)


if __name__ == "__main__":
    main()
