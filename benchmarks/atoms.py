"""Time and memory of tracing atoms, and time of a step of their refinement.

    python benchmarks/atoms.py [--size 480] [--atoms 100000] [--threads 2] [--noise 0.1]

Volumes are crystals with every atom a little off its place, in white noise, with the density of atoms the
same for all numbers: an eighth, a quarter, a half and all of them. Each is traced in a process of its own,
whose memory is its peak less what it held before the volume. A step of the refinement is one evaluation of
the misfit and its gradient, on one thread. Bars: 5 minutes and 4 times the volume's memory for 100 000 atoms
in 480³ voxels on 2 cores; 1 s for 20 000 atoms in 60 views.
"""

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.gaussian_fit import residual_of, start_atoms
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, inverse_variance, project_model
from etcli.core.atoms.refine_model import _Problem
from etcli.core.atoms.tracing import TraceRules, trace
from etcli.core.orientation import rotation_matrices, tilts_as_euler

PIXEL_A, SIGMA_A = 0.4, 0.5


def crystal(n_atoms: int, size: int, jitter: float) -> NDArray[np.float64]:
    """Return places (x, y, z) of atoms that fill a cube, away from its border."""
    edge = int(np.ceil(n_atoms ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_atoms]
    step = (size - 16) / edge
    rng = np.random.default_rng(0)
    return 8 + (grid + 0.5) * step + rng.normal(size=grid.shape) * jitter * step


def peak_bytes() -> int:
    """Return the most memory this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def traced(
    n_atoms: int, size: int, noise: float, threads: int
) -> tuple[int, int, float, float, float, float]:
    """Trace a crystal; return atoms found and near the truth, their error in voxels, times, and memory."""
    small = crystal(64, 48, 0.05)
    trace(made(small, 48, noise), PIXEL_A, TraceRules(), threads=threads)  # compiles
    true = crystal(n_atoms, size, 0.05)
    before = peak_bytes()
    volume = made(true, size, noise)
    wall, processor = time.perf_counter(), time.process_time()
    found = trace(volume, PIXEL_A, TraceRules(), threads=threads)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    memory = (peak_bytes() - before) / volume.nbytes
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(found.fitted[:, :3]).query(true)
    near = distance < 2
    error = float(np.sqrt((distance[near] ** 2).mean()))
    return len(found.fitted), int(near.sum()), error, wall, processor, memory


def made(place: NDArray[np.float64], size: int, noise: float) -> NDArray[np.float32]:
    """Return a volume of atoms of height 1 in noise, section by section."""
    rng = np.random.default_rng(1)
    volume = np.zeros((size,) * 3, np.float32)
    residual_of(volume, start_atoms(place, -np.ones(len(place)), SIGMA_A / PIXEL_A), out=volume)
    for section in volume:
        section += noise * rng.standard_normal(section.shape, np.float32)
    return volume


def refinement_step(n_atoms: int, n_views: int) -> float:
    """Return the processor's seconds for a misfit and its gradient, the fewest of three."""
    size = int(np.ceil(n_atoms ** (1 / 3) * 2.6 / PIXEL_A)) + 16
    place_A = (crystal(n_atoms, size, 0.05) - (size - 1) / 2) * PIXEL_A
    rotation = rotation_matrices(tilts_as_euler(np.linspace(-90, 90, n_views, endpoint=False)))
    empty = AtomViews(np.zeros((n_views, size, size)), rotation, PIXEL_A)
    kind = np.zeros(n_atoms, int)
    model = GaussianModel(place_A, np.full(n_atoms, 100.0), kind, np.array([SIGMA_A]), np.ones(n_views))
    shown = project_model(model, empty)
    views = AtomViews(np.random.default_rng(2).poisson(shown).astype(float), rotation, PIXEL_A)
    problem = _Problem(model, views, inverse_variance(views, shown), 0.35, place_A, 0.1)
    at = np.zeros(4 * n_atoms + 1 + n_views)
    seconds = []
    for _ in range(4):
        start = time.process_time()
        problem(at)
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=480, help="voxels along each edge of the largest volume")
    parser.add_argument("--atoms", type=int, default=100_000, help="atoms in the largest volume")
    parser.add_argument("--noise", type=float, default=0.1, help="in the height of an atom")
    parser.add_argument("--threads", type=int, default=2, help="threads for tracing")
    parser.add_argument("--refined", type=int, default=20_000, help="atoms in a step of the refinement")
    parser.add_argument("--views", type=int, default=60, help="views in a step of the refinement")
    options = parser.parse_args()
    row = "{:>9} {:>7} {:>9} {:>9} {:>9} {:>8} {:>8} {:>14}"
    print(row.format("atoms", "voxels", "found", "near", "error/px", "wall/s", "cpu/s", "memory/volume"))
    for part in (8, 4, 2, 1):
        n_atoms, size = options.atoms // part, round(options.size / part ** (1 / 3))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
            found = own.submit(traced, n_atoms, size, options.noise, options.threads).result()
        n, near, error, wall, processor, memory = found
        numbers = f"{error:.4f}", f"{wall:.1f}", f"{processor:.1f}", f"{memory:.2f}"
        print(row.format(n_atoms, f"{size}³", n, near, *numbers), flush=True)
    seconds = refinement_step(options.refined, options.views)
    print(f"refinement: {options.refined} atoms, {options.views} views: {seconds:.2f} s a step on one thread")


if __name__ == "__main__":
    main()
