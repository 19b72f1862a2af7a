"""Ranking of the views of a tilt series by the entropy of their projections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.arguments import check_choice
from etcli.core.entropy.counts import CountedView
from etcli.core.entropy.projection import FORMS, occupied_voxels, projection_entropy
from etcli.core.errors import DataError, UsageError
from etcli.core.parallel import ordered_map

Float = NDArray[np.float64]
Int = NDArray[np.intp]
BITS_PER_NAT = 1 / np.log(2)
LARGEST_LAG = 8
"""Rows by which two views at 90° are displaced along the axis at most, to see whether they are registered."""
WIDEST_GAP = 2.0
"""Neighbours between which a partner is interpolated are at most so many usual steps of the angle apart."""


@dataclass(frozen=True, eq=False)
class ViewEntropies:
    """Entropies of the projections of a tilt series.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
    n_voxels : int
        Voxels N along a ray.
    entropy_nat, joint_nat : ndarray of shape (n_views,), float64
        Entropy S of each view, alone and given its partner at 90°; NaN without a partner.
    partner : ndarray of shape (n_views,), intp
        The partner of each view, -1 for none; of an interpolated partner the nearer view.
    partner_deg : ndarray of shape (n_views,), float64
        Tilt angle of the partner, NaN for none; that asked for if it is interpolated.
    total_counts : ndarray of shape (n_views,), float64
        Counts of each view, as they were used.
    recorded_counts : ndarray of shape (n_views,), float64
        Counts before they were scaled.
    zero_fraction, negative_fraction : ndarray of shape (n_views,), float64
        Shares of the pixels that are 0, and that were negative before.
    clipped_counts : ndarray of shape (n_views,), float64
        Counts that were missing below 0, before they were scaled.
    level : ndarray of shape (n_views,), float64
        Value that was subtracted.
    n_saturated : ndarray of shape (n_views,), intp
        Pixels at the end of the range of the detector.
    lag_rows : ndarray of shape (n_views,), float64
        Rows by which the partner seems to be displaced along the axis, NaN for none.
    sd_nat, joint_sd_nat : ndarray of shape (n_views,), float64, optional
        Standard deviations by a Poisson bootstrap.
    """

    tilt_deg: Float
    n_voxels: int
    entropy_nat: Float
    joint_nat: Float
    partner: Int
    partner_deg: Float
    total_counts: Float
    recorded_counts: Float
    zero_fraction: Float
    negative_fraction: Float
    clipped_counts: Float
    level: Float
    n_saturated: Int
    lag_rows: Float
    sd_nat: Float | None = None
    joint_sd_nat: Float | None = None

    def __len__(self) -> int:
        return len(self.tilt_deg)

    def values(self, by: str = "alone") -> Float:
        """Entropies to rank by: "alone" or "joint"; infinite for views without counts or partner."""
        check_choice("ranking", by, ("alone", "joint"))
        values = self.entropy_nat if by == "alone" else self.joint_nat
        return np.where(np.isfinite(values) & (self.total_counts > 0), values, np.inf)

    def ranks(self, by: str = "alone") -> Int:
        """Rank of each view from 1, the lowest entropy; views without counts or partner are the last."""
        ranks = np.empty(len(self), np.intp)
        ranks[np.argsort(self.values(by), kind="stable")] = np.arange(1, len(self) + 1)
        return ranks

    def select(self, n: int, *, by: str = "alone", spread_deg: float = 0.0) -> list[int]:
        """Select the views of lowest entropy, the best first; see `lowest`."""
        return lowest(self.values(by), self.tilt_deg, n, spread_deg=spread_deg)


def lowest(values: ArrayLike, tilt_deg: ArrayLike, n: int, *, spread_deg: float = 0.0) -> list[int]:
    """Select the views with the lowest values that keep a distance in tilt from each other.

    Parameters
    ----------
    values : array_like of shape (n_views,)
        Values to rank by; infinite for views that must not be selected.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees; 180° apart is the same view from behind.
    n : int
        Number of views.
    spread_deg : float
        Least difference of the tilt angles of two of them.

    Returns
    -------
    list of int
        Indices from 0, the lowest first.

    Raises
    ------
    UsageError
        When there are not so many.
    """
    if n < 1:
        raise UsageError(f"{n} views cannot be selected; ask for 1 or more")
    values, angles = np.asarray(values, np.float64), np.asarray(tilt_deg, np.float64)
    chosen: list[int] = []
    for k in np.argsort(values, kind="stable"):
        if len(chosen) == n or not np.isfinite(values[k]):
            break
        if all(angle_between(angles[k], angles[other]) >= spread_deg - 1e-9 for other in chosen):
            chosen.append(int(k))
    if len(chosen) < n:
        apart = f" at least {spread_deg:g}° apart, the lowest first," if spread_deg else ""
        raise UsageError(f"only {len(chosen)} views{apart} can be selected, not {n}; ask for fewer")
    return chosen


def angle_between(a_deg: ArrayLike, b_deg: ArrayLike) -> Float:
    """Difference of two tilt angles in degrees, 0 to 90: views 180° apart show the same."""
    difference: Float = np.abs((np.subtract(a_deg, b_deg, dtype=np.float64) + 90.0) % 180.0 - 90.0)
    return difference


def view_entropies(
    counted: Callable[[int], CountedView],
    tilt_deg: ArrayLike,
    *,
    n_voxels: int | None = None,
    form: str = "gamma",
    total: float | str | None = "median",
    tolerance_deg: float = 1.5,
    interpolate: bool = False,
    percentile: float = 100.0,
    bootstrap: int = 0,
    seed: int = 0,
    threads: int = 1,
    progress: Callable[[int], None] = lambda steps: None,
) -> ViewEntropies:
    """Compute the entropies of all views of a series, alone and given their partners at 90°.

    Each view is read twice, and only as many are held as there are threads.

    Parameters
    ----------
    counted : callable
        ``counted(k)`` returns the counts of view k from 0; all views have one shape (ny, nx).
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    n_voxels : int, optional
        Voxels N along a ray; by default nx, as in the paper.
    form : {"gamma", "stirling"}
        As for `etcli.core.entropy.projection.pixel_entropy`.
    total : float, "median" or None
        Counts to which each view is scaled: a number, the median of all views; None for no scaling.
    tolerance_deg : float
        Largest deviation of the partner from 90°.
    interpolate : bool
        Whether a partner at exactly 90° is interpolated between the two views next to it.
    percentile : float
        As for `etcli.core.entropy.projection.occupied_voxels`.
    bootstrap : int
        Number of images drawn from Poisson distributions for the standard deviations; 0 for none.
    seed : int
        Seed of these.
    threads : int
        Views processed at the same time.
    progress : callable
        Called with the number of steps done, of ``2 * n_views`` in all.

    Returns
    -------
    ViewEntropies

    Raises
    ------
    DataError
        When no view has counts.
    UsageError
        When a number is out of range.

    References
    ----------
    S. M. Collins et al., Phys. Rev. Lett. 119, 166101 (2017).
    """
    angles = np.atleast_1d(np.asarray(tilt_deg, np.float64))
    n_views = len(angles)
    check_choice("form of the entropy", form, FORMS)
    if bootstrap == 1 or bootstrap < 0:
        raise UsageError("a bootstrap needs 2 images or more; use 20, or 0 for none")
    if n_voxels is not None and n_voxels < 2:
        raise UsageError(f"{n_voxels} voxels along a ray leave nothing to choose; give 2 or more")

    looks = []
    for look in ordered_map(lambda k: _Look.at(counted(k), percentile), range(n_views), threads=threads):
        looks.append(look)
        progress(1)
    recorded = np.array([look.total for look in looks])
    if not (recorded > 0).any():
        raise DataError("no view has counts above the background; entropy is of dark-field images")
    n = n_voxels or looks[0].n_columns
    target = float(np.median(recorded[recorded > 0])) if total == "median" else total
    scale = np.ones(n_views)
    if target is not None:
        scale = np.divide(float(target), recorded, out=scale, where=recorded > 0)
    partners = [_Partner.of(k, angles, tolerance_deg, interpolate=interpolate) for k in range(n_views)]

    def score(k: int) -> list[float]:
        counts = counted(k).counts * scale[k]
        depths: list[Float | int] = [n]
        if partners[k].views:
            depths.append(np.minimum(partners[k].occupied(looks), n))
        entropies = [projection_entropy(counts, depth, form=form) for depth in depths]
        rng, drawn = np.random.default_rng([seed, k]), []
        for _ in range(bootstrap):
            image = rng.poisson(counts).astype(np.float64)
            if target is not None and image.any():
                image *= target / image.sum()  # as the views themselves: else the scatter of totals is added
            drawn.append([projection_entropy(image, depth, form=form) for depth in depths])
        deviations = np.std(drawn, axis=0, ddof=1).tolist() if drawn else [np.nan] * len(depths)
        unpaired = [np.nan] * (2 - len(depths))
        return [*entropies, *unpaired, *deviations, *unpaired]

    scores = []
    for found in ordered_map(score, range(n_views), threads=threads):
        scores.append(found)
        progress(1)
    alone, joint, sd, joint_sd = np.array(scores).T
    return ViewEntropies(
        tilt_deg=angles,
        n_voxels=n,
        entropy_nat=alone,
        joint_nat=joint,
        partner=np.array([partner.nearest for partner in partners], np.intp),
        partner_deg=np.array([partner.tilt_deg for partner in partners]),
        total_counts=recorded * scale,
        recorded_counts=recorded,
        zero_fraction=np.array([look.zero_fraction for look in looks]),
        negative_fraction=np.array([look.negative_fraction for look in looks]),
        clipped_counts=np.array([look.clipped for look in looks]),
        level=np.array([look.level for look in looks]),
        n_saturated=np.array([look.n_saturated for look in looks], np.intp),
        lag_rows=np.array(
            [partner.lag_rows(look, looks) for look, partner in zip(looks, partners, strict=True)]
        ),
        sd_nat=sd if bootstrap else None,
        joint_sd_nat=joint_sd if bootstrap else None,
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """What is kept of a view after the first reading: a number per row."""

    total: float
    n_columns: int
    occupied: Float
    row_sums: Float
    zero_fraction: float
    negative_fraction: float
    clipped: float
    level: float
    n_saturated: int

    @classmethod
    def at(cls, view: CountedView, percentile: float) -> "_Look":
        """Look at a view."""
        counts = view.counts
        return cls(
            float(counts.sum()),
            counts.shape[1],
            occupied_voxels(counts, percentile=percentile),
            counts.sum(axis=1),
            float((counts == 0).mean()),
            view.negative_fraction,
            view.clipped,
            view.level,
            view.n_saturated,
        )


@dataclass(frozen=True)
class _Partner:
    """View at 90° to another one, or the two views between which it lies; none if ``views`` is empty."""

    views: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    nearest: int = -1
    tilt_deg: float = np.nan

    @classmethod
    def of(cls, k: int, tilt_deg: Float, tolerance_deg: float, *, interpolate: bool) -> "_Partner":
        """Find the partner of a view."""
        beyond = (tilt_deg - tilt_deg[k]) % 180.0 - 90.0  # how far beyond 90° every view is, -90 to 90
        nearest = int(np.argmin(np.abs(beyond)))
        if interpolate and beyond[nearest] != 0:
            below, above = np.flatnonzero(beyond < 0), np.flatnonzero(beyond > 0)
            if not (len(below) and len(above)):
                return cls()
            first, last = below[np.argmax(beyond[below])], above[np.argmin(beyond[above])]
            gap = beyond[last] - beyond[first]
            if gap > WIDEST_GAP * _usual_step(tilt_deg):
                return cls()
            share = float(-beyond[first] / gap)
            asked_deg = float(tilt_deg[nearest] - beyond[nearest])
            return cls((int(first), int(last)), (1 - share, share), nearest, asked_deg)
        if abs(beyond[nearest]) > tolerance_deg:
            return cls()
        return cls((nearest,), (1.0,), nearest, float(tilt_deg[nearest]))

    def occupied(self, looks: Sequence[_Look]) -> Float:
        """Occupied voxels of each row, of the partner."""
        widths: Float = sum(
            weight * looks[view].occupied for view, weight in zip(self.views, self.weights, strict=True)
        )  # type: ignore[assignment]
        return widths

    def lag_rows(self, look: _Look, looks: Sequence[_Look]) -> float:
        """Displacement of the partner along the axis at which the sums of rows agree best, in rows.

        Both views show the same sums of rows, apart from noise, if they are registered. A displacement
        counts if it at least halves the disagreement.
        """
        if not self.views:
            return np.nan
        one, other = look.row_sums, looks[self.nearest].row_sums
        most = min(LARGEST_LAG, len(one) // 4)
        apart = [1 - _correlation(one, other, lag) for lag in range(-most, most + 1)]
        best = int(np.argmin(apart))
        return float(best - most) if 2 * apart[best] <= apart[most] else 0.0


def _usual_step(tilt_deg: Float) -> float:
    """Return the median step between different tilt angles."""
    steps = np.diff(np.unique(tilt_deg))
    return float(np.median(steps)) if len(steps) else 0.0


def _correlation(one: Float, other: Float, lag: int) -> float:
    """Return the correlation of two profiles, the second one displaced by some rows, where they overlap."""
    n = len(one)
    a, b = one[max(lag, 0) : n + min(lag, 0)], other[max(-lag, 0) : n + min(-lag, 0)]
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0
