"""Atom tracing: from a volume to atoms, in memory or from file to file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.cleaning import AtomCriteria
from etcli.core.atoms.position_errors import half_differences_A, position_errors_A
from etcli.core.atoms.refine_trace import RefinedTrace, refine_trace
from etcli.core.atoms.traced_species import atoms_of, by_polynomials, classified
from etcli.core.atoms.tracing import Trace, TraceRules
from etcli.core.atoms.tracing import trace as find_atoms
from etcli.core.elements import by_brightness
from etcli.core.errors import DataError, UsageError
from etcli.core.lengths import Length
from etcli.core.series import TiltSeries, Volume
from etcli.io.atoms import Box, atoms_format, write_atoms
from etcli.io.writers import ProcessingStep
from etcli.pipeline.inputs import file_named_in_errors, read_volume
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.structure_report import write_report
from etcli.pipeline.trace_inputs import (
    RefinementSeries,
    cubic_voxels,
    half_volumes,
    known_frame,
    middle_of_volume_A,
    read_traceable_volume,
    read_views,
    refinement_series,
)
from etcli.pipeline.trace_report import classes_named, report_trace

AUTO = "auto"
LEAST_SHOWN, FEW_SHOWN = 0.5, 0.9
"""Shares of traced atoms below which the views are not those of the volume, or may not be."""
Species = Sequence[str] | int | None


@dataclass(frozen=True)
class TraceRequest:
    """A tracing as asked for, in the words of ``etcli trace-atoms``.

    Parameters
    ----------
    species : sequence of str, int or None
        Elements to tell apart, the faintest first; or how many; or as many as the intensities show.
    fit : {"gaussian", "shared", "elliptical", "polynomial"}
        What is fitted.
    detect : {"peaks", "dog"}
        What is looked for.
    min_distance, sigma, merge_distance : Length
        Of atoms, their width, and of maxima that become one.
    smooth, hold : Length or "auto"
        Smoothing before the fit, and how far a refinement moves atoms.
    threshold : float or None
        Least score of an atom.
    expected : int or None
        Number of atoms.
    min_intensity, local_intensity : float
        Shares of usual intensities below which nothing is an atom.
    width_range : (float, float)
        Least and largest width, in the usual one.
    min_neighbours : int
        Within 6 Å.
    correct_depth : bool
        Whether a drift of scores with depth is taken off.
    """

    species: Species = None
    fit: str = "gaussian"
    detect: str = "peaks"
    min_distance: Length = Length(1.6, "A")
    sigma: Length = Length(0.5, "A")
    merge_distance: Length = Length(1.1, "A")
    smooth: Length | str = AUTO
    hold: Length | str = AUTO
    threshold: float | None = None
    expected: int | None = None
    min_intensity: float = 0.05
    local_intensity: float = 0.25
    width_range: tuple[float, float] = (0.5, 1.6)
    min_neighbours: int = 0
    correct_depth: bool = False

    @property
    def symbols(self) -> tuple[str, ...] | None:
        """The elements, where they are named."""
        return None if self.species is None or isinstance(self.species, int) else tuple(self.species)

    def check(self, *, refined: bool, oriented: bool = False) -> None:
        """Refuse wishes that make no sense together.

        Parameters
        ----------
        refined, oriented : bool
            Whether there are views to refine against, and their orientations are given.

        Raises
        ------
        UsageError
        """
        for name, zero in (
            ("min_distance", False),
            ("sigma", False),
            ("hold", False),
            ("smooth", True),
            ("merge_distance", True),
        ):
            length = getattr(self, name)
            if isinstance(length, Length) and not (length.value > 0 or (zero and length.value == 0)):
                option, least = name.replace("_", "-"), "0 or more" if zero else "one above 0"
                raise UsageError(f"--{option} {length.value:g}{length.unit} is no length; give {least}")
        if not refined and (oriented or self.hold != AUTO):
            raise UsageError("--euler and --hold are for --refine SERIES; name the series")
        if refined and self.fit == "polynomial":
            raise UsageError("--fit polynomial is for positions from the volume; leave it or --refine out")

    def rules(self, pixel_A: float) -> TraceRules:
        """Rules of the search for voxels of a size.

        Raises
        ------
        UsageError
            When a number is out of range, or two contradict each other.
        """
        if self.threshold is not None and self.expected is not None:
            raise UsageError("--threshold and --expected decide the same; leave one of them out")
        if self.threshold is not None and not 0 < self.threshold < float("inf"):
            raise UsageError(f"--threshold {self.threshold:g} is no density; give one above 0")

        freedom: Any = {"gaussian": "isotropic", "polynomial": "isotropic"}.get(self.fit, self.fit)
        least = self.min_distance.angstrom(pixel_A)
        merge = self.merge_distance.angstrom(pixel_A)
        return TraceRules(
            sigma_A=self.sigma.angstrom(pixel_A),
            smoothing_A=self.smooth.angstrom(pixel_A) if isinstance(self.smooth, Length) else None,
            detect=self.detect,
            freedom=freedom,
            n_species=len(self.symbols) if self.symbols else self.species,  # type: ignore[arg-type]
            threshold=self.threshold,
            expected=self.expected,
            cleaning=AtomCriteria(
                min_distance_A=least,
                merge_distance_A=min(merge, least),
                least_intensity=self.min_intensity,
                widths=self.width_range,
                least_neighbours=self.min_neighbours,
                local_intensity=self.local_intensity,
            ),
        )

    def restraint_A(self, pixel_A: float) -> float | None:
        """How far a refinement moves atoms; None where views that are left out shall tell."""
        return self.hold.angstrom(pixel_A) if isinstance(self.hold, Length) else None


@dataclass(frozen=True)
class TraceFiles:
    """The files of a tracing, by the names of ``etcli trace-atoms``'s options."""

    input: str
    output: str
    refine: str | None = None
    euler: str | None = None
    halves: tuple[str, str] | None = None
    report: str | None = None
    plot: str | None = None


