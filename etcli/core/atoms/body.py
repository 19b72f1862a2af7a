"""Body of a specimen: the space that its atoms fill, with its density and autocorrelation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from etcli.core.atoms.match import Positions

CLOSING = 2.0  # in nearest-neighbour distances: narrower pores are filled
VOXELS = 96  # along the longest edge
FINEST = 5  # voxels per nearest-neighbour distance; more would not improve the result
LEAST_INSIDE = 20.0  # sum of the weights of atoms
TAPER = 3.0  # in nearest-neighbour distances
POINTS, LAGS = 40_000, 48
SEED = 1


@dataclass(frozen=True, eq=False)
class Body:
    """Space that atoms fill, on a grid of voxels.

    Parameters
    ----------
    depth_A : ndarray of shape (nx, ny, nz), float64
        Depth of each voxel below the surface; negative outside.
    corner_A : ndarray of shape (3,), float64
        Position of the middle of the first voxel.
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
        """Return the depth of positions (n, 3) below the surface; negative outside."""
        places = ((position_A - self.corner_A) / self.voxel_A).T
        return np.asarray(
            ndimage.map_coordinates(
                self.depth_A, places, order=1, mode="constant", cval=-np.inf, prefilter=False
            )
        )

    def autocorrelation(self, distance_A: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the probability that a point at a given distance from a point inside is inside as well.

        Parameters
        ----------
        distance_A : ndarray of shape (n,), float64

        Returns
        -------
        ndarray of shape (n,), float64
            From 1 at distance 0 down to 0: the autocorrelation of the body, averaged over directions and
            divided by its volume; from 40 000 points and directions, the same ones every time.
        """
        rng = np.random.default_rng(SEED)
        inside = np.argwhere(self.depth_A > 0)
        place = inside[rng.integers(len(inside), size=POINTS)] + rng.uniform(-0.5, 0.5, (POINTS, 3))
        direction = rng.normal(size=(POINTS, 3))
        direction /= np.linalg.norm(direction, axis=1)[:, None] * self.voxel_A
        lags = np.linspace(0, float(distance_A.max(initial=0.0)), LAGS)
        inside_share = np.array([self._inside(place + lag * direction).mean() for lag in lags])
        return np.asarray(np.interp(distance_A, lags, inside_share / max(inside_share[0], 1 / POINTS)))

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
    Morphological closing: balls around the atoms, with a radius of twice the nearest-neighbour distance, are
    joined, so that no space inside stays empty, and the surface is then moved back by that radius. The final
    distance of the surface from the outermost atoms is chosen so that the volume times the density inside is
    the number of atoms (Gibbs's dividing surface). The density is that of atoms per volume, both weighted by
    sin² of the depth from the outermost atoms to three nearest-neighbour distances below, so that layers of
    atoms do not matter. If the weights of the atoms sum to less than 20, the surface is placed half a
    nearest-neighbour distance outside.
    """
    position_A = position_A[np.lexsort(position_A.T)]  # makes sums independent of the order of the atoms
    spacing_A = float(np.median(KDTree(position_A).query(position_A, k=2)[0][:, 1]))
    reach_A = CLOSING * spacing_A
    low, high = position_A.min(axis=0), position_A.max(axis=0)
    voxel_A = max(spacing_A / FINEST, float((high - low).max() + 2 * reach_A) / VOXELS)
    margin = int(np.ceil(reach_A / voxel_A)) + 2
    shape = np.ceil((high - low) / voxel_A).astype(int) + 2 * margin + 1
    corner_A = (low + high) / 2 - (shape - 1) / 2 * voxel_A
    grid = np.moveaxis(np.indices(shape, np.float32), 0, -1).reshape(-1, 3) * voxel_A + corner_A
    near = KDTree(position_A).query(grid, distance_upper_bound=reach_A)[0] < np.inf
    # 0 at the outermost atoms, up to the discretisation of the balls
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
    """Fill holes too small for an atom in their middle: they occur by chance in disordered arrangements."""
    hole, n = ndimage.label(~inside)
    if n < 2:
        return inside
    wide = np.zeros(n + 1, bool)
    wide[np.unique(hole[ndimage.binary_erosion(~inside, iterations=FINEST // 2, border_value=1)])] = True
    return np.asarray(inside | ~wide[hole])


def _signed_depth(inside: NDArray[np.bool_], voxel_A: float) -> NDArray[np.float64]:
    """Compute the distance to the surface, positive inside."""
    within, without = (ndimage.distance_transform_edt(side) for side in (inside, ~inside))
    return np.asarray(voxel_A * np.where(inside, within - 0.5, 0.5 - without))


def _density_inside(body: Body, position_A: Positions, spacing_A: float) -> float | None:
    """Return the number of atoms per Å³ well below the surface; None if there are too few."""
    taper_A = min(TAPER * spacing_A, float(body.depth_A.max()))
    if taper_A <= 0:
        return None

    def weight(depth_A: NDArray[np.float64]) -> float:
        return float((np.sin(np.pi / 2 * np.clip(depth_A / taper_A, 0, 1)) ** 2).sum())

    inside = weight(body.depth_at(position_A))
    return inside / (weight(body.depth_A) * body.voxel_A**3) if inside >= LEAST_INSIDE else None
