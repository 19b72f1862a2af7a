"""Images of a reconstruction from phase contrast: their checks, their scale, and what is known of each."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import listed
from etcli.core.errors import DataError, UsageError
from etcli.core.lengths import ANGSTROM_PER_UM
from etcli.core.multislice.normalisation import (
    divided_by_flat_field,
    expected_squared_residual,
    noise_beyond_aperture,
    vacuum_levels,
    views_apart,
    without_hot_pixels,
)
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.series import TiltSeries, Volume
from etcli.core.view_table import SAME_TILT_DEG
from etcli.pipeline.inputs import check_images_fit, file_named_in_errors
from etcli.pipeline.phase_contrast_request import PhaseContrastRequest
from etcli.pipeline.session import Session
from etcli.pipeline.wave_size import check_defoci, reach_px

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

COPIES = 2
"""Number of arrays of the size of the images that the work holds: as read, and as the misfit stores them."""
NEAR_ONE = 0.05
"""Largest distance from 1 of the mean of images in units of the vacuum."""
SHOWN = 6
"""Number of views that a message names."""


@dataclass(frozen=True, eq=False)
class PhaseContrastInput:
    """Phase-contrast images in units of the vacuum, and how they were taken.

    Parameters
    ----------
    images : ndarray of shape (n_images, ny, nx), float32
        Intensities, 1 in the vacuum.
    tilt_deg, defocus_A : ndarray of shape (n_images,), float64
        Tilt angles, and defoci in Å, positive for overfocus.
    electrons : ndarray of shape (n_images,), float64, or None
        Electrons per pixel of vacuum, None where the doses are not known.
    optics : PhaseContrastOptics
    pixel_A : float
        Pixel size in Å.
    name : str
        Name of the series, for messages.
    words : tuple of str
        What was done to the intensities, for the history.
    cropped : bool
        Whether the views have more rows, so that the specimen may reach beyond those that are used.
    """

    images: Array
    tilt_deg: Doubles
    defocus_A: Doubles
    electrons: Doubles | None
    optics: PhaseContrastOptics
    pixel_A: float
    name: str
    words: tuple[str, ...] = ()
    cropped: bool = False

    def of_views(self, views: NDArray[np.intp]) -> "PhaseContrastInput":
        """Return a subset of the images, counted from 0."""
        return replace(
            self,
            images=self.images[views],
            tilt_deg=self.tilt_deg[views],
            defocus_A=self.defocus_A[views],
            electrons=None if self.electrons is None else self.electrons[views],
        )

    @property
    def counting_noise(self) -> float | None:
        """Expected sum of (√Î - √I)² of counted electrons over all pixels; None if doses are not known."""
        if self.electrons is None:
            return None
        of_a_pixel = float(sum(map(expected_squared_residual, self.electrons)))
        return of_a_pixel * prod(self.images.shape[1:])

    @property
    def noise(self) -> float:
        """The same where doses are known, else as measured beyond the aperture, or 0 where it cannot be."""
        counting = self.counting_noise
        if counting is not None:
            return counting
        measured = noise_beyond_aperture(self.images, self.optics.aperture_per_A, self.pixel_A)
        return self.images.size * (measured or 0.0)


def phase_contrast_input(
    session: Session, integrals: LineIntegrals, request: PhaseContrastRequest, flat_field: Volume | None
) -> PhaseContrastInput:
    """Check a series, read its images and bring them to units of the vacuum; report how.

    Parameters
    ----------
    session : Session
    integrals : LineIntegrals
        The views and the rows that are used of them.
    request : PhaseContrastRequest
    flat_field : Volume or None
        Image of an even illumination; several are averaged.

    Returns
    -------
    PhaseContrastInput

    Raises
    ------
    DataError
        When the series lacks something that is needed, or its intensities are not in units of the vacuum.
    UsageError
        When the request does not suit the series.
    """
    series = integrals.series
    pixel_A, defocus_um = _checked_series(series)
    if integrals.view_weight is not None:
        raise UsageError(f"{series.name}: its views have weights, which phase-contrast images cannot have")
    check_images_fit(session, series, copies=COPIES)
    optics = request.optics(session, series, pixel_A)
    check_defoci(series.name, ANGSTROM_PER_UM * defocus_um, optics, series.shape[1:], pixel_A)
    sign = "overfocus" if defocus_um.min() > 0 else "underfocus" if defocus_um.max() < 0 else "both sides"
    session.reporter.note(
        f"{len(series.views.groups())} tilts, defoci from {defocus_um.min():g} to {defocus_um.max():g} µm "
        f"({sign})"
    )
    images, words = _normalised(session, integrals, request, flat_field)
    dose = series.views.dose_e_A2
    known = dose is not None and bool((np.isfinite(dose) & (dose > 0)).all())
    found = PhaseContrastInput(
        images,
        series.tilt_deg,
        ANGSTROM_PER_UM * defocus_um,
        dose * pixel_A**2 if known and dose is not None else None,
        optics,
        pixel_A,
        series.name,
        words,
        cropped=integrals.n_rows < series.shape[1],
    )
    if found.cropped:
        _report_rows_outside(session, found)
    return found


def _checked_series(series: TiltSeries) -> tuple[float, Doubles]:
    """Return the pixel size and the defoci in µm; raise DataError where a series lacks what is needed."""
    if not series.pixel_A:
        raise DataError(f"{series.name}: the pixel size is not known; write it into the mdoc (PixelSpacing)")
    defocus_um = series.views.defocus_um
    if defocus_um is None or not np.isfinite(defocus_um).any():
        raise DataError(f"{series.name}: no defocus is known; give one per view, in µm, with --defocus FILE")
    unknown = np.flatnonzero(~np.isfinite(defocus_um))
    if unknown.size:
        raise DataError(
            f"{series.name}: the defocus of {unknown.size} of {len(series)} views is not known, first that "
            f"of view {unknown[0] + 1}; give all with --defocus FILE, or --exclude these views"
        )
    if np.ptp(series.tilt_deg) < SAME_TILT_DEG:
        raise DataError(
            f"{series.name}: all {len(series)} views are at one tilt, {series.tilt_deg[0]:g}°, and show no "
            "depth; a volume needs views at many tilts"
        )
    return series.pixel_A, defocus_um


def _normalised(
    session: Session, integrals: LineIntegrals, request: PhaseContrastRequest, flat_field: Volume | None
) -> tuple[Array, tuple[str, ...]]:
    """Return the images in units of the vacuum, and in words what was done to them."""
    series, words = integrals.series, []
    # whole images show the vacuum and the mean of the flat field better than the rows that are used
    whole = replace(integrals, first_row=0, n_rows=series.shape[1])
    with file_named_in_errors(series):
        images = np.array(whole(0, whole.n_rows), np.float32)
    if flat_field is not None:
        with file_named_in_errors(flat_field):
            flat: Array = np.asarray(flat_field.images().mean(axis=0, dtype=np.float64), np.float32)
            divided_by_flat_field(images, flat)
        words.append(f"flat field {flat_field.name}")
    if request.hot_pixels:
        n_hot = without_hot_pixels(images)
        session.reporter.report(f"{n_hot} hot pixels are replaced, {n_hot / images.size:.2g} of all")
        words.append(f"{n_hot} hot pixels replaced")
    with file_named_in_errors(series):
        text = _divided_by_vacuum(images, request.vacuum, series.views.section + 1)
    if text:
        session.reporter.report(f"images are divided by the {text}")
        words.append(text)
    rows = slice(integrals.first_row, integrals.first_row + integrals.n_rows)
    return np.ascontiguousarray(images[:, rows]), tuple(words)


def _divided_by_vacuum(images: Array, vacuum: float | str | None, numbers: NDArray[np.intp]) -> str | None:
    """Divide numbered images by the level of the vacuum, in place, check their means; return it in words."""
    if vacuum == "none":
        return None
    text = None
    if vacuum is not None:
        if isinstance(vacuum, str):
            levels, how = vacuum_levels(images, vacuum), f" ({vacuum} of each view)"
        else:
            levels, how = np.full(len(images), vacuum), ""
        images /= levels[:, np.newaxis, np.newaxis].astype(np.float32)
        least, most = levels.min(), levels.max()
        text = f"vacuum {least:.5g}" + f" to {most:.5g}" * bool(most > least) + how
    if not isinstance(vacuum, str):
        _check_means(images, numbers, near_one=vacuum is None)
    return text


def _check_means(images: Array, numbers: NDArray[np.intp], *, near_one: bool) -> None:
    """Check that no image is brighter or darker than the others, and that their means are near 1 if needed.

    Raises
    ------
    DataError
        For images that are not in units of the vacuum.
    """
    means = images.mean(axis=(1, 2), dtype=np.float64)
    usual = float(np.median(means))
    if near_one and not abs(usual - 1) <= NEAR_ONE:
        raise DataError(
            f"the mean intensity is {usual:.5g}, but images are needed in units of the vacuum, 1; give "
            "--vacuum mean, mode or the level (or none if this is on purpose)"
        )
    apart = views_apart(means, NEAR_ONE)
    if apart.size:
        shown = [str(number) for number in numbers[apart[:SHOWN]]]
        shown += [f"{apart.size - SHOWN} more"] * (apart.size > SHOWN)
        raise DataError(
            f"the mean intensity of view {listed(shown)} is not that of the others: {means[apart[0]]:.5g}, "
            f"not {usual:.5g}; --exclude what is wrong, or give --vacuum mean or mode if the beam changed "
            "(or none if this is on purpose)"
        )


def _report_rows_outside(session: Session, images: "PhaseContrastInput") -> None:
    """Tell how many of the outermost rows receive signal of rows that are not used."""
    n_rows = reach_px(images.defocus_A, images.optics, images.pixel_A)
    session.reporter.report(
        f"rows outside --slices scatter into these; the outermost {n_rows} rows are less accurate"
    )
