"""Tilt alignment: find the tilt axis and make it vertical and central, in memory or from file to file."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.geometry import centre, wrapped_deg
from etcli.core.lengths import Length
from etcli.core.reconstruction.preview import preview_slices
from etcli.core.registration.axis_residual import axis_residual
from etcli.core.registration.image_place import (
    ImagePlace,
    centre_after,
    turned_centre,
    with_centre_px,
)
from etcli.core.registration.matching import Matched
from etcli.core.registration.methods import find_axis
from etcli.core.registration.row_moments import axis_by_row
from etcli.core.registration.tilt_axis import TiltAxis, alignment_matrix
from etcli.core.registration.transforms import Transforms, compose, turned_shape
from etcli.core.series import TiltSeries
from etcli.core.view_table import ALIGNED_BY_RECON
from etcli.io.image_file import open_images
from etcli.io.tilts import write_tilts
from etcli.io.transforms import axis_of_text
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.background_level import background_level, with_background
from etcli.pipeline.first_look import first_look
from etcli.pipeline.inputs import (
    after_transforms,
    axis_beside,
    file_named_in_errors,
    read_series,
    read_transforms,
)
from etcli.pipeline.known_axis import known_axis_deg, stated_by, with_axis_direction, with_given_axis
from etcli.pipeline.picture_output import check_picture, save_picture
from etcli.pipeline.preflight import check_series_output
from etcli.pipeline.resample import resampled, without_orientations, write_resampled
from etcli.pipeline.residual import check_residual
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.text_output import check_text_names
from etcli.pipeline.transform_output import transform_files, write_transforms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ITERATIONS = 12
"""Largest number of rounds of projection matching at each scale."""
SAME_AXIS_DEG = 45.0
"""Difference up to which two angles are rough values of one axis."""


@dataclass(frozen=True)
class TiltAlignRequest:
    """Options of a tilt alignment, named as those of ``etcli tiltalign``.

    Parameters
    ----------
    method : str
        ``auto``, ``match``, ``com``, ``sum`` or ``maximage``.
    angle_deg : float or None
        Known angle from +y to the axis; if given, it is applied and no axis is searched for.
    offset : Length or None
        Known distance of the axis from the centre; if given, it is applied and no axis is searched for.
    refine_tilts : bool
        Whether the tilt angles are refined.
    background : float or {"auto", "none"}
        Background level to subtract for the comparison.
    max_residual : Length
        Residual above which there is a warning, or an error where `strict`.
    strict : bool
    """

    method: str = "auto"
    angle_deg: float | None = None
    offset: Length | None = None
    refine_tilts: bool = False
    background: float | str = "auto"
    max_residual: Length = Length(1.0, "px")
    strict: bool = False

    @property
    def is_given(self) -> bool:
        """Whether the axis is given, so that there is no search for it."""
        return self.angle_deg is not None or self.offset is not None


@dataclass(frozen=True)
class TiltAlignFiles:
    """Files of a tilt alignment, named as the options of ``etcli tiltalign``."""

    input: str
    output: str
    tilts: str | None = None
    axis_deg: float | None = None
    prexf: str | None = None
    write_xf: str | None = None
    write_tlt: str | None = None
    plot: str | None = None
    mode: int = 2


@dataclass(frozen=True, eq=False)
class TiltAlignment:
    """Result of a tilt alignment: the tilt axis, and the series with that axis vertical and central.

    Parameters
    ----------
    source : TiltSeries
        The original views, with tilt angles that may have been refined.
    transforms : Transforms
        All transforms applied to them, combined.
    axis : TiltAxis
        The axis, as found after the transforms that were given.
    method : str
        The method that found it.
    background : float or None
        Background level of the views, with which gaps at their borders are filled.
    shape : (int, int)
        Rows and columns of an aligned view.
    after : str
        Name of the transforms that were given, for the history.
    session : Session
    """

    source: TiltSeries
    transforms: Transforms
    axis: TiltAxis
    method: str
    background: float | None
    shape: tuple[int, int]
    after: str
    session: Session

    @property
    def is_placed(self) -> bool:
        """Whether the offset of the axis is known, as some methods find the angle only."""
        return not np.isnan(self.axis.offset_px)

    @property
    def summary(self) -> str:
        """Short description of the result."""
        place = f"taken to be central: {self.method} finds no offset"
        if self.is_placed:
            place = f"{self.axis.offset_px:.2f} px off the centre"
        return f"tilt axis at {self.axis.angle_deg:.2f}°, {place}"

    @property
    def step(self) -> ProcessingStep:
        """Processing step for the history."""
        alignment = [f"axis {self.axis.angle_deg:.2f} deg"]
        alignment += [f"offset {self.axis.offset_px:.2f} px"] if self.is_placed else []
        return ProcessingStep(
            "tiltalign", ", ".join(alignment + ([f"after {self.after}"] if self.after else []))
        )

    @cached_property
    def series(self) -> TiltSeries:
        """The rotated and shifted views, each interpolated once by cubic splines."""
        moved = resampled(
            self.session,
            self.source,
            self.transforms,
            what="turning",
            shape=self.shape,
            fill=self.background,
        )
        return replace(moved.with_axis(0.0), history=(*moved.history, str(self.step)))


def tiltalign(
    series: TiltSeries,
    *,
    method: str = "auto",
    angle_deg: float | None = None,
    offset: Length | float | str | None = None,
    before: Transforms | None = None,
    axis: TiltAxis | None = None,
    refine_tilts: bool = False,
    background: float | str = "auto",
    strict: bool = False,
    max_residual: Length | float | str = "1px",
    session: Session | None = None,
) -> TiltAlignment:
    """Find the tilt axis of a registered series and turn it vertical and central.

    Parameters
    ----------
    series : TiltSeries
        Registered, or raw if the shifts are given as `before`, so that views are interpolated only once.
    method : {"auto", "match", "com", "sum", "maximage"}
        ``auto`` is match, or sum where the specimen reaches the sides of the views.
    angle_deg : float, optional
        Known angle from +y to the axis, counter-clockwise; it is applied without a search.
    offset : length, optional
        Known distance of the axis from the centre, in pixels or with a unit; it is applied without a search.
    before : Transforms, optional
        Transforms to apply first, such as those of `etcli.register`.
    axis : TiltAxis, optional
        Tilt axis that `etcli.register` found with these transforms: it is refined if the views confirm it,
        which saves the search. By default that of the last step in the history of the series.
    refine_tilts : bool
        Whether the tilt angles are refined; their mean is kept.
    background : float or {"auto", "none"}
        Background level to subtract for the comparison.
    strict : bool
        Whether a residual above `max_residual` is an error instead of a warning.
    max_residual : length
        In pixels or with a unit.
    session : Session, optional
        Threads, memory and reporter; `Session()` by default.

    Returns
    -------
    TiltAlignment

    Raises
    ------
    DataError
        When there are no tilt angles, or too few views can be used.
    ConvergenceError
        When no axis is found, or it is not good enough where `strict`.
    UsageError
        When the request contradicts itself.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> views = np.random.default_rng(1).random((3, 16, 16), np.float32)
    >>> series = etcli.TiltSeries.of(views, [-60, 0, 60])
    >>> aligned = etcli.tiltalign(series, angle_deg=0, offset=2, background="none")
    >>> aligned.transforms.shift_px[0].tolist()
    [-2.0, 0.0]
    """
    request = TiltAlignRequest(
        method,
        angle_deg,
        None if offset is None else Length.parse(offset, "px"),
        refine_tilts,
        background,
        Length.parse(max_residual, "px"),
        strict,
    )
    return align_series(session or Session(), series, request, before, known=axis)


@with_one_blas_thread
def align_series(
    session: Session,
    series: TiltSeries,
    request: TiltAlignRequest,
    before: Transforms | None = None,
    *,
    after: str = "",
    known: TiltAxis | None = None,
) -> TiltAlignment:
    """Align a series as requested; see `tiltalign`.

    Parameters
    ----------
    session, series, request
    before : Transforms, optional
        Transforms to apply first.
    after : str
        Their name, for the history.
    known : TiltAxis, optional
        Tilt axis that was found with these transforms.
    """
    series.views.check_one_focus(series.name, ALIGNED_BY_RECON)
    n = len(series.tilt_deg)  # raises an error for a series without tilt angles
    if before is None:
        before, known = Transforms.identity(n), known or _axis_of_history(series)
    before_deg = before.turned_deg
    look = first_look(session, series, rims=request.background == "auto", compared=True)
    compared = look.limited
    if known is not None and series.axis_deg is None and series.views.euler_deg is None:
        direction_deg = 90.0 * round((known.angle_deg + before_deg) / 90)
        compared = replace(compared, axis_deg=direction_deg, axis_source="views")
    elif not request.is_given:
        compared = with_axis_direction(session, compared, strict=request.strict)
    series = replace(series, axis_deg=compared.axis_deg, axis_source=compared.axis_source)
    max_residual_px = request.max_residual.px(series.pixel_A)
    level = background_level(session, compared, request.background, look=look)
    if not request.is_given:
        if any(step.startswith("etcli register") for step in series.history) and _has_filled_borders(series):
            session.reporter.warn(
                f"{series.name}: register has filled borders of the views, which falsifies the axis; give "
                "the views as they were before, with the transforms of register (--prexf)"
            )
        start_deg = known_axis_deg(session, series, told=True) - before_deg
        known = known and _towards(known, start_deg)
        method, matched = _find_axis(session, compared, before, start_deg, request, level, known)
        axis = matched.axis
        if request.refine_tilts:
            series = series.with_tilts(matched.tilt_deg, "refinement")
        check_residual(
            session, matched, series.pixel_A, max_residual_px=max_residual_px, strict=request.strict
        )
    else:
        if request.refine_tilts or request.strict or request.method != "auto":
            raise UsageError(
                "with --angle or --offset there is no search; leave --method, --refine-tilts and --strict out"
            )
        method, angle_deg = "given", request.angle_deg
        if angle_deg is None:
            angle_deg = known_axis_deg(session, series) - before_deg
        offset_px = request.offset.px(series.pixel_A) if request.offset else 0.0
        axis = TiltAxis(angle_deg, offset_px, *(np.nan,) * 3)
    applied_offset_px = 0.0 if np.isnan(axis.offset_px) else axis.offset_px
    matrix, shift_px = alignment_matrix(axis.angle_deg, applied_offset_px)
    to_middle = Transforms(np.tile(matrix, (n, 1, 1)), np.tile(shift_px, (n, 1)), centres_axis=True)
    transforms = compose(before, to_middle)
    shape = turned_shape((series.shape[1], series.shape[2]), before_deg + axis.angle_deg)
    centre_px = centre_after(turned_centre(series.centre_px, before), to_middle)
    series = with_background(without_orientations(session, series, transforms), level, request.background)
    series = with_centre_px(series, centre_px, shape)
    alignment = TiltAlignment(series, transforms, axis, method, level, shape, after, session)
    session.reporter.report(alignment.summary)
    return alignment


def _towards(axis: TiltAxis, stated_deg: float) -> TiltAxis:
    """Return an axis in the stated direction: views do not show it, and it decides the hand of the volume."""
    if abs(wrapped_deg(axis.angle_deg - stated_deg)) <= 90:
        return axis
    return replace(axis, angle_deg=wrapped_deg(axis.angle_deg + 180), offset_px=-axis.offset_px)


def _check_same_axis(series: TiltSeries, xf: str, axis_deg: float) -> None:
    """Raise UsageError where transforms were found with an axis opposite to that which the series states."""
    stated_deg = series.axis_deg
    if stated_deg is None or series.axis_source == "given":
        return
    if abs(wrapped_deg(axis_deg - stated_deg)) > 180 - SAME_AXIS_DEG:
        raise UsageError(
            f"{xf}: was found with the tilt axis at {axis_deg:.4g}°, but it is at {stated_deg:g}° by "
            f"{stated_by(series)}; one of them makes the volume a mirror image: give --axis"
        )


def _axis_of_history(series: TiltSeries) -> TiltAxis | None:
    """Return the tilt axis that register found, if that was the last step in the history of a series."""
    last = series.history[-1] if series.history else ""
    return axis_of_text(last) if last.startswith("etcli register") else None


def _has_filled_borders(series: TiltSeries) -> bool:
    """Check whether the outermost row or column of a view holds one value only."""
    views = map(series.view, range(len(series)))
    return any(np.ptp(edge) == 0 for view in views for edge in (view[0], view[-1], view[:, 0], view[:, -1]))


def tiltalign_files(files: TiltAlignFiles, request: TiltAlignRequest, session: Session) -> dict[str, Any]:
    """Align from file to file.

    Parameters
    ----------
    files : TiltAlignFiles
    request : TiltAlignRequest
    session : Session

    Returns
    -------
    dict
        The numbers of the run, for ``--json``.

    Raises
    ------
    DataError, ConvergenceError, UsageError
        As for `tiltalign`; no output is written then.
    """
    check_picture(files.plot)
    check_text_names(transforms=files.write_xf, angles=files.write_tlt)
    series = read_series(session, files.input, tilts=files.tilts)
    series = with_given_axis(session, series, files.axis_deg)
    before = read_transforms(session, files.prexf, series) if files.prexf else None
    sides = (*transform_files(files.write_xf), files.write_tlt, files.plot)
    check_series_output(session, files.output, series, sides=sides)
    after = Path(files.prexf).name if files.prexf else ""
    known = axis_beside(files.prexf, series) if files.prexf else None
    if known and before and request.angle_deg is None:
        _check_same_axis(series, files.prexf or "", known.angle_deg + before.turned_deg)
    alignment = align_series(session, series, request, before, after=after, known=known)
    with session.outputs() as outputs:
        with series_writer(
            outputs,
            files.output,
            after_transforms(alignment.source, files.prexf),
            step=alignment.step,
            shape=alignment.shape,
            axis_deg=0.0,
            mode=files.mode,
        ) as writer:
            write_resampled(
                session,
                writer,
                alignment.source,
                alignment.transforms,
                what="turning",
                shape=alignment.shape,
                fill=alignment.background,
            )
        if files.write_xf:
            write_transforms(
                outputs,
                files.write_xf,
                alignment.transforms,
                step=alignment.step,
                pixel_A=series.pixel_A,
                tilt_deg=series.views.tilt_deg,
                first=files.prexf,
                place=ImagePlace.of(series),
            )
        if files.write_tlt:
            write_tilts(outputs.path(files.write_tlt), alignment.source.tilt_deg)
        if files.plot:
            figure = _picture(alignment, outputs.part_of(files.output))
            save_picture(outputs, files.plot, figure)
    numbers = _numbers(alignment)
    return numbers | {"tilt_deg": alignment.source.tilt_deg} if request.refine_tilts else numbers


def _find_axis(
    session: Session,
    series: TiltSeries,
    before: Transforms,
    start_deg: float,
    request: TiltAlignRequest,
    level: float | None,
    known: TiltAxis | None,
) -> tuple[str, Matched]:
    """Find the axis of the registered series; return the method that found it, and the result."""
    chosen = "match" if request.method == "auto" else request.method
    n_read = 2 * len(series) if chosen == "com" else len(series)
    total = 2 * ITERATIONS if chosen == "match" else n_read
    with file_named_in_errors(series), session.reporter.progress(total, "looking for the axis") as advance:
        arguments: dict[str, Any] = {
            "transforms": before,
            "start_deg": start_deg,
            "background": level,
            "threads": session.threads,
            "progress": advance,
        }
        if request.method == "auto" and level is None and not request.refine_tilts:
            with suppress(ConvergenceError):
                return "sum", find_axis(series.images(), series.tilt_deg, method="sum", **arguments)
        arguments |= {"free_tilts": request.refine_tilts, "iterations": ITERATIONS, "known": known}
        found = find_axis(series.images(), series.tilt_deg, method=chosen, **arguments)
    if known is not None and chosen == "match" and not request.refine_tilts:
        confirms = "confirm" if found.from_known else "do not confirm"
        session.reporter.note(f"the views {confirms} the tilt axis that register found")
    return chosen, found


def _numbers(alignment: TiltAlignment) -> dict[str, Any]:
    """Return the numbers of the run, for ``--json``."""
    axis, pixel_A = alignment.axis, alignment.source.pixel_A
    return {
        "method": alignment.method,
        "background": alignment.background,
        "angle_deg": axis.angle_deg,
        "offset_px": axis.offset_px,
        "angle_sigma_deg": axis.angle_sigma_deg,
        "offset_sigma_px": axis.offset_sigma_px,
        "residual_px": axis.residual_px,
        "residual_A": axis.residual_px * pixel_A if pixel_A else None,
    }


def _picture(alignment: TiltAlignment, path: Path) -> "Figure":
    """Draw three slices of the aligned series, and the residual for other positions of the axis."""
    from etcli.plotting.alignment import tilt_axis

    tilt_deg, level = alignment.source.tilt_deg, alignment.background
    views = open_images(str(path)).series().images()
    ny = views.shape[1]
    y_px, axis_px = axis_by_row(views, tilt_deg, background=level or 0.0)
    rows = np.round(np.linspace(0, ny - 1, 5)).astype(int)[1:-1]
    try:
        residual = axis_residual(views, tilt_deg, background=level, threads=alignment.session.threads)
    except DataError:  # too few views for a residual
        residual = None
    return tilt_axis(
        y_px,
        axis_px,
        slices=preview_slices(views[:, rows], tilt_deg, background=level or 0.0),
        slice_rows=rows - centre(ny),
        residual=residual,
        pixel_A=alignment.source.pixel_A,
        title=alignment.summary,
    )
