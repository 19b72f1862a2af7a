"""SIRT on a GPU, beside the time that its memory needs at least, and beside ASTRA.

    python benchmarks/gpu.py [--size 512] [--views 61] [--iterations 20]

The floor is the bytes that an iteration must move, over the bandwidth of a copy on the same GPU. An
iteration must read the volume and the views and write the residual (projection), then read the residual and
the volume and write the volume (correction): with N voxels and M pixels, 4 (3 N + 3 M) bytes. What is moved
by steps that could be one but are not is ours to answer for and not in the floor. What happens once, such as
the sums of rows and columns and the way from and to the host, is taken off for all by timing different
numbers of iterations. Of several runs the fastest counts.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from etcli.core.geometry import SliceGeometry
from etcli.core.gpu import GPU, WIDTHS, gpu_name, why_no_gpu
from etcli.core.projectors.astra import astra_available, astra_sirt_3d_seconds, cuda_usable
from etcli.core.projectors.slab_gpu import GpuSlabProjector
from etcli.core.solvers.backprojection import inverse_sums
from etcli.core.solvers.sirt import sirt

ROW = "{:34}{:>12}{:>12}{:>10}  {}"


def fastest(run: Callable[[], object], repeats: int) -> float:
    """Return the shortest time of some runs in seconds, after one to compile."""
    import cupy

    times = []
    for _ in range(repeats + 1):
        cupy.cuda.runtime.deviceSynchronize()
        start = time.perf_counter()
        run()
        cupy.cuda.runtime.deviceSynchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def copy_bandwidth(repeats: int) -> float:
    """Return the bytes a second that a copy on the GPU reads and writes."""
    source, target = GPU.zeros((1 << 26,)), GPU.zeros((1 << 26,))

    def copy() -> None:
        target[...] = source

    return 2 * source.nbytes / fastest(copy, repeats)


def slabs(geometry: SliceGeometry, n_slices: int, width: int) -> list[tuple[GpuSlabProjector, Any]]:
    """Return projectors and views of all slabs, those of a box, on the GPU."""
    projector = GpuSlabProjector(geometry, n_slices=width)
    volume = GPU.zeros(projector.domain_shape)
    nz, nx = geometry.thickness, geometry.width
    volume[nz // 4 : nz // 2, nx // 3 : nx // 2] = 1
    return [(projector, projector.forward(volume)) for _ in range(n_slices // width)]


def per_iteration(run: Callable[[int], object], iterations: int, repeats: int) -> float:
    """Return the seconds of an iteration, without what happens once."""
    many = fastest(lambda: run(iterations), repeats)
    return (many - fastest(lambda: run(1), repeats)) / (iterations - 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", type=int, default=512, help="voxels along every axis, a multiple of --width"
    )
    parser.add_argument("--views", type=int, default=61)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--width", type=int, default=max(WIDTHS), help="slices of a slab")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    reason = why_no_gpu()
    if reason:
        raise SystemExit(f"nothing measured: {reason}")
    n, n_views = args.size, args.views
    geometry = SliceGeometry(np.linspace(-60, 60, n_views), n, n, n)
    voxels, pixels = n**3, n_views * n**2
    bandwidth = copy_bandwidth(args.repeats)
    floor = 4 * 3 * (voxels + pixels) / bandwidth
    print(f"{gpu_name()}: {n}^3 voxels, {n_views} views; a copy moves {bandwidth / 1e9:.0f} GB/s")
    print(ROW.format("an iteration", "ms", "10⁹ updates/s", "of floor", ""))

    def report(what: str, seconds: float, passes: int = 2, remark: str = "") -> None:
        updates = f"{passes * voxels * n_views / seconds / 1e9:.0f}"
        print(ROW.format(what, f"{1e3 * seconds:.2f}", updates, f"{seconds / floor:.2f}", remark))

    report("floor of the memory", floor)
    parts = slabs(geometry, n, args.width)
    sums = inverse_sums(parts[0][0], one_slice=True)

    def ours(iterations: int) -> None:
        for projector, views in parts:
            sirt(projector, views, iterations=iterations, sums=sums)

    report("SIRT, etcli", per_iteration(ours, args.iterations, args.repeats), remark="mark: 1.5")
    projector, views = parts[0]
    volume = projector.adjoint(views)
    for kernel in ("linear", "strip"):
        alone = GpuSlabProjector(geometry, n_slices=args.width, kernel=kernel)
        for what, run in (
            ("projection", lambda alone=alone: alone.forward(volume, out=views)),
            ("back-projection", lambda alone=alone: alone.adjoint(views, out=volume)),
        ):
            seconds = fastest(run, args.repeats) * len(parts)
            report(f"  {what}, {kernel}", seconds, passes=1)
    if astra_available() and cuda_usable():
        seconds = astra_sirt_3d_seconds(geometry, n, args.iterations) - astra_sirt_3d_seconds(geometry, n, 1)
        report("SIRT, ASTRA SIRT3D_CUDA", seconds / (args.iterations - 1), remark="ours may not be slower")
    else:
        print("ASTRA finds no GPU here")


if __name__ == "__main__":
    main()
