"""Kernels that count pairs of neighbouring voxels with unlike labels."""

from typing import Any

from etcli.core.jit import jit


@jit
def count_surfaces(
    labels: Any, region: Any, directions: Any, weights: Any, surface: Any, z0: int, z1: int
) -> Any:
    """Add the weight of every pair of unlike neighbours to the surfaces of its labels, by label.

    Directions are given with their opposites, and each pair is met twice, with half of its weight. Beyond
    the ends of the volume its outermost voxels go on, so that the planes that cut a body off are no surface.
    A pair with one voxel outside the region counts half, and a pair outside not at all; an empty region is
    everything. Voxels of the sections z0 to z1 - 1 are looked at. Returns how often pairs of two labels,
    neither of them 0, were met.
    """
    nz, ny, nx = labels.shape
    everywhere = region.size == 0
    contacts = 0
    for k in range(z0, z1):
        for j in range(ny):
            for i in range(nx):
                label = labels[k, j, i]
                inside = everywhere or region[k, j, i]
                for d in range(len(weights)):
                    z = min(max(k + directions[d, 0], 0), nz - 1)
                    y = min(max(j + directions[d, 1], 0), ny - 1)
                    x = min(max(i + directions[d, 2], 0), nx - 1)
                    other = labels[z, y, x]
                    if other == label:
                        continue
                    share = 0.5 if everywhere else 0.25 * inside + 0.25 * region[z, y, x]
                    if share == 0.0:
                        continue
                    surface[label] += share * weights[d]
                    surface[other] += share * weights[d]
                    if label != 0 and other != 0:
                        contacts += 1
    return contacts


@jit
def list_contacts(
    labels: Any, region: Any, directions: Any, weights: Any, pairs: Any, areas: Any, z0: int, z1: int
) -> Any:
    """List the pairs of unlike labels that `count_surfaces` has counted, the smaller label first."""
    nz, ny, nx = labels.shape
    everywhere = region.size == 0
    at = 0
    for k in range(z0, z1):
        for j in range(ny):
            for i in range(nx):
                label = labels[k, j, i]
                if label == 0:
                    continue
                inside = everywhere or region[k, j, i]
                for d in range(len(weights)):
                    z = min(max(k + directions[d, 0], 0), nz - 1)
                    y = min(max(j + directions[d, 1], 0), ny - 1)
                    x = min(max(i + directions[d, 2], 0), nx - 1)
                    other = labels[z, y, x]
                    if other == 0 or other == label:
                        continue
                    share = 0.5 if everywhere else 0.25 * inside + 0.25 * region[z, y, x]
                    if share == 0.0:
                        continue
                    pairs[at, 0] = min(label, other)
                    pairs[at, 1] = max(label, other)
                    areas[at] = share * weights[d]
                    at += 1
