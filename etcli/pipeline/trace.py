"""Tracing of the atoms of a volume, in memory or from file to file."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import checked_integer, checked_number
from etcli.core.atomic_model import Atoms
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
from etcli.pipeline.inputs import file_named_in_errors, read_volume, read_volume_only
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.structure_report import write_report
from etcli.pipeline.trace_inputs import (
    RefinementSeries,
    cubic_voxels,
    half_volumes,
    known_frame,
    middle_of_volume_A,
    read_views,
    refinement_series,
)
from etcli.pipeline.trace_report import classes_named, report_trace
from etcli.pipeline.trace_request import AUTO, Species, TraceRequest

FEWEST_KEPT = 0.25
"""The same, where the atoms are kept because left-out views are not better predicted without the others."""
FEWEST_SHOWN, DOUBTFUL_SHOWN = 0.5, 0.9
"""Fractions of the traced atoms in the views below which these do not, or may not, belong to the volume."""


@dataclass(frozen=True)
class TraceFiles:
    """Files of a tracing, named as the options of ``etcli trace-atoms``."""

    input: str
    output: str
    refine: str | None = None
    euler: str | None = None
    halves: tuple[str, str] | None = None
    report: str | None = None
    plot: str | None = None


@dataclass(frozen=True, eq=False)
class TracedAtoms:
    """Result of a tracing: the atoms, and details of the search.

    Parameters
    ----------
    atoms : Atoms
        Positions relative to the rotation centre of the volume if known, else to its middle.
    trace : Trace
        Result of the search in the volume.
    centre_A : ndarray of shape (3,), float64
        Middle of the volume in the same coordinates.
    numbers : dict
        The numbers of the run, for ``--json``.
    box : Box
        Box of the volume.
    history : tuple of str
        Processing steps, the oldest first.
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
        With cubic voxels of known size; 0.3 to 0.5 Å are best.
    species : str, sequence of str, or int, optional
        Elements to distinguish, as in ``"Si,O"`` (the heavier is the brighter); or their number; by default
        as many as the intensities show.
    refine : TiltSeries, optional
        The views that the volume was reconstructed from, to refine the atoms against.
    halves : (Volume, Volume), optional
        Volumes from half of the views each, for the errors of positions.
    session : Session, optional
        Threads, memory and reporter; `Session()` by default.
    **options
        Other fields of `TraceRequest`; lengths in Å, or with a unit as in ``"3px"``.

    Returns
    -------
    TracedAtoms

    Raises
    ------
    DataError
        When there are no atoms in the volume, or the views do not belong to it.
    UsageError
        When the request contradicts itself or exceeds the memory budget.

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
    if isinstance(species, str):
        species = species.split(",")
    if species is not None:
        listed = not isinstance(species, Integral)
        species = by_brightness(species) if listed else int(species)  # type: ignore[arg-type]
    for name, checked in (("threshold", checked_number), ("expected", checked_integer)):
        if options.get(name) is not None:
            options[name] = checked(name, options[name])
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
    """Trace the atoms of a volume as requested; see `trace_atoms`."""
    data, pixel_A = cubic_voxels(session, volume)
    rules, restraint_A = request.rules(pixel_A), request.restraint_A(pixel_A)
    frame = known_frame(session, volume)
    views = refinement_series(session, refine, volume, frame) if refine else None
    half_data = half_volumes(session, halves, volume) if halves else None
    centre_A = middle_of_volume_A(volume, frame)
    if centre_A.any():
        x, y, z = centre_A
        session.reporter.report(
            f"the middle of the volume is {x:.4g}, {y:.4g}, {z:.4g} Å from the rotation centre (x, y, z)"
        )
    with file_named_in_errors(volume):
        trace = find_atoms(data, pixel_A, rules, threads=session.threads, progress=session.reporter.note)
        trace, flipped, drift = classified(trace, pixel_A, correct_depth=request.correct_depth)
    error_A = position_errors_A(trace, pixel_A)
    half_A = half_differences_A(trace, half_data, pixel_A) if half_data else None
    completed = None
    if views:
        completed = _refine(session, trace, views, pixel_A, centre_A, restraint_A, rules)
    place_A = by_polynomials(trace, pixel_A, centre_A) if request.fit == "polynomial" else None
    atoms = atoms_of(
        trace,
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
        trace,
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
    return TracedAtoms(atoms, trace, centre_A, numbers, box, (*volume.history, str(step)))


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
        The numbers of the run, for ``--json``.

    Raises
    ------
    DataError, UsageError
        As for `trace_atoms`; no output is written then.
    """
    check_picture(files.plot)
    form = atoms_format(files.output)
    request.check(refined=bool(files.refine), oriented=bool(files.euler))
    volume = read_volume_only(session, files.input)
    refine = read_views(session, files.refine, files.euler) if files.refine else None
    halves = [read_volume(session, name) for name in files.halves or ()]
    with session.outputs() as outputs:
        target = outputs.path(files.output)
        if files.report:
            outputs.folder(files.report)  # fails now, not after the computation
        write_picture = announce_picture(outputs, files.plot) if files.plot else None
        traced = trace_volume(session, volume, request, refine=refine, halves=halves)
        *before, step = traced.history
        history = [*before, outputs.run.record(step)]
        write_atoms(target, traced.atoms, form=form, box=traced.box, history=history)
        if files.report:
            write_report(session, outputs, files.report, traced.atoms, name=PurePath(files.output).stem)
        if write_picture:
            from etcli.plotting.atoms import traced as picture_of

            names = request.symbols or classes_named(len(traced.trace.mixture.mean))
            pixel_A = volume.pixel_A or 1.0
            write_picture(picture_of(traced.trace, pixel_A=pixel_A, names=names, centre_A=traced.centre_A))
    return traced.numbers


def _refine(
    session: Session,
    trace: Trace,
    views: RefinementSeries,
    pixel_A: float,
    centre_A: NDArray[np.float64],
    restraint_A: float | None,
    rules: TraceRules,
) -> RefinedTrace:
    """Refine a trace against the views, which must show the same atoms as the volume.

    Raises
    ------
    DataError
        When half of the atoms are not in the views, unless the user has chosen their threshold or number.
    UsageError
        When the restraint cannot be determined by cross-validation.
    """
    name = views.series.name
    try:
        with file_named_in_errors(views.series):
            completed = refine_trace(
                trace,
                views.views,
                pixel_A=pixel_A,
                centre_A=centre_A,
                level=views.level,
                restraint_A=restraint_A,
                min_distance_A=rules.cleaning.min_distance_A,
                progress=lambda text: session.reporter.report(f"refining: {text}"),
            )
    except UsageError as error:
        remedy = "" if "--hold" in str(error) else "; give --hold as a length"
        raise UsageError(f"{name}: {error}{remedy}") from error
    n_atoms, n_shown, least = len(trace.fitted), int((completed.from_trace >= 0).sum()), FEWEST_SHOWN
    all_are_kept = completed.restraint is not None and not completed.restraint.completes
    if completed.restraint and all_are_kept:
        n_shown, least = round(completed.restraint.shown * n_atoms), FEWEST_KEPT
    text = f"{name}: shows only {n_shown} of the {n_atoms} atoms of the volume"
    if n_shown < least * n_atoms and rules.threshold is None and rules.expected is None:
        raise DataError(f"{text}; is it the series that was reconstructed, with the same angles?")
    if n_shown < DOUBTFUL_SHOWN * n_atoms and not all_are_kept:
        session.reporter.warn(f"{text}; make sure that the volume was reconstructed from it (--orient zyx)")
    return completed
