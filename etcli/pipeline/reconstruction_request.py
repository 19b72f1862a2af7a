"""What a reconstruction is asked to be like, and which wishes contradict each other."""

from dataclasses import dataclass, field
from typing import Any

from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.core.solvers.methods import MethodParameters

AUTO = "auto"
NO_LENGTH = Length(0.0, "px")


@dataclass(frozen=True)
class ReconstructionRequest:
    """A reconstruction as asked for, in the words of ``etcli recon``.

    Parameters
    ----------
    parameters : MethodParameters
        Where nothing is said, with the usual values.
    auto_iterations, auto_weight : bool
        Whether views that are left out shall decide.
    n_levels : int
        How many densities are to be found, or 0.
    kernel, backend : str
        The projector.
    thickness, width : Length, "auto" or None
        Extent along z and x; as wide as a view where None.
    axis_offset, z_offset : Length
        Where the tilt axis lies from the centre of the views, and the height of the volume above it.
    x_tilt_deg : float
        What the volume is turned by about x.
    extend : bool
        Whether to make room for what views of a film show beyond the volume.
    slices : tuple of int or None
        Rows of the views to reconstruct, counted from 0; all where None.
    views_chosen : bool
        Whether the user has named the views, and so knows of several defoci at a tilt.
    background : float or {"auto", "none"}
        Level to take off, or that of the empty image.
    contrast : {"linear", "log"}
        What the views show.
    half_sets : bool
        Whether every second view is also reconstructed on its own.
    orient : {"zyx", "imod"}
        Order of the axes of the volume.
    """

    parameters: MethodParameters = field(default_factory=MethodParameters)
    auto_iterations: bool = False
    auto_weight: bool = False
    n_levels: int = 0
    kernel: str = "linear"
    backend: str = "slab"
    thickness: Length | str | None = None
    width: Length | None = None
    axis_offset: Length = NO_LENGTH
    z_offset: Length = NO_LENGTH
    x_tilt_deg: float = 0.0
    extend: bool = False
    slices: tuple[int, ...] | None = None
    views_chosen: bool = False
    background: float | str = AUTO
    contrast: str = "linear"
    half_sets: bool = False
    orient: str = "zyx"

    def check(self, *, oriented: bool, given: set[str]) -> None:
        """Refuse wishes that make no sense together, before anything is read.

        Parameters
        ----------
        oriented : bool
            Whether views may be taken about more than one axis.
        given : set of str
            What else is given: ``resume``, ``dask``, ``tilts``, ``euler``, ``mask``, ``initial``.

        Raises
        ------
        UsageError
        """
        whole = self.parameters.traits.whole_volume or oriented
        level_known = isinstance(self.background, int | float) and self.background > 0
        for wrong, why in (
            (
                self.contrast == "log" and not level_known,
                "--contrast log needs the level of the empty image; give it with --background, above 0",
            ),
            (
                "resume" in given and whole,
                "--resume is for work slab by slab, not on the whole volume; leave it out",
            ),
            (
                "dask" in given and whole,
                "--dask is for work slab by slab, not on the whole volume; leave it out",
            ),
            (
                {"euler", "tilts"} <= given,
                "--tilts and --euler cannot go together; the orientations hold the tilt angles",
            ),
            (
                self.thickness == AUTO and oriented,
                "--thickness auto needs views tilted about one axis; give it as a length",
            ),
            (
                self.half_sets and "initial" in given,
                "--half-sets of one --initial volume would not be independent; leave one of them out",
            ),
            (
                self.auto_iterations and bool({"mask", "initial"} & given),
                "--iterations auto looks at some rows without --mask and --initial; give it as a number",
            ),
        ):
            if wrong:
                raise UsageError(why)


def request_of(
    method: str,
    *,
    iterations: int | str | None = None,
    weight: float | str = AUTO,
    nonnegative: bool = False,
    upper: float | None = None,
    levels: tuple[float, ...] | int | None = None,
    prior: str = "tv",
    relaxation: float = 1.0,
    subset_size: int = 1,
    window: str = "ram-lak",
    thresholds: tuple[float, ...] | None = None,
    **others: Any,
) -> ReconstructionRequest:
    """Make a request of a method's options, of which some are to be found.

    Parameters
    ----------
    method : str
        A name in `etcli.core.solvers.methods.METHODS`.
    iterations : int, "auto" or None
        Sweeps; the method's usual number where None.
    weight : float or "auto"
        Of a prior.
    nonnegative : bool
        Whether densities stay above zero.
    upper : float, optional
        Density that is not exceeded.
    levels : sequence of float, or int
        Densities that are known; or how many there are, which are then found.
    prior, relaxation, subset_size, window, thresholds
        As for `etcli.core.solvers.methods.MethodParameters`.
    **others
        As for `ReconstructionRequest`.

    Returns
    -------
    ReconstructionRequest

    Raises
    ------
    UsageError
        When the method needs something else.
    """
    from etcli.core.solvers.filtered_backprojection import window_of

    given = {} if levels is None else {"n": levels} if isinstance(levels, int) else {"list": levels}
    n_levels = _number(given)
    parameters = MethodParameters(
        method,
        iterations=iterations if isinstance(iterations, int) else 0,
        relaxation=relaxation,
        subset_size=subset_size,
        prior=prior,
        weight=weight if isinstance(weight, int | float) else 0.0,
        window=window,
        levels=tuple(levels) if isinstance(levels, tuple | list) and not n_levels else (),
        thresholds=thresholds,
        lower=0.0 if nonnegative else float("-inf"),
        upper=float("inf") if upper is None else upper,
    )
    if parameters.looks_at("levels") and levels is None:
        raise UsageError(f"{method} needs to know the densities; give them, or how many, with --levels")
    if iterations == AUTO and not parameters.looks_at("auto_iterations"):
        raise UsageError(f"--iterations auto is not for {method}, whose steps depend on their number")
    if parameters.looks_at("window"):
        window_of(window)  # refused now, not when views are filtered
    auto_weight = parameters.looks_at("weight") and prior != "none" and weight == AUTO
    return ReconstructionRequest(parameters, iterations == AUTO, auto_weight, n_levels, **others)


def _number(given: dict[str, Any]) -> int:
    """Return how many levels are to be found, where there is one number and no list."""
    if "n" in given:
        return int(given["n"])
    levels = given.get("list", ())
    if len(levels) != 1:
        return 0
    if levels[0] != int(levels[0]):
        raise UsageError(f"--levels {levels[0]:g} is neither a number of levels nor a list of them")
    return int(levels[0])
