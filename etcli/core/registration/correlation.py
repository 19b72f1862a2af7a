"""Registration of a tilt series by correlation of each view with its neighbours in angle.

Every view is linked to the next few by the displacement at which two of them correlate best; the shifts of
all views follow from all links by least squares, so an error is not carried on from view to view.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.parallel import ordered_map
from etcli.core.registration.pair_comparison import Pair, PairLink, Region, make_comparison, survey
from etcli.core.registration.shifts import Shifts, checked_tilts, jumps, like_neighbours, outlier_limit
from etcli.core.registration.transforms import TransformedViews, Transforms, Views

Float = NDArray[np.float64]

FAILED = 0.3  # of the neighbours' correlation
SIZES_PX = 256, 512  # that views are binned to; the finest detail adds nothing
NEAR = 1 / 8  # of the view: what views may still be displaced when they have been registered once
ROBUST_ROUNDS = 10


def correlate_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    reference: int | None = None,
    background: float | None = None,
    low_px: float | None = None,
    high_px: float | None = None,
    taper: float = 0.1,
    max_shift_px: float | None = None,
    region: Region | None = None,
    stretch: bool | None = None,
    neighbours: int = 3,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Shifts:
    """Find the shifts that put the views of a tilt series onto each other.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order; a memory map is read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    reference : int, optional
        View that stays where it is, counted from 0; the one nearest 0° when not given.
    background : float, optional
        Level taken off each view; the mean of its outermost pixels when not given.
    low_px, high_px : float, optional
        Longest and shortest period that is let through; at the period itself one half passes.
    taper : float
        Share of the width at each border over which the view fades to the background.
    max_shift_px : float, optional
        Largest displacement, along x and along y, looked for between two views; half the view when not
        given.
    region : (slice, slice), optional
        Rows and columns to be compared.
    stretch : bool, optional
        Whether views of larger tilt are stretched across the axis by the ratio of the cosines, as a foil
        needs it and a needle or particle does not. When not given, whatever makes the views more alike.
    neighbours : int
        Each view is compared with so many following ones; 1 is the chain of neighbours.
    threads : int
        Views worked on at the same time.
    progress : callable, optional
        Called with 1 for every view that is done, twice for each.

    Returns
    -------
    Shifts
        The quality is the normalised weighted correlation with the view that fits best. A failed view, one
        below 0.3 of its neighbours' median, is passed over; it gets an interpolated shift and is doubtful.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or fewer than two views have anything in common.
    UsageError
        If the reference, the region or a number is unfit.

    Notes
    -----
    With the larger of two tilts stretched, r = cos θ_i / cos θ_k >= 1 for the steeper view k, a foil's views
    differ by the displacement δ = s_i - r s_k of their content across the axis, and s_i - s_k along it. The
    links δ of all pairs are solved for s with s_ref = 0, weighted by their variance (1 - c²)/c² for a
    correlation c, outliers by Cauchy's weight. The stretch ends at 80°.

    The cross-power spectrum is weighted by the square root of c / (P (1 - c²)), with P the power and c the
    coherence of the views at a spatial frequency, learnt from the series: half-way between plain
    correlation, which is robust, and Knapp and Carter's maximum likelihood, which is phase correlation
    where there is no noise. The peak is refined by a matrix-multiply Fourier transform of its
    neighbourhood and a parabola. All of it is done twice, first with views binned to 256 px, then with
    views moved to where they belong and binned to 512 px.

    References
    ----------
    C. H. Knapp, G. C. Carter, IEEE Trans. Acoust. Speech Signal Process. 24, 320 (1976),
    doi:10.1109/TASSP.1976.1162830.
    M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Opt. Lett. 33, 156 (2008), doi:10.1364/OL.33.000156.
    """
    tilt = checked_tilts(views, tilt_deg)
    if reference is not None and not 0 <= reference < len(tilt):
        raise UsageError(f"reference view {reference + 1} asked for, but there are {len(tilt)}")
    if neighbours < 1:
        raise UsageError(f"each view needs at least one neighbour to be compared with, not {neighbours}")
    order = np.argsort(tilt, kind="stable")

    def compared(
        views: Views, reach_px: float | None, stretch: bool | None, size_px: int
    ) -> tuple[list[PairLink], NDArray[np.intp], Float, bool]:
        comparison = make_comparison(
            views,
            tilt,
            background=background,
            taper=taper,
            max_shift_px=reach_px,
            region=region,
            size_px=size_px,
        )
        band = comparison.band(low_px, high_px)
        weight, stretched = survey(comparison, order, stretched=stretch, band=band)

        def compare(pair: Pair) -> PairLink:
            return comparison.link(pair, weight, stretched)

        return *_linked(compare, order, neighbours, threads, progress), stretched

    links, usable, quality, stretched = compared(views, max_shift_px, stretch, SIZES_PX[0])
    coarse = _everywhere(_solved(links, usable, _reference(reference, usable, tilt))[0], tilt, usable).round()
    # Again with the views where they belong, so that the window shows the same part of the specimen in all.
    moved = TransformedViews(views.__getitem__, Transforms.shifts(coarse), views.shape[1:], fill=background)
    near_px = max(NEAR * min(views.shape[1:]), 1)
    links, usable, quality, _ = compared(moved, min(max_shift_px or near_px, near_px), stretched, SIZES_PX[1])
    reference = _reference(reference, usable, tilt)
    solved, misfit = _solved(links, usable, reference)
    shift_px = _everywhere(coarse[usable] - coarse[reference] + solved, tilt, usable)
    doubtful = np.ones(len(tilt), bool)
    doubtful[usable] = jumps(shift_px[usable]) | _contradicted(misfit, links, usable)
    has_spare_links = len(links) >= len(usable)
    return Shifts(
        shift_px, quality, doubtful, float(np.sqrt(np.mean(misfit**2))) if has_spare_links else np.nan
    )


def _reference(wish: int | None, usable: NDArray[np.intp], tilt_deg: Float) -> int:
    """Return the view that stays where it is: the one asked for, or of the usable ones the one nearest 0°."""
    if wish is None:
        return int(usable[np.argmin(np.abs(tilt_deg[usable]))])
    if wish not in usable:
        raise UsageError(f"reference view {wish + 1} is blank or unlike its neighbours; choose another")
    return wish


def _everywhere(solved: Float, tilt_deg: Float, usable: NDArray[np.intp]) -> Float:
    """Return shifts for all views, interpolated over the angles where a view was passed over."""
    shift_px = np.stack([np.interp(tilt_deg, tilt_deg[usable], column) for column in solved.T], axis=1)
    shift_px[usable] = solved
    return np.asarray(shift_px)


def _linked(
    compare: Callable[[Pair], PairLink],
    order: NDArray[np.intp],
    neighbours: int,
    threads: int,
    progress: Callable[[int], None] | None,
) -> tuple[list[PairLink], NDArray[np.intp], Float]:
    """Link each view with the next ones, passing over failures; return links, good views, qualities."""
    known: dict[Pair, PairLink] = {}
    quality = np.zeros(len(order))
    usable = order
    while True:
        wanted = [
            [(int(near), int(far)) for far in usable[i + 1 : i + 1 + neighbours]]
            for i, near in enumerate(usable)
        ]
        new = [[pair for pair in pairs if pair not in known] for pairs in wanted]
        for found in ordered_map(lambda pairs: [compare(pair) for pair in pairs], new, threads=threads):
            known |= {(link.near, link.far): link for link in found}
            if progress and usable is order:
                progress(1)
        links = [known[pair] for pairs in wanted for pair in pairs]
        quality[usable] = 0
        for link in links:
            quality[[link.near, link.far]] = np.maximum(quality[[link.near, link.far]], link.quality)
        good = like_neighbours(quality[usable], FAILED)
        if good.sum() < 2:
            raise DataError("fewer than two views have anything in common; are they blank?")
        if good.all():
            return links, usable, quality
        usable = usable[good]


def _solved(links: Sequence[PairLink], usable: NDArray[np.intp], reference: int) -> tuple[Float, Float]:
    """Return the shifts (x, y) of the usable views that fit the links best, and the misfit of each link."""
    rows = np.arange(len(links))
    place = {int(view): i for i, view in enumerate(usable)}
    near, far = np.array([(place[link.near], place[link.far]) for link in links]).T
    design = np.zeros((2, len(links), len(usable)))
    design[0, rows, near] = [-link.near_stretch for link in links]
    design[0, rows, far] = [link.far_stretch for link in links]
    design[1, rows, near], design[1, rows, far] = -1, 1
    free = np.arange(len(usable)) != place[reference]
    measured = -np.array([link.displacement_px for link in links])
    quality = np.clip([link.quality for link in links], 0.01, 0.999)
    trust = quality**2 / (1 - quality**2)
    shift = np.zeros((len(usable), 2))
    robust = np.ones(len(links))
    for _ in range(ROBUST_ROUNDS):
        root = np.sqrt(trust * robust)
        for axis in (0, 1):
            equations = design[axis][:, free] * root[:, np.newaxis]
            normal = equations.T @ equations
            shift[free, axis] = np.linalg.solve(normal, equations.T @ (measured[:, axis] * root))
        misfit = np.hypot(*(design[axis] @ shift[:, axis] - measured[:, axis] for axis in (0, 1)))
        scale = max(3 * float(np.median(misfit)), 1e-3)
        robust = 1 / (1 + (misfit / scale) ** 2)
    return shift, misfit


def _contradicted(misfit: Float, links: Sequence[PairLink], usable: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which views most of their links do not agree on."""
    ends = np.array([(link.near, link.far) for link in links])
    typical = [np.median(misfit[(ends == view).any(axis=1)]) for view in usable]
    return np.asarray(np.array(typical) > outlier_limit(misfit))