@dataclass(frozen=True, eq=False)
class TracedAtoms:
    """Atoms, and how they were found.

    Parameters
    ----------
    atoms : Atoms
        Positions from the rotation centre, where the volume tells it, else from its middle.
    trace : Trace
        The search in the volume.
    centre_A : ndarray of shape (3,), float64
        The middle of the volume in the same coordinates.
    numbers : dict
        For a script.
    box : Box
        Of the volume.
    history : tuple of str
        What was done, a step each.
    """

    atoms: Atoms
    trace: Trace
    centre_A: NDArray[np.float64]
    numbers: dict[str, Any]
    box: Box
    history: tuple[str, ...]


def trace_atoms(
    volume: Volume,
    *,
    species: str | Species = None,
    refine: TiltSeries | None = None,
    halves: tuple[Volume, Volume] | None = None,
    session: Session | None = None,
    **options: Any,
) -> TracedAtoms:
    """Find, fit and classify the atoms of a volume at atomic resolution.

    Parameters
    ----------
    volume : Volume
        Of cubic voxels of known size; 0.3 to 0.5 Å are best.
    species : str, sequence of str, or int, optional
        Elements to tell apart, as in ``"Si,O"``, the heavier the brighter; or how many; by default as many as
        the intensities show.
    refine : TiltSeries, optional
        The views that the volume was reconstructed from, to refine against.
    halves : (Volume, Volume), optional
        Of half of the views each, for the errors of positions.
    session : Session, optional
        Threads, memory, and who is told; by default all of this process's, and nobody.
    **options
        Other fields of `TraceRequest`; lengths in Å, or with a unit as in ``"3px"``.

    Returns
    -------
    Traced

    Raises
    ------
    DataError
        When there are no atoms in the volume, or the views are not those of it.
    UsageError
        When the request contradicts itself or takes more memory than is allowed.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> z, y, x = np.mgrid[:24, :24, :24]
    >>> def atom(k, j, i):
    ...     return np.exp(-((z - k) ** 2 + (y - j) ** 2 + (x - i) ** 2) / 4.5)
    >>> places = [(k, j, i) for k in (6, 17) for j in (6, 17) for i in (6, 17)]
    >>> volume = etcli.Volume(sum(atom(*p) for p in places).astype(np.float32), pixel_A=0.4)
    >>> found = etcli.trace_atoms(volume, species=["Si"])
    >>> len(found.atoms)
    8
    """
    lengths = {
        name: value if value == AUTO else Length.parse(value, "A")
        for name, value in options.items()
        if name in ("min_distance", "sigma", "merge_distance", "smooth", "hold")
    }
    if species is not None and not isinstance(species, int):
        species = by_brightness(species.split(",") if isinstance(species, str) else species)
    request = TraceRequest(species, **(options | lengths))
    request.check(refined=refine is not None)
    return trace_volume(session or Session(), volume, request, refine=refine, halves=halves)


