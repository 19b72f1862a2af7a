"""Tilt alignment: the axis found and turned vertical and central, in memory or from file to file."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.geometry import centre
from etcli.core.lengths import Length
from etcli.core.reconstruction.preview import preview_slices
from etcli.core.registration.matching import Matched, axis_residual
from etcli.core.registration.methods import find_axis
from etcli.core.registration.row_moments import axis_along_itself
from etcli.core.registration.tilt_axis import TiltAxis, alignment_matrix
from etcli.core.registration.transforms import Transforms, compose, turned_shape
from etcli.core.series import TiltSeries
from etcli.io.image_file import open_images
from etcli.io.tilts import write_tilts
from etcli.io.transforms import write_xf
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.background_level import background_level
from etcli.pipeline.inputs import naming, read_series, read_transforms
from etcli.pipeline.known_axis import known_axis_deg
from etcli.pipeline.picture_output import check_picture, save_picture
from etcli.pipeline.preflight import check_series_output
from etcli.pipeline.resample import resampled, without_orientations, write_resampled
from etcli.pipeline.residual import check_residual
from etcli.pipeline.session import Session, with_one_blas_thread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ITERATIONS = 12
"""Rounds of matching at each of its scales, at most."""


@dataclass(frozen=True)
class TiltAlignRequest:
    """A tilt alignment as asked for, in the words of ``etcli tiltalign``.

    Parameters
    ----------
    method : str
        ``auto``, ``match``, ``com``, ``sum`` or ``maximage``.
    angle_deg : float or None
        Angle from +y to the axis that is applied, and nothing found.
    offset : Length or None
        Distance of the axis from the centre that is applied, and nothing found.
    refine_tilts : bool
        Whether the tilt angles are refined.
    background : float or {"auto", "none"}
        Level to take off for the comparison.
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
        """Whether the axis is given, and not to be found."""
        return self.angle_deg is not None or self.offset is not None


@dataclass(frozen=True)
class TiltAlignFiles:
    """The files of a tilt alignment, by the names of ``etcli tiltalign``'s options."""

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
    """An aligned series: its tilt axis vertical and central.

    Parameters
    ----------
    source : TiltSeries
        The views as they were, with tilt angles that may have been refined.
    transforms : Transforms
        All that is applied to them.
    axis : TiltAxis
        The axis after what was applied before.
    method : str
        How it was found.
    background : float or None
        Level of the views, by which gaps at their borders are filled.
    shape : (int, int)
        Rows and columns of an aligned view.
    after : str
        What was applied before, for the history.
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
        """Whether the offset of the axis is known: some methods find the angle only."""
        return not np.isnan(self.axis.offset_px)

    @property
    def summary(self) -> str:
        """The result in a few words."""
        place = f"taken to be central: {self.method} finds no offset"
        if self.is_placed:
            place = f"{self.axis.offset_px:.2f} px off the centre"
        return f"tilt axis at {self.axis.angle_deg:.2f}°, {place}"

    @property
    def step(self) -> ProcessingStep:
        """What was done, for the history."""
        done = [f"axis {self.axis.angle_deg:.2f} deg"]
        done += [f"offset {self.axis.offset_px:.2f} px"] if self.is_placed else []
        return ProcessingStep("tiltalign", ", ".join(done + ([f"after {self.after}"] if self.after else [])))

    @cached_property
    def series(self) -> TiltSeries:
        """The views turned and shifted, by one cubic spline interpolation each."""
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
        Registered, or raw where the shifts are given as `before`, so that views are interpolated only once.
    method : {"auto", "match", "com", "sum", "maximage"}
        ``auto`` is match, or sum where the specimen reaches the sides of the views.
    angle_deg : float, optional
        Find nothing; apply this angle from +y to the axis, counter-clockwise.
    offset : length, optional
        Find nothing; apply this distance of the axis from the centre, in pixels or with a unit.
    before : Transforms, optional
        Applied first, such as those of `etcli.register`.
    refine_tilts : bool
        Whether the tilt angles are refined, their mean kept.
    background : float or {"auto", "none"}
        Level to take off for the comparison.
    strict : bool
        Whether a residual above `max_residual` is an error instead of a warning.
    max_residual : length
        In pixels or with a unit.
    session : Session, optional
        Threads, memory, and who is told; by default all of this process's, and nobody.

    Returns
    -------
    Aligned

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
    >>> views = np.zeros((3, 16, 16), np.float32)
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
    return align_series(session or Session(), series, request, before)


@with_one_blas_thread
def align_series(
    session: Session,
    series: TiltSeries,
    request: TiltAlignRequest,
    before: Transforms | None = None,
    *,
    after: str = "",
) -> TiltAlignment:
    """Align a series as asked for; see `tiltalign`.

    Parameters
    ----------
    session, series, request
    before : Transforms, optional
        Applied first.
    after : str
        Their name, for the history.
    """
    n = len(series.tilt_deg)  # a series without angles is refused
    before = Transforms.identity(n) if before is None else before
    turned_deg = before.turned_deg
    limit_px = request.max_residual.px(series.pixel_A)
    level = background_level(session, series, request.background)
    if not request.is_given:
        start_deg = known_axis_deg(session, series) - turned_deg
        method, found = _found(session, series, before, start_deg, request, level)
        axis = found.axis
        if request.refine_tilts:
            series = series.with_tilts(found.tilt_deg, "refinement")
        check_residual(session, found, series.pixel_A, limit_px=limit_px, strict=request.strict)
    else:
        if request.refine_tilts or request.strict or request.method != "auto":
            raise UsageError(
                "with --angle or --offset nothing is found; leave --method, --refine-tilts and --strict out"
            )
        method, angle_deg = "given", request.angle_deg
        if angle_deg is None:
            angle_deg = known_axis_deg(session, series) - turned_deg
        offset_px = request.offset.px(series.pixel_A) if request.offset else 0.0
        axis = TiltAxis(angle_deg, offset_px, *(np.nan,) * 3)
    placed_px = 0.0 if np.isnan(axis.offset_px) else axis.offset_px
    matrix, shift_px = alignment_matrix(axis.angle_deg, placed_px)
    transforms = compose(before, Transforms(np.tile(matrix, (n, 1, 1)), np.tile(shift_px, (n, 1))))
    series = without_orientations(session, series, transforms)
    shape = turned_shape((series.shape[1], series.shape[2]), turned_deg + axis.angle_deg)
    done = TiltAlignment(series, transforms, axis, method, level, shape, after, session)
    session.reporter.report(done.summary)
    return done


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
        The numbers of the run, for a script.

    Raises
    ------
    DataError, ConvergenceError, UsageError
        As for `tiltalign`; no output is left then.
    """
    check_picture(files.plot)
    series = read_series(session, files.input, tilts=files.tilts, axis_deg=files.axis_deg)
    check_series_output(session, files.output, series, sides=(files.write_xf, files.write_tlt, files.plot))
    before = read_transforms(session, files.prexf, series) if files.prexf else None
    after = Path(files.prexf).name if files.prexf else ""
    done = align_series(session, series, request, before, after=after)
    with session.outputs() as outputs:
        with series_writer(
            outputs,
            files.output,
            done.source,
            step=done.step,
            shape=done.shape,
            axis_deg=0.0,
            mode=files.mode,
        ) as writer:
            write_resampled(
                session,
                writer,
                done.source,
                done.transforms,
                what="turning",
                shape=done.shape,
                fill=done.background,
            )
        if files.write_xf:
            write_xf(outputs.path(files.write_xf), done.transforms)
        if files.write_tlt:
            write_tilts(outputs.path(files.write_tlt), done.source.tilt_deg)
        if files.plot:
            figure = _picture(done, outputs.part_of(files.output))
            save_picture(outputs, files.plot, figure)
    numbers = _numbers(done)
    return numbers | {"tilt_deg": done.source.tilt_deg} if request.refine_tilts else numbers


