"""Methods of reconstruction by name: what each is called with, and what sets itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SlabGeometry
from etcli.core.plans import Method
from etcli.core.projectors import Projector
from etcli.core.solvers import dart
from etcli.core.solvers.backprojection import backprojection, inverse_sums
from etcli.core.solvers.cgls import cgls
from etcli.core.solvers.filtered_backprojection import Window, filtered_backprojection
from etcli.core.solvers.grey_levels import find_levels
from etcli.core.solvers.left_out import (
    MOST_ITERATIONS,
    LeftOut,
    Split,
    best_iterations,
    best_weight,
)
from etcli.core.solvers.priors import Prior, make_prior
from etcli.core.solvers.regularised import Misfit, Series, WholeSeries, regularised
from etcli.core.solvers.resire import resire, uniform_sums
from etcli.core.solvers.sart import sart, subset_sums
from etcli.core.solvers.sirt import Callback, sirt
from etcli.core.solvers.spectral_norm import squared_norm
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]

ITERATIONS: Mapping[str, int] = MappingProxyType(
    {"sirt": 30, "sart": 10, "cgls": 10, "fista": 40, "resire": 100, "dart": 40}
)
"""The iterative methods, and how many iterations they make when nobody says."""
DIRECT = ("fbp", "bp")
WHOLE = ("fista",)
"""Methods that work on the whole volume, because a prior couples all of its slices."""
ORIENTED = ("resire", "sirt", "fista")
"""Methods for views of any orientation."""


@dataclass(frozen=True)
class Recipe:
    """A method of reconstruction and its parameters.

    Parameters
    ----------
    method : str
        One of `ITERATIONS` or `DIRECT`.
    iterations : int
        Sweeps over all views; 0 for the method's usual number.
    relaxation : float
        Step of sirt, sart and resire.
    subset_size : int
        Views that sart corrects by at a time.
    lower, upper : float
        Bounds of the density, for sirt, sart, fista and resire, whose lower one is never below 0.
    prior : str
        As for `etcli.core.solvers.priors.make_prior`, for fista.
    weight : float
        Of the prior.
    window : str or callable
        Filter of fbp.
    levels, thresholds : sequence of float
        Densities that dart knows, and what separates them; halfway where there are no thresholds.

    Raises
    ------
    UsageError
        If there is no such method.
    """

    method: str = "sirt"
    iterations: int = 0
    relaxation: float = 1.0
    subset_size: int = 1
    lower: float = -np.inf
    upper: float = np.inf
    prior: str = "tv"
    weight: float = 0.0
    window: str | Window = "ram-lak"
    levels: tuple[float, ...] = ()
    thresholds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.method not in (*ITERATIONS, *DIRECT):
            raise UsageError(f"no method named {self.method!r}; use {', '.join((*ITERATIONS, *DIRECT))}")
        object.__setattr__(self, "iterations", self.iterations or ITERATIONS.get(self.method, 0))
        if self.method == "resire":
            object.__setattr__(self, "lower", max(self.lower, 0.0))

    @property
    def whole(self) -> bool:
        """Whether it works on the whole volume instead of slab by slab."""
        return self.method in WHOLE

    def for_slabs(self, geometry: SlabGeometry, *, masked: bool = False) -> Method:
        """Return the solver of slabs.

        Parameters
        ----------
        geometry : SlabGeometry
            Views and slice.
        masked : bool
            Whether it is to be given a mask of its own for every slab, as sirt and resire may be.

        Returns
        -------
        Method
        """
        bounds = {"lower": self.lower, "upper": self.upper}
        steps: dict[str, Any] = {"iterations": self.iterations, "relaxation": self.relaxation, **bounds}
        one_slice = partial(inverse_sums, one_slice=True)
        if self.method == "fbp":
            return Method(partial(filtered_backprojection, window=self.window), sinograms=3)
        if self.method == "bp":
            return Method(backprojection, sums=one_slice)
        if self.method == "cgls":
            return Method(partial(cgls, iterations=self.iterations), iterative=True, sinograms=3, volumes=3)
        if self.method == "sirt":
            if masked:
                return Method(partial(sirt, **steps), iterative=True, sinograms=4, volumes=5)
            return Method(partial(sirt, **steps), iterative=True, sums=one_slice)
        if self.method == "resire":
            return Method(partial(sirt, **steps), iterative=True, sums=uniform_sums)
        if self.method == "dart":
            solve = partial(_dart, levels=self.levels, thresholds=self.thresholds, iterations=self.iterations)
            return Method(
                solve, iterative=True, sinograms=dart.SINOGRAMS, volumes=dart.VOLUMES, sums=squared_norm
            )
        if self.method == "sart":
            return Method(
                partial(sart, subset_size=self.subset_size, **steps),
                iterative=True,
                sinograms=3,
                sums=partial(subset_sums, subset_size=self.subset_size),
                n_subsets=-(-geometry.n_views // self.subset_size),
            )
        raise UsageError(f"{self.method} works on the whole volume, not slab by slab")

    def prior_of(self, shape: tuple[int, int, int], *, threads: int = 1, zeros: Zeros = in_memory) -> Prior:
        """Return the prior for volumes of a shape, bounds included."""
        bounds = {"lower": self.lower, "upper": self.upper}
        return make_prior(self.prior, shape, **bounds, threads=threads, zeros=zeros)

    def solve(self, series: Misfit, callback: Callback | None = None, *, zeros: Zeros = in_memory) -> Array:
        """Reconstruct a series at once.

        Parameters
        ----------
        series : Series or WholeSeries
            A few rows, unless the method works on the whole volume; or views of any orientation.
        callback : callable, optional
            As for the solvers.
        zeros : callable
            ``zeros(shape)`` makes the arrays of the size of the volume, for fista.

        Returns
        -------
        ndarray of shape ``series.shape``, float32
            The last axis may be longer.

        Raises
        ------
        UsageError
            When the method is not for such views.
        """
        if self.method == "fista":
            prior = self.prior_of(series.shape, threads=series.threads, zeros=zeros)
            how: dict[str, Any] = {"weight": self.weight, "iterations": self.iterations}
            return regularised(series, prior, **how, zeros=zeros, callback=callback)
        if isinstance(series, WholeSeries):
            return self._solve_oriented(series, callback)
        assert isinstance(series, Series)
        projector, slab = _only_slab(series)
        method = self.for_slabs(series.geometry)
        shared = {"sums": method.sums(projector)} if method.sums else {}
        return method.solve(projector, slab, **shared, **({"callback": callback} if callback else {}))

    def _solve_oriented(self, series: WholeSeries, callback: Callback | None) -> Array:
        """Reconstruct a volume from views of any orientation, without a prior."""
        if self.method not in ORIENTED:
            raise UsageError(
                f"{self.method} needs views tilted about one axis; use one of {', '.join(ORIENTED)}"
            )
        solver = resire if self.method == "resire" else sirt
        return solver(
            series.projector,
            series.views,
            iterations=self.iterations,
            relaxation=self.relaxation,
            lower=self.lower,
            upper=self.upper,
            callback=callback,
        )


def _dart(projector: Projector, sinogram: Array, *, sums: float, **how: Any) -> Array:
    """Reconstruct by DART; what slabs of one geometry share is the norm of the projection."""
    return dart.dart(projector, sinogram, norm=sums, **how)


def tune_levels(recipe: Recipe, series: Misfit, n_levels: int) -> Recipe:
    """Find the densities that a specimen is made of.

    Parameters
    ----------
    recipe : Recipe
        What is to be done.
    series : Series
        A few rows.
    n_levels : int
        How many densities, the vacuum included.

    Returns
    -------
    Recipe
        The recipe with those.
    """
    projector, slab = _only_slab(series)
    return replace(recipe, levels=tuple(find_levels(projector, slab, n_levels).tolist()))


def _only_slab(series: Misfit) -> tuple[Projector, Array]:
    """Return the slab of a few rows, and its projector."""
    assert isinstance(series, Series)
    (slab,) = series.slabs
    return series.make_projector(series.geometry, n_slices=slab.shape[-1]), slab


def tune_weight(
    recipe: Recipe,
    split: Split,
    *,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
) -> tuple[Recipe, LeftOut]:
    """Find the weight of the prior that predicts left-out views best.

    Parameters
    ----------
    recipe : Recipe
        What is to be done.
    split : Split
        From `etcli.core.solvers.left_out.leave_out`.
    zeros : callable
        As for `Recipe.solve`.
    progress : callable, optional
        As for `etcli.core.solvers.left_out.best_weight`.

    Returns
    -------
    (Recipe, LeftOut)
        The recipe with that weight, and how it was found.
    """
    found = best_weight(
        split,
        partial(recipe.prior_of, threads=split.used.threads, zeros=zeros),
        zeros=zeros,
        progress=progress,
    )
    return replace(recipe, weight=found.best), found


def tune_iterations(
    recipe: Recipe,
    split: Split,
    *,
    most: int = MOST_ITERATIONS,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
) -> tuple[Recipe, LeftOut]:
    """Find the number of iterations that predicts left-out views best.

    Parameters
    ----------
    recipe : Recipe
        What is to be done.
    split : Split
        From `etcli.core.solvers.left_out.leave_out`.
    most : int
        Iterations to try.
    zeros : callable
        As for `Recipe.solve`.
    progress : callable, optional
        As for `etcli.core.solvers.left_out.best_iterations`.

    Returns
    -------
    (Recipe, LeftOut)
        The recipe with that number, and how it was found.
    """

    def solve(series: Misfit, iterations: int, callback: Callback) -> Array:
        fewer = replace(recipe, iterations=iterations, weight=recipe.weight / split.scaling)
        return fewer.solve(series, callback, zeros=zeros)

    found = best_iterations(split, solve, most=most, progress=progress)
    return replace(recipe, iterations=int(found.best)), found
