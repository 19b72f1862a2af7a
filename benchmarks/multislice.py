"""Speed of the phase-contrast reconstruction, beside the FFTs that it needs at least.

    python benchmarks/multislice.py [--size 64] [--repeats 20] [--no-full]

A sweep makes the gradient steps of 60 tilts x 3 defoci, two tilts a step, on one thread and on two. scipy and
FFTW transform whole waves, in single precision and on one thread, as often as a plain algorithm has to:
4 (S - 1) + 2 N + 2 times a tilt with S slabs and N defoci. Beside that of FFTW stands the share of the
transforms that the sweep really makes, which leave out the empty parts of a wave. All are measured in turn,
and of each piece of a sweep the fastest run counts: that of the processor for one thread, on the wall for
two. Threads are bound to cores and pause between runs, so that even a busy machine gives them their cores at
once, now and then.

A table compares the rotations of the volume. The full problem of Ren et al. (2018), 480³ voxels and 40
sweeps, is estimated from its measured parts, and for a GPU from a measured memory bandwidth.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from etcli.core.jit import jit
from etcli.core.multislice._waves import FROM_IMAGE, TO_IMAGE, TO_SPECTRUM, TO_WAVE, _transform
from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.rotation import INTERPOLATIONS, make_rotation
from etcli.core.multislice.wave_workspace import WaveGeometry, WaveWorkspace
from etcli.core.solvers.momentum import FunctionRestart, Momentum
from etcli.core.solvers.multislice import INNER_STEPS
from etcli.core.solvers.priors import make_prior

TILTS, DEFOCI, PER_STEP = 60, (200.0, 450.0, 1000.0), 2
PIECE = 10
"""Tilts timed together."""
SIZES = {48: 80, 64: 96, 96: 128}
"""Voxels of a side, and pixels of an image."""
ROTATED = 64, 128
PAUSE_S = 0.006
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
ROW = "{:16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}"
TITLES = "voxels, wave", "s/sweep", "+ prior", "scipy, s", "ratio", "FFTW", "our FFTs", "2 threads"
SWEEPS, LARGE, LARGE_BINNED = 40, 480, 10
H100_BYTES_S = 2.9e12
"""Measured by a copy: 2903 GB/s, H100 SXM5 (2025), https://github.com/aigatech/vpbenchmarking."""


def fastest(runs: Sequence[Callable[[], object]], repeats: int) -> NDArray[np.float64]:
    """Return the shortest times of the thread's processor and on the wall of some runs, measured in turn."""
    best = np.full((2, len(runs)), np.inf)
    for _ in range(repeats):
        for k, run in enumerate(runs):
            time.sleep(PAUSE_S)
            run()  # brings its data into the caches
            start = time.thread_time(), time.perf_counter()
            run()
            best[:, k] = np.minimum(best[:, k], np.subtract((time.thread_time(), time.perf_counter()), start))
    return best


def misfit_of(
    size: int, pixels: int, *, binned: int = 8, tilts: int = TILTS, threads: int = 1
) -> MultisliceMisfit:
    """Create the misfit of a series of noise, with its threads bound to cores."""
    images = 1 + 0.05 * np.random.default_rng(0).normal(size=(tilts * len(DEFOCI), pixels, pixels))
    misfit = MultisliceMisfit(
        images.astype(np.float32),
        np.repeat(-90 + 180 / tilts * np.arange(tilts), len(DEFOCI)),
        np.tile(DEFOCI, tilts),
        PhaseContrastOptics(300.0),
        pixel_A=0.5,
        shape=(size,) * 3,
        binned_slices=binned,
        threads=threads,
    )
    if threads <= len(CORES):
        misfit._team.run(lambda member, meet: os.sched_setaffinity(0, {CORES[member]}))
    return misfit


@jit
def many_transforms(execute, plans, first, count):  # type: ignore[no-untyped-def]
    """Transform a wave many times."""
    for _ in range(count):
        _transform(execute, plans, first)


def transforms(geometry: WaveGeometry) -> list[Callable[[], object]]:
    """Return what makes the transforms of a tilt: those that are needed, and as many of whole waves."""
    n = geometry.n_slabs
    counts = {TO_WAVE: 2 * n - 1, TO_SPECTRUM: 2 * n - 1, TO_IMAGE: len(DEFOCI), FROM_IMAGE: len(DEFOCI)}
    runs: list[Callable[[], object]] = []
    for each in (geometry, replace(geometry, volume=geometry.wave, image=geometry.wave)):
        workspace = WaveWorkspace(each, keep_waves=False)

        def run(w: WaveWorkspace = workspace) -> None:
            for first, count in counts.items():
                many_transforms(w.execute, w.plans, first, count)

        runs.append(run)
    return runs


