"""Kernels of connected pieces: union of neighbours of equal label, by a forest of provisional numbers."""

import numpy as np

from etcli.core.jit import jit


@jit
def root_of(parent, i):  # type: ignore[no-untyped-def]
    """Find the root of a tree, and shorten the way to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@jit
def provisional(labels, before, numbers):  # type: ignore[no-untyped-def]
    """Number the voxels of labels so that those of one piece have numbers with one root; return the forest."""
    nz, ny, nx = labels.shape
    parent = np.empty(1024, np.int32)
    parent[0] = 0
    count = 1
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                value = labels[z, y, x]
                if value == 0:
                    numbers[z, y, x] = 0
                    continue
                own = 0
                for k in range(len(before)):
                    zz, yy, xx = z + before[k, 0], y + before[k, 1], x + before[k, 2]
                    if zz < 0 or yy < 0 or xx < 0 or yy >= ny or xx >= nx or labels[zz, yy, xx] != value:
                        continue
                    other = numbers[zz, yy, xx]
                    if own == 0:
                        own = other
                    elif other != own:
                        one, two = root_of(parent, own), root_of(parent, other)
                        parent[max(one, two)] = min(one, two)
                if own == 0:
                    if count == len(parent):
                        longer = np.empty(2 * count, np.int32)
                        longer[:count] = parent
                        parent = longer
                    own = count
                    parent[count] = count
                    count += 1
                numbers[z, y, x] = own
    return parent[:count]


@jit
def flattened(parent):  # type: ignore[no-untyped-def]
    """Give the roots of a forest consecutive numbers; return those of all its members, and how many."""
    final = np.zeros(len(parent), np.int32)
    count = 0
    for i in range(1, len(parent)):
        root = root_of(parent, i)
        if root == i:
            count += 1
            final[i] = count
        else:
            final[i] = final[root]  # roots are the smallest of their trees, so already numbered
    return final, count


@jit
def renumber(labels, final):  # type: ignore[no-untyped-def]
    """Replace each label by another number, in place."""
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                labels[z, y, x] = final[labels[z, y, x]]
