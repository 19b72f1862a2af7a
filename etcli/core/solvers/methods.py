"""The registry of the methods of reconstruction, and the parameters that they understand.

It loads nothing but the standard library, so that ``etcli recon --help`` and the solvers can both read it. A
method is known by its entry alone: options, defaults, refusals, memory plans and the history of a volume all
follow from what is declared here. What builds it is a module by name, which has

- ``slab_solver(parameters, geometry, masked=False)``: a `SlabSolver`, unless the method works on the whole
  volume at once;
- ``solve_volume(parameters, misfit, callback=None, zeros=...)``: the volume, where the method works on the
  whole of it, or is for views of any orientation;
- ``volumes_held(parameters)``: how many arrays of the size of the volume it holds at once, where it works
  on all of it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from etcli.core.errors import UsageError

FILTERS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
"""Filters of back-projection; ``sirt-like:N`` and ``hamming-like:F`` are made for their number."""
PRIORS = ("tv", "l1", "none")
"""What a volume may be expected to be like: total variation, sparsity, nothing."""

PROJECTED = {"kernel", "backend"}
ITERATIVE = {"iterations", "error_curve"} | PROJECTED


@dataclass(frozen=True)
class Method:
    """A method of reconstruction.

    Parameters
    ----------
    name : str
        As users write it.
    help : str
        What it does, in one line.
    solver : str
        The module that builds it.
    options : frozenset of str
        The parameters and options that it looks at, by the names they have in `MethodParameters` or on the
        command line. ``auto_iterations`` stands for a number of iterations found by cross-validation.
    iterations : int
        Sweeps over all views when nobody says; 0 where it is not iterative.
    lowest : float
        Density below which it never goes.
    least_squares : bool
        Whether views enter squared, so that their weights do as well.
    any_orientation : bool
        Whether views may be taken about more than one axis.
    whole_volume : bool
        Whether it works on the whole volume at once, and not slab by slab.
    in_bands : bool
        Whether `etcli.core.reconstruction.streamed_backprojection` does it on a CPU, section by section.
    """

    name: str
    help: str
    solver: str
    options: frozenset[str] = frozenset()
    iterations: int = 0
    lowest: float = -math.inf
    least_squares: bool = False
    any_orientation: bool = False
    whole_volume: bool = False
    in_bands: bool = False

    @property
    def is_iterative(self) -> bool:
        """Whether it goes through the views again and again."""
        return self.iterations > 0

    def load(self, name: str) -> Callable[..., Any]:
        """Return a function of the module that builds it, which is imported for that."""
        found: Callable[..., Any] = getattr(import_module(self.solver), name)
        return found


_SOLVERS = "etcli.core.solvers."

METHODS = {
    method.name: method
    for method in (
        Method(
            "sirt",
            "all views at once correct all voxels by the mean residual of their rays",
            _SOLVERS + "sirt",
            frozenset(
                ITERATIVE | {"auto_iterations", "relaxation", "nonnegative", "upper", "mask", "initial"}
            ),
            iterations=30,
            any_orientation=True,
        ),
        Method(
            "sart",
            "the same by one view, or some, at a time",
            _SOLVERS + "sart",
            frozenset(ITERATIVE | {"auto_iterations", "relaxation", "nonnegative", "upper", "subset_size"}),
            iterations=10,
        ),
        Method(
            "cgls",
            "conjugate gradients",
            _SOLVERS + "cgls",
            frozenset(ITERATIVE | {"auto_iterations"}),
            iterations=10,
            least_squares=True,
        ),
        Method(
            "fista",
            "under a prior on the volume",
            _SOLVERS + "fista",
            frozenset(ITERATIVE | {"auto_iterations", "prior", "weight", "nonnegative", "upper"}),
            iterations=40,
            least_squares=True,
            any_orientation=True,
            whole_volume=True,
        ),
        Method(
            "resire",
            "gradient descent, densities above zero",
            _SOLVERS + "resire",
            frozenset(ITERATIVE | {"auto_iterations", "relaxation", "upper", "mask", "initial"}),
            iterations=100,
            lowest=0.0,
            least_squares=True,
            any_orientation=True,
        ),
        Method(
            "dart",
            "of a few known densities",
            _SOLVERS + "dart",
            frozenset(ITERATIVE | {"levels", "thresholds"}),
            iterations=40,
            least_squares=True,
        ),
        Method(
            "fbp",
            "filtered back-projection",
            _SOLVERS + "filtered_backprojection",
            frozenset({"window"}),
            in_bands=True,
        ),
        Method("bp", "plain back-projection", _SOLVERS + "backprojection", frozenset(PROJECTED)),
    )
}
"""The methods by name, the usual one first."""


def methods_with(option: str) -> tuple[str, ...]:
    """Names of the methods that look at an option."""
    return tuple(name for name, method in METHODS.items() if option in method.options)


def methods_for_any_orientation() -> tuple[str, ...]:
    """Names of the methods for views of any orientation."""
    return tuple(name for name, method in METHODS.items() if method.any_orientation)


OWNERS = {option: methods_with(option) for option in set().union(*(m.options for m in METHODS.values()))}
"""The methods that look at an option, by its name."""


def is_filter(name: str) -> bool:
    """Tell whether a filter of back-projection has this name."""
    return name in FILTERS or bool(re.fullmatch(r"sirt-like:\d{1,6}|hamming-like:0?\.\d+", name))


@dataclass(frozen=True)
class MethodParameters:
    """A method of reconstruction and its parameters.

    Parameters
    ----------
    method : str
        A name in `METHODS`.
    iterations : int
        Sweeps over all views; 0 for the method's usual number.
    relaxation : float
        Factor of a correction, between 0 and 2.
    subset_size : int
        Views that correct at a time.
    lower, upper : float
        Bounds of the density; the lower one is never below the method's lowest.
    prior : str
        One of `PRIORS`.
    weight : float
        Of the prior.
    window : str
        Filter of back-projection; see `is_filter`.
    levels, thresholds : sequence of float
        Densities that are known, and what separates them; halfway where there are no thresholds.

    Raises
    ------
    UsageError
        If there is no such method.
    """

    method: str = "sirt"
    iterations: int = 0
    relaxation: float = 1.0
    subset_size: int = 1
    lower: float = -math.inf
    upper: float = math.inf
    prior: str = "tv"
    weight: float = 0.0
    window: str = FILTERS[0]
    levels: tuple[float, ...] = ()
    thresholds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"no method named {self.method!r}; use {', '.join(METHODS)}")
        object.__setattr__(self, "iterations", self.iterations or self.traits.iterations)
        object.__setattr__(self, "lower", max(self.lower, self.traits.lowest))

    @property
    def traits(self) -> Method:
        """What is declared of the method."""
        return METHODS[self.method]

    def looks_at(self, option: str) -> bool:
        """Tell whether the method looks at an option."""
        return option in self.traits.options

    def summary(self) -> str:
        """Say in a few words what is done, for the history of the volume."""
        words = [self.method.upper()]
        words += [str(self.iterations)] if self.traits.is_iterative else []
        words += [self.window] if self.looks_at("window") else []
        words += [f"subsets of {self.subset_size}"] if self.subset_size > 1 else []
        if self.looks_at("prior"):
            words += [self.prior] if self.prior == "none" else [f"{self.prior} {self.weight:.3g}"]
        if self.looks_at("levels"):
            words += ["of", *(f"{level:.4g}" for level in self.levels)]
        bounded = self.lower == 0 and self.looks_at("nonnegative")
        text = " ".join(words) + (", nonnegative" if bounded else "")
        return text if math.isinf(self.upper) else f"{text}, up to {self.upper:g}"

    def assumptions(self) -> dict[str, Any]:
        """What the volume was expected to be like, for scripts."""
        names = [name for name in ("prior", "weight", "levels") if self.looks_at(name)]
        return {name: getattr(self, name) for name in names}
