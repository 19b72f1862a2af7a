"""Streamed filtered back-projection, from file to file, in bands of a few sections of a slab.

A voxel is a sum over the filtered views and independent of its neighbours. Unlike iterative methods, this
does not need a whole slab of the volume in memory: the views of a slab are filtered once for all threads, and
each thread computes a few sections at a time, which stay in the cache until they are written. The memory does
not grow with the thickness.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.geometry import SliceGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors.slab import SlabProjector, aligned_empty, from_slab, slab_width, to_slab
from etcli.core.reconstruction.slab_by_slab import ErrorCurve, Read
from etcli.core.reconstruction.slab_plan import FLOAT_BYTES, Slab, SlabPlan, plan_slabs
from etcli.core.solvers.filtered_backprojection import Window, angles_of, filter_views

SECTIONS, VIEWS = 32, 8
"""Number of sections in a band, and of views filtered at a time."""

Array = NDArray[np.float32]


class BandWriter(Protocol):
    """Function that writes a band of the volume, such as ``MrcWriter.write_rows``."""

    def __call__(self, y0: int, block: Array, *, z0: int = 0) -> None:
        """Write a block of shape (sections, rows, width), from row ``y0`` and section ``z0`` on."""


def plan_backprojection(
    n_slices: int, geometry: SliceGeometry, *, threads: int, memory: int, held_bytes: int = 0
) -> SlabPlan:
    """Plan `backproject`.

    Parameters
    ----------
    n_slices : int
        Rows of the views.
    geometry : SliceGeometry
        Views and slice.
    threads : int
        Number of threads, which work together on a slab.
    memory : int
        Bytes allowed for the arrays.
    held_bytes : int
        Memory that is taken besides, by rows that are kept for a comparison.

    Returns
    -------
    SlabPlan
        For `backproject`.

    Raises
    ------
    UsageError
        When the memory does not suffice for one narrow slab; the message says how much would.
    """
    sinogram = geometry.n_views * geometry.n_detector * FLOAT_BYTES
    band = min(SECTIONS, geometry.thickness) * geometry.width * FLOAT_BYTES
    bands = 2 * threads + 1  # one per thread with its reordered copy, and one that waits for the writer
    plan = plan_slabs(
        n_slices,
        slice_bytes=2 * sinogram,
        block_bytes=bands * band,
        threads=1,
        memory=memory,
        shared_bytes=held_bytes,
    )
    return replace(plan, threads=threads)


def backproject(
    read_rows: Read,
    write_band: BandWriter,
    geometry: SliceGeometry,
    *,
    plan: SlabPlan,
    window: str | Window = "ram-lak",
    progress: Callable[[int], None] | None = None,
) -> ErrorCurve:
    """Reconstruct a volume by streamed filtered back-projection.

    Parameters
    ----------
    read_rows : callable
        ``read_rows(y0, y1)`` returns these rows of all views, line integrals in voxels, an array of shape
        (n_views, y1 - y0, n_detector) of any real type, such as a part of a memory-mapped file.
    write_band : callable
        ``write_band(y0, block, z0=z0)`` writes a band of a slab, slab after slab and from the first section
        to the last, on the thread of the caller.
    geometry : SliceGeometry
        Views and slice.
    plan : SlabPlan
        From `plan_backprojection`.
    window : str or callable
        Filter; see `filtered_backprojection`.
    progress : callable, optional
        Called with the number of slices that were just written.

    Returns
    -------
    ErrorCurve
        Empty: there are no iterations.

    Raises
    ------
    DataError
        When the rows that were read do not fit the geometry.
    UsageError
        When no filter has that name.

    Notes
    -----
    The result is that of `filtered_backprojection` to the last bit, however the work is divided.
    """
    for slab in plan.slabs:
        y0, y1 = slab
        filtered = _filtered_rows(read_rows, slab, geometry, window, plan.threads)
        with closing(_backprojected_bands(filtered, y1 - y0, geometry, plan.threads)) as bands:
            for z0, block in bands:
                write_band(y0, block, z0=z0)
        if progress:
            progress(y1 - y0)
    return ErrorCurve(np.empty(0, np.intp), np.empty(0))


def _filtered_rows(
    read_rows: Read, slab: Slab, geometry: SliceGeometry, window: str | Window, threads: int
) -> Array:
    """Read the rows of a slab and filter them."""
    y0, y1 = slab
    rows = read_rows(y0, y1)
    expected = (geometry.n_views, y1 - y0, geometry.n_detector)
    if rows.shape != expected:
        raise DataError(f"rows {y0 + 1}-{y1} of the views have the shape {rows.shape}; {expected} is needed")
    filtered = aligned_empty((geometry.n_views, geometry.n_detector, slab_width(y1 - y0)))

    def filter_piece(views: slice) -> None:
        filter_views(to_slab(np.asarray(rows[views], np.float32)), window=window, out=filtered[views])

    for _ in ordered_map(filter_piece, _pieces(geometry.n_views, VIEWS), threads=threads):
        pass
    return filtered


def _backprojected_bands(
    filtered: Array, n_slices: int, geometry: SliceGeometry, threads: int
) -> Generator[tuple[int, Array], None, None]:
    """Back-project the filtered views of a slab; yield the first section of each band, and the band."""
    projector = SlabProjector(geometry, n_slices=filtered.shape[-1])
    weight = angles_of(geometry)

    def backproject_piece(piece: slice) -> tuple[int, Array]:
        band = projector.interpolate(filtered, view_weight=weight, sections=(piece.start, piece.stop))
        return piece.start, from_slab(band, n_slices)

    yield from ordered_map(backproject_piece, _pieces(geometry.thickness, SECTIONS), threads=threads)


def _pieces(n: int, size: int) -> list[slice]:
    """Divide a range into pieces; the last one may be shorter."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