def prior_seconds(shape: tuple[int, int, int], repeats: int) -> tuple[float, float]:
    """Return the times of the proximal map of a sweep and of its momentum."""
    prior, volume = make_prior("tv", shape, lower=0.0), np.ones(shape, np.float32)
    momentum = Momentum(shape[0], restart=FunctionRestart())
    new, ahead = volume.copy(), volume.copy()

    def look_ahead() -> None:
        new[...] = ahead
        momentum.look_ahead(volume, new, ahead)

    tv, rest = fastest([lambda: prior.minimise(volume, 1.0, iterations=INNER_STEPS), look_ahead], repeats)[0]
    return tv, rest


def measure(size: int, pixels: int, repeats: int) -> None:
    """Print the row of a size."""
    one, two = (misfit_of(size, pixels, threads=threads) for threads in (1, 2))
    geometry, volume = one.model.geometry, np.zeros(one.shape, np.float32)
    volume[:] = np.random.default_rng(1).uniform(0, 10, one.shape)
    wave = np.ones(geometry.wave, np.complex64)
    count = 4 * (geometry.n_slabs - 1) + 2 * len(DEFOCI) + 2
    needed, whole = transforms(geometry)

    def plain() -> None:
        for _ in range(count):
            scipy.fft.fft2(wave, workers=1)

    steps = []
    for first in range(0, TILTS, PIECE):
        for misfit in (one, two):
            part = misfit.in_steps(range(first, first + PIECE), PER_STEP)
            steps.append(lambda part=part: part.descend(volume, 1e-9))
    processor, wall = fastest([*steps, plain, whole, needed], repeats)
    library, fftw, ours = processor[-3:]
    alone, together = processor[:-3:2].sum(), wall[1:-3:2].sum()
    prior = sum(prior_seconds(one.shape, max(repeats // 4, 2)))
    print(
        ROW.format(
            f"{size}³, {geometry.wave[0]}²",
            f"{alone:.4f}",
            f"{alone + prior:.4f}",
            f"{TILTS * library:.4f}",
            f"{alone / (TILTS * library):.2f}",
            f"{100 * TILTS * fftw / alone:.0f} %",
            f"{100 * TILTS * ours / alone:.0f} %",
            f"{alone / together:.2f} x",
        ),
        flush=True,
    )


def rotations(repeats: int) -> None:
    """Print the errors and the times of the rotations; an atom is a Gaussian of one voxel."""
    print("\nrotation   atom moved  there and back" + "".join(f"   {n}³ with adjoint" for n in ROTATED))
    for name in INTERPOLATIONS:
        errors = np.array([rotation_errors(name, angle) for angle in (7.0, 31.0, 45.0, 73.0)])
        times = [rotation_seconds(name, n, max(repeats // 4, 2)) for n in ROTATED]
        moved, returned = 100 * errors.max(axis=0)
        print(f"{name:10} {moved:8.2f} % {returned:12.2f} %" + "".join(f" {1e3 * t:14.2f} ms" for t in times))


def rotation_errors(interpolation: str, tilt_deg: float, n: int = 64) -> tuple[float, float]:
    """Return the errors of an atom after a rotation, and after the adjoint of it as well, to its norm."""
    place = np.arange(n) - (n - 1) / 2
    rotation = make_rotation((n, n), n, n, 1, interpolation)
    x, z, cos, sin = 9.3, -14.8, np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    atom, expected = (
        np.exp(-((place[:, np.newaxis] - b) ** 2 + (place - a) ** 2) / 2).astype(np.float32)[..., np.newaxis]
        for a, b in ((x, z), (x * cos + z * sin, -x * sin + z * cos))
    )
    there, back = np.zeros_like(atom), np.zeros_like(atom)
    matrix = rotation.matrix(tilt_deg)
    rotation.slabs(atom, matrix, there)
    rotation.add_adjoint(there, rotation.transpose(matrix), back)
    norm = np.linalg.norm(atom)
    return float(np.linalg.norm(there - expected) / norm), float(np.linalg.norm(back - atom) / norm)


def rotation_seconds(interpolation: str, n: int, repeats: int) -> float:
    """Return the time of a rotation to slabs of 8 slices and of its adjoint."""
    rotation = make_rotation((n, n), n, n // 8, 8, interpolation)
    volume, slabs = np.ones((n, n, n), np.float32), np.ones((n // 8, n, n), np.float32)
    matrix = rotation.matrix(33.0)
    back = rotation.transpose(matrix)
    runs = (
        lambda: rotation.slabs(volume, matrix, slabs),
        lambda: rotation.add_adjoint(slabs, back, volume, scale=1e-6),
    )
    return float(fastest(runs, repeats)[0].sum())


def estimate() -> None:
    """Print the estimate of the full problem."""
    misfit = misfit_of(LARGE, LARGE, binned=LARGE_BINNED, tilts=1)
    model, volume, phases = misfit.model, np.ones(misfit.shape, np.float32), misfit.model.new_phases()
    geometry, part = model.geometry, 160
    angle = 33.0  # at 0° the matrix would be a simple one
    seconds, made = once(lambda: model.rotation.matrix(angle))
    back_seconds, back = once(lambda: model.rotation.transpose(made))
    rotate, _ = once(lambda: model.rotation.slabs(volume, made, phases, scale=1e-6))
    adjoint, _ = once(lambda: model.rotation.add_adjoint(phases, back, volume, scale=1e-6))
    waves, _ = once(lambda: misfit._differentiate(misfit.tilts[0], phases))
    larger = (LARGE / part) ** 3
    tv, momentum = (larger * each for each in prior_seconds((part,) * 3, 2))
    matrices = (seconds + back_seconds) * TILTS
    sweep = (waves + rotate + adjoint) * TILTS + tv + momentum
    print(f"\n{LARGE}³ voxels, {geometry.wave[0]}² waves, {geometry.n_slabs} slabs")
    print(f"a tilt: waves {waves:.2f} s, rotation {rotate:.2f} s, its adjoint {adjoint:.2f} s")
    print(f"all matrices: {matrices:.0f} s once, {(made.bytes + back.bytes) * TILTS / 1e9:.1f} GB")
    print(f"a sweep: prior {tv:.0f} s, momentum {momentum:.1f} s, all {sweep:.0f} s on one thread")
    for speed_up in (1.7, 1.9):
        hours = (matrices + SWEEPS * sweep) / speed_up / 3600
        print(f"{SWEEPS} sweeps on two cores, if {speed_up} times as fast: {hours:.2f} h")
    on_gpu(geometry)


def once(run: Callable[[], object]) -> tuple[float, object]:
    """Return the shorter processor time of two runs in seconds, and the result."""
    times = []
    for _ in range(2):
        start = time.thread_time()
        result = run()
        times.append(time.thread_time() - start)
    return min(times), result


def on_gpu(geometry: WaveGeometry) -> None:
    """Print the least time on an H100, if memory decides.

    A transform reads and writes the wave once for each axis (Tolmachev, IEEE Access 11, 12039 (2023),
    doi:10.1109/ACCESS.2023.3242240); a slab needs one more read and write of wave, kept wave and phases in
    each direction, and a tilt three of the volume; a step on the dual of the prior needs 13 of the volume.
    """
    wave, slabs, voxels = 8 * geometry.wave[0] * geometry.wave[1], geometry.n_slabs, LARGE**3
    count = 4 * (slabs - 1) + 2 * len(DEFOCI) + 2
    fft = 4 * wave * count
    other = 2 * slabs * 6 * wave + 3 * 4 * voxels
    prior = INNER_STEPS * 13 * 4 * voxels
    seconds = SWEEPS * (TILTS * (fft + other) + prior) / H100_BYTES_S
    print(
        f"H100, not measured: at least {seconds:.0f} s for {SWEEPS} sweeps at {H100_BYTES_S / 1e12:g} TB/s "
        f"({SWEEPS * TILTS * fft / H100_BYTES_S:.0f} s of it in FFTs); {2 * seconds:.0f} s at half of that"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20, help="runs, of which the fastest counts")
    parser.add_argument("--size", type=int, choices=SIZES, action="append", help="all sizes by default")
    parser.add_argument("--no-full", action="store_true", help="leave out the full problem")
    options = parser.parse_args()
    print(f"{TILTS} tilts x {len(DEFOCI)} defoci, 8 slices a slab, {PER_STEP} tilts a step")
    print(ROW.format(*TITLES))
    for size in options.size or SIZES:
        measure(size, SIZES[size], options.repeats)
    rotations(options.repeats)
    if not options.no_full:
        estimate()


if __name__ == "__main__":
    main()
