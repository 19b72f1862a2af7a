"""Opening of input files, with warnings and notes about them for the user."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import listed
from etcli.core.errors import ConvergenceError, DataError, NonFiniteViewError, UsageError, without_advice
from etcli.core.registration.tilt_axis import TiltAxis
from etcli.core.registration.transforms import Transforms
from etcli.core.series import ImageStack, TiltSeries, Volume
from etcli.io.euler import read_euler
from etcli.io.facts import in_words
from etcli.io.history import missing
from etcli.io.image_file import ImageFile, open_images
from etcli.io.tilts import Tilts, TiltsFor, radians_warning, read_number_rows, sidecars_of
from etcli.io.transforms import axis_file, centres_axis, read_axis, read_pixel_A, read_steps, read_xf
from etcli.pipeline.matched_transforms import of_views
from etcli.pipeline.session import Session
from etcli.pipeline.transform_pixels import PLACEHOLDER_A, pixels_beside
from etcli.pipeline.transform_place import about_their_middle

SAME_PIXEL = 1e-3
"""Relative difference up to which pixel sizes are the same; headers hold seven digits, calibrations three."""


def read_images(
    session: Session,
    name: str,
    *,
    tilts: str | Tilts | TiltsFor | None = None,
    stream: bool = False,
    without: Collection[int] = (),
) -> ImageFile:
    """Open an image file; report its warnings, and where the tilt angles come from.

    Parameters
    ----------
    session : Session
    name : str
        The file, or ``-`` with `stream`.
    tilts : str, Tilts or callable, optional
        File of tilt angles, or angles out of one, that replace all other sources.
    stream : bool
        Whether the command can work on a stream: then ``-`` may be given, and angles may be missing.
    without : collection of int
        Images that will not be used, counted from 0; metadata may be missing for them.

    Returns
    -------
    ImageFile
    """
    file = open_images(name, tilts_file=tilts, stream=stream, without=without)
    session.reads(
        name,
        tilts if isinstance(tilts, str) else None,
        *(beside for beside in sidecars_of(Path(name)) if beside.is_file()),
        None if file.axis_source == ImageFile.axis_source else file.axis_source,  # the microscope's log
    )
    session.facts[name] = in_words(file)
    for text in file.warnings:
        session.reporter.warn(text)
    if stream and file.misfit:
        session.reporter.warn(f"{without_advice(file.misfit)}; ignored")
    if file.tilts is not None:
        session.reporter.note(f"{name}: {len(file)} views, tilt angles from {file.tilts.source}")
    return file


def read_series(
    session: Session,
    name: str,
    *,
    tilts: str | Tilts | None = None,
    defocus: str | None = None,
    euler: str | None = None,
    weights: str | None = None,
    axis_deg: float | None = None,
    stream: bool = False,
    without: Collection[int] = (),
) -> TiltSeries:
    """Open a series, with the values that other files give for its views.

    Parameters
    ----------
    session, name, tilts, stream, without
        As for `read_images`.
    defocus : str, optional
        File of defoci in µm, one per line.
    euler : str, optional
        File of Euler angles, which give the tilt angles as well.
    weights : str, optional
        File of weights, one positive number per line.
    axis_deg : float, optional
        Angle from +y to the tilt axis that replaces that of the file.

    Returns
    -------
    TiltSeries
    """
    series = read_images(session, name, tilts=tilts, stream=stream, without=without).series()
    if axis_deg is not None:
        series = series.with_axis(axis_deg)
    series = with_columns(session, series, weights=weights, defocus=defocus)
    return with_euler_file(session, series, euler) if euler else series


def with_columns(
    session: Session, series: TiltSeries, *, weights: str | None = None, defocus: str | None = None
) -> TiltSeries:
    """Return the series with the weights and defoci of files, one number per line and view."""
    if weights:
        column = _read_column(session, weights, "weight")
        if len(column) != len(series) or not (column > 0).all():
            raise DataError(
                f"{weights}: {len(column)} weights for {len(series)} views, the least {column.min():g}; one "
                "positive number per view is needed, and --exclude leaves views out"
            )
        series = replace(series, views=replace(series.views, weight=column))
    if defocus:
        column = _read_column(session, defocus, "defocus in µm")
        if len(column) != len(series):
            raise DataError(
                f"{defocus}: {len(column)} defoci for the {len(series)} views of {series.name}; "
                "one per line is needed"
            )
        series = replace(series, views=replace(series.views, defocus_um=column))
    return series


def with_euler_file(session: Session, series: TiltSeries, euler: str) -> TiltSeries:
    """Return the series with the orientations of a file of Euler angles, and the tilt angles of these."""
    euler_deg = read_euler(Path(euler), n_views=len(series))
    session.reads(euler)
    for text in radians_warning(euler_deg.ravel(), euler, largest_rad=2 * np.pi):
        session.reporter.warn(text)
    return series.with_orientations(euler_deg, euler)


def read_volume(session: Session, name: str, *, stream: bool = False) -> Volume:
    """Open a volume."""
    return read_images(session, name, stream=stream).volume()


def read_volume_only(session: Session, name: str, *, stream: bool = False) -> Volume:
    """Open a volume; raise DataError for a tilt series."""
    file = read_images(session, name, stream=stream)
    if file.tilts is not None and not file.is_volume:
        raise DataError(f"{name}: is a tilt series, where a volume is needed; reconstruct it with recon")
    return file.volume()


def read_transforms(
    session: Session,
    name: str,
    series: TiltSeries,
    *,
    pixel_A: float | None = None,
    tilts_file: str | None = None,
) -> Transforms:
    """Read the transforms of a series, with shifts in its pixels.

    Parameters
    ----------
    session : Session
    name : str
    series : TiltSeries
    pixel_A : float, optional
        Size of the pixels on which they were found, by default that of the file beside them, else that of
        the raw series of their base name, else that of the series.
    tilts_file : str, optional
        Tilt angles at which they were found; see `etcli.pipeline.matched_transforms.of_views`.

    Returns
    -------
    Transforms
        One for each view.

    Raises
    ------
    DataError
        When there is not one for each view.
    """
    every = replace(read_xf(Path(name)), centres_axis=centres_axis(read_steps(name)))
    transforms = of_views(session, name, every, series, tilts_file)
    session.reads(name, *(beside for beside in [axis_file(name)] if beside.is_file()))
    is_given = pixel_A is not None
    if not is_given and read_pixel_A(name) is None and transforms.shift_px.any():
        pixel_A = _assumed_pixel_A(session, name, series, every.n_views)
    factor = _pixel_ratio(name, series, pixel_A)
    if factor == 1:
        stated_A = read_pixel_A(name) if pixel_A is None else None
        if stated_A is not None and series.pixel_A == PLACEHOLDER_A != stated_A:
            session.reporter.warn(
                f"{series.name}: 1 Å per pixel is taken for unknown, and the shifts of {name} as they are; "
                "give --xf-pixel if the pixels are of another size"
            )
        return about_their_middle(session, name, transforms, series)
    if not is_given:
        session.reporter.report(f"{name}: shifts times {factor:.6g}, as the pixels are of another size here")
    return about_their_middle(session, name, transforms.scaled(factor), series, factor)


def _assumed_pixel_A(session: Session, xf: str, series: TiltSeries, n: int) -> float | None:
    """Return the pixel size of the series beside transforms of another program; tell what is assumed."""
    beside = pixels_beside(xf, n) if series.pixel_A not in (None, PLACEHOLDER_A) else {}
    if len(beside) == 1:
        pixel_A, raw = next(iter(beside.items()))
        if Path(raw) != Path(series.name):
            session.reads(raw)
        if pixel_A != series.pixel_A:
            session.reporter.report(f"{xf}: shifts in pixels of {pixel_A:.6g} Å, as those of {raw}")
        return pixel_A
    size = f" of {series.pixel_A:.6g} Å" if series.pixel_A else ""
    if beside:
        sizes = listed([f"{raw} has pixels of {pixel_A:.6g} Å" for pixel_A, raw in beside.items()])
        session.reporter.warn(
            f"{xf}: does not say on which pixels it was found: {sizes}; shifts are taken as pixels{size}; "
            "give xform --xf-pixel"
        )
        return None
    session.reporter.report(
        f"{xf}: does not say on which pixels it was found; shifts are taken as pixels{size}, as those of "
        f"{series.name} (else give xform --xf-pixel)"
    )
    return None


def axis_beside(xf: str, series: TiltSeries) -> TiltAxis | None:
    """Read the tilt axis beside an ``.xf``, its offset in the pixels of a series; None if there is none."""
    axis = read_axis(xf)
    return axis and replace(axis, offset_px=axis.offset_px * _pixel_ratio(xf, series))


def after_transforms(series: TiltSeries, xf: str | None) -> TiltSeries:
    """Return the series with the steps that found transforms in its history."""
    steps = read_steps(xf) if xf else []
    return replace(series, history=(*series.history, *missing(steps, series.history)))


def _pixel_ratio(xf: str, series: TiltSeries, pixel_A: float | None = None) -> float:
    """Return the size of the pixels of transforms over that of a series; 1 where one is unknown."""
    is_found = pixel_A is None
    pixel_A = pixel_A or read_pixel_A(xf)
    if not pixel_A or not series.pixel_A or (is_found and series.pixel_A == PLACEHOLDER_A):
        return 1.0
    ratio = pixel_A / series.pixel_A
    return 1.0 if abs(ratio - 1) < SAME_PIXEL else ratio


@contextmanager
def file_named_in_errors(stack: ImageStack) -> Iterator[None]:
    """Put the name of the file in front of errors of the core, which handles arrays only.

    A view that is not finite is named by its number in the file, of which some may be left out.
    """
    try:
        yield
    except (DataError, ConvergenceError) as error:
        if str(error).startswith(f"{stack.name}: "):
            raise
        kind = ConvergenceError if isinstance(error, ConvergenceError) else DataError
        if isinstance(error, NonFiniteViewError) and isinstance(stack, TiltSeries) and len(stack.views):
            error = NonFiniteViewError(int(stack.views.section[error.view]))
        raise kind(f"{stack.name}: {error}") from error


def load_images(session: Session, stack: ImageStack, *, copies: int) -> NDArray[np.float32]:
    """Load all images into memory, if that many arrays of their size fit into the memory budget.

    Parameters
    ----------
    session : Session
    stack : TiltSeries or Volume
    copies : int
        Number of arrays of this size that the computation needs, including this one.

    Returns
    -------
    ndarray of shape (n, ny, nx), float32

    Raises
    ------
    UsageError
        When they do not fit.
    """
    check_images_fit(session, stack, copies=copies)
    images = np.empty(stack.shape, np.float32)
    for k in range(len(stack)):
        images[k] = stack.view(k)
    return images


def check_images_fit(session: Session, stack: ImageStack, *, copies: int) -> None:
    """Check that so many arrays of the size of all images fit into the memory; raise UsageError otherwise."""
    need = 4 * copies * stack.shape[0] * stack.shape[1] * stack.shape[2]
    if need > session.memory:
        raise UsageError(
            f"{stack.name}: the work takes {-(-need >> 20)}M of memory, "
            f"but only {session.memory >> 20}M are allowed; give a larger --memory, or bin or crop it"
        )


def _read_column(session: Session, file: str, what: str) -> NDArray[Any]:
    """Read a file of one number per line."""
    column: NDArray[Any] = read_number_rows(Path(file), 1, what)[:, 0]
    session.reads(file)
    return column
