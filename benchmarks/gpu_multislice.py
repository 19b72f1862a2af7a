"""Reconstruction by multislice on a GPU, beside its Fourier transforms alone and beside the CPU.

    python benchmarks/gpu_multislice.py [--sizes 64 256] [--tilts 60] [--iterations 5]

The series are of random atoms in cubes, with three defoci at each tilt. An iteration is a sweep over all
tilts, one after the other (--subset-size 1, the default of recon) or eight at the same time, and the prior's
proximal map. What happens once is taken off by timing different numbers of iterations. The transforms alone
are those of one tilt after the other, without anything between. The CPU makes the gradient steps of a few
tilts, and its time is that of all, without the prior.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gpu import fastest, per_iteration

from etcli.core.gpu import GPU, gpu_name, why_no_gpu
from etcli.core.multislice.array_misfit import ArrayMisfit
from etcli.core.multislice.backends import make_misfit
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.multislice import solve_volume

PIXEL_A = 0.5
DEFOCI_A = (150.0, 300.0, 450.0)
ATOM_V, ATOM_PX = 100.0, 1.0
ON_CPU = 3
"""Tilts that the CPU computes."""
ROW = "{:46}{:>12}{:>12}"


def specimen(n: int) -> np.ndarray:
    """Return the potential of random atoms in a ball, one in 500 voxels of the cube."""
    rng = np.random.default_rng(0)
    volume = np.zeros((n, n, n), np.float32)
    around = np.indices((9, 9, 9)) - 4
    for at in rng.uniform(5, n - 6, (n**3 // 500, 3)):
        if np.linalg.norm(at - (n - 1) / 2) < n / 3:
            first = np.rint(at).astype(int) - 4
            square = ((around - (at - first - 4).reshape(3, 1, 1, 1)) ** 2).sum(axis=0)
            z, x, y = (slice(k, k + 9) for k in first)
            volume[z, x, y] += ATOM_V * np.exp(-square / (2 * ATOM_PX**2)).astype(np.float32)
    return volume


def make_series(n: int, n_tilts: int, make: Callable[..., PhaseContrastMisfit]) -> PhaseContrastMisfit:
    """Return the misfit to images of the atoms, which are computed on the GPU."""
    tilt_deg = np.repeat(np.linspace(-90, 90, n_tilts, endpoint=False), len(DEFOCI_A))
    defocus_A = np.tile(DEFOCI_A, n_tilts)
    known = (tilt_deg, defocus_A, PhaseContrastOptics(300.0, aperture_mrad=19.7))
    how: dict[str, Any] = {"pixel_A": PIXEL_A, "shape": (n, n, n)}
    images = np.ones((len(tilt_deg), n + 32, n + 32), np.float32)
    model, volume = ArrayMisfit(images, *known, device=GPU, **how), GPU.put(specimen(n))
    for k in range(len(images)):
        images[k] = model.image(volume, k)
    return make(images, *known, **how)


def transforms(misfit: PhaseContrastMisfit) -> float:
    """Return the seconds of the Fourier transforms of an iteration on the GPU."""
    g, n_images = misfit.geometry, len(DEFOCI_A)
    one, all_images = (GPU.empty((k, *g.wave), np.complex64) for k in (1, n_images))
    for array in (one, all_images):
        array[...] = 1

    def of_tilt() -> None:
        for _ in range(4 * (g.n_slabs - 1) + 2):
            np.fft.fft2(one)
        for _ in range(2):
            np.fft.fft2(all_images)

    return len(misfit.tilts) * fastest(of_tilt, 3)


def cpu_seconds(misfit: PhaseContrastMisfit) -> float:
    """Return the seconds of the gradient steps of an iteration on the CPU."""
    volume, times = np.zeros(misfit.shape, np.float32), []
    for k in (0, *range(ON_CPU)):  # the first one compiles
        start = time.perf_counter()
        misfit.of_views([k]).descend(volume, 0.5 / misfit.norm)
        times.append(time.perf_counter() - start)
    return len(misfit.tilts) * min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256], help="voxels along every axis")
    parser.add_argument("--tilts", type=int, default=60)
    parser.add_argument("--iterations", type=int, default=5)
    args = parser.parse_args()
    reason = why_no_gpu()
    if reason:
        raise SystemExit(f"nothing measured: {reason}")
    print(f"{gpu_name()}, {args.tilts} tilts with {len(DEFOCI_A)} images each")
    for n in args.sizes:
        misfit = make_series(n, args.tilts, partial(ArrayMisfit, device=GPU))
        nx, ny = misfit.geometry.wave
        print(ROW.format(f"{n}^3 voxels, waves of {nx} x {ny}: an iteration", "ms", "ms a tilt"))

        def report(what: str, seconds: float) -> None:
            print(ROW.format(f"  {what}", f"{1e3 * seconds:.1f}", f"{1e3 * seconds / args.tilts:.2f}"))

        def solve(iterations: int, subset_size: int, misfit: PhaseContrastMisfit = misfit) -> object:
            parameters = MethodParameters(
                "multislice", iterations=iterations, subset_size=subset_size, lower=0.0,
                weight_from_noise=True,
            )  # fmt: skip
            return solve_volume(parameters, misfit, zeros=GPU.zeros)

        report("Fourier transforms alone", transforms(misfit))
        for size in (1, 8):
            seconds = per_iteration(partial(solve, subset_size=size), args.iterations, 2)
            report(f"reconstruction, {size} tilt{'s' * (size > 1)} a step", seconds)
        volume = GPU.get(solve(args.iterations, 1))
        cpu = make_series(n, args.tilts, make_misfit)
        report(f"gradient steps on the CPU, one thread ({ON_CPU} tilts timed)", cpu_seconds(cpu))
        left = misfit.residual(GPU.put(volume)) / misfit.size
        print(f"  {left:.3f} of the contrast unexplained after {args.iterations} iterations")


if __name__ == "__main__":
    main()
