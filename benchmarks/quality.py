"""Errors of all methods of reconstruction on phantoms whose truth is known exactly, beside ETSpy's.

    python benchmarks/quality.py --data DIR --etspy-python VENV/bin/python
    python benchmarks/quality.py --data DIR --methods "sirt 20" "fista tv auto +" star

Four slices of the catalyst that ETSpy ships, binned to 150 x 150 voxels: all 90 views over 180°, every
second, every fifth, and those within 70°; clean, and with normal noise of 3 % of the brightest pixel. Three
tables tell how far off the four slices are: ‖x - truth‖ / ‖truth‖, structural similarity, and resolution in
voxels, where the mean of their correlations with the truth in rings of frequency falls below 0.5. A "+" marks
densities kept from going below zero; "auto" is what sets itself by views left out: the weight
of the prior, or else the iterations.

Where ETSpy has the method, its row follows, from the same arrays with the same settings; its iterations of
SART, which are views, are as many as in our sweeps over all views. Its DART forgets in every other step what
it holds fixed, so 4 steps are kinder to it than the 5 of its default; what it returns are not the levels.

"star" is a last table: the percentage of wrong voxels on a phantom of the densities 0, 0.5 and 1, a star with
holes and a cross, of 128 x 128 voxels, by DART, its densities given or found, and by SIRT with thresholds.

DIR is the folder of data of other people, ETCLI_SHARED/data by default; its `etspy` is used. ETSpy runs in
its own interpreter, given here or as ETSPY_PYTHON. The whole takes 12 minutes of CPU time, half of that on
two cores.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Any

import catalyst
import numpy as np
import star
from numpy.typing import NDArray
from processes import measure

from etcli.core.geometry import SliceGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors.slab import SlabProjector
from etcli.core.quality import fourier_shell_correlation, nrmse, resolution_A, ssim
from etcli.core.reconstruction.cross_validation import leave_out, tuned_iterations, tuned_weight
from etcli.core.reconstruction.grey_levels import tuned_levels
from etcli.core.reconstruction.solve import solve
from etcli.core.solvers.dart import SWEEPS
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import SlabMisfit, slab_misfit

NOISE = 0.03
LEVELS = 0.0, 100.0, 255.0
ETSPY = Path(__file__).with_name("etspy_peer.py")
ETSPY_METHODS = "fbp", "sirt", "sart", "dart"
STAR = "star"
SCORES = "NRMSE", "SSIM", "resolution, voxels"

Array = NDArray[np.float32]
Views = tuple[Array, NDArray[np.float64]]
"""Of a series: (view, row, x), and their angles."""


@dataclass(frozen=True)
class Method:
    """A method of `recon`, and how to find what is to set itself."""

    recipe: MethodParameters
    tune: Callable[[MethodParameters, SlabMisfit], MethodParameters] | None = None

    def __call__(self, views: Array, tilt_deg: NDArray[np.float64]) -> Array:
        """Reconstruct slices (row, z, x), which are no neighbours: a prior must not couple them."""
        n = views.shape[-1]
        geometry = SliceGeometry(tilt_deg, n_detector=n, thickness=n, width=n)
        # the phantom was projected by this kernel, and ETSpy has no other
        make_projector = partial(SlabProjector, kernel="strip")
        coupled = self.recipe.traits.whole_volume and self.recipe.prior == "tv"
        parts = [
            slab_misfit(rows, geometry, make_projector=make_projector)
            for rows in np.split(views, views.shape[1] if coupled else 1, axis=1)
        ]
        brightest = max(parts, key=lambda part: part.size)
        recipe = self.tune(self.recipe, brightest) if self.tune else self.recipe
        found = [solve(recipe, part)[..., : part.n_rows] for part in parts]
        return np.concatenate(found, axis=2).transpose(2, 0, 1)

    def of_etspy(self, n_views: int) -> dict[str, Any] | None:
        """Return the arguments for TomoStack.reconstruct that mean the same, if there are any."""
        recipe = self.recipe
        if recipe.method not in ETSPY_METHODS or self.tune or recipe.subset_size > 1:
            return None
        if recipe.method == "fbp":
            return {"method": "FBP", "sino_filter": recipe.window}
        how = {"method": recipe.method.upper(), "iterations": recipe.iterations}
        if recipe.method == "dart":
            steps = {"iterations": SWEEPS * n_views, "dart_iterations": recipe.iterations}
            return how | steps | {"gray_levels": recipe.levels}
        if recipe.method == "sart":
            how["iterations"] *= n_views
        return how | ({"constrain": True, "thresh": recipe.lower} if recipe.lower == 0 else {})


def main() -> None:
    """Print the tables."""
    args = arguments()
    if not args.etspy_python:
        print("ETSpy is left out: give the Python that has it with --etspy-python or ETSPY_PYTHON")
    if not args.data:
        print("the catalyst is left out: it needs --data DIR")
    elif chosen := {name: method for name, method in METHODS.items() if name in args.methods}:
        print_catalyst(args, chosen)
    if STAR in args.methods:
        print_table(star.TITLES, star.wrong_voxels())


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    shared = os.environ.get("ETCLI_SHARED")
    names = [*METHODS, STAR]
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", default=Path(shared, "data") if shared else None)
    add("--etspy-python", metavar="PATH", default=os.environ.get("ETSPY_PYTHON"))
    add("--methods", nargs="+", metavar="NAME", choices=names, default=names, help=f"of {', '.join(names)}")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def print_catalyst(args: argparse.Namespace, methods: dict[str, Method]) -> None:
    """Print the three tables of the catalyst."""
    views, tilt_deg, truth = catalyst.read_slices(args.data)
    series = all_series(views, tilt_deg)
    jobs = list(product(methods, series))
    volumes = ordered_map(lambda job: methods[job[0]](*series[job[1]]), jobs, threads=args.threads)
    scores = {job: scored(volume, truth) for job, volume in zip(jobs, volumes, strict=True)}
    if args.etspy_python:
        solve = partial(by_etspy, args.etspy_python, methods)
        theirs = ordered_map(solve, series.values(), threads=args.threads)
        for name, found in zip(series, theirs, strict=True):
            scores |= {(method, name): scored(volume, truth) for method, volume in found.items()}
    names = [name for own in methods for name in (own, etspy_name(own)) if (name, "90") in scores]
    for k, title in enumerate(SCORES):
        print_table([title, *series], ([name, *(scores[name, one][k] for one in series)] for name in names))


def all_series(views: Array, tilt_deg: NDArray[np.float64]) -> dict[str, Views]:
    """Return all, few, and the views of a range, clean and noisy."""
    used = {
        "90": tilt_deg < 180,
        "45": tilt_deg % 4 == 0,
        "18": tilt_deg % 10 == 0,
        "±70°": (tilt_deg <= 70) | (tilt_deg >= 110),
    }
    by_row = views.swapaxes(0, 1)
    noise = np.random.default_rng(1).normal(0, NOISE * views.max(), by_row.shape).swapaxes(0, 1)
    noisy = views + noise.astype(np.float32)
    return {name: (views[k], tilt_deg[k]) for name, k in used.items()} | {
        f"{name}, noisy": (noisy[k], tilt_deg[k]) for name, k in used.items()
    }


def scored(volume: Array, truth: Array) -> tuple[str, str, str]:
    """Compare slices (row, z, x) with the truth, as `SCORES` are printed."""
    rings = [fourier_shell_correlation(*pair, pixel_A=1.0) for pair in zip(volume, truth, strict=True)]
    mean = replace(rings[0], correlation=np.mean([ring.correlation for ring in rings], axis=0))
    resolution = resolution_A(mean)
    finest = f"{resolution:.1f}" if resolution else "< 2"
    return f"{nrmse(volume, truth):.3f}", f"{ssim(volume, truth):.3f}", finest


def etspy_name(name: str) -> str:
    """Return what ETSpy's row is called beside ours."""
    return f"ETSpy {name}"


