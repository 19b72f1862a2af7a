"""Few views within a narrow range: what `recon --method fista` does by default, and other priors tried.

    python benchmarks/few_views.py --data DIR
    python benchmarks/few_views.py --data DIR --priors tv "levels 3" --ranges 40,4

Slices of 150 x 150 voxels with noise of 3 % of the brightest pixel: the catalyst that ETSpy ships, and four
specimens made here. The first table is of ‖x - truth‖ / ‖truth‖ with the default parameters of
`recon --method fista --nonnegative`. The others compare priors that have the same solver, run for longer,
each with the weight that predicts left-out views best: "error / error of left-out views". "best of all" is
the prior whose error of left-out views is smallest, as a choice by cross-validation would have it.

- tv: total variation. tv z/A: differences along z, which the missing wedge blurs, count 1/A. separable: those
  along z and x each on their own. reweighted: each difference g counts 1 / (1 + g/e), e = Σ g² / Σ g.
- bounded: no density above that of the brighter one of two levels.
- levels N: total variation, and a weak pull of every voxel towards the nearest of N densities, which are the
  medians of the evener half of the voxels nearest to each, of all slices of the specimen.

DIR is the folder of data of other people, ETCLI_SHARED/data by default. The whole takes some
20 minutes of CPU time.
"""

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

import catalyst
import numpy as np
from numba import njit
from numpy.typing import NDArray
from quality import METHODS, NOISE, print_table
from scipy import ndimage

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.quality import nrmse
from etcli.core.solvers.spectral_norm import squared_norm
from etcli.core.view_subsets import left_out_in_turn

N, WIDTH = catalyst.N, 16
WEIGHTS = 10 ** -np.arange(1.5, 2.6, 0.25)  # per view, of the brightest pixel
SWEEPS, SWEEPS_LEFT_OUT = 150, 80
DUAL_STEPS = 5
BEFORE_LEVELS, NEW_LEVELS = 0.3, 10  # fraction of the sweeps before the levels, and sweeps between estimates
PULL = 0.1  # halfway between levels, of the force of the total variation
RANGES = "30,10", "40,4", "60,2"

Array = NDArray[np.float32]
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """Total variation, changed."""

    along_z: float = 1.0
    separable: bool = False
    reweighted: bool = False
    levels: int = 1
    bounded: bool = False


PRIORS = {
    "tv": Prior(),
    "tv z/2": Prior(along_z=0.5),
    "tv z/4": Prior(along_z=0.25),
    "separable": Prior(separable=True),
    "reweighted": Prior(reweighted=True),
    "bounded": Prior(bounded=True, levels=2),
    "levels 2": Prior(levels=2),
    "levels 3": Prior(levels=3),
    "levels 4": Prior(levels=4),
}


@dataclass(eq=False)
class Series:
    """Views of a few slices (view, x, slice), scaled to a brightest pixel of 1, and their norm of AᵀA."""

    views: Array
    tilt_deg: Float
    projector: SlabProjector = field(init=False)
    norm: float = field(init=False)

    def __post_init__(self) -> None:
        geometry = SliceGeometry(self.tilt_deg, n_detector=N, thickness=N, width=N)
        self.projector = SlabProjector(geometry, n_slices=WIDTH, kernel="strip")
        self.norm = squared_norm(self.projector)

    def of_views(self, views: NDArray[np.intp]) -> "Series":
        """Return the series of some of the views."""
        return Series(np.ascontiguousarray(self.views[views]), self.tilt_deg[views])

    def forward(self, volume: Array) -> Array:
        """Return A x."""
        return self.projector.forward(padded(volume))[..., : volume.shape[-1]]

    def adjoint(self, views: Array) -> Array:
        """Return Aᵀ y."""
        return self.projector.adjoint(padded(views))[..., : views.shape[-1]]

    def residual(self, volume: Array) -> float:
        """Return ‖A x - y‖."""
        return float(np.linalg.norm(self.forward(volume) - self.views))


