"""Kernels of a watershed that floods a distance from its maxima, and joins basins of little dynamics."""

import numpy as np

from etcli.core.jit import jit
from etcli.core.segmentation._components import root_of


@jit
def by_falling_distance(distance):  # type: ignore[no-untyped-def]
    """List the voxels of positive distance (flat indices) by falling distance: a sort by counting.

    Squares of distances between voxels are whole numbers.
    """
    flat = distance.ravel()
    largest = 0
    count = 0
    for i in range(len(flat)):
        if flat[i] > 0:
            largest = max(largest, int(np.rint(np.float64(flat[i]) ** 2)))
            count += 1
    starts = np.zeros(largest + 2, np.int64)
    for i in range(len(flat)):
        if flat[i] > 0:
            starts[largest - int(np.rint(np.float64(flat[i]) ** 2)) + 1] += 1
    for k in range(1, len(starts)):
        starts[k] += starts[k - 1]
    order = np.empty(count, np.uint32)
    for i in range(len(flat)):
        if flat[i] > 0:
            k = largest - int(np.rint(np.float64(flat[i]) ** 2))
            order[starts[k]] = i
            starts[k] += 1
    return order


@jit
def flood(distance, order, offsets, dynamics, basins):  # type: ignore[no-untyped-def]
    """Flood from the maxima downwards; fill `basins` and return the forest of basins.

    Where two basins meet, the one with the lower maximum is joined to the other if that maximum is at most
    `dynamics` above the meeting point.
    """
    nz, ny, nx = distance.shape
    parent = np.zeros(1024, np.int32)
    peak = np.zeros(1024, np.float32)
    count = 1
    lengths = np.sqrt((offsets * offsets).sum(axis=1).astype(np.float64))
    for voxel in order:
        i = np.int64(voxel)
        z, y, x = i // (ny * nx), (i // nx) % ny, i % nx
        here = distance[z, y, x]
        own, steepest = 0, -1.0
        for k in range(len(offsets)):
            zz, yy, xx = z + offsets[k, 0], y + offsets[k, 1], x + offsets[k, 2]
            if zz < 0 or yy < 0 or xx < 0 or zz >= nz or yy >= ny or xx >= nx or basins[zz, yy, xx] == 0:
                continue
            slope = (distance[zz, yy, xx] - here) / lengths[k]
            if slope > steepest:
                own, steepest = root_of(parent, basins[zz, yy, xx]), slope
        if own == 0:
            if count == len(parent):
                longer, higher = np.zeros(2 * count, np.int32), np.zeros(2 * count, np.float32)
                longer[:count], higher[:count] = parent, peak
                parent, peak = longer, higher
            basins[z, y, x] = parent[count] = count
            peak[count] = here
            count += 1
            continue
        for k in range(len(offsets)):
            zz, yy, xx = z + offsets[k, 0], y + offsets[k, 1], x + offsets[k, 2]
            if zz < 0 or yy < 0 or xx < 0 or zz >= nz or yy >= ny or xx >= nx or basins[zz, yy, xx] == 0:
                continue
            other = root_of(parent, basins[zz, yy, xx])
            if other != own and min(peak[own], peak[other]) - here <= dynamics:
                low, high = (own, other) if peak[own] < peak[other] else (other, own)
                parent[low] = high
                own = high
        basins[z, y, x] = own
    return parent[:count]


@jit
def final_numbers(parent):  # type: ignore[no-untyped-def]
    """Number the roots of a forest of basins in their order; return those of all basins."""
    final = np.zeros(len(parent), np.int32)
    count = 0
    for i in range(1, len(parent)):
        if root_of(parent, i) == i:
            count += 1
            final[i] = count
    for i in range(1, len(parent)):
        final[i] = final[root_of(parent, i)]
    return final


@jit
def contacts(labels, distance, after):  # type: ignore[no-untyped-def]
    """List all pairs of neighbouring voxels of different labels: both labels and the smaller distance."""
    nz, ny, nx = labels.shape
    pairs = np.empty((1024, 2), np.int32)
    saddles = np.empty(1024, np.float32)
    count = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                one = labels[z, y, x]
                if one == 0:
                    continue
                for k in range(len(after)):
                    zz, yy, xx = z + after[k, 0], y + after[k, 1], x + after[k, 2]
                    if zz >= nz or yy < 0 or xx < 0 or yy >= ny or xx >= nx:
                        continue
                    two = labels[zz, yy, xx]
                    if two in (0, one):
                        continue
                    if count == len(saddles):
                        more, deeper = np.empty((2 * count, 2), np.int32), np.empty(2 * count, np.float32)
                        more[:count], deeper[:count] = pairs, saddles
                        pairs, saddles = more, deeper
                    pairs[count, 0], pairs[count, 1] = min(one, two), max(one, two)
                    saddles[count] = min(distance[z, y, x], distance[zz, yy, xx])
                    count += 1
    return pairs[:count], saddles[:count]
