"""Depth sectioning of a focal series in memory: columns, atom counts, depths and a model of the atoms."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_counts import count_columns
from etcli.core.depth.column_search import ColumnOptions, fit_given_columns, locate_columns, shows_vacuum
from etcli.core.depth.defocus_sign import sign_of_defocus
from etcli.core.depth.drift import focal_drift
from etcli.core.depth.focal_images import (
    FocalImages,
    average_section,
    check_sections,
    saturated_pixels,
    sharpest_sections,
)
from etcli.core.depth.focal_profiles import check_peaks, core_intensities
from etcli.core.depth.precision import atom_depth_bounds, column_depth_bounds
from etcli.core.depth.sectioning import ROUNDS, count_and_locate, image_variance, known_depths
from etcli.core.depth.sectioning_result import Libraries, Sectioning
from etcli.core.depth.zone_lattice import ZoneLattice
from etcli.core.errors import DataError, UsageError
from etcli.core.lengths import ANGSTROM_PER_UM
from etcli.core.registration.shifts import Shifts
from etcli.core.series import TiltSeries
from etcli.pipeline.depth_input import Given, column_kind, read_focal_images, read_zone_lattice
from etcli.pipeline.depth_libraries import complete_libraries
from etcli.pipeline.depth_report import report_depth_section
from etcli.pipeline.depth_section_request import DepthSectionRequest
from etcli.pipeline.depth_section_result import DepthBounds, DepthSection
from etcli.pipeline.inputs import file_named_in_errors
from etcli.pipeline.session import Session, with_one_blas_thread

Doubles = NDArray[np.float64]


def depth_section(
    series: TiltSeries,
    *,
    lattice: ZoneLattice | str | None = None,
    library: Libraries | None = None,
    columns_A: Doubles | None = None,
    counts: NDArray[np.int64] | None = None,
    session: Session | None = None,
    **options: Any,
) -> DepthSection:
    """Find atomic columns, atom counts and depths in a focal series of a crystal in zone axis.

    Parameters
    ----------
    series : TiltSeries
        HAADF images at several defoci, or a single one, of which columns are found and counted.
    lattice : ZoneLattice or str, optional
        The crystal along its zone axis, from `etcli.core.depth.zone_lattice.zone_lattice`; or its name, such
        as ``fcc:Au:4.078``, with the option ``zone``.
    library : Libraries, optional
        Cross-sections or focal profiles of another program.
    columns_A : ndarray of shape (n_columns, 2), optional
        x and y of the columns in Å from the centre of the image, instead of those found.
    counts : ndarray of shape (n_columns,), int, optional
        Atoms of these columns, which are then not counted.
    session : Session, optional
        Threads, memory and reporter; `Session()` by default.
    **options
        Fields of `etcli.pipeline.depth_section_request.DepthSectionRequest`.

    Returns
    -------
    DepthSection

    Raises
    ------
    DataError
        When defoci, pixel size or columns are absent, or a library or lattice does not fit.
    UsageError
        When options contradict each other.
    ConvergenceError
        When the criteria of a free mixture do not agree on a number of components.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> y, x = np.mgrid[:48, :48]
    >>> image = sum(np.exp(-((x - i) ** 2 + (y - j) ** 2) / 8) for i in (12, 24, 36) for j in (12, 24, 36))
    >>> series = etcli.TiltSeries.of(0.1 * image[np.newaxis], [0], pixel_A=0.2)
    >>> columns = etcli.depth_section(series, stop_after="columns")
    >>> sorted(columns.position_A[:, 0].round(3).tolist())
    [-2.3, -2.3, -2.3, 0.1, 0.1, 0.1, 2.5, 2.5, 2.5]
    """
    name = lattice if isinstance(lattice, str) else None
    request, given = DepthSectionRequest(lattice=name, **options), Given.of(columns_A, counts)
    if isinstance(lattice, str):
        lattice = read_zone_lattice(lattice, request.zone, request.element)
    session = session or Session()
    return section_series(session, series, request, lattice=lattice, library=library, given=given)


@with_one_blas_thread
def section_series(
    session: Session,
    series: TiltSeries,
    request: DepthSectionRequest,
    *,
    lattice: ZoneLattice | None = None,
    library: Libraries | None = None,
    given: Given | None = None,
) -> DepthSection:
    """Run the stages that are asked for; see `depth_section`."""
    given = given or Given()
    kind = column_kind(request, lattice)
    images = read_focal_images(session, series, request, counting=given.count is None)
    if request.crlb and images.dose_e_A2 is None:
        raise UsageError("--crlb needs the --dose of an image")
    with file_named_in_errors(series):
        check_sections(images.sections)
        images, shifts = _aligned(session, images, request)
        result = DepthSection(series, request, images, shifts=shifts, lattice=lattice)
        if request.runs("columns"):
            columns, options = _columns(session, images, request, given)
            result = replace(result, sectioning=columns, saturated=_saturated(columns, request), kind=kind)
            if request.runs("count"):
                result = _counted(session, result, library or Libraries(), options)
        if request.crlb:
            result = replace(result, bounds=_bounds(result))
    report_depth_section(session, result)
    return result


def _aligned(
    session: Session, images: FocalImages, request: DepthSectionRequest
) -> tuple[FocalImages, Shifts | None]:
    """Register the sections to each other."""
    if not request.align or len(images) == 1:
        return images, None
    known = np.isfinite(images.focus_A).all()
    limit = None if request.max_shift is None else request.max_shift.px(images.pixel_A)
    with session.reporter.progress(3 * len(images) - 4, "drift") as advance:
        shifts = focal_drift(
            images.sections,
            defocus_um=-images.focus_A / ANGSTROM_PER_UM if known else None,
            max_shift_px=limit,
            threads=session.threads,
            progress=advance,
        )
    return images.displaced(-shifts.shift_px), shifts


def _columns(
    session: Session, images: FocalImages, request: DepthSectionRequest, given: Given
) -> tuple[Sectioning, ColumnOptions]:
    """Find the columns, or fit those that are given; return the options that were used as well."""
    options = request.columns(images.pixel_A)
    chosen = sharpest_sections(images, request.average_sections)
    average = average_section(images.sections[chosen], images.displacement_px[chosen])
    variance = image_variance(images, average, len(chosen))
    if given.position_A is None:
        fit = locate_columns(average, images.pixel_A, options, variance=variance)
        if given.count is not None:
            raise UsageError("--counts needs the columns that were counted: give their file to --columns")
    else:
        places = given.position_A / images.pixel_A + images.centre_px
        _check_places(places, images.shape)
        fit = fit_given_columns(average, places, images.pixel_A, options, variance=variance)
    if options.background is None and not shows_vacuum(fit, images.shape, images.pixel_A):
        session.reporter.report("the crystal fills the image: its background is taken as 0 (--background)")
        options = replace(options, background=0.0)
        places = np.column_stack([fit.x_px, fit.y_px])
        fit = fit_given_columns(average, places, images.pixel_A, options, variance=variance)
    cells = request.cross_sections == "voronoi"
    return Sectioning(images, chosen, average, fit, cells=cells, given_count=given.count), options


def _check_places(places_px: Doubles, shape: tuple[int, int]) -> None:
    """Check that given columns lie inside the frame."""
    outside = ((places_px < 0) | (places_px > np.array(shape[::-1]) - 1)).any(axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"{outside.sum()} of {len(places_px)} columns are outside of the image, the first is number "
            f"{first + 1}; columns count in Å from the centre of the image"
        )


def _saturated(columns: Sectioning, request: DepthSectionRequest) -> NDArray[np.bool_]:
    """Find columns with saturated pixels near them."""
    images = columns.images
    saturated = saturated_pixels(images.sections)
    if not saturated.any():
        return np.zeros(len(columns.fit), bool)
    radius_px = 2 * request.core_radius.px(images.pixel_A)
    share = core_intensities(
        saturated.astype(np.float32),
        columns.columns_px,
        radius_px=radius_px,
        displacement_px=images.displacement_px,
    )
    return np.asarray((share > 0.05).any(axis=0))


def _counted(
    session: Session, result: DepthSection, given: Libraries, options: ColumnOptions
) -> DepthSection:
    """Count the atoms, and measure the depths if they are asked for."""
    request, columns = result.request, result.found
    if columns.given_count is not None and not request.runs("depth"):
        return result
    libraries = complete_libraries(session, columns, given, result.kind, request)
    result = replace(result, libraries=libraries)
    if libraries.focal is None and not request.runs("depth"):
        error = columns.cross_section_error_A2
        counting = request.counting()
        counts, mixtures = count_columns(
            columns.cross_section_A2, error, libraries.cross_section_A2, counting
        )
        return replace(result, sectioning=replace(columns, counts=counts, mixtures=mixtures))
    with session.reporter.progress(ROUNDS, "counts and depths") as advance:
        found = count_and_locate(
            columns,
            libraries,
            options,
            request.counting(),
            request.profiles(columns.images.pixel_A),
            lattice=result.lattice if request.runs("depth") else None,
            registered=request.align,
            threads=session.threads,
            progress=advance,
        )
    if not request.runs("depth"):
        return replace(result, images=found.images, sectioning=replace(found, depths=None))
    if found.depths is not None:
        check_peaks(found.depths.fit, found.images.focus_A)
    return _with_sign(replace(result, images=found.images, sectioning=found))


def _with_sign(result: DepthSection) -> DepthSection:
    """Test the sign of the defocus where a library was fitted."""
    found, profiles = result.found, result.libraries.profiles
    if found.depths is None or found.count is None or profiles is None:
        return result
    sign = sign_of_defocus(
        found.images,
        found.columns_px,
        np.maximum(found.count, 1),
        found.depths,
        profiles,
        result.request.profiles(found.images.pixel_A),
        library=result.libraries.focal,
        scale=found.scale,
        used=found.measurable,
    )
    return replace(result, sign=sign)


def _bounds(result: DepthSection) -> DepthBounds:
    """Compute the attainable precision for the counts that were found."""
    library, kind, images = result.libraries.focal, result.kind, result.images
    if result.sectioning is None or result.found.depths is None or library is None or kind is None:
        raise UsageError("--crlb needs depths, and the element and spacing of the columns for its library")
    if images.dose_e_A2 is None:
        raise UsageError("--crlb needs the --dose of an image")
    focus = images.focus_A - np.median(known_depths(result.found))
    most = max(1, int(result.found.count.max())) if result.found.count is not None else 1
    region = min(3.0, float(library.radius_A[-1]))
    column = column_depth_bounds(library, focus, dose_e_A2=images.dose_e_A2, half_region_A=region)
    atoms = atom_depth_bounds(
        kind,
        result.request.optics,
        n_atoms=most,
        focus_A=focus,
        dose_e_A2=images.dose_e_A2,
        half_region_A=region,
    )
    return DepthBounds(column, most, atoms)
