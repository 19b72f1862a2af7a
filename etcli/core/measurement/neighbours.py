"""Distances of labels to their neighbours: between centres, and between surfaces."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Doubles = NDArray[np.float64]

NEIGHBOURS = 24
"""Nearest centres that are looked at first."""
LARGEST = 32
"""Bodies so much larger than the others that they are neighbours of many."""


def nearest_centres(centre: Doubles) -> Doubles:
    """Compute the distance of each centre to the nearest other one.

    Parameters
    ----------
    centre : ndarray of shape (n, 3), float64

    Returns
    -------
    ndarray of shape (n,), float64
        NaN for a single one.
    """
    if len(centre) < 2:
        return np.full(len(centre), np.nan)
    return np.asarray(KDTree(centre).query(centre, k=2)[0][:, 1])


def surface_gaps(points: Sequence[NDArray[np.float32]], touching: NDArray[np.bool_] | None = None) -> Doubles:
    """Compute the distance of each surface to the nearest other one.

    Parameters
    ----------
    points : sequence of ndarray of shape (n_points, 3), float32
        Points of each surface, such as the vertices of its triangles; none where it is unknown.
    touching : ndarray of shape (n,), bool, optional
        Surfaces in contact with others, for which nothing is computed.

    Returns
    -------
    ndarray of shape (n,), float64
        Distance of the nearest points; 0 in contact, NaN where there is no other surface.
    """
    touching = np.zeros(len(points), bool) if touching is None else touching
    gaps = np.where(touching, 0.0, np.nan)
    rows = np.array([row for row, each in enumerate(points) if len(each)], int)
    if len(rows) < 2:
        return gaps
    surfaces = _Surfaces([points[row] for row in rows])
    for k, row in enumerate(rows):
        if not touching[row]:
            gaps[row] = surfaces.gap(k)
    return gaps


class _Surfaces:
    """Surfaces with their boxes; trees of their points are made when they are first asked for."""

    def __init__(self, points: Sequence[NDArray[np.float32]]) -> None:
        self.points = points
        self.low = np.array([each.min(0) for each in points], float)
        self.high = np.array([each.max(0) for each in points], float)
        self.middle = (self.low + self.high) / 2
        self.radius = np.linalg.norm(self.high - self.low, axis=1) / 2
        by_size = np.argsort(self.radius)
        self.largest = by_size[-LARGEST:]
        self.usual = float(self.radius[by_size[-LARGEST - 1]]) if len(points) > LARGEST else 0.0
        self.tree = KDTree(self.middle)
        self.trees: dict[int, KDTree] = {}
        self.known: dict[tuple[int, int], float] = {}

    def gap(self, k: int) -> float:
        """Return the distance of a surface to the nearest other one."""
        n = len(self.points)
        distance, near = self.tree.query(self.middle[k], k=min(NEIGHBOURS, n))
        best = self._best(k, np.union1d(near, self.largest), np.inf)
        reach = best + self.radius[k] + self.usual
        if distance[-1] < reach and len(near) < n:
            best = self._best(k, np.array(self.tree.query_ball_point(self.middle[k], reach)), best)
        return best

    def _best(self, k: int, others: NDArray[np.intp], best: float) -> float:
        """Return the least distance to some others, the nearest boxes first, or `best` if that is less."""
        others = others[others != k]
        apart = np.maximum(self.low[others] - self.high[k], self.low[k] - self.high[others]).clip(0)
        bound = np.linalg.norm(apart, axis=1)
        for at in np.argsort(bound, kind="stable"):
            if bound[at] >= best:
                break
            best = min(best, self._between(k, int(others[at]), best))
        return best

    def _between(self, a: int, b: int, best: float) -> float:
        """Return the distance of two surfaces, or infinity if it is above `best`."""
        pair = (min(a, b), max(a, b))
        if pair not in self.known:
            few, many = sorted(pair, key=lambda k: len(self.points[k]))
            if many not in self.trees:
                self.trees[many] = KDTree(self.points[many])
            found = self._near(few, many, best)
            distance = self.trees[many].query(found, distance_upper_bound=best)[0] if len(found) else best
            least = float(np.min(distance))
            if least >= best:
                return np.inf
            self.known[pair] = least
        return self.known[pair]

    def _near(self, few: int, many: int, best: float) -> NDArray[np.float32]:
        """Return the points of one surface that are within reach of the box of another one."""
        points = self.points[few]
        if not np.isfinite(best):
            return points
        apart = np.maximum(self.low[many] - points, points - self.high[many]).clip(0)
        return np.asarray(points[(apart**2).sum(1) <= best**2])