def padded(array: Array) -> Array:
    """Return the slices with zeros up to the width of a slab."""
    return np.pad(array, ((0, 0), (0, 0), (0, WIDTH - array.shape[-1])))


def main() -> None:
    """Print the tables."""
    shared = os.environ.get("ETCLI_SHARED")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    data = Path(shared, "data") if shared else None
    parser.add_argument("--data", type=Path, metavar="DIR", default=data, required=data is None)
    parser.add_argument("--priors", nargs="*", metavar="NAME", choices=PRIORS, default=list(PRIORS))
    parser.add_argument("--ranges", nargs="+", metavar="DEG,STEP", default=list(RANGES))
    args = parser.parse_args()
    ranges = [tuple(map(float, text.split(","))) for text in args.ranges]
    titles = [f"±{half:g}°/{step:g}°" for half, step in ranges]
    fista = METHODS["fista tv auto +"]
    cases = [noisy_series(args.data, half, step) for half, step in ranges]
    rows = []
    for name in cases[0]:
        errors = [nrmse(fista(views, tilt_deg), truth) for views, tilt_deg, truth in (c[name] for c in cases)]
        rows.append((name, *(f"{error:.3f}" for error in errors)))
    print_table(["recon --method fista", *titles], rows)
    if args.priors:
        for title, case in zip(titles, cases, strict=True):
            print_table([title, *case], compared(args.priors, case))


def compared(names: list[str], case: dict[str, tuple[Array, Float, Array]]) -> list[list[str]]:
    """Return the rows of the table of priors."""
    found = {name: [tuned(PRIORS[name], *given) for given in case.values()] for name in names}
    rows = [
        [name, *(f"{error:.3f} / {left_out:.4f}" for left_out, error in scores)]
        for name, scores in found.items()
    ]
    best = [min(scores) for scores in zip(*found.values(), strict=True)]
    return [*rows, ["best of all", *(f"{error:.3f} / {left_out:.4f}" for left_out, error in best)]]


def tuned(prior: Prior, views: Array, tilt_deg: Float, truth: Array) -> tuple[float, float]:
    """Return the error of left-out views, at the weight for which it is smallest, and that of the volume."""
    scale, every = views.max(), np.arange(len(views))
    series = Series(np.ascontiguousarray(views.swapaxes(1, 2)) / scale, tilt_deg)
    splits = [
        (series.of_views(np.setdiff1d(every, left_out)), series.of_views(left_out))
        for left_out in left_out_in_turn(tilt_deg)
    ]
    size = np.sqrt(sum(np.sum(np.square(out.views)) for _, out in splits))
    scores = []
    for weight in WEIGHTS:
        residuals = [out.residual(solve(prior, used, weight, SWEEPS_LEFT_OUT)) for used, out in splits]
        scores.append((float(np.linalg.norm(residuals) / size), weight))
    left_out, weight = min(scores)
    volume = solve(prior, series, weight, SWEEPS).transpose(2, 0, 1) * scale
    return left_out, nrmse(volume, truth)


def solve(prior: Prior, series: Series, weight: float, sweeps: int) -> Array:
    """Minimise ½ ‖A x - y‖² + weight · views · prior(x), x ≥ 0, by FISTA."""
    x, ahead, new, nearest = (np.zeros((N, N, series.views.shape[-1]), np.float32) for _ in range(4))
    dual, local = np.zeros((2, *x.shape), np.float32), np.ones_like(x)
    force = np.float32(weight * len(series.views) / series.norm)
    levels, upper, pace, begin = np.zeros(prior.levels), np.float32(np.inf), 1.0, int(BEFORE_LEVELS * sweeps)
    along_z = np.float32(prior.along_z)
    for k in range(sweeps):
        point = ahead + series.adjoint(series.views - series.forward(ahead)) / series.norm
        point, pull = point.astype(np.float32), 0.0
        if k >= begin and (k - begin) % NEW_LEVELS == 0:
            levels = found_levels(x, levels)
            local = reweighted(x) if prior.reweighted else local
            upper = np.float32(levels[-1]) if prior.bounded else upper
        if k > begin and prior.levels > 1 and not prior.bounded:
            half_spacing = levels[-1] / (2 * (levels.size - 1))
            pull = PULL * force / half_spacing * (k - begin) / (sweeps - begin)
            nearest = levels[np.digitize(x, (levels[1:] + levels[:-1]) / 2)].astype(np.float32)
            point = ((point + pull * nearest) / (1 + pull)).astype(np.float32)
        for _ in range(DUAL_STEPS):
            _image(point, dual, along_z, upper, new)
            _dual_step(new, dual, np.float32(force / (1 + pull)) * local, along_z, prior.separable)
        _image(point, dual, along_z, upper, new)
        pace = 1.0 if np.vdot(ahead - new, new - x) > 0 else pace
        next_pace = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = new + np.float32((pace - 1) / next_pace) * (new - x)
        x, new, pace = new, x, next_pace
    return x


