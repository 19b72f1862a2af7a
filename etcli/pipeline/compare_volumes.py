"""Comparison of volumes and series with a reference, as metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etcli.core import quality
from etcli.core.errors import DataError, UsageError
from etcli.core.half_set_correlation import half_set_correlation
from etcli.core.series import ImageStack, TiltSeries, Volume
from etcli.core.specimen_centre import specimen_centre
from etcli.core.volume_frame import VolumeFrame
from etcli.core.volume_shift import find_shift, shifted_overlap
from etcli.pipeline.compare_labels import are_compared_as_labels, compare_labels
from etcli.pipeline.fsc_numbers import curve, resolutions
from etcli.pipeline.half_set_words import report_half_sets
from etcli.pipeline.inputs import load_images, read_images
from etcli.pipeline.overlaid_volumes import overlaid
from etcli.pipeline.picture_output import announce_picture
from etcli.pipeline.session import Session
from etcli.pipeline.volume_output import EVEN, ODD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ("nrmse", "psnr", "ssim", "fsc")
PIXEL_TOLERANCE = 0.01
SAME_TILT_DEG = 0.01
SHIFT_DECIMALS = 4  # of pixels, as places in headers have seven digits


@dataclass(frozen=True, eq=False)
class ImagesCompared:
    """Result of the comparison of images with a reference.

    Parameters
    ----------
    image, reference : ndarray of shape (n, ny, nx), float32
        The data as compared.
    numbers : dict
        Values by the name of the metric.
    fsc : FSC or None
        Fourier shell correlation, if computed.
    pixel_A : float or None
    parts : dict
        Which part of the files that is, as in `Overlaid`; empty where it is all.
    """

    image: NDArray[np.float32]
    reference: NDArray[np.float32]
    numbers: dict[str, Any]
    fsc: quality.FSC | None
    pixel_A: float | None
    parts: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def curve(self) -> dict[str, list[float]]:
        """Fourier shell correlation as lists for JSON, empty if it was not computed."""
        return curve(self.fsc) if self.fsc else {}


def compare_images(
    session: Session,
    first: ImageStack,
    second: ImageStack,
    *,
    metrics: Sequence[str] = (),
    fit_scale: bool = False,
    align: bool = False,
) -> ImagesCompared:
    """Compare images with a reference: all, or of volumes the part that both show by their frames.

    Parameters
    ----------
    session : Session
        Gets a warning where pixel sizes differ.
    first, second : TiltSeries or Volume
        A and its reference B. A volume whose sections are along another axis than those of B is transposed.
    metrics : sequence of str
        Names in `METRICS`; none for all.
    fit_scale : bool
        Fit scale and level of A to those of B first.
    align : bool
        Shift a volume A onto B first, and compare what both then show.

    Returns
    -------
    ImagesCompared

    Raises
    ------
    DataError
        When they cannot be laid over each other, or a requested metric cannot be computed.
    UsageError
        When they do not fit into the memory, or series are to be shifted.
    """
    if align and isinstance(second, TiltSeries):
        raise UsageError("--align is for volumes and atoms; register aligns the views of a series")
    first, second = _match_axes(session, first, second)
    if are_compared_as_labels(session, first, second, metrics):
        if align or fit_scale:
            raise UsageError("--align and --fit-scale are not for labels; give the volumes they were made of")
        first, second, parts, _ = overlaid(session, first, second, align=False)
        pixel_A = _common_pixel_A(session, first, second)
        images = first.images(), second.images()
        return ImagesCompared(*images, compare_labels(session, first, second), None, pixel_A, parts)
    first, second, parts, rest_px = overlaid(session, first, second, align=align)
    pixel_A = _common_pixel_A(session, first, second)
    is_series = isinstance(second, TiltSeries)
    chosen = tuple(metrics) or (METRICS[:-1] if is_series else METRICS)
    copies = 5 if "fsc" in chosen or align else 2  # with both transforms, and the memory to compute one
    halves = _as_half_sets(first, second)
    copies += 2 if halves else 0  # faded out
    reference, image = (load_images(session, stack, copies=copies) for stack in (second, first))
    numbers: dict[str, Any] = {}
    if align:
        shift_px = find_shift(image, reference, threads=session.threads)
        image, reference = shifted_overlap(image, reference, shift_px)
        # the frames had placed the voxels of A so far from where they were compared
        by_px = zip("xyz", (shift_px - rest_px)[::-1], strict=True)
        numbers |= {f"shift_{axis}_px": round(float(by), SHIFT_DECIMALS) + 0.0 for axis, by in by_px}
    if fit_scale:
        scale, level = quality.fit_scale(image, reference)
        image *= np.float32(scale)
        image += np.float32(level)
        numbers |= {"scale": scale, "level": level}
    correlate = partial(_correlation, session, pixel_A=pixel_A, halves=halves)
    values, shells = _compute_metrics(
        session, image, reference, chosen, pixel_A, correlate=correlate, strict=bool(metrics)
    )
    return ImagesCompared(image, reference, numbers | values, shells, pixel_A, parts)


def compare_images_files(
    session: Session,
    a: str,
    b: str,
    *,
    metrics: Sequence[str] = (),
    fit_scale: bool = False,
    align: bool = False,
    plot: str | None = None,
) -> ImagesCompared:
    """Compare two files of images.

    Parameters
    ----------
    session : Session
    a, b : str
        A file and its reference.
    metrics, fit_scale, align
        As for `compare_images`.
    plot : str, optional
        Picture to draw.

    Returns
    -------
    ImagesCompared
    """
    first, second = (read_images(session, name).images() for name in (a, b))
    with session.outputs() as outputs:
        write_picture = announce_picture(outputs, plot) if plot else None
        comparison = compare_images(session, first, second, metrics=metrics, fit_scale=fit_scale, align=align)
        if write_picture and "dice" in comparison.numbers:
            raise UsageError("--plot draws no labels; view draws them in colours")
        if write_picture:
            only = tuple(metrics) == ("fsc",)
            names = PurePath(a).name, PurePath(b).name
            of_views = isinstance(second, TiltSeries)
            write_picture(_picture(comparison, names, only_fsc=only, of_views=of_views))
    return comparison


def _match_axes(session: Session, first: ImageStack, second: ImageStack) -> tuple[ImageStack, ImageStack]:
    """Bring two volumes to the same order of axes; warn where their rotations about x differ."""
    if not isinstance(first, Volume) or not isinstance(second, Volume):
        return first, second
    if not first.frame or not second.frame:
        return first, second
    if first.frame.axes != second.frame.axes or first.frame.half:  # the wedge of half-sets is in its frame
        first, second = first.upright(), second.upright()
    a, b = first.frame, second.frame
    if a and b and abs(a.x_tilt_deg - b.x_tilt_deg) > SAME_TILT_DEG:
        session.reporter.warn(
            f"{first.name} is turned by {a.x_tilt_deg:g}° about x and {second.name} by {b.x_tilt_deg:g}°; "
            "voxels are compared one by one"
        )
    return first, second


def _compute_metrics(
    session: Session,
    image: NDArray[Any],
    reference: NDArray[Any],
    chosen: Sequence[str],
    pixel_A: float | None,
    *,
    correlate: Callable[[Any, Any], quality.FSC],
    strict: bool,
) -> tuple[dict[str, Any], quality.FSC | None]:
    """Compute the metrics; if not `strict`, skip those (except nrmse) that cannot be computed."""
    simple: dict[str, Callable[[Any, Any], float]] = {
        "nrmse": quality.nrmse,
        "psnr": quality.psnr,
        "ssim": quality.ssim,
    }
    values: dict[str, Any] = {}
    shells = None
    for name in sorted(chosen, key=METRICS.index):
        try:
            if name in simple:
                values[name] = simple[name](image, reference)
            else:
                shells = correlate(image, reference)
                values |= resolutions(shells, pixel_A or 1.0)
        except DataError as error:
            if strict or name == "nrmse":
                raise
            session.reporter.report(f"no {name}: {error}")
    return values, shells


def _as_half_sets(first: ImageStack, second: ImageStack) -> VolumeFrame | None:
    """Return the frame of the first volume if both are the half-sets of one reconstruction."""
    a, b = (stack.frame if isinstance(stack, Volume) else None for stack in (first, second))
    if a is None or b is None or {a.half, b.half} != {ODD, EVEN} or a.wedge_deg != b.wedge_deg:
        return None
    return a


def _correlation(
    session: Session,
    image: NDArray[np.float32],
    reference: NDArray[np.float32],
    *,
    pixel_A: float | None,
    halves: VolumeFrame | None,
) -> quality.FSC:
    """Correlate two volumes in shells, two images in rings, and two half-sets as `recon` does."""
    if halves is None:
        part = slice(None) if len(image) > 1 else 0
        return quality.fourier_shell_correlation(image[part], reference[part], pixel_A=pixel_A or 1.0)
    first, second = (np.array(volume, np.float32) for volume in (image, reference))
    shells = half_set_correlation(first, second, pixel_A=pixel_A or 1.0, wedge_deg=halves.wedge_deg)
    report_half_sets(session, shells, pixel_A, halves.wedge_deg)
    return shells


def _common_pixel_A(session: Session, first: ImageStack, second: ImageStack) -> float | None:
    """Return the pixel size of the reference, else that of the other; warn where they differ."""
    a, b = first.pixel_A or second.pixel_A, second.pixel_A or first.pixel_A
    if a and b and abs(a - b) > PIXEL_TOLERANCE * b:
        session.reporter.warn(f"pixels of {a:g} Å are compared with pixels of {b:g} Å one by one")
    return b


def _picture(
    comparison: ImagesCompared, names: tuple[str, str], *, only_fsc: bool, of_views: bool
) -> "Figure":
    """Draw the Fourier shell correlation if only that was requested, else a section of both.

    Of volumes it is the one through the specimen's centre in the reference, of series the middle view.
    """
    from etcli.plotting.curves import fsc_curve
    from etcli.plotting.images import side_by_side

    if only_fsc and comparison.fsc:
        cycles = comparison.fsc.frequency_per_A * (comparison.pixel_A or 1.0)
        label = f"{names[0]} against {names[1]}"
        return fsc_curve(cycles, {label: comparison.fsc.correlation}, pixel_A=comparison.pixel_A)
    n = len(comparison.reference)
    shown = n // 2 if of_views else specimen_centre(comparison.reference)[0]
    part = " of the common part" if comparison.parts else ""
    return side_by_side(
        comparison.image[shown],
        comparison.reference[shown],
        titles=names,
        title=f"{'view' if of_views else 'section'} {shown + 1} of {n}{part}",
        pixel_A=comparison.pixel_A,
        difference=True,
    )
