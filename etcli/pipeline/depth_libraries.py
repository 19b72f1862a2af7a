"""Libraries of depth sectioning: simulated for a series, or read from a table of another program."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.expected_cross_sections import SimulatedFit
from etcli.core.depth.focal_library import (
    BRIGHTNESS_RADIUS_A,
    CoreProfiles,
    FocalLibrary,
    check_probe_width,
    focal_library,
)
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.focal_profiles import FEWEST_SECTIONS, check_library_focus
from etcli.core.depth.sectioning import first_depths
from etcli.core.depth.sectioning_result import Libraries, Sectioning
from etcli.core.errors import DataError, UsageError
from etcli.io.tables import read_table
from etcli.pipeline.depth_section_request import DepthSectionRequest
from etcli.pipeline.session import Session

Doubles = NDArray[np.float64]

FOCUS_MARGIN_A = 40.0
"""Focus beyond the range of the series: columns lie at depths other than 0."""
RADIUS_MARGIN_A = 2.0
SHORTEST, LONGEST = 12, 64
"""Atoms of the first library that is simulated, and of the largest one."""
GROWTH = 1.3
"""Atoms beyond those that a linear growth of the cross-section would need."""
ROOM = 0.85
"""Largest cross-section relative to that of the largest count of a library that is long enough."""
FOCUS, CORE, CROSS_SECTION = "defocus_minus_zcom_A", "core_intensity_r0.5A", "scs_A2"


def simulated_library(
    kind: ColumnKind, optics: FocalOptics, focus_A: Doubles, depth_A: float, *, most_atoms: int
) -> FocalLibrary:
    """Simulate a library that covers the foci of a series.

    Parameters
    ----------
    kind : ColumnKind
    optics : FocalOptics
    focus_A : ndarray of shape (n_sections,), float64
        Depths of the focal plane in Å.
    depth_A : float
        Depth of the specimen in Å.
    most_atoms : int

    Returns
    -------
    FocalLibrary
        As wide as the probe is at the farthest focus.
    """
    reach = float(np.abs(focus_A - depth_A).max()) + FOCUS_MARGIN_A
    radius = optics.semi_angle_mrad * 1e-3 * reach + RADIUS_MARGIN_A
    return focal_library(kind, optics, most_atoms=most_atoms, focus_range_A=reach, radius_A=radius)


def complete_libraries(
    session: Session,
    columns: Sectioning,
    given: Libraries,
    kind: ColumnKind | None,
    request: DepthSectionRequest,
) -> Libraries:
    """Complete given libraries with a simulated one, as long as the brightest column needs it.

    Parameters
    ----------
    session : Session
    columns : Sectioning
        Fitted columns.
    given : Libraries
    kind : ColumnKind or None
        What is simulated; nothing when it is not known.
    request : DepthSectionRequest

    Returns
    -------
    Libraries

    Raises
    ------
    DataError
        When the given profiles lack foci of the series.
    UsageError
        When what is asked for needs a library and there is none.
    """
    images, counting = columns.images, columns.given_count is None
    focal = None
    known = bool(np.isfinite(images.focus_A).all()) and len(images) >= FEWEST_SECTIONS
    if kind is not None and request.simulate and known:
        n_given = 0 if given.cross_section_A2 is None else len(given.cross_section_A2)
        focal = _long_enough(session, columns, kind, request, n_given)
    by_library = counting and request.count_method != "icl"
    if by_library and given.cross_section_A2 is None and kind is not None and not known:
        raise UsageError(
            "a library is simulated for a focal series with known defoci; give --library FILE, or count "
            "with --count-method icl"
        )
    if by_library and given.cross_section_A2 is None and focal is None:
        raise UsageError(
            "counting needs a library: give a --lattice with a --zone, or --element and --spacing, to "
            "simulate one of a focal series, or --library FILE; or count with --count-method icl"
        )
    profiles = given.profiles
    if profiles is not None and request.runs("depth") and request.correction:
        options = request.profiles(images.pixel_A)
        if abs(options.core_radius_A - BRIGHTNESS_RADIUS_A) > 0.01:
            raise UsageError(
                f"the profiles of --library are of a disc of {BRIGHTNESS_RADIUS_A:g} Å; leave --core-radius "
                "out"
            )
        peak_A = first_depths(columns, options)
        check_library_focus(profiles, images.focus_A, peak_A, window_A=options.window_A)
    if profiles is None and focal is not None:
        profiles = focal.core_profiles(request.profiles(images.pixel_A).core_radius_A)
    if request.runs("depth") and profiles is None and request.correction:
        raise UsageError(
            "depths need a library: give a --lattice with a --zone, or --element and --spacing, or "
            "--library FILE; or --depth-method gaussian with --no-correction for depths that are wrong by "
            "some Å in thick columns"
        )
    if not images.calibrated:  # shapes of profiles can be compared, intensities cannot
        focal = None
    return Libraries(focal, profiles if request.correction else None, given.cross_section_A2)


def _long_enough(
    session: Session, columns: Sectioning, kind: ColumnKind, request: DepthSectionRequest, n_given: int
) -> FocalLibrary:
    """Simulate libraries of growing length until the brightest column is within."""
    images = columns.images
    check_probe_width(
        request.optics.semi_angle_mrad * 1e-3 * np.ptp(images.focus_A) / 2, np.ptp(images.focus_A) / 2
    )
    peak = first_depths(columns, request.profiles(images.pixel_A))
    middle, most = float(np.median(peak)), max(SHORTEST, n_given)
    if columns.given_count is not None:
        most = max(1, int(columns.given_count.max()))
    while True:
        library = simulated_library(kind, request.optics, images.focus_A, middle, most_atoms=most)
        if columns.given_count is not None or not images.calibrated:
            break
        simulated = SimulatedFit(images, columns.chosen, columns.fit, library, columns.cells)
        longest = simulated.slab(most, peak)
        shown = longest > 0  # noise may be taken for columns of which a library shows nothing
        needed = float((columns.cross_section_A2[shown] / longest[shown]).max(initial=0)) / ROOM
        if needed <= 1:
            break
        if most == LONGEST:
            raise DataError(
                f"the brightest column is brighter than {LONGEST} atoms of {kind.element}: check --dose "
                "(electrons per Å², not per pixel), --pixel and the element; a longer --library FILE is "
                "possible too"
            )
        most = min(LONGEST, int(np.ceil(GROWTH * needed * most)))
    session.reporter.note(f"library of 1 to {most} atoms of {kind.element}, {kind.spacing_A:.4g} Å apart")
    return library


def read_library(path: Path) -> Libraries:
    """Read the library of another program, such as MULTEM, abTEM or Dr. Probe.

    Parameters
    ----------
    path : Path
        CSV with the columns n_atoms and scs_A2 (cross-section in Å²), or n_atoms, defocus_minus_zcom_A (depth
        of the focal plane minus that of the column's centre, Å) and core_intensity_r0.5A (mean intensity
        within 0.5 Å of the column, fraction of the beam), or with all four.

    Returns
    -------
    Libraries
        Without a library that has radii.

    Raises
    ------
    DataError
        When columns are absent, counts are not 1, 2, ..., or the profiles are not given at the same foci.
    """
    table = read_table(path, needed=["n_atoms"], optional=(FOCUS, CORE, CROSS_SECTION))
    has_profiles = FOCUS in table and CORE in table
    if not has_profiles and CROSS_SECTION not in table:
        raise DataError(f"{path}: a library has a column {CROSS_SECTION}, or {FOCUS} and {CORE}")
    count = table["n_atoms"]
    numbers = np.unique(count)
    if not np.array_equal(numbers, np.arange(1, len(numbers) + 1)):
        raise DataError(
            f"{path}: n_atoms must be 1, 2, 3, ... without gaps, not "
            f"{', '.join(f'{n:g}' for n in numbers[:6])}"
        )
    cross_section = None
    if CROSS_SECTION in table:
        cross_section = np.array([_only(path, n, table[CROSS_SECTION][count == n]) for n in numbers])
    return Libraries(None, _profiles(path, table, numbers) if has_profiles else None, cross_section)


def _only(path: Path, n_atoms: float, values: Doubles) -> float:
    """Return the one cross-section of a count."""
    known = np.unique(values[np.isfinite(values)])
    if len(known) != 1:
        raise DataError(f"{path}: {len(known)} different cross-sections for {n_atoms:g} atoms; give one")
    return float(known[0])


def _profiles(path: Path, table: dict[str, Doubles], numbers: Doubles) -> CoreProfiles:
    foci, profiles = None, []
    for n in numbers:
        rows = np.flatnonzero((table["n_atoms"] == n) & np.isfinite(table[FOCUS]))
        rows = rows[np.argsort(table[FOCUS][rows])]
        if foci is None:
            foci = table[FOCUS][rows]
            if len(foci) < 5 or (np.diff(foci) <= 0).any():
                raise DataError(f"{path}: the profile of {n:g} atoms needs five or more different foci")
        if not np.array_equal(foci, table[FOCUS][rows]) or not np.isfinite(table[CORE][rows]).all():
            raise DataError(
                f"{path}: the profile of {n:g} atoms is not given at the same foci as that of 1 atom"
            )
        profiles.append(table[CORE][rows])
    assert foci is not None
    return CoreProfiles(foci, np.stack(profiles))
