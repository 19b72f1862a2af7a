"""Tortuosity: how much a body slows diffusion from one end to the other, by the Laplace equation."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from etcli.core.measurement._laplace import apply_laplacian, list_neighbours
from etcli.core.measurement.chunks import in_chunks
from etcli.core.segmentation.pieces import components

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

TOLERANCE = 1e-4
"""Residual at which the iterations end, relative to the first; the flux is then known to its square."""
MOST_ITERATIONS = 20000


def tortuosity(mask: Mask, axis: int, region: Mask | None = None, *, threads: int = 1) -> float:
    """Compute the tortuosity factor of a body along an axis: 1 for straight channels.

    Parameters
    ----------
    mask : ndarray of shape (nz, ny, nx), bool
        What conducts.
    axis : int
        0, 1 or 2 for z, y or x.
    region : ndarray of shape (nz, ny, nx), bool, optional
        Where it is measured, best a prism along the axis; by default everywhere. Its first and last
        sections are the electrodes, and nothing passes through its sides.
    threads : int, optional

    Returns
    -------
    float
        φ D / D_eff, with the part φ of the region that is in the body; infinite where no path through faces
        joins both ends.

    References
    ----------
    Cooper et al., SoftwareX 5, 203 (2016): the factor from steady diffusion between two ends.
    """
    if region is None:
        inside, free = np.moveaxis(mask, axis, 0), None
    else:
        ends = [np.flatnonzero(region.any(axis=tuple({0, 1, 2} - {k})))[[0, -1]] for k in range(3)]
        box = tuple(slice(a, b + 1) for a, b in ends)
        free = np.moveaxis(region[box], axis, 0)
        inside = np.moveaxis(mask[box], axis, 0) & free
        free = None if free.all() else free
    if free is None:
        most, fraction = inside[0].size / len(inside), float(inside.mean())
    else:
        most, fraction = _flux(free, threads), np.count_nonzero(inside) / np.count_nonzero(free)
    flux = _flux(inside, threads)
    return fraction * most / flux if flux else np.inf


def _flux(inside: Mask, threads: int) -> float:
    """Compute the flux from the first section to the last one at a unit difference of potential."""
    pieces, _ = components(inside, faces=True)
    joined = np.intersect1d(pieces[0], pieces[-1])
    joined = joined[joined > 0]
    if not len(joined):
        return 0.0
    body = np.isin(pieces, joined)
    n = int(np.count_nonzero(body))
    sites = np.full(body.shape, -1, np.int32)
    sites[body] = np.arange(n, dtype=np.int32)
    neighbours, links = np.empty((n, 6), np.int32), np.empty(n)
    list_neighbours(sites, neighbours, links)
    source = np.zeros(n)
    source[: np.count_nonzero(body[0])] = 2  # the electrode of potential 1; sites are numbered from there
    start = np.repeat(1 - (np.arange(len(body)) + 0.5) / len(body), body.sum(axis=(1, 2)))
    work = _Laplacian(neighbours, links, threads)
    potential = work.solve(source, start)
    # the energy of the field: its error is the square of that of the potential
    return float(source.sum() - 2 * source @ potential + potential @ work.of(potential))


class _Laplacian:
    """The matrix of the Laplace equation between sites, and its solution by conjugate gradients."""

    def __init__(self, neighbours: NDArray[np.int32], links: Doubles, threads: int) -> None:
        self.neighbours, self.links, self.threads = neighbours, links, threads
        self.values = np.zeros(len(links) + 1)

    def of(self, potential: Doubles) -> Doubles:
        """Return the product of the matrix and a potential."""
        out = np.empty_like(potential)
        self.values[:-1] = potential
        multiply = partial(apply_laplacian, self.neighbours, self.links, self.values, out)
        in_chunks(multiply, len(out), self.threads)
        return out

    def solve(self, source: Doubles, start: Doubles) -> Doubles:
        """Find the potential at which the fluxes of all sites add up to their source."""
        potential = start.copy()
        residual = source - self.of(potential)
        least = TOLERANCE * float(np.linalg.norm(source))
        scaled = residual / self.links
        direction = scaled.copy()
        power = float(residual @ scaled)
        for _ in range(MOST_ITERATIONS):
            if np.linalg.norm(residual) <= least:
                break
            image = self.of(direction)
            step = power / float(direction @ image)
            potential += step * direction
            residual -= step * image
            np.divide(residual, self.links, out=scaled)
            before, power = power, float(residual @ scaled)
            direction *= power / before
            direction += scaled
        return potential
