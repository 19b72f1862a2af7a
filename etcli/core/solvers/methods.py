"""Registry of the reconstruction methods and their parameters.

It imports only the standard library, so that ``etcli recon --help`` and the solvers can both read it. The
entry of a method defines everything that other modules need to know: options, defaults, rejected
combinations, memory plans and the history of a volume all follow from it. It names the module that implements
the method, which has

- ``slab_solver(parameters, geometry, masked=False)``: returns a `SlabSolver`, unless the method works on the
  whole volume at once;
- ``solve_volume(parameters, misfit, callback=None)``: returns the volume, if the method works on the whole
  volume, and then also takes ``zeros`` to create arrays, or accepts views of any orientation;
- ``volumes_held(parameters)``: returns how many arrays of the size of the volume the method holds at once, if
  it works on the whole volume.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from etcli.core.arguments import check_choice, check_owner, checked_integer
from etcli.core.errors import UsageError

FILTERS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
"""Filters of back-projection by name; ``sirt-like:N`` and ``hamming-like:F`` also contain a number."""
PRIORS = ("tv", "l1", "none")
"""Priors on the volume: total variation, sparsity, none."""
GAUSSIAN, POISSON = LIKELIHOODS = ("gaussian", "poisson")
"""Noise of the views: the same everywhere (least squares), or that of counts."""

DEFAULT_BINNED_SLICES = 8
REFINED = ("shifts", "defocus", "rotation")
"""What a reconstruction from phase-contrast images can refine: shifts, defoci and rotations of the images."""

PROJECTED = {"kernel", "backend"}
ITERATIVE = {"iterations", "error_curve"} | PROJECTED
OPTICS = {"kv", "alpha", "cs", "astigmatism", "focal_spread", "convergence"}
NORMALISATION = {"vacuum", "flat_field", "hot_pixels"}


@dataclass(frozen=True)
class Method:
    """Registry entry of a reconstruction method.

    Parameters
    ----------
    name : str
        Name for users.
    help : str
        Description in one line.
    solver : str
        Module that implements the method.
    options : frozenset of str
        Parameters and options that the method uses, by their names in `MethodParameters` or on the command
        line. ``auto_iterations`` stands for a number of iterations found by cross-validation.
    iterations : int
        Default number of sweeps over all views; 0 if the method is not iterative.
    lowest : float
        Smallest density that the method allows.
    least_squares : bool
        Whether the method minimises squared residuals, so that weights of views enter squared as well.
    any_orientation : bool
        Whether views may be tilted about more than one axis.
    whole_volume : bool
        Whether the method works on the whole volume at once, not slab by slab.
    in_bands : bool
        Whether `etcli.core.reconstruction.streamed_backprojection` can do it on a CPU, section by section.
    phase_contrast : bool
        Whether the method reconstructs the electrostatic potential from phase-contrast images, of which there
        may be several defoci per tilt, and not a density from projections.
    subset_size : int
        Default number of views, or of tilts for phase contrast, that are used at a time.
    unexplained : float
        Part of the smoothed views above which a volume leaves too much unexplained;
        see `etcli.pipeline.explained_views`.
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
    phase_contrast: bool = False
    subset_size: int = 1
    unexplained: float = 0.15

    @property
    def is_iterative(self) -> bool:
        """Whether the method is iterative."""
        return self.iterations > 0

    def load(self, name: str) -> Callable[..., Any]:
        """Import the module that implements the method, and return a function of it."""
        function: Callable[..., Any] = getattr(import_module(self.solver), name)
        return function


_SOLVERS = "etcli.core.solvers."

METHODS = {
    method.name: method
    for method in (
        Method(
            "sirt",
            "corrects all voxels by the mean residual of their rays, with all views at once",
            _SOLVERS + "sirt",
            frozenset(
                ITERATIVE | {"auto_iterations", "relaxation", "nonnegative", "upper", "mask", "initial"}
            ),
            iterations=30,
            any_orientation=True,
        ),
        Method(
            "sart",
            "like sirt, with one view or a few views at a time",
            _SOLVERS + "sart",
            frozenset(ITERATIVE | {"auto_iterations", "relaxation", "nonnegative", "upper", "subset_size"}),
            iterations=10,
        ),
        Method(
            "mlem",
            "expectation maximisation, the most likely densities for counted electrons",
            _SOLVERS + "mlem",
            frozenset(ITERATIVE | {"auto_iterations", "upper"}),
            iterations=20,
            lowest=0.0,
            any_orientation=True,
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
            "least squares with a prior on the volume",
            _SOLVERS + "fista",
            frozenset(
                ITERATIVE
                | {"auto_iterations", "prior", "weight", "likelihood", "nonnegative", "upper", "mask"}
            ),
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
            "for specimens of a few known densities",
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
            unexplained=0.3,
        ),
        Method(
            "bp",
            "plain back-projection",
            _SOLVERS + "backprojection",
            frozenset(PROJECTED),
            unexplained=math.inf,
        ),
        Method(
            "multislice",
            "the electrostatic potential from phase-contrast images, with multiple scattering",
            _SOLVERS + "multislice",
            frozenset(
                {"iterations", "error_curve", "prior", "weight", "upper", "subset_size", "initial"}
                | {"seed", "binned_slices", "refine"}
                | OPTICS
                | NORMALISATION
            ),
            iterations=20,
            lowest=0.0,
            whole_volume=True,
            phase_contrast=True,
            subset_size=2,
        ),
    )
}
"""The methods by name, the default first."""