def steepness(x: Array) -> Array:
    """Return the length of the differences with the next voxels along z and x."""
    along_z, along_x = np.diff(x, axis=0, append=x[-1:]), np.diff(x, axis=1, append=x[:, -1:])
    return np.hypot(along_z, along_x)


def reweighted(x: Array) -> Array:
    """Return the weights of the differences, (z, x, slice)."""
    g = steepness(x)
    edge = np.sum(g**2, axis=(0, 1)) / np.maximum(g.sum(axis=(0, 1)), 1e-20)
    return (1 / (1 + g / (edge + 1e-12))).astype(np.float32)


def found_levels(x: Array, levels: Float) -> Float:
    """Return the medians of the evener half of the voxels nearest to each level; the first stays zero."""
    if not levels[-1] > 0:
        levels = np.linspace(0, 0.8 * x.max(), levels.size)
    nearest, g, found = np.digitize(x, (levels[1:] + levels[:-1]) / 2), steepness(x), levels.copy()
    for k in range(1, levels.size):
        chosen = nearest == k
        if chosen.any():
            found[k] = np.median(x[chosen & (g <= np.median(g[chosen]))])
    return found


@njit(cache=True)
def _image(point, dual, along_z, upper, out):  # type: ignore[no-untyped-def]
    """Set ``out`` to ``point + div(dual)`` between zero and the upper bound."""
    nz, nx, n = point.shape
    for z in range(nz):
        for x in range(nx):
            for k in range(n):
                value = point[z, x, k] + along_z * dual[0, z, x, k] + dual[1, z, x, k]
                value -= along_z * dual[0, z - 1, x, k] if z > 0 else np.float32(0)
                value -= dual[1, z, x - 1, k] if x > 0 else np.float32(0)
                out[z, x, k] = min(max(value, np.float32(0)), upper)


@njit(cache=True)
def _dual_step(image, dual, radius, along_z, separable):  # type: ignore[no-untyped-def]
    """Step along the gradient of the image and project onto balls, or intervals, of that radius."""
    nz, nx, n = image.shape
    step = np.float32(1 / (4 * (1 + along_z * along_z)))
    for z in range(nz):
        for x in range(nx):
            for k in range(n):
                pz, px, r = dual[0, z, x, k], dual[1, z, x, k], radius[z, x, k]
                if z < nz - 1:
                    pz += step * along_z * (image[z + 1, x, k] - image[z, x, k])
                if x < nx - 1:
                    px += step * (image[z, x + 1, k] - image[z, x, k])
                if separable:
                    dual[0, z, x, k], dual[1, z, x, k] = min(max(pz, -r), r), min(max(px, -r), r)
                else:
                    shrink = r / max(r, np.sqrt(pz * pz + px * px) + np.float32(1e-30))
                    dual[0, z, x, k], dual[1, z, x, k] = shrink * pz, shrink * px


