"""Drift between the sections of a focal series: found from section to section, then from a prediction."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from etcli.core.arguments import checked_number
from etcli.core.depth.section_pairs import SectionLink, link_sections
from etcli.core.errors import DataError, NonFiniteViewError, UsageError
from etcli.core.parallel import ordered_map
from etcli.core.registration.pair_comparison import SMALLEST_PX, Region
from etcli.core.registration.shifts import Shifts, jumps, outlier_limit
from etcli.core.registration.transforms import Views

Float = NDArray[np.float64]

FARTHEST = 0.25  # of the smaller side, where no largest displacement is given
STILL_PX = 1e3  # standard deviation of the assumption that the specimen stood still: no measurement yields
SYSTEMATIC_PX = 0.02  # error of a displacement without noise: the contrast changes
CONFIRMING_PX = 1.0  # a link over two sections that is further off measures something else
MOST_STEPS = 30
SETTLED_PX = 1e-3
LEAST_OVERLAP = 0.25  # of the section


def focal_drift(
    sections: Views,
    *,
    defocus_um: ArrayLike | None = None,
    reference: int | None = None,
    max_shift_px: float | None = None,
    region: Region | None = None,
    low_pass_px: float = 1.0,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Shifts:
    """Find the shifts of the sections of a focal series by correlation of neighbours in focus.

    Parameters
    ----------
    sections : ndarray of shape (n_sections, ny, nx)
        The series, of any real type; read section by section.
    defocus_um : array_like of shape (n_sections,), optional
        Defoci in µm, by which the sections are put in order; they are in order where it is not given.
    reference : int, optional
        Section that is not shifted, counted from 0; the one in the middle of the order when not given.
    max_shift_px : float, optional
        Largest displacement between neighbours along x and along y; a quarter of the smaller side when not
        given. For a perfect lattice that fills the frame, give less than half the spacing of the columns.
    region : (slice, slice), optional
        Rows and columns to compare.
    low_pass_px : float
        Standard deviation of the Gaussian low-pass.
    threads : int
        Pairs of sections compared at the same time.
    progress : callable, optional
        Called with 1 for every pair that is compared, ``3 * n_sections - 4`` in all.

    Returns
    -------
    Shifts
        The quality is the correlation with the neighbour that fits best, of what is above the noise. The
        residual is the root mean square of what is left between links over one and over two sections. A
        section is doubtful if no link joins it to the reference, if its links disagree, or if it departs from
        the smooth motion. Where nothing was measured, sections are taken to have stood still.

    Raises
    ------
    DataError
        If there are fewer than two sections, counts differ, a section holds NaN, or no two neighbours have
        anything in common.
    UsageError
        If a number is out of range.

    Notes
    -----
    The contrast changes through focus, so that phase correlation fails, as does comparison with the mean of
    all sections: only neighbours are alike. They are compared by plain correlation, normalised over their
    overlap; see `etcli.core.depth.section_pairs.link_sections`. Each section is then compared with the next
    but one as well, close to where the two links between put it, and all links are solved by least squares.

    References
    ----------
    M. Alania et al., Ultramicroscopy 177, 36 (2017): depth sectioning, of which this is the first step.
    """
    order = _checked_order(sections, defocus_um)
    shown = region or (slice(None), slice(None))
    n = len(order)
    if reference is not None and not 0 <= reference < n:
        raise UsageError(f"reference section {reference + 1} asked for, but there are {n}")
    low_pass_px = checked_number("low-pass in pixels", low_pass_px)
    if low_pass_px < 0:
        raise UsageError(f"a low-pass of {low_pass_px:g} px is negative; give 0 or more")
    reach_px = _reach_px(max_shift_px, _image(sections, 0)[shown].shape)

    def find_links(
        pairs: Sequence[tuple[int, int]], expected_px: Float, usual_px: float = 0.0
    ) -> list[SectionLink]:
        """Compare pairs of sections, numbered by their order; leave out those with nothing in common."""

        def compare(k: int) -> SectionLink | None:
            first, second = (_image(sections, int(order[i]))[shown] for i in pairs[k])
            x, y = expected_px[k]
            options: dict[str, Any] = {"low_pass_px": low_pass_px, "reach_px": reach_px, "usual_px": usual_px}
            return link_sections(first, second, pairs[k], expected_px=(float(x), float(y)), **options)

        found = []
        for link in ordered_map(compare, range(len(pairs)), threads=threads):
            found += [link] if link else []
            if progress:
                progress(1)
        return found

    neighbours, no_step = [(k, k + 1) for k in range(n - 1)], np.zeros((n - 1, 2))
    steps = find_links(neighbours, no_step)
    steps = find_links(neighbours, no_step, _usual_step_px(steps))
    content_px, _ = _solve(steps, n)
    long_steps = find_links([(k, k + 2) for k in range(n - 2)], content_px[2:] - content_px[:-2])
    links = steps + _confirming(long_steps, steps, content_px)
    if not links:
        raise DataError("no two neighbouring sections have anything in common; are they blank?")
    content_px, misfit_px = _solve(links, n)
    middle = n // 2 if reference is None else int(np.flatnonzero(order == reference)[0])
    shifts = _judged(content_px[middle] - content_px, links, misfit_px, middle)
    back = np.argsort(order)
    return Shifts(shifts.shift_px[back], shifts.quality[back], shifts.doubtful[back], shifts.residual_px)


def refine_drift(
    sections: Views,
    predicted: Views,
    start: Shifts,
    *,
    max_change_px: float = 1.5,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Shifts:
    """Register each section of a focal series to its prediction, by least squares.

    Parameters
    ----------
    sections : ndarray of shape (n_sections, ny, nx)
        The series as it was recorded, not shifted.
    predicted : ndarray of shape (n_sections, ny, nx)
        Each section without drift, as predicted from the fitted columns, in the frame of the shifted series.
    start : Shifts
        Shifts of which the prediction was made.
    max_change_px : float
        Largest change of a shift along each axis; less than half the spacing of the columns.
    threads : int
        Sections registered at the same time.
    progress : callable, optional
        Called with 1 for every section.

    Returns
    -------
    Shifts
        In the frame of the prediction, which is arbitrary by a shift that is common to all sections. The
        quality is the correlation with the prediction. A section that does not correlate, or whose change
        reaches the limit, keeps its shift and is doubtful. The residual is the root mean square change.

    Raises
    ------
    DataError
        If shapes differ or a section holds NaN.
    UsageError
        If the largest change is not positive.

    Notes
    -----
    Minimises Σ (I(x) - g P(x - d) - o)² over d, the gain g and the offset o. The derivatives are those of the
    prediction P, which has no noise, so that noise does not bias them. The result is as good as the
    prediction: one that was fitted to each shifted section alone mostly gives back the shift it was made
    with, and repeating that adds up its errors. Let the sections share places, heights and widths.
    """
    n = len(sections)
    if sections.shape != predicted.shape or start.shift_px.shape != (n, 2):
        raise DataError(
            f"sections of shape {sections.shape} need predictions of the same shape and as many shifts, not "
            f"{predicted.shape} and {len(start.shift_px)}"
        )
    if not checked_number("largest change in pixels", max_change_px) > 0:
        raise UsageError(
            f"a largest change of {max_change_px:g} px leaves nothing to refine; give more than 0"
        )

    def refine(k: int) -> tuple[Float, float]:
        return _fit_displacement(
            _image(sections, k), _image(predicted, k), -start.shift_px[k], max_change_px=max_change_px
        )

    shift_px, quality = np.empty((n, 2)), np.empty(n)
    for k, (content_px, correlation) in enumerate(ordered_map(refine, range(n), threads=threads)):
        shift_px[k], quality[k] = -content_px, correlation
        if progress:
            progress(1)
    failed = quality <= 0
    change_px = (shift_px - start.shift_px)[~failed]
    residual_px = float(np.sqrt((change_px**2).sum(axis=1).mean())) if len(change_px) else np.nan
    return Shifts(shift_px, quality, failed, residual_px)


def _checked_order(sections: Views, defocus_um: ArrayLike | None) -> NDArray[np.intp]:
    """Return the sections in the order of their focus, after validation of the arguments."""
    if len(sections.shape) != 3 or len(sections) < 2:
        raise DataError(
            f"a series of at least two sections is needed, not an array of shape {sections.shape}"
        )
    if defocus_um is None:
        return np.arange(len(sections))
    defocus = np.asarray(defocus_um, np.float64)
    if defocus.shape != (len(sections),):
        raise DataError(f"{len(sections)} sections but {defocus.size} defoci; one per section is needed")
    if not np.isfinite(defocus).all():
        raise DataError(
            f"the defocus of section {np.argmin(np.isfinite(defocus)) + 1} is not a finite number"
        )
    return np.argsort(defocus, kind="stable")


def _reach_px(max_shift_px: float | None, shape: tuple[int, ...]) -> int:
    """Return the largest displacement in whole pixels, one more than asked for: a peak has neighbours."""
    smaller = min(shape)
    if smaller < SMALLEST_PX:
        raise UsageError(
            f"a region of {shape[1]} x {shape[0]} pixels cannot be compared; it needs at least {SMALLEST_PX} "
            "pixels each way"
        )
    if max_shift_px is None:
        return int(FARTHEST * smaller)
    if not checked_number("largest shift in pixels", max_shift_px) >= 1:
        raise UsageError(f"a largest shift of {max_shift_px:g} px is too small; use 1 or more")
    return min(int(max_shift_px) + 1, smaller // 2)


def _image(sections: Views, k: int) -> Float:
    """Return a section in double precision; raise NonFiniteViewError if it holds NaN."""
    image = np.asarray(sections[k], np.float64)
    if not np.isfinite(image).all():
        raise NonFiniteViewError(k)
    return image


def _usual_step_px(steps: Sequence[SectionLink]) -> float:
    """Return the length that steps between neighbours usually have at most."""
    lengths = [np.hypot(*link.displacement_px) for link in steps]
    return float(outlier_limit(np.array(lengths))) if lengths else 0.0


def _solve(links: Sequence[SectionLink], n: int) -> tuple[Float, Float]:
    """Return the displacement of the content of each section, with mean 0, and the misfit of each link.

    Where links are missing, content is taken to stand still; a blank section comes between its neighbours.
    """
    pairs = [(link.first, link.second) for link in links] + [(k, k + 1) for k in range(n - 1)]
    measured = np.zeros((len(pairs), 2))
    if links:
        measured[: len(links)] = [link.displacement_px for link in links]
    trust = [1 / np.hypot(link.sigma_px, SYSTEMATIC_PX) for link in links] + [1 / STILL_PX] * (n - 1)
    root = np.array(trust)[:, np.newaxis]
    design = np.zeros((len(pairs), n))
    rows = np.arange(len(pairs))
    design[rows, [first for first, _ in pairs]] = -1
    design[rows, [second for _, second in pairs]] = 1
    content_px: Float = np.linalg.lstsq(design * root, measured * root)[0]  # of least norm: the mean is 0
    misfit: Float = np.hypot(*(design @ content_px - measured)[: len(links)].T)
    return content_px, misfit


def _confirming(
    long_steps: Sequence[SectionLink], steps: Sequence[SectionLink], content_px: Float
) -> list[SectionLink]:
    """Return the links over two sections that agree with those between, or stand for a missing one."""
    known = {link.first for link in steps}
    return [
        link
        for link in long_steps
        if not {link.first, link.first + 1} <= known
        or np.hypot(*(content_px[link.first] + link.displacement_px - content_px[link.second]))
        <= CONFIRMING_PX
    ]


def _judged(shift_px: Float, links: Sequence[SectionLink], misfit_px: Float, reference: int) -> Shifts:
    """Return shifts, in the order of focus, with the quality of each section and doubts about it."""
    n = len(shift_px)
    first, second = (np.array([getattr(link, end) for link in links]) for end in ("first", "second"))
    quality = np.zeros(n)
    for link in links:
        ends = [link.first, link.second]
        quality[ends] = np.maximum(quality[ends], link.quality)
    joined = connected_components(csr_array((np.ones(len(links)), (first, second)), shape=(n, n)), False)[1]
    limit = float(outlier_limit(misfit_px))
    disagree = [
        bool(np.median(misfit_px[(first == k) | (second == k)]) > limit) for k in range(n) if quality[k]
    ]
    doubtful = (joined != joined[reference]) | jumps(shift_px)
    doubtful[quality > 0] |= np.array(disagree)
    spare = len(links) > n - 1
    return Shifts(shift_px, quality, doubtful, float(np.sqrt(np.mean(misfit_px**2))) if spare else np.nan)


def _fit_displacement(
    section: Float, predicted: Float, start_px: Float, *, max_change_px: float
) -> tuple[Float, float]:
    """Return the displacement (x, y) of a section from its prediction and their correlation, or 0."""
    content_px = start_px.astype(np.float64)
    correlation = 0.0
    spline = ndimage.spline_filter(predicted, mode="mirror")
    for _ in range(MOST_STEPS):
        moved = ndimage.shift(spline, content_px[::-1], cval=np.nan, prefilter=False)
        inside = np.isfinite(moved)
        along_y, along_x = np.gradient(moved)
        inside &= np.isfinite(along_x) & np.isfinite(along_y)
        if inside.sum() < LEAST_OVERLAP * inside.size:
            return start_px, 0.0
        if np.ptp(moved[inside]) == 0 or np.ptp(section[inside]) == 0:
            return start_px, 0.0
        design = np.stack([-along_x[inside], -along_y[inside], moved[inside], np.ones(inside.sum())], axis=1)
        # I = g P(x - d): a further motion e changes it by -g e . grad P
        right, up, gain, _ = np.linalg.lstsq(design, section[inside])[0]
        correlation = float(np.corrcoef(moved[inside], section[inside])[0, 1])
        if not gain > 0:
            return start_px, 0.0
        step = np.array([right, up]) / gain
        content_px = content_px + step / max(1.0, float(np.hypot(*step)))
        if (np.abs(content_px - start_px) > max_change_px).any():
            return start_px, 0.0
        if np.hypot(*step) < SETTLED_PX:
            break
    return content_px, correlation
