"""Kernels that add up positions of voxels by label."""

from typing import Any

from etcli.core.jit import jit


@jit
def add_voxels(labels: Any, region: Any, count: Any, first: Any, second: Any, low: Any, high: Any) -> Any:
    """Add every voxel of the region to the sums of its label; 0 is left out.

    ``first`` holds the sums of z, y and x from the first voxel of the label, and then its place; ``second``
    the sums of the products zz, yy, xx, zy, zx and yx; ``low`` and ``high`` the bounding box, its end
    excluded. An empty region is everything.
    """
    nz, ny, nx = labels.shape
    everywhere = region.size == 0
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                label = labels[k, j, i]
                if label == 0 or not (everywhere or region[k, j, i]):
                    continue
                if count[label] == 0:
                    low[label, 0], low[label, 1], low[label, 2] = k, j, i
                    first[label, 3], first[label, 4], first[label, 5] = k, j, i
                z = k - first[label, 3]
                y = j - first[label, 4]
                x = i - first[label, 5]
                count[label] += 1
                first[label, 0] += z
                first[label, 1] += y
                first[label, 2] += x
                second[label, 0] += z * z
                second[label, 1] += y * y
                second[label, 2] += x * x
                second[label, 3] += z * y
                second[label, 4] += z * x
                second[label, 5] += y * x
                low[label, 0] = min(low[label, 0], k)
                low[label, 1] = min(low[label, 1], j)
                low[label, 2] = min(low[label, 2], i)
                high[label, 0] = max(high[label, 0], k + 1)
                high[label, 1] = max(high[label, 1], j + 1)
                high[label, 2] = max(high[label, 2], i + 1)


@jit
def mark_cut(labels: Any, region: Any, cut: Any) -> Any:
    """Mark labels that touch the end of the volume or have a voxel face on the outside of the region."""
    nz, ny, nx = labels.shape
    everywhere = region.size == 0
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                label = labels[k, j, i]
                if label == 0 or not (everywhere or region[k, j, i]):
                    continue
                at_end = k == 0 or j == 0 or i == 0 or k == nz - 1 or j == ny - 1 or i == nx - 1
                if at_end or not (
                    everywhere
                    or (
                        region[k - 1, j, i]
                        and region[k + 1, j, i]
                        and region[k, j - 1, i]
                        and region[k, j + 1, i]
                        and region[k, j, i - 1]
                        and region[k, j, i + 1]
                    )
                ):
                    cut[label] = True


@jit
def number_in_order(values: Any, number: Any, out: Any) -> Any:
    """Write the number of each value; arrays of one dimension."""
    for k in range(values.size):
        out[k] = number[values[k]]