COUNTING = replace(
    METHODS["fista"],
    help="the most likely densities for counts, with total variation",
    solver="etcli.core.fusion.single_series",
    options=frozenset({"iterations", "error_curve", "prior", "weight", "likelihood", "nonnegative"}),
    iterations=120,
    lowest=0.0,
    least_squares=False,
    any_orientation=False,
)
"""What `fista` is with the likelihood of counts: another solver, with less to choose."""


def methods_with(option: str) -> tuple[str, ...]:
    """Return the names of the methods that use an option."""
    return tuple(name for name, method in METHODS.items() if option in method.options)


def methods_for_any_orientation() -> tuple[str, ...]:
    """Return the names of the methods that accept views of any orientation."""
    return tuple(name for name, method in METHODS.items() if method.any_orientation)


OWNERS = {option: methods_with(option) for option in set().union(*(m.options for m in METHODS.values()))}
"""For each option, by its name, the names of the methods that use it."""


def is_filter(name: str) -> bool:
    """Check whether this is the name of a back-projection filter."""
    return name in FILTERS or bool(re.fullmatch(r"sirt-like:\d{1,6}|hamming-like:0?\.\d+", name))


@dataclass(frozen=True)
class MethodParameters:
    """Reconstruction method and its parameters.

    Parameters
    ----------
    method : str
        A name in `METHODS`.
    iterations : int
        Sweeps over all views; 0 for the method's default.
    relaxation : float
        Factor of a correction, between 0 and 2.
    subset_size : int
        Number of views, or of tilts for phase contrast, used at a time; 0 for the method's default.
    lower, upper : float
        Bounds of the density; the lower one is never below the method's smallest density.
    prior : str
        One of `PRIORS`.
    weight : float
        Weight of the prior.
    likelihood : str
        One of `LIKELIHOODS`.
    counts_background : float
        Counts of a pixel that are expected without specimen; they have been subtracted from the views.
    weight_from_noise : bool
        Whether the weight follows from the noise of each update instead; for phase contrast. After a
        reconstruction, ``weight`` is the last one.
    window : str
        Filter of back-projection; see `is_filter`.
    levels, thresholds : sequence of float
        Known densities, and the thresholds between them; halfway by default.
    binned_slices : int
        Number of sections of the volume between two propagations of the wave.
    seed : int
        Seed of the order in which the tilts are used.
    refine : sequence of str
        What is refined with the volume, from `REFINED`.

    Raises
    ------
    UsageError
        If there is no such method, or a parameter is impossible for it.
    """

    method: str = "sirt"
    iterations: int = 0
    relaxation: float = 1.0
    subset_size: int = 0
    lower: float = -math.inf
    upper: float = math.inf
    prior: str = "tv"
    weight: float = 0.0
    likelihood: str = GAUSSIAN
    counts_background: float = 0.0
    weight_from_noise: bool = False
    window: str = FILTERS[0]
    levels: tuple[float, ...] = ()
    thresholds: tuple[float, ...] | None = None
    binned_slices: int = DEFAULT_BINNED_SLICES
    seed: int = 0
    refine: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        if self.likelihood == POISSON:
            check_owner(self.method, OWNERS["likelihood"], shown=f"--likelihood {POISSON}")
        if self.looks_at("prior"):
            check_choice("prior", self.prior, PRIORS)
        for name in self.refine:
            check_choice("parameter to refine", name, REFINED)
        for name, least in (("subset_size", 0), ("binned_slices", 1), ("seed", 0)):
            if checked_integer(name, getattr(self, name)) < least:
                raise UsageError(f"{name} {getattr(self, name)} makes no sense; use {least} or more")
        object.__setattr__(self, "iterations", self.iterations or self.traits.iterations)
        object.__setattr__(self, "subset_size", self.subset_size or self.traits.subset_size)
        object.__setattr__(self, "lower", max(self.lower, self.traits.lowest))

    @property
    def traits(self) -> Method:
        """Registry entry of the method."""
        return COUNTING if self.likelihood == POISSON else METHODS[self.method]

    def looks_at(self, option: str) -> bool:
        """Check whether the method uses an option."""
        return option in self.traits.options

    def summary(self) -> str:
        """Describe method and parameters in a few words, for the history of the volume."""
        words = ["Poisson likelihood" if self.likelihood == POISSON else self.method.upper()]
        words += [str(self.iterations)] if self.traits.is_iterative else []
        words += [self.window] if self.looks_at("window") else []
        if self.looks_at("subset_size") and self.subset_size != self.traits.subset_size:
            words += [f"subsets of {self.subset_size}"]
        if self.looks_at("prior"):
            words += [self.prior] if self.prior == "none" else [f"{self.prior} {self._weight_words()}"]
        if self.looks_at("levels"):
            words += ["of", *(f"{level:.4g}" for level in self.levels)]
        bounded = self.lower == 0 and self.looks_at("nonnegative")
        text = " ".join(words) + (", nonnegative" if bounded else "")
        has_limit = self.looks_at("upper") and not math.isinf(self.upper)
        return f"{text}, up to {self.upper:g}" if has_limit else text

    def _weight_words(self) -> str:
        """Weight of the prior in words: "auto" alone as long as it is not known."""
        if not self.weight_from_noise:
            return f"{self.weight:.3g}"
        return f"auto {self.weight:.3g}" if self.weight else "auto"

    def assumptions(self) -> dict[str, Any]:
        """Return the assumptions (prior, weight, levels, likelihood of counts) by name, for scripts."""
        names = [name for name in ("prior", "weight", "levels") if self.looks_at(name)]
        names += ["likelihood"] if self.likelihood == POISSON else []
        return {name: getattr(self, name) for name in names}
