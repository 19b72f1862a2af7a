"""Request of a reconstruction: its options, and the check of their combinations."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from etcli.core.arguments import check_choice, checked_integer, checked_number
from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.core.solvers.methods import POISSON, MethodParameters
from etcli.pipeline.background_level import checked_background
from etcli.pipeline.phase_contrast_request import PhaseContrastRequest

AUTO = "auto"
NO_LENGTH = Length(0.0, "px")


@dataclass(frozen=True)
class ReconstructionRequest:
    """Options of a reconstruction, named as those of ``etcli recon``.

    Parameters
    ----------
    parameters : MethodParameters
        Parameters of the method, with defaults for those that are not given.
    auto_iterations, auto_weight : bool
        Whether they are determined by cross-validation.
    n_levels : int
        Number of densities to determine, or 0.
    kernel, backend : str
        The projector.
    thickness, width : Length, "auto" or None
        Extent along z and x; None for the width of a view.
    axis_offset : Length or None
        Distance of the tilt axis from the centre of the views; None for that of a crop in the header.
    z_offset : Length
        Height of the volume above the tilt axis.
    x_tilt_deg : float
        Angle by which the volume is rotated about x.
    extend : bool
        Whether to extend the volume by the parts of a film outside it that the views show.
    slices : tuple of int or None
        Rows of the views to reconstruct, counted from 0; None for all.
    views_chosen : bool
        Whether the user has named the views, so that several defoci at one tilt are intended.
    background : float or {"auto", "none"}
        Background level to subtract, or with log contrast the level of the empty image.
    contrast : {"linear", "log"}
        Whether the views, or their logarithms, are projections of the density.
    half_sets : bool
        Whether the odd and the even views are also reconstructed separately.
    orient : {"zyx", "imod"}
        Order of the axes of the volume.
    phase_contrast : PhaseContrastRequest
        Microscope and scale of phase-contrast images.
    """

    parameters: MethodParameters = field(default_factory=MethodParameters)
    auto_iterations: bool = False
    auto_weight: bool = False
    n_levels: int = 0
    kernel: str = "linear"
    backend: str = "slab"
    thickness: Length | str | None = None
    width: Length | None = None
    axis_offset: Length | None = None
    z_offset: Length = NO_LENGTH
    x_tilt_deg: float = 0.0
    extend: bool = False
    slices: tuple[int, ...] | None = None
    views_chosen: bool = False
    background: float | str = AUTO
    contrast: str = "linear"
    half_sets: bool = False
    orient: str = "zyx"
    phase_contrast: PhaseContrastRequest = field(default_factory=PhaseContrastRequest)

    def __post_init__(self) -> None:
        for what, name, choices in (
            ("kernel", self.kernel, ("linear", "strip")),
            ("backend", self.backend, ("slab", "astra")),
            ("contrast", self.contrast, ("linear", "log")),
            ("order of axes", self.orient, ("zyx", "imod")),
        ):
            check_choice(what, name, choices)
        object.__setattr__(self, "background", checked_background(self.background))

    def check(self, *, oriented: bool, given: set[str]) -> None:
        """Check the options before anything is read; raise UsageError for contradictory ones.

        Parameters
        ----------
        oriented : bool
            Whether views may be tilted about more than one axis.
        given : set of str
            Other options that are given: ``resume``, ``dask``, ``tilts``, ``euler``, ``mask``, ``initial``.

        Raises
        ------
        UsageError
        """
        whole = self.parameters.traits.whole_volume or oriented
        if self.parameters.traits.phase_contrast:
            self._check_phase_contrast(oriented=oriented, given=given)
        if self.parameters.likelihood == POISSON:
            self._check_counts(oriented=oriented, given=given)
        level_known = not isinstance(self.background, str) and self.background > 0
        for is_wrong, message in (
            (
                self.contrast == "log" and not level_known,
                "--contrast log needs the level of the empty image; give it with --background, above 0",
            ),
            (
                "resume" in given and whole and not self.parameters.traits.phase_contrast,
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
            if is_wrong:
                raise UsageError(message)

    def _check_counts(self, *, oriented: bool, given: set[str]) -> None:
        """Check that no option is given that counts cannot be used with; raise UsageError otherwise."""
        for is_given, option in (
            (self.parameters.prior != "tv", f"--prior {self.parameters.prior}"),
            (self.parameters.upper < float("inf"), "--upper"),
            (self.auto_iterations, "--iterations auto"),
            (self.contrast == "log", "--contrast log"),
            (self.kernel != "linear", f"--kernel {self.kernel}"),
            (self.backend != "slab", f"--backend {self.backend}"),
            (oriented, "--euler or --x-tilt (or EulerAngles in the mdoc)"),
            (self.extend, "--extend"),
            ("view_weights" in given, "--view-weights"),
            ("mask" in given, "--mask"),
            (isinstance(self.background, float) and self.background < 0, "--background below 0"),
        ):
            if is_given:
                raise UsageError(f"{option} is not for --likelihood {POISSON}; leave one of them out")

    def _check_phase_contrast(self, *, oriented: bool, given: set[str]) -> None:
        """Check that no option of projections is given for phase contrast; raise UsageError otherwise."""
        for is_given, option in (
            (self.contrast == "log", "--contrast log"),
            (self.thickness == AUTO, "--thickness auto"),
            (self.x_tilt_deg != 0, "--x-tilt"),
            (oriented, "--euler (or EulerAngles in the mdoc)"),
            (self.extend, "--extend"),
            (self.z_offset.value != 0, "--z-offset"),
            ("view_weights" in given, "--view-weights"),
        ):
            if is_given:
                raise UsageError(
                    f"{option} is for methods that reconstruct from projections, not for "
                    f"{self.parameters.method}; leave it out"
                )


def request_of(
    method: str,
    *,
    iterations: int | str | None = None,
    weight: float | str = AUTO,
    nonnegative: bool = False,
    upper: float | None = None,
    levels: tuple[float, ...] | int | None = None,
    **others: Any,
) -> ReconstructionRequest:
    """Create the request from the options of a method, some of which may be automatic.

    Parameters
    ----------
    method : str
        A name in `etcli.core.solvers.methods.METHODS`.
    iterations : int, "auto" or None
        Number of iterations; None for the default of the method.
    weight : float or "auto"
        Weight of the prior.
    nonnegative : bool
        Whether densities are kept from going below zero.
    upper : float, optional
        Upper limit of the density.
    levels : sequence of float, or int
        Known densities; or their number, from which they are determined.
    **others
        Other fields of `etcli.core.solvers.methods.MethodParameters` and of `ReconstructionRequest`.

    Returns
    -------
    ReconstructionRequest

    Raises
    ------
    UsageError
        When the options do not suit the method.
    TypeError
        When there is no option of a name.
    """
    from etcli.core.solvers.filtered_backprojection import window_of

    found_iterations, found_weight = iterations == AUTO, isinstance(weight, str) and weight == AUTO
    n_iterations = 0
    if not (iterations is None or found_iterations):
        n_iterations = checked_integer("iterations", iterations, or_else="'auto'")
    densities, n_levels = _levels(levels)
    optics = {name: others.pop(name) for name in PhaseContrastRequest.names() & others.keys()}
    own = {field.name for field in fields(MethodParameters)} & others.keys()
    if unknown := others.keys() - own - {field.name for field in fields(ReconstructionRequest)}:
        raise TypeError(f"a reconstruction has no option {', '.join(sorted(unknown))}; see recon --help")
    parameters = MethodParameters(
        method,
        iterations=n_iterations,
        weight=0.0 if found_weight else checked_number("weight", weight, or_else="'auto'"),
        levels=densities,
        lower=0.0 if nonnegative else float("-inf"),
        upper=float("inf") if upper is None else checked_number("upper", upper),
        **{name: value for name in own if (value := others.pop(name)) is not None},
    )
    if parameters.looks_at("levels") and levels is None:
        raise UsageError(f"{method} needs to know the densities; give them, or how many, with --levels")
    counting = parameters.likelihood == POISSON  # ReconstructionRequest.check says what that cannot use
    if found_iterations and not (counting or parameters.looks_at("auto_iterations")):
        raise UsageError(
            f"--iterations auto is not for {method}; give a number, or leave it out for "
            f"{parameters.traits.iterations}"
        )
    if parameters.looks_at("weight") and parameters.prior == "none" and parameters.weight:
        raise UsageError(
            f"--weight {parameters.weight:g} is for --prior tv or l1, not for none; leave one of them out"
        )
    if parameters.looks_at("window"):
        window_of(parameters.window)  # raises an error now, not when views are filtered
    auto_weight = parameters.looks_at("weight") and parameters.prior != "none" and found_weight
    if auto_weight and parameters.traits.phase_contrast:  # it is found on the way
        parameters, auto_weight = replace(parameters, weight_from_noise=True), False
    return ReconstructionRequest(
        parameters,
        found_iterations,
        auto_weight,
        n_levels,
        phase_contrast=PhaseContrastRequest(**optics),
        **others,
    )


def _levels(given: Any) -> tuple[tuple[float, ...], int]:
    """Return the densities that are given, and how many are to be determined instead; one number is that."""
    if given is None:
        return (), 0
    if np.ndim(given) == 0:
        return (), checked_integer("levels", given, or_else="a list of densities")
    densities = tuple(checked_number("levels", level) for level in given)
    if len(densities) != 1:
        return densities, 0
    if densities[0] != int(densities[0]):
        raise UsageError(f"--levels {densities[0]:g} is neither a number of levels nor a list of them")
    return (), int(densities[0])