@with_one_blas_thread
def trace_volume(
    session: Session,
    volume: Volume,
    request: TraceRequest,
    *,
    refine: TiltSeries | None = None,
    halves: Sequence[Volume] | None = None,
) -> TracedAtoms:
    """Trace the atoms of a volume as asked for; see `trace_atoms`."""
    data, pixel_A = cubic_voxels(session, volume)
    rules, restraint_A = request.rules(pixel_A), request.restraint_A(pixel_A)
    frame = known_frame(session, volume)
    views = refinement_series(session, refine, volume, frame) if refine else None
    both = half_volumes(session, halves, volume) if halves else None
    centre_A = middle_of_volume_A(volume, frame)
    if centre_A.any():
        x, y, z = centre_A
        session.reporter.report(
            f"the middle of the volume is {x:.4g}, {y:.4g}, {z:.4g} Å from the rotation centre (x, y, z)"
        )
    with file_named_in_errors(volume):
        found = find_atoms(data, pixel_A, rules, threads=session.threads, progress=session.reporter.note)
        found, flipped, drift = classified(found, pixel_A, correct_depth=request.correct_depth)
    error_A = position_errors_A(found, pixel_A)
    half_A = half_differences_A(found, both, pixel_A) if both else None
    completed = None
    if views:
        completed = _refined(session, found, views, pixel_A, centre_A, restraint_A, rules)
    place_A = by_polynomials(found, pixel_A, centre_A) if request.fit == "polynomial" else None
    atoms = atoms_of(
        found,
        pixel_A,
        centre_A,
        symbols=request.symbols,
        error_A=error_A,
        half_A=half_A,
        place_A=place_A,
        completed=completed,
    )
    numbers = report_trace(
        session,
        found,
        completed,
        atoms,
        flipped=flipped,
        drift_per_A=drift,
        half_A=half_A,
        species_given=request.species is not None,
    )
    if not len(atoms):
        raise DataError(f"{volume.name}: no maximum is an atom by its score; lower --threshold to see them")
    step = ProcessingStep("trace-atoms", f"{len(atoms)} atoms" + ", refined against views" * bool(refine))
    box = Box.of_volume(volume.shape, pixel_A, centre_A=centre_A)
    return TracedAtoms(atoms, found, centre_A, numbers, box, (*volume.history, str(step)))


def trace_files(files: TraceFiles, request: TraceRequest, session: Session) -> dict[str, Any]:
    """Trace atoms from file to file.

    Parameters
    ----------
    files : TraceFiles
    request : TraceRequest
    session : Session

    Returns
    -------
    dict
        The numbers of the run, for a script.

    Raises
    ------
    DataError, UsageError
        As for `trace_atoms`; no output is left then.
    """
    check_picture(files.plot)
    form = atoms_format(files.output)
    request.check(refined=bool(files.refine), oriented=bool(files.euler))
    volume = read_traceable_volume(session, files.input)
    refine = read_views(session, files.refine, files.euler) if files.refine else None
    halves = [read_volume(session, name) for name in files.halves or ()]
    with session.outputs() as outputs:
        target = outputs.path(files.output)
        if files.report:
            outputs.folder(files.report)  # found out now, not when all is done
        write_picture = announce_picture(outputs, files.plot) if files.plot else None
        done = trace_volume(session, volume, request, refine=refine, halves=halves)
        write_atoms(target, done.atoms, form=form, box=done.box, history=done.history)
        if files.report:
            write_report(session, outputs, files.report, done.atoms, name=PurePath(files.output).stem)
        if write_picture:
            from etcli.plotting.atoms import traced as picture_of

            names = request.symbols or classes_named(len(done.trace.mixture.mean))
            pixel_A = volume.pixel_A or 1.0
            write_picture(picture_of(done.trace, pixel_A=pixel_A, names=names, centre_A=done.centre_A))
    return done.numbers


def _refined(
    session: Session,
    found: Trace,
    views: RefinementSeries,
    pixel_A: float,
    centre_A: NDArray[np.float64],
    restraint_A: float | None,
    rules: TraceRules,
) -> RefinedTrace:
    """Refine a trace against the views, which have to show what the volume does.

    Raises
    ------
    DataError
        When half of the atoms are not in the views, unless the user has decided what is one.
    UsageError
        When views cannot tell how far atoms may move.
    """
    name = views.series.name
    try:
        with file_named_in_errors(views.series):
            completed = refine_trace(
                found,
                views.views,
                pixel_A=pixel_A,
                centre_A=centre_A - views.middle_A,
                level=views.level,
                restraint_A=restraint_A,
                min_distance_A=rules.cleaning.min_distance_A,
                progress=lambda text: session.reporter.report(f"refining: {text}"),
            ).moved(views.middle_A)
    except UsageError as error:
        remedy = "" if "--hold" in str(error) else "; give --hold as a length"
        raise UsageError(f"{name}: {error}{remedy}") from error
    n_atoms, n_shown = len(found.fitted), int((completed.from_trace >= 0).sum())
    text = f"{name}: shows only {n_shown} of the {n_atoms} atoms of the volume"
    if n_shown < LEAST_SHOWN * n_atoms and rules.threshold is None and rules.expected is None:
        raise DataError(f"{text}; is it the series that was reconstructed, with the same angles?")
    if n_shown < FEW_SHOWN * n_atoms:
        session.reporter.warn(f"{text}; make sure that the volume was reconstructed from it (--orient zyx)")
    return completed