def _found(
    session: Session,
    series: TiltSeries,
    before: Transforms,
    start_deg: float,
    request: TiltAlignRequest,
    level: float | None,
) -> tuple[str, Matched]:
    """Find the axis in the series as registered; return the method that did."""
    chosen = "match" if request.method == "auto" else request.method
    n_read = 2 * len(series) if chosen == "com" else len(series)
    total = 3 * ITERATIONS if chosen == "match" else n_read
    with naming(series), session.reporter.progress(total, "looking for the axis") as advance:
        how: dict[str, Any] = {
            "transforms": before,
            "start_deg": start_deg,
            "background": level,
            "threads": session.threads,
            "progress": advance,
        }
        if request.method == "auto" and level is None and not request.refine_tilts:
            with suppress(ConvergenceError):
                return "sum", find_axis(series.images(), series.tilt_deg, method="sum", **how)
        how |= {"free_tilts": request.refine_tilts, "iterations": ITERATIONS}
        return chosen, find_axis(series.images(), series.tilt_deg, method=chosen, **how)


def _numbers(done: TiltAlignment) -> dict[str, Any]:
    """Return what a script may want to know."""
    axis, pixel_A = done.axis, done.source.pixel_A
    return {
        "method": done.method,
        "background": done.background,
        "angle_deg": axis.angle_deg,
        "offset_px": axis.offset_px,
        "angle_sigma_deg": axis.angle_sigma_deg,
        "offset_sigma_px": axis.offset_sigma_px,
        "residual_px": axis.residual_px,
        "residual_A": axis.residual_px * pixel_A if pixel_A else None,
    }


def _picture(done: TiltAlignment, path: Path) -> "Figure":
    """Draw three slices of the aligned series to judge it by, and how well other axes would do."""
    from etcli.plotting.alignment import tilt_axis

    tilt_deg, level = done.source.tilt_deg, done.background
    views = open_images(str(path)).series().images()
    ny = views.shape[1]
    y_px, axis_px = axis_along_itself(views, tilt_deg, background=level or 0.0)
    rows = np.round(np.linspace(0, ny - 1, 5)).astype(int)[1:-1]
    try:
        residual = axis_residual(views, tilt_deg, background=level, threads=done.session.threads)
    except DataError:  # too few views for any
        residual = None
    return tilt_axis(
        y_px,
        axis_px,
        slices=preview_slices(views[:, rows], tilt_deg, background=level or 0.0),
        slice_rows=rows - centre(ny),
        residual=residual,
        pixel_A=done.source.pixel_A,
        title=done.summary,
    )
