"""Registration of the views of a series by shifts, in memory or from file to file."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.core.registration.image_place import ImagePlace
from etcli.core.registration.matching import Matched
from etcli.core.registration.methods import (
    ORIENTING_ROUNDS,
    n_steps,
    orient_views,
    register_views,
)
from etcli.core.registration.tilt_axis import TiltAxis
from etcli.core.registration.transforms import TransformedViews, Transforms, turned_shape
from etcli.core.series import TiltSeries
from etcli.core.view_table import ALIGNED_BY_RECON
from etcli.io.euler import write_euler
from etcli.io.transforms import axis_text
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.background_level import background_level, with_background
from etcli.pipeline.compared_part import small_part, small_part_blamed
from etcli.pipeline.first_look import first_look
from etcli.pipeline.focal_registration import FOCAL, check_focal, find_drift, shown_along
from etcli.pipeline.inputs import file_named_in_errors, read_series, read_volume, with_euler_file
from etcli.pipeline.known_axis import (
    known_axis_deg,
    rotated_mask,
    rotated_region,
    with_axis_direction,
    with_given_axis,
)
from etcli.pipeline.picture_output import check_picture, save_picture
from etcli.pipeline.preflight import check_series_output
from etcli.pipeline.resample import resampled, write_resampled
from etcli.pipeline.residual import check_residual
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.text_output import check_text_names
from etcli.pipeline.transform_output import transform_files, write_transforms
from etcli.pipeline.view_selection import Region, as_mask

ITERATIONS = 12
"""Largest number of rounds of projection matching at each scale."""
NEAR_PX = 1.0
"""Distance of the tilt axis from its place by the header that is told."""
UPRIGHT_DEG = 20.0
"""Angle up to which the offset of an axis is about that along x."""
Float = NDArray[np.float64]


@dataclass(frozen=True)
class RegisterRequest:
    """Options of a registration, named as those of ``etcli register``.

    Parameters
    ----------
    method : str
        ``auto``, ``match``, ``pc``, ``stackreg``, ``com``, ``com-cl`` or ``focal``.
    reference : int or None
        View that is not shifted, counted from 0; by default the one nearest 0° or in the middle of the focus.
    max_shift : Length or None
        Largest displacement between neighbours.
    region : Region or None
        Part of the views that is compared.
    mask : ndarray of shape (ny, nx) or None
        Not zero where the views are compared, by matching.
    iterations : int
        Largest number of rounds of matching at each scale.
    background : float or {"auto", "none"}
        Background level to subtract for the comparison.
    max_residual : Length
        Residual above which there is a warning, or an error where `strict`.
    strict : bool
    """

    method: str = "auto"
    reference: int | None = None
    max_shift: Length | None = None
    region: Region | None = None
    iterations: int = ITERATIONS
    background: float | str = "auto"
    max_residual: Length = Length(1.0, "px")
    strict: bool = False
    mask: NDArray[Any] | None = field(default=None, compare=False)

    @property
    def chosen(self) -> str:
        """The method to use for a tilt series; ``auto`` is resolved from the other options."""
        if self.method != "auto":
            return self.method
        return "pc" if self.max_shift else "match"

    def of_series(self, series: TiltSeries) -> "RegisterRequest":
        """Return the request with a method: ``focal`` in place of ``auto`` for a focal series."""
        focal = self.method == "auto" and series.views.is_focal_series
        return replace(self, method=FOCAL if focal else self.chosen)


@dataclass(frozen=True)
class RegisterFiles:
    """Files of a registration, named as the options of ``etcli register``."""

    input: str
    output: str
    tilts: str | None = None
    euler: str | None = None
    axis_deg: float | None = None
    mask: str | None = None
    write_xf: str | None = None
    plot: str | None = None
    mode: int = 2


@dataclass(frozen=True, eq=False)
class Registration:
    """Result of a registration: the shifts, their residual, and the registered series.

    Parameters
    ----------
    source : TiltSeries
        The original views, with their refined orientations.
    transforms : Transforms
        The shifts that register them.
    found : Matched
        Shifts, residual, doubtful views and a first estimate of the tilt axis.
    method : str
        The method that was used.
    background : float or None
        Background level of the views, with which gaps at their borders are filled.
    session : Session
    """

    source: TiltSeries
    transforms: Transforms
    found: Matched
    method: str
    background: float | None
    session: Session

    @property
    def residual_px(self) -> float:
        """Root mean square distance of views from their prediction by the others; NaN if unknown."""
        return self.found.shifts.residual_px

    @property
    def doubtful(self) -> NDArray[np.bool_]:
        """Views that differ much from their prediction by the others, or are far from it."""
        return self.found.shifts.doubtful

    @property
    def step(self) -> ProcessingStep:
        """Processing step for the history."""
        axis = f", {axis_text(self.axis)}" if self.axis else ""
        return ProcessingStep("register", f"{self.method}, residual {self.residual_px:.2f} px{axis}")

    @property
    def axis(self) -> TiltAxis | None:
        """Tilt axis of the registered views; None where projection matching did not find one."""
        found = self.found.axis
        return found if self.method == "match" and np.isfinite(found.angle_deg) else None

    @cached_property
    def series(self) -> TiltSeries:
        """The shifted views, each interpolated once by cubic splines."""
        moved = resampled(self.session, self.source, self.transforms, what="shifting", fill=self.background)
        return replace(moved, history=(*moved.history, str(self.step)))


def register(
    series: TiltSeries,
    *,
    method: str = "auto",
    reference: int | None = None,
    max_shift: Length | float | str | None = None,
    region: Region | None = None,
    mask: NDArray[Any] | None = None,
    iterations: int = ITERATIONS,
    background: float | str = "auto",
    strict: bool = False,
    max_residual: Length | float | str = "1px",
    session: Session | None = None,
) -> Registration:
    """Shift the views of a tilt series or of a focal series onto each other; shifts only.

    Orientations in the view table are refined together with the shifts.

    Parameters
    ----------
    series : TiltSeries
    method : {"auto", "match", "pc", "stackreg", "com", "com-cl", "focal"}
        ``auto`` is match, or pc with a largest shift, and focal for a series of one tilt at several defoci.
    reference : int, optional
        View that is not shifted, counted from 0; by default the one nearest 0° or in the middle of the focus.
    max_shift : length, optional
        Largest displacement between neighbours, in pixels or with a unit.
    region : Region, optional
        Part of the views that is compared.
    mask : ndarray of shape (ny, nx), optional
        Not zero where matching compares the views: 0 leaves out what dominates or moves by itself.
    iterations : int
        Largest number of rounds of matching at each scale.
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
    Registration

    Raises
    ------
    DataError
        When there are no tilt angles, or too few views can be used.
    ConvergenceError
        When no registration is found, or it is not good enough where `strict`.
    UsageError
        When the request does not suit the series.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> rng = np.random.default_rng(0)
    >>> ball = np.hypot(*(np.mgrid[:48, :48] - 23.5)) < 9
    >>> shifts = rng.integers(-3, 4, (25, 2))
    >>> views = np.stack([np.roll(ball, tuple(s), (0, 1)) for s in shifts]).astype(np.float32)
    >>> series = etcli.TiltSeries.of(views, np.linspace(-72, 72, 25), axis_deg=0)
    >>> registered = etcli.register(series, method="com")
    >>> registered.series.shape
    (25, 48, 48)
    """
    request = RegisterRequest(
        method,
        reference,
        None if max_shift is None else Length.parse(max_shift, "px"),
        region,
        iterations,
        background,
        Length.parse(max_residual, "px"),
        strict,
        mask,
    )
    return register_series(session or Session(), series, request)


@with_one_blas_thread
def register_series(session: Session, series: TiltSeries, request: RegisterRequest) -> Registration:
    """Register a series as requested; see `register`."""
    if request.reference is not None and not 0 <= request.reference < len(series):
        raise UsageError(f"--reference {request.reference + 1}: there are {len(series)} views; count from 1")
    max_residual_px = request.max_residual.px(series.pixel_A)
    request = request.of_series(series)
    if request.method == FOCAL and request.mask is not None:
        raise UsageError("--mask is for tilt series; a focal series takes --region")
    if request.method != FOCAL:
        series.views.check_one_focus(series.name, ALIGNED_BY_RECON)
    look = first_look(session, series, rims=request.background == "auto", compared=True)
    compared = look.limited
    if request.method != FOCAL:
        compared = with_axis_direction(session, compared, strict=request.strict)
        series = replace(series, axis_deg=compared.axis_deg, axis_source=compared.axis_source)
    level = background_level(session, compared, request.background, look=look)
    matched = _find_shifts(session, compared, request, level)
    _report(session, series, matched, focal=request.method == FOCAL)
    check_residual(
        session,
        matched,
        series.pixel_A,
        max_residual_px=max_residual_px,
        strict=request.strict,
        focal=request.method == FOCAL,
    )
    _compare_centre(session, series, matched.axis)
    series = with_background(series, level, request.background)
    shift_px = matched.shifts.shift_px
    if series.views.euler_deg is not None and request.chosen == "match":
        shift_px, euler_deg = _refine_orientations(session, compared, matched, level)
        series = series.with_orientations(euler_deg, "refinement")
    transforms = replace(Transforms.shifts(shift_px), centres_axis=False)
    return Registration(series, transforms, matched, request.chosen, level, session)


def register_files(files: RegisterFiles, request: RegisterRequest, session: Session) -> dict[str, Any]:
    """Register from file to file.

    Parameters
    ----------
    files : RegisterFiles
    request : RegisterRequest
    session : Session

    Returns
    -------
    dict
        The numbers of the run, for ``--json``.

    Raises
    ------
    DataError, ConvergenceError, UsageError
        As for `register`; no output is written then.
    """
    if files.euler and request.chosen != "match":
        raise UsageError("--euler needs --method match, without --max-shift")
    check_picture(files.plot)
    check_text_names(transforms=files.write_xf)
    series = read_series(session, files.input, tilts=files.tilts)
    series = with_given_axis(session, series, files.axis_deg)
    if files.mask:
        request = replace(request, mask=read_volume(session, files.mask).images())
    request = request.of_series(series)
    if request.method == FOCAL:
        check_focal(series, axis_deg=files.axis_deg)
    if files.euler:
        if files.tilts or (series.axis_deg is not None and known_axis_deg(session, series)):
            raise UsageError("--euler says where the tilt axis lies: along y; leave --tilts and --axis out")
        series = with_euler_file(session, series, files.euler)
    euler_csv = f"{files.output}.euler.csv" if series.views.euler_deg is not None else None
    sides = (*transform_files(files.write_xf), files.plot, euler_csv)
    check_series_output(session, files.output, series, sides=sides)
    result = register_series(session, series, request)
    with session.outputs() as outputs:
        with series_writer(outputs, files.output, result.source, step=result.step, mode=files.mode) as writer:
            write_resampled(
                session, writer, result.source, result.transforms, what="shifting", fill=result.background
            )
        if euler_csv and result.source.views.euler_deg is not None:
            write_euler(outputs.path(euler_csv), result.source.views.euler_deg)
        if files.write_xf:
            write_transforms(
                outputs,
                files.write_xf,
                result.transforms,
                step=result.step,
                pixel_A=series.pixel_A,
                tilt_deg=series.views.tilt_deg,
                axis=result.axis,
                place=ImagePlace.of(series),
            )
        if files.plot:
            from etcli.plotting.alignment import registration

            shifts = result.found.shifts
            focal = result.method == FOCAL
            along, label = shown_along(result.source) if focal else (result.source.tilt_deg, "tilt angle (°)")
            figure = registration(
                along,
                result.transforms.shift_px,
                quality=shifts.quality,
                deviation_px=shifts.deviation_px,
                doubtful=shifts.doubtful,
                along=label,
            )
            save_picture(outputs, files.plot, figure)
    return _numbers(result)


def _find_shifts(
    session: Session, series: TiltSeries, request: RegisterRequest, level: float | None
) -> Matched:
    """Find shifts and tilt axis on views rotated to a vertical axis, and rotate the result back."""
    method, region = request.chosen, request.region
    _, ny, nx = series.shape
    if region and (region.columns.stop > nx or region.rows.stop > ny):
        raise UsageError(f"--region reaches beyond the views of {nx} x {ny} pixels; count from 1")
    max_shift_px = request.max_shift.px(series.pixel_A) if request.max_shift else None
    if method == FOCAL:
        return find_drift(
            session, series, reference=request.reference, max_shift_px=max_shift_px, region=region
        )
    mask = None if request.mask is None else as_mask(request.mask)
    if mask is not None and mask.shape != (ny, nx):
        size = " x ".join(map(str, mask.shape[::-1]))
        raise UsageError(f"a mask of {size} pixels does not fit the views of {nx} x {ny}")
    axis_deg = known_axis_deg(session, series, told=True)
    rotation = Transforms.rotation(axis_deg, len(series))
    shape = turned_shape((ny, nx), axis_deg)
    views: Any = series.images()
    if axis_deg:
        views = TransformedViews(series.view, rotation, shape, fill=level)
    total = n_steps(method, n_views=len(series), iterations=request.iterations)
    wrong = small_part(series.images(), region, mask) if method == "match" else ""
    if wrong:
        session.reporter.warn(f"{series.name}: {wrong}")
    with (
        file_named_in_errors(series),
        small_part_blamed(wrong),
        session.reporter.progress(total, "comparing") as advance,
    ):
        matched = register_views(
            views,
            series.tilt_deg,
            method=method,
            reference=request.reference,
            background=level,
            max_shift_px=max_shift_px,
            iterations=request.iterations,
            region=rotated_region(region, rotation.matrix[0], (ny, nx), shape) if region else None,
            shown=None if mask is None else rotated_mask(mask, rotation.matrix[0], shape),
            threads=session.threads,
            progress=advance,
        )
    shift_px = np.einsum("kij,kj->ki", rotation.inverse().matrix, matched.shifts.shift_px)
    axis = replace(matched.axis, angle_deg=matched.axis.angle_deg + axis_deg)
    return replace(matched, shifts=replace(matched.shifts, shift_px=shift_px), axis=axis)


def _refine_orientations(
    session: Session, series: TiltSeries, start: Matched, level: float | None
) -> tuple[Float, Float]:
    """Refine orientations and shifts; return shifts and Euler angles."""
    assert series.views.euler_deg is not None
    with file_named_in_errors(series), session.reporter.progress(ORIENTING_ROUNDS, "orienting") as advance:
        matched = orient_views(
            series.images(),
            series.views.euler_deg,
            start,
            background=level,
            threads=session.threads,
            progress=advance,
        )
    why = ", and only follow noise from there on" if matched.follows_noise else ""
    session.reporter.report(
        f"orientations changed by {matched.change_deg:.2f}° in the last of {matched.rounds} rounds{why}"
    )
    return matched.shift_px, matched.euler_deg


def _compare_centre(session: Session, series: TiltSeries, axis: TiltAxis) -> None:
    """Warn where the tilt axis of registered crops is not where their header says."""
    away_px = axis.offset_px - series.centre_px[0]
    if series.centre_A is not None and abs(axis.angle_deg) < UPRIGHT_DEG and abs(away_px) > NEAR_PX:
        session.reporter.warn(
            f"{series.name}: the tilt axis is {axis.offset_px:+.2f} px from the middle of the registered "
            f"views, not {series.centre_px[0]:+.2f} px as their header says; use tiltalign before recon"
        )


def _report(session: Session, series: TiltSeries, matched: Matched, *, focal: bool) -> None:
    """Report the shifts, and how well the views fit."""
    reporter, shifts = session.reporter, matched.shifts
    told_by = matched.tilt_deg if series.views.defocus_um is None else series.views.defocus_um
    left_px = (
        np.full(len(series), np.nan) if shifts.deviation_px is None else np.hypot(*shifts.deviation_px.T)
    )
    reporter.note(f"view {'focus (µm)' if focal else '  tilt (°)'}   x (px)   y (px)  off (px)  correlation")
    values = told_by if focal else series.tilt_deg
    rows = zip(values, shifts.shift_px, left_px, shifts.quality, shifts.doubtful, strict=True)
    for number, (value, (x, y), left, quality, doubtful) in enumerate(rows, start=1):
        mark = "  doubtful" if doubtful else ""
        reporter.note(
            f"{number:4} {value:10.{4 if focal else 2}f} {x:8.2f} {y:8.2f} {left:9.2f} {quality:12.3f}{mark}"
        )
    axis = matched.axis
    place = f"; tilt axis at {axis.angle_deg:.2f}°, {axis.offset_px:.2f} px off the centre"
    largest_px = np.hypot(*shifts.shift_px.T).max()
    reporter.report(f"largest shift {largest_px:.2f} px{place if np.isfinite(axis.angle_deg) else ''}")


def _numbers(result: Registration) -> dict[str, Any]:
    """Return the numbers of the run, for ``--json``."""
    shifts, pixel_A = result.found.shifts, result.source.pixel_A
    numbers = {
        "method": result.method,
        "shift_px": shifts.shift_px.round(4),
        "quality": shifts.quality.round(4),
        "deviation_px": None if shifts.deviation_px is None else shifts.deviation_px.round(4),
        "doubtful": [k + 1 for k, doubt in enumerate(shifts.doubtful) if doubt],
        "residual_px": shifts.residual_px,
        "residual_A": shifts.residual_px * pixel_A if pixel_A else None,
        "angle_deg": result.found.axis.angle_deg,
        "offset_px": result.found.axis.offset_px,
        "background": result.background,
    }
    if result.source.views.euler_deg is not None:
        numbers |= {
            "shift_px": result.transforms.shift_px.round(4),
            "euler_deg": result.source.views.euler_deg,
            "angle_deg": 0.0,
            "offset_px": 0.0,
        }
    return numbers