def by_etspy(python: str, methods: dict[str, Method], series: Views) -> dict[str, Array]:
    """Return by name the slices (row, z, x) that ETSpy makes by those of the methods it has."""
    views, tilt_deg = series
    wanted = {etspy_name(name): method.of_etspy(len(views)) for name, method in methods.items()}
    how = json.dumps({name: settings for name, settings in wanted.items() if settings})
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "views.npz"), Path(folder, "volumes.npz")
        np.savez(given, views=views, tilt_deg=tilt_deg)
        measure((python, ETSPY, "reconstruct", given, found, how))
        with np.load(found) as volumes:
            return dict(volumes)


def print_table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table in Markdown, row by row as they come."""
    titles = list(titles)
    print()
    for line in chain((titles, ["---"] * len(titles)), rows):
        print(f"| {' | '.join(line)} |", flush=True)


def with_iterations(recipe: MethodParameters, series: SlabMisfit) -> MethodParameters:
    """Find the number of iterations."""
    return tuned_iterations(recipe, leave_out(series))[0]


def with_weight(recipe: MethodParameters, series: SlabMisfit) -> MethodParameters:
    """Find the weight of the prior."""
    return tuned_weight(recipe, leave_out(series))[0]


def with_both(recipe: MethodParameters, series: SlabMisfit) -> MethodParameters:
    """Find the weight of the prior, then the number of iterations."""
    return with_iterations(with_weight(recipe, series), series)


def with_levels(recipe: MethodParameters, series: SlabMisfit) -> MethodParameters:
    """Find the densities."""
    return tuned_levels(recipe, series, len(LEVELS) + 1)  # one for voxels on borders


METHODS = {
    "bp": Method(MethodParameters("bp")),
    "fbp": Method(MethodParameters("fbp")),
    "fbp shepp-logan": Method(MethodParameters("fbp", window="shepp-logan")),
    "fbp hann": Method(MethodParameters("fbp", window="hann")),
    "sirt 20": Method(MethodParameters("sirt", iterations=20)),
    "sirt 20 +": Method(MethodParameters("sirt", iterations=20, lower=0)),
    "sirt 100": Method(MethodParameters("sirt", iterations=100)),
    "sirt 100 +": Method(MethodParameters("sirt", iterations=100, lower=0)),
    "sirt auto +": Method(MethodParameters("sirt", lower=0), with_iterations),
    "sart 20": Method(MethodParameters("sart", iterations=20)),
    "sart 20 +": Method(MethodParameters("sart", iterations=20, lower=0)),
    "sart 20 by sixes +": Method(MethodParameters("sart", iterations=20, subset_size=6, lower=0)),
    "mlem 20": Method(MethodParameters("mlem", iterations=20)),
    "mlem auto": Method(MethodParameters("mlem"), with_iterations),
    "cgls 10": Method(MethodParameters("cgls", iterations=10)),
    "cgls auto": Method(MethodParameters("cgls"), with_iterations),
    "fista tv auto +": Method(MethodParameters("fista", prior="tv", lower=0), with_weight),
    "fista l1 auto +": Method(MethodParameters("fista", prior="l1", lower=0), with_weight),
    "fista l1 both auto +": Method(MethodParameters("fista", prior="l1", lower=0), with_both),
    "fista none auto +": Method(MethodParameters("fista", prior="none", lower=0), with_iterations),
    "resire 100 +": Method(MethodParameters("resire", iterations=100)),
    "dart": Method(MethodParameters("dart", iterations=4, levels=LEVELS)),
    "dart 4 levels found": Method(MethodParameters("dart"), with_levels),
}

if __name__ == "__main__":
    main()