def noisy_series(data: Path, half_deg: float, step_deg: float) -> dict[str, tuple[Array, Float, Array]]:
    """Return views (view, slice, x), angles and slices (slice, z, x) of all specimens."""
    views, tilt, truth = catalyst.read_slices(data)
    noise = np.random.default_rng(1).normal(0, NOISE * views.max(), views.swapaxes(0, 1).shape).swapaxes(0, 1)
    beyond, signed = tilt > 90, np.where(tilt > 90, tilt - 180, tilt)
    views = np.float32(views + noise)
    views[beyond] = views[beyond][..., ::-1]
    order = np.argsort(signed)
    order = order[(np.abs(signed[order]) <= half_deg) & ((signed[order] + half_deg) % step_deg == 0)]
    found = {"catalyst": (np.ascontiguousarray(views[order]), signed[order], truth)}
    for name, draw in SPECIMENS.items():
        fine = np.zeros((2 * N, 2 * N, WIDTH), np.float32)
        for k in range(3):
            fine[..., k] = draw(k)
        geometry = SliceGeometry(signed[order], n_detector=2 * N, thickness=2 * N, width=2 * N)
        exact = SlabProjector(geometry, n_slices=WIDTH, kernel="strip").forward(fine)[..., :3]
        views = exact.reshape(-1, N, 2, 3).mean(axis=2).swapaxes(1, 2) / 2  # pixels of two voxels
        errors = np.random.default_rng(2).normal(0, NOISE, views.shape) * views.max(
            axis=(0, 2), keepdims=True
        )
        coarse = fine[..., :3].reshape(N, 2, N, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
        found[name] = np.ascontiguousarray(views + errors, np.float32), signed[order], coarse
    return found


Z, X = np.mgrid[: 2 * N, : 2 * N] - (2 * N - 1) / 2


def shells(k: int) -> Float:
    """Five cores in shells, both with gradients."""
    rng, volume = np.random.default_rng(100 + k), np.zeros(Z.shape)
    for _ in range(5):
        radius, (z, x) = rng.uniform(18, 45), rng.uniform(-70, 70, 2)
        core, high, low = rng.uniform(0.4, 0.7) * radius, rng.uniform(0.6, 1), rng.uniform(0.2, 0.5)
        r = np.hypot(Z - z, X - x)
        inside = np.where(
            r < core, high - 0.6 * (high - low) * (r / core) ** 2, low * (1 + 0.6 * (Z - z) / radius)
        )
        volume = np.where(r < radius, np.maximum(inside, 0.02), volume)
    return volume


def network(k: int) -> Float:
    """A porous network of one density in a disc."""
    noise = np.random.default_rng(200 + k).normal(size=Z.shape)
    smooth = ndimage.gaussian_filter(noise, 7 + 2 * k, mode="wrap")
    return ((smooth > 0.2 * smooth.std()) & (np.hypot(Z, X) < 110)).astype(float)


def blobs(k: int) -> Float:
    """Ten Gaussians."""
    rng, volume = np.random.default_rng(300 + k), np.zeros(Z.shape)
    for _ in range(10):
        width, (z, x) = rng.uniform(8, 28), rng.uniform(-75, 75, 2)
        volume += rng.uniform(0.3, 1) * np.exp(-((Z - z) ** 2 + (X - x) ** 2) / (2 * width**2))
    return volume / volume.max()


def blocks(k: int) -> Float:
    """Seven blocks of different densities, and a film."""
    rng = np.random.default_rng(400 + k)
    volume = np.where((np.abs(Z + 20 * k) < 5) & (np.abs(X) <= 120), 0.15, 0.0)
    for _ in range(7):
        angle, (z, x) = rng.uniform(0, np.pi), rng.uniform(-75, 75, 2)
        u = (X - x) * np.cos(angle) + (Z - z) * np.sin(angle)
        v = (Z - z) * np.cos(angle) - (X - x) * np.sin(angle)
        volume[(np.abs(u) < rng.uniform(8, 30)) & (np.abs(v) < rng.uniform(5, 20))] = rng.uniform(0.3, 1)
    return volume


SPECIMENS = {"shells": shells, "network": network, "blobs": blobs, "blocks": blocks}

if __name__ == "__main__":
    main()
