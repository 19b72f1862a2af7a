"""Speed of the projectors of one core, beside ASTRA's on the CPU.

    python benchmarks/kernels.py [--size 512] [--views 61] [--slices 64] [--repeats 7]

A voxel-update is one voxel in one view. Of several runs the fastest counts. Where the time on the wall is
much longer than that of the processor, the machine was busy with something else.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.astra import AstraProjector, astra_available
from etcli.core.projectors.slab import KERNELS, WIDTHS, SlabProjector, aligned_empty, from_slab, to_slab

ROW = "{:32} {:>9} {:>9} {:>9} {:>9}"


def fastest(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the shortest times of the processor and on the wall, in seconds, after one run to compile."""
    run()
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        run()
        times.append((time.process_time() - processor, time.perf_counter() - wall))
    processor_times, wall_times = zip(*times, strict=True)
    return min(processor_times), min(wall_times)


def operations(projector: SlabProjector | AstraProjector) -> Iterator[tuple[str, Callable[[], object]]]:
    rng = np.random.default_rng(0)
    volume, sinogram = aligned_empty(projector.domain_shape), aligned_empty(projector.range_shape)
    volume[:] = rng.random(volume.shape, dtype=np.float32)
    sinogram[:] = rng.random(sinogram.shape, dtype=np.float32)
    volume_out, sinogram_out = aligned_empty(volume.shape), aligned_empty(sinogram.shape)
    yield f"{projector.kernel}, forward", lambda: projector.forward(volume, out=sinogram_out)
    yield f"{projector.kernel}, adjoint", lambda: projector.adjoint(sinogram, out=volume_out)
    if isinstance(projector, SlabProjector) and projector.kernel == "linear":
        yield "interpolation (FBP)", lambda: projector.interpolate(sinogram, out=volume_out)


def compare(geometry: SliceGeometry, *, n_slices: int, repeats: int) -> None:
    """Print a table of speeds in 10⁹ voxel-updates a second."""
    updates = geometry.n_views * geometry.thickness * geometry.width
    print(ROW.format("10⁹ voxel-updates/s, one core", "ours", "ours, CPU", "ASTRA", "ratio"))
    for kernel in KERNELS:
        theirs = {}
        if astra_available():
            for name, run in operations(AstraProjector(geometry, n_slices=1, kernel=kernel)):
                theirs[name] = updates / fastest(run, min(repeats, 3))[0] / 1e9
        for name, run in operations(SlabProjector(geometry, n_slices=n_slices, kernel=kernel)):
            processor, wall = (n_slices * updates / seconds / 1e9 for seconds in fastest(run, repeats))
            peer = (f"{theirs[name]:.2f}", f"{processor / theirs[name]:.0f}") if name in theirs else ("", "")
            print(ROW.format(name, f"{wall:.1f}", f"{processor:.1f}", *peer))


def reorder(geometry: SliceGeometry, *, n_slices: int, repeats: int) -> None:
    """Print the speed of the change between file and slab order, beside numpy's."""
    rows = np.zeros((geometry.n_views, n_slices, geometry.n_detector), np.float32)
    slab = to_slab(rows)
    print(ROW.format("10⁹ bytes/s, one core", "ours", "ours, CPU", "numpy", "ratio"))
    for name, ours, numpys in (
        ("file to slab", lambda: to_slab(rows, out=slab), lambda: np.copyto(slab, rows.transpose(0, 2, 1))),
        (
            "slab to file",
            lambda: from_slab(slab, n_slices, out=rows),
            lambda: np.copyto(rows, slab.transpose(0, 2, 1)),
        ),
    ):
        processor, wall = (rows.nbytes / seconds / 1e9 for seconds in fastest(ours, repeats))
        peer = rows.nbytes / fastest(numpys, min(repeats, 3))[0] / 1e9
        print(ROW.format(name, f"{wall:.1f}", f"{processor:.1f}", f"{peer:.2f}", f"{processor / peer:.0f}"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512, help="voxels along z and x, and detector pixels")
    parser.add_argument("--views", type=int, default=61, help="views from -90 to 90 degrees")
    parser.add_argument("--slices", type=int, default=WIDTHS[-1], choices=WIDTHS, help="slices in a slab")
    parser.add_argument("--repeats", type=int, default=7, help="runs, of which the fastest counts")
    options = parser.parse_args()
    geometry = SliceGeometry(np.linspace(-90, 90, options.views), options.size, options.size, options.size)
    print(f"{options.size} x {options.size} voxels, {options.views} views, {options.slices} slices")
    compare(geometry, n_slices=options.slices, repeats=options.repeats)
    reorder(geometry, n_slices=options.slices, repeats=options.repeats)


if __name__ == "__main__":
    main()
