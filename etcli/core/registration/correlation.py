"""Registration of a tilt series by correlation of each view with its neighbours in angle.

Every view is linked to the next few by the displacement at which two of them correlate best; the shifts of
all views follow from all links by least squares, so that errors do not add up from view to view.
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
SIZES_PX = 256, 512  # views are binned to at most this; finer detail adds nothing
NEAR = 1 / 8  # of the view: largest remaining displacement after views have been registered once
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
    """Find the shifts of the views of a tilt series by correlation of neighbouring views.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order; a memory map is read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    reference : int, optional
        View that is not shifted, counted from 0; the one nearest 0° when not given.
    background : float, optional
        Level that is subtracted from each view; the mean of its outermost pixels when not given.
    low_px, high_px : float, optional
        Longest and shortest period of the band-pass; the transmission is one half at both.
    taper : float
        Fraction of the width at each border over which the view fades to the background.
    max_shift_px : float, optional
        Largest displacement considered between two views, along x and along y; half the view when not
        given.
    region : (slice, slice), optional
        Rows and columns to compare.
    stretch : bool, optional
        Whether views of larger tilt are stretched across the axis by the ratio of the cosines: right for a
        foil, wrong for a needle or particle. When not given, whichever makes the views more similar.
    neighbours : int
        Number of following views that each view is compared with; 1 gives a chain of neighbours.
    threads : int
        Views processed at the same time.
    progress : callable, optional
        Called with 1 for every view that is done, twice for each.

    Returns
    -------
    Shifts
        The quality is the normalised weighted correlation with the view that fits best. A failed view, one
        below 0.3 of its neighbours' median, is skipped; it gets an interpolated shift and is doubtful.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or fewer than two views have anything in common.
    UsageError
        If the reference, the region or a number is out of range.

    Notes
    -----
    The view k of larger tilt is stretched by r = cos θ_i / cos θ_k >= 1. Then the contents of two views of a
    foil are displaced by δ = s_i - r s_k across the axis, and by s_i - s_k along it. The links δ of all pairs
    are solved for s with s_ref = 0, weighted by the inverse of their variance (1 - c²)/c² for a correlation
    c, and outliers by Cauchy's weight. The stretch stays constant beyond 80°.

    The cross-power spectrum is weighted by the square root of c / (P (1 - c²)), with P the power and c the
    coherence of the views at a spatial frequency, estimated from the series: half-way between plain
    correlation, which is robust, and Knapp and Carter's maximum likelihood, which is phase correlation
    where there is no noise. The peak is refined by a matrix-multiply Fourier transform of its
    neighbourhood and a parabola. All of it is done twice, first with views binned to 256 px, then with
    views shifted by the first result and binned to 512 px.

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

    def link_views(
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

        return *_link_neighbours(compare, order, neighbours, threads, progress), stretched

    links, usable, quality, stretched = link_views(views, max_shift_px, stretch, SIZES_PX[0])
    coarse = _interpolate_skipped(
        _solve(links, usable, _pick_reference(reference, usable, tilt))[0], tilt, usable
    ).round()
    # Again with the views shifted, so that the window shows the same part of the specimen in all of them.
    shifted_views = TransformedViews(
        views.__getitem__, Transforms.shifts(coarse), views.shape[1:], fill=background
    )
    near_px = max(NEAR * min(views.shape[1:]), 1)
    links, usable, quality, _ = link_views(
        shifted_views, min(max_shift_px or near_px, near_px), stretched, SIZES_PX[1]
    )
    reference = _pick_reference(reference, usable, tilt)
    relative, misfit = _solve(links, usable, reference)
    shift_px = _interpolate_skipped(coarse[usable] - coarse[reference] + relative, tilt, usable)
    doubtful = np.ones(len(tilt), bool)
    doubtful[usable] = jumps(shift_px[usable]) | _inconsistent(misfit, links, usable)
    has_spare_links = len(links) >= len(usable)
    return Shifts(
        shift_px, quality, doubtful, float(np.sqrt(np.mean(misfit**2))) if has_spare_links else np.nan
    )


def _pick_reference(requested: int | None, usable: NDArray[np.intp], tilt_deg: Float) -> int:
    """Return the view that is not shifted: the requested one, or the usable view nearest 0°."""
    if requested is None:
        return int(usable[np.argmin(np.abs(tilt_deg[usable]))])
    if requested not in usable:
        raise UsageError(f"reference view {requested + 1} is blank or unlike its neighbours; choose another")
    return requested


def _interpolate_skipped(measured: Float, tilt_deg: Float, usable: NDArray[np.intp]) -> Float:
    """Return shifts for all views, interpolated over the tilt angle for views that were skipped."""
    shift_px = np.stack([np.interp(tilt_deg, tilt_deg[usable], column) for column in measured.T], axis=1)
    shift_px[usable] = measured
    return np.asarray(shift_px)


def _link_neighbours(
    compare: Callable[[Pair], PairLink],
    order: NDArray[np.intp],
    neighbours: int,
    threads: int,
    progress: Callable[[int], None] | None,
) -> tuple[list[PairLink], NDArray[np.intp], Float]:
    """Link each view to the next ones and skip failed views; return links, good views and qualities."""
    link_of_pair: dict[Pair, PairLink] = {}
    quality = np.zeros(len(order))
    usable = order
    while True:
        pairs_of_view = [
            [(int(near), int(far)) for far in usable[i + 1 : i + 1 + neighbours]]
            for i, near in enumerate(usable)
        ]
        new = [[pair for pair in pairs if pair not in link_of_pair] for pairs in pairs_of_view]
        for links_of_view in ordered_map(
            lambda pairs: [compare(pair) for pair in pairs], new, threads=threads
        ):
            link_of_pair |= {(link.near, link.far): link for link in links_of_view}
            if progress and usable is order:
                progress(1)
        links = [link_of_pair[pair] for pairs in pairs_of_view for pair in pairs]
        quality[usable] = 0
        for link in links:
            quality[[link.near, link.far]] = np.maximum(quality[[link.near, link.far]], link.quality)
        good = like_neighbours(quality[usable], FAILED)
        if good.sum() < 2:
            raise DataError("fewer than two views have anything in common; are they blank?")
        if good.all():
            return links, usable, quality
        usable = usable[good]


def _solve(links: Sequence[PairLink], usable: NDArray[np.intp], reference: int) -> tuple[Float, Float]:
    """Return the shifts (x, y) of the usable views that fit the links best, and the misfit of each link."""
    rows = np.arange(len(links))
    column_of = {int(view): i for i, view in enumerate(usable)}
    near, far = np.array([(column_of[link.near], column_of[link.far]) for link in links]).T
    design = np.zeros((2, len(links), len(usable)))
    design[0, rows, near] = [-link.near_stretch for link in links]
    design[0, rows, far] = [link.far_stretch for link in links]
    design[1, rows, near], design[1, rows, far] = -1, 1
    free = np.arange(len(usable)) != column_of[reference]
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


def _inconsistent(misfit: Float, links: Sequence[PairLink], usable: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Find the views for which most of the links have a large misfit."""
    ends = np.array([(link.near, link.far) for link in links])
    typical_misfit = [np.median(misfit[(ends == view).any(axis=1)]) for view in usable]
    return np.asarray(np.array(typical_misfit) > outlier_limit(misfit))
