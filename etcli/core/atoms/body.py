"""The space that a set of atoms fills, and how many distances it has room for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from etcli.core.atoms.match import Positions

CLOSING = 2.0  # in distances of nearest neighbours: narrower pores are filled
VOXELS = 96  # along the longest edge
FINEST = 5  # voxels in a distance of nearest neighbours; more would not make it better
LEAST_INSIDE = 20.0  # atoms, by weight
TAPER = 3.0  # in distances of nearest neighbours
POINTS, LAGS = 40_000, 48
SEED = 1


@dataclass(frozen=True, eq=False)
class Body:
    """The space that atoms fill.

    Parameters
    ----------
    depth_A : ndarray of shape (nx, ny, nz), float64
        How deep below the surface a voxel is; negative outside.
    corner_A : ndarray of shape (3,), float64
        Middle of the first voxel.
    voxel_A : float
        Edge of a voxel.
    density_A3 : float
        Atoms per Å³ inside.
    """

    depth_A: NDArray[np.float64]
    corner_A: NDArray[np.float64]
    voxel_A: float
    density_A3: float

    def depth_at(self, position_A: Positions) -> NDArray[np.float64]:
        """Return how deep positions (n, 3) lie below the surface; negative outside."""
        places = ((position_A - self.corner_A) / self.voxel_A).T
        return np.asarray(
            ndimage.map_coordinates(
                self.depth_A, places, order=1, mode="constant", cval=-np.inf, prefilter=False
            )
        )

    def room(self, distance_A: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of the places at these distances from a place inside that are inside as well.

        Parameters
        ----------
        distance_A : ndarray of shape (n,), float64

        Returns
        -------
        ndarray of shape (n,), float64
            From 1 at no distance to 0: the autocorrelation of the body, averaged over directions and
            divided by its volume; 40 000 places and directions, the same ones every time.
        """
        rng = np.random.default_rng(SEED)
        inside = np.argwhere(self.depth_A > 0)
        place = inside[rng.integers(len(inside), size=POINTS)] + rng.uniform(-0.5, 0.5, (POINTS, 3))
        way = rng.normal(size=(POINTS, 3))
        way /= np.linalg.norm(way, axis=1)[:, None] * self.voxel_A
        lags = np.linspace(0, float(distance_A.max(initial=0.0)), LAGS)
        seen = np.array([self._inside(place + lag * way).mean() for lag in lags])
        return np.asarray(np.interp(distance_A, lags, seen / max(seen[0], 1 / POINTS)))

    def _inside(self, place: NDArray[np.float64]) -> NDArray[np.bool_]:
        index = np.rint(place).astype(np.intp)
        within = ((index >= 0) & (index < self.depth_A.shape)).all(axis=1)
        inside = np.zeros(len(place), bool)
        inside[within] = self.depth_A[tuple(index[within].T)] > 0
        return inside


def find_body(position_A: Positions) -> Body:
    """Find the space that atoms fill.

    Parameters
    ----------
    position_A : ndarray of shape (n, 3), float64
        Two or more atoms, in Å.

    Returns
    -------
    Body

    Notes
    -----
    Balls about the atoms of twice the distance of nearest neighbours are joined, so that nothing inside
    stays empty, and the surface is taken back (a morphological closing). How far it lies outside the
    outermost atoms is chosen so that the volume times the density inside is the number of atoms (Gibbs's
    dividing surface). The density is that of the atoms, and of the voxels, weighted by sin² from the
    outermost atoms to three distances of neighbours below, so that layers of atoms play no part. Where this
    counts fewer than 20 atoms, the surface is half a distance of neighbours outside.
    """
    position_A = position_A[np.lexsort(position_A.T)]  # sums do not depend on the order given
    spacing_A = float(np.median(KDTree(position_A).query(position_A, k=2)[0][:, 1]))
    reach_A = CLOSING * spacing_A
    low, high = position_A.min(axis=0), position_A.max(axis=0)
    voxel_A = max(spacing_A / FINEST, float((high - low).max() + 2 * reach_A) / VOXELS)
    margin = int(np.ceil(reach_A / voxel_A)) + 2
    shape = np.ceil((high - low) / voxel_A).astype(int) + 2 * margin + 1
    corner_A = (low + high) / 2 - (shape - 1) / 2 * voxel_A
    grid = np.moveaxis(np.indices(shape, np.float32), 0, -1).reshape(-1, 3) * voxel_A + corner_A
    near = KDTree(position_A).query(grid, distance_upper_bound=reach_A)[0] < np.inf
    # 0 at the outermost atoms, as far as the balls are round
    depth_A = _signed_depth(_without_pinholes(near.reshape(shape)), voxel_A) - reach_A
    body = Body(depth_A, corner_A, voxel_A, np.nan)
    density = _density_inside(body, position_A, spacing_A)
    if density is None:
        outside_A = spacing_A / 2
        density = len(position_A) / (voxel_A**3 * max(1, int((depth_A > -outside_A).sum())))
    else:
        n_voxels = min(max(round(len(position_A) / density / voxel_A**3), 1), depth_A.size)
        outside_A = -float(np.partition(depth_A.ravel(), -n_voxels)[-n_voxels])
        outside_A = min(max(outside_A, 0.0), reach_A)
    return Body(depth_A + outside_A, corner_A, voxel_A, density)


def _without_pinholes(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes that no atom would fit into the middle of: chance makes them where there is no order."""
    hole, n = ndimage.label(~inside)
    if n < 2:
        return inside
    wide = np.zeros(n + 1, bool)
    wide[np.unique(hole[ndimage.binary_erosion(~inside, iterations=FINEST // 2, border_value=1)])] = True
    return np.asarray(inside | ~wide[hole])


def _signed_depth(inside: NDArray[np.bool_], voxel_A: float) -> NDArray[np.float64]:
    """Return the distance to the surface, positive inside."""
    within, without = (ndimage.distance_transform_edt(side) for side in (inside, ~inside))
    return np.asarray(voxel_A * np.where(inside, within - 0.5, 0.5 - without))


def _density_inside(body: Body, position_A: Positions, spacing_A: float) -> float | None:
    """Return the atoms per Å³ well inside; None where there are too few."""
    taper_A = min(TAPER * spacing_A, float(body.depth_A.max()))
    if taper_A <= 0:
        return None

    def weight(depth_A: NDArray[np.float64]) -> float:
        return float((np.sin(np.pi / 2 * np.clip(depth_A / taper_A, 0, 1)) ** 2).sum())

    inside = weight(body.depth_at(position_A))
    return inside / (weight(body.depth_A) * body.voxel_A**3) if inside >= LEAST_INSIDE else None
