"""Choice of the views of a planned series by what they rule out, for a known or guessed model.

The density of a specimen is nowhere negative. So at a point it cannot exceed what a view shows for the ray
through that point: a dark pixel clears its whole ray. The least of these values over all views is the ceiling
of the density at the point. The views are chosen whose ceilings, averaged over the specimen, are the lowest.
Views along zone axes rule out most, but many views of nearly the same direction rule out the same, so that
views between them add more. In this way the choice goes beyond ranking views one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from etcli.core.entropy.planning import Projection
from etcli.core.entropy.ranking import angle_between
from etcli.core.errors import UsageError
from etcli.core.geometry import across_axis, centre
from etcli.core.parallel import ordered_map

Float = NDArray[np.float64]
Ceilings = NDArray[np.float32]

N_PHASES = 8
"""Evenly spaced series, each shifted by a part of its step, with which the choice is compared."""
MOST_POINTS = 1 << 16
"""Points at which ceilings are computed at most; more do not change the choice."""
MOST_ROUNDS = 6
"""Rounds in which every chosen view may be exchanged."""


@dataclass(frozen=True, eq=False)
class ViewPlan:
    """Views chosen for a planned series.

    Parameters
    ----------
    chosen : list of int
        Indices of the tilt angles, ascending.
    ceiling : float
        Mean ceiling of the density with these views.
    even_ceilings : ndarray of shape (n,), float64
        The same of evenly spaced series of as many views, which differ in their first angle.
    even_views : int
        Evenly spaced views that are needed on average for the same ceiling, at most as many as there are
        angles.
    """

    chosen: list[int]
    ceiling: float
    even_ceilings: Float
    even_views: int

    @property
    def gain(self) -> float:
        """Relative reduction of the ceiling, compared with the mean of evenly spaced series."""
        return 1 - self.ceiling / float(self.even_ceilings.mean())


def interior_points(position: ArrayLike, spacing: float) -> Float:
    """Create points on a grid that fills a specimen: no farther from an atom than its neighbours.

    Parameters
    ----------
    position : array_like of shape (n_atoms, 3)
        In any unit of length.
    spacing : float
        Step of the grid; half the resolution is enough. It is coarser where there would be too many points.

    Returns
    -------
    ndarray of shape (n_points, 3), float64

    Raises
    ------
    UsageError
        When there are fewer than two atoms.
    """
    place = np.asarray(position, np.float64)
    if len(place) < 2:
        raise UsageError("views are planned for two atoms or more")
    tree = cKDTree(place)
    apart = float(np.median(tree.query(place, 2)[0][:, 1]))
    low, high = place.min(axis=0) - apart, place.max(axis=0) + apart
    step = max(spacing, float(np.cbrt(np.prod(high - low) / (2 * MOST_POINTS))))
    axes = [np.arange(a, b + step, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    inside: Float = grid[tree.query(grid, distance_upper_bound=apart)[0] < apart]
    return inside


def density_ceilings(
    project: Projection,
    tilt_deg: ArrayLike,
    point_px: Float,
    *,
    threads: int = 1,
    progress: Callable[[int], None] = lambda steps: None,
) -> Ceilings:
    """Look up the value of every view on the rays through some points.

    Parameters
    ----------
    project : callable
        Image of the model without noise, as a function of the tilt angle in degrees.
    tilt_deg : array_like of shape (n_angles,)
    point_px : ndarray of shape (n_points, 3)
        Points (x, y, z) from the rotation centre in pixels; the tilt axis is along y.
    threads : int
    progress : callable
        Called with the number of views that are done.

    Returns
    -------
    ndarray of shape (n_angles, n_points), float32
    """
    angles = np.atleast_1d(np.asarray(tilt_deg, np.float64))

    def look(angle: float) -> Ceilings:
        image = project(angle)
        ny, nx = image.shape
        places = [point_px[:, 1] + centre(ny), across_axis(point_px, angle) + centre(nx)]
        values: Ceilings = map_coordinates(image, places, order=1, mode="constant", output=np.float32)
        return values

    ceilings = np.empty((len(angles), len(point_px)), np.float32)
    for k, row in enumerate(ordered_map(look, angles.tolist(), threads=threads)):
        ceilings[k] = row
        progress(1)
    return ceilings


def check_number(n: int, n_angles: int) -> None:
    """Check that so many views can be chosen from so many tilt angles; raise UsageError otherwise."""
    if n < 2:
        raise UsageError(f"{n} views cannot be chosen from {n_angles} tilt angles; ask for 2 or more")
    if n > n_angles:
        raise UsageError(f"{n} views cannot be chosen from {n_angles} tilt angles; ask for fewer")


def choose_views(ceilings: Ceilings, tilt_deg: ArrayLike, n: int, *, threads: int = 1) -> ViewPlan:
    """Choose the views whose common ceilings of the density are the lowest.

    Two views are at least half as far apart as evenly spaced ones: similar views rule out the same, so the
    gain of a second one would rest on details of the model that may not be true.

    Parameters
    ----------
    ceilings : ndarray of shape (n_angles, n_points), float32
        As from `density_ceilings`.
    tilt_deg : array_like of shape (n_angles,)
        Tilt angles in degrees to choose from, ascending.
    n : int
        Number of views.
    threads : int

    Returns
    -------
    ViewPlan

    Raises
    ------
    UsageError
        When there are not so many angles with that distance.

    Notes
    -----
    Views are added one by one, each the one that lowers the mean ceiling most, and then exchanged one by one
    as long as that lowers it. The same is done from two evenly spaced series, and the best result is taken.
    """
    angles = np.atleast_1d(np.asarray(tilt_deg, np.float64))
    check_number(n, len(angles))
    search = _Search(ceilings, angles, n, threads)
    series = search.even_series(n)
    starts = [series[0], series[N_PHASES // 2]]
    if added := search.added():
        starts.append(added)
    plans = [search.exchanged(start) for start in starts if len(start) == n]
    if not plans:
        raise UsageError(f"the tilt angles are too few to choose {n} views from; give a smaller step")
    best = min(plans, key=search.mean)
    ceiling = search.mean(best)
    return ViewPlan(sorted(best), ceiling, search.means(series), search.as_even(ceiling))


class _Search:
    """Search for the set of views of the lowest mean ceiling."""

    def __init__(self, ceilings: Ceilings, tilt_deg: Float, n: int, threads: int) -> None:
        self.ceilings, self.tilt_deg, self.n, self.threads = ceilings, tilt_deg, n, threads
        step = float(np.median(np.diff(tilt_deg)))
        reach = float(tilt_deg[-1] - tilt_deg[0])
        self.is_closed = reach + step >= 180 - 1e-6
        self.span = 180.0 if self.is_closed else reach
        apart = angle_between(tilt_deg[:, np.newaxis], tilt_deg)
        self.compatible = apart >= self.span / n / 2 - 1e-9

    def mean(self, chosen: list[int]) -> float:
        """Return the mean ceiling of a set of views."""
        return float(self.ceilings[chosen].min(axis=0).mean())

    def means(self, series: list[list[int]]) -> Float:
        """Return the mean ceilings of several sets of views."""
        return np.array([self.mean(views) for views in series])

    def even_series(self, n: int) -> list[list[int]]:
        """Return evenly spaced series of n views, each shifted by a part of the step."""
        return [self._even(n, phase / N_PHASES) for phase in range(N_PHASES)]

    def _even(self, n: int, phase: float) -> list[int]:
        """Return the evenly spaced series whose first angle is shifted by a part of the step."""
        first = float(self.tilt_deg[0])
        if self.is_closed or phase > 0:
            wanted = first + (np.arange(n) + phase) * self.span / n
        else:
            wanted = np.linspace(first, first + self.span, n)
        return sorted({int(np.argmin(np.abs(self.tilt_deg - angle))) for angle in wanted})

    def as_even(self, ceiling: float) -> int:
        """Return the number of evenly spaced views with a mean ceiling, averaged over their first angle."""
        most = len(self.tilt_deg)
        return next(
            (n for n in range(self.n, most) if self.means(self.even_series(n)).mean() <= ceiling), most
        )

    def _best(self, lowest: Ceilings, others: list[int]) -> tuple[int, float]:
        """Return the view that lowers the mean ceiling most, of those compatible with others; -1 for none."""
        allowed = np.flatnonzero(self.compatible[:, others].all(axis=1))
        if not len(allowed):
            return -1, np.inf
        parts = np.array_split(allowed, min(self.threads, len(allowed)))

        def means(part: NDArray[np.intp]) -> list[float]:
            return [float(np.minimum(lowest, self.ceilings[k]).mean()) for k in part]

        found = np.concatenate(list(ordered_map(means, parts, threads=self.threads)))
        place = int(found.argmin())
        return int(allowed[place]), float(found[place])

    def added(self) -> list[int]:
        """Return views that were added one by one; none if they block each other."""
        chosen: list[int] = []
        lowest = np.full(self.ceilings.shape[1], np.inf, np.float32)
        while len(chosen) < self.n:
            k, _ = self._best(lowest, chosen)
            if k < 0:
                return []
            chosen.append(k)
            lowest = np.minimum(lowest, self.ceilings[k])
        return chosen

    def exchanged(self, start: list[int]) -> list[int]:
        """Exchange views one by one, as long as that lowers the mean ceiling."""
        chosen, mean = list(start), self.mean(start)
        for _ in range(MOST_ROUNDS):
            before = mean
            for place in range(self.n):
                others = chosen[:place] + chosen[place + 1 :]
                k, found = self._best(self.ceilings[others].min(axis=0), others)
                if k >= 0 and found < mean * (1 - 1e-6):
                    chosen[place], mean = k, found
            if mean == before:
                break
        return chosen
