"""Counts of several elements, their expectation, and the HAADF series that ties them together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.fusion.slab_views import SlabViews, slab_width
from etcli.core.geometry import SliceGeometry

Array = NDArray[np.float32]
Float = NDArray[np.float64]

LEAST = 1e-3
"""Smallest expectation of a pixel with counts: it limits what one stray count can cost."""


@dataclass(frozen=True, eq=False)
class FusionProblem:
    """Counts of elements and images of one specimen; made by `fusion_problem`.

    The counts y of element c are Poisson numbers with the expectation z = gain of the view × scale of the
    element × A x_c + background, where A x is the projection of the volume x_c in voxels.

    Parameters
    ----------
    views : SlabViews
        Geometry of the elements' views.
    counts : tuple of ndarray of shape (slab, view, x, slice), float32
        Counts of each element.
    gains : ndarray of shape (view,), float64
        Factor of each view, for beam current, live time and shadowing.
    background : ndarray of shape (element, view), float64
        Counts of a pixel that are expected without the element.
    haadf_views : SlabViews or None
        Geometry of the HAADF series.
    haadf : ndarray of shape (slab, view, x, slice), float32, or None
        HAADF images.
    threads : int
        Number of threads that a reconstruction uses.
    """

    views: SlabViews
    counts: tuple[Array, ...]
    gains: Float
    background: Float
    haadf_views: SlabViews | None = None
    haadf: Array | None = None
    threads: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (z, y, x) of the volume."""
        geometry = self.views.geometry
        return geometry.thickness, self.views.n_rows, geometry.width

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return len(self.counts)

    def with_counts(self, counts: Sequence[Array]) -> "FusionProblem":
        """Return the problem with other counts of the same elements.

        Parameters
        ----------
        counts : sequence of ndarray of shape (view, y, x)
            As many as there are elements.

        Raises
        ------
        UsageError
            When their number or shape differs.
        DataError
            When a value is negative or not finite.
        """
        if len(counts) != self.n_elements:
            raise UsageError(f"{self.n_elements} elements need as many series of counts, not {len(counts)}")
        return replace(self, counts=tuple(_checked_slabs(self.views, each) for each in counts))

    def with_gains(self, gains: Float) -> "FusionProblem":
        """Return the problem with other factors of the views."""
        return replace(self, gains=_checked_gains(gains, self.views.geometry.n_views))

    def of_views(self, keep: NDArray[np.intp] | NDArray[np.bool_]) -> "FusionProblem":
        """Return the problem with some of the elements' views; HAADF keeps all of its own.

        Parameters
        ----------
        keep : ndarray of int or bool
            Indices of the views, or which of them to keep.
        """
        chosen = np.arange(self.views.geometry.n_views)[keep]
        views = replace(self.views, geometry=self.views.geometry.of_views(chosen))
        counts = tuple(np.ascontiguousarray(each[:, chosen]) for each in self.counts)
        return replace(
            self, views=views, counts=counts, gains=self.gains[chosen], background=self.background[:, chosen]
        )

    def without_haadf(self) -> "FusionProblem":
        """Return the problem of the counts alone."""
        return replace(self, haadf=None, haadf_views=None)

    def project(self, volume: Array) -> Array:
        """Project the volume of one element at its tilts, without gain, scale and background.

        Parameters
        ----------
        volume : ndarray of shape (z, y, x), float32

        Returns
        -------
        ndarray of shape (view, y, x), float32
        """
        return self.views.project(volume)

    def back_project(self, views: Array) -> Array:
        """Apply the transpose of `project`: (view, y, x) to (z, y, x)."""
        return self.views.back_project(views)

    def project_haadf(self, volume: Array) -> Array:
        """Project a volume (z, y, x) at the tilts of HAADF."""
        if self.haadf_views is None:
            raise UsageError("there are no HAADF images; give them to fusion_problem")
        return self.haadf_views.project(volume)

    def expected(self, element: int, volume: Array, scale: float) -> Array:
        """Return the expected counts of an element.

        Parameters
        ----------
        element : int
            Counted from 0.
        volume : ndarray of shape (z, y, x), float32
        scale : float
            Counts for a path of one voxel through a density of 1, where the gain is 1.

        Returns
        -------
        ndarray of shape (view, y, x), float32
        """
        projected = self.project(volume)
        projected *= (scale * self.gains).astype(np.float32)[:, None, None]
        projected += self.background[element].astype(np.float32)[:, None, None]
        return projected

    def deviance(self, volume: Array, scales: Sequence[float] | Float) -> list[float]:
        """Measure how far the counts are from their expectation.

        Parameters
        ----------
        volume : ndarray of shape (channel, z, y, x), float32
            The elements first; further channels are ignored.
        scales : sequence of float
            As for `expected`, of each element.

        Returns
        -------
        list of float
            Of each element Σ z − y − y log(z / y), in nats: the negative logarithm of the likelihood of all
            counts y, less its least value, which it has for z = y.
        """
        return [self._deviance(c, volume[c], scales[c]) for c in range(self.n_elements)]

    def _deviance(self, element: int, volume: Array, scale: float) -> float:
        """Return the deviance of one element."""
        views, inner = self.views, self.views.seen(self.views.inner_volume(volume))
        rate, background = scale * self.gains[:, None, None], self.background[element][:, None, None]
        total = 0.0
        for k in range(views.n_slabs):
            n = min(views.width, views.n_rows - k * views.width)
            z = rate * views.projector.forward(views.slab_of(inner, k))[..., :n] + background
            y = self.counts[element][k, ..., :n].astype(np.float64)
            log = np.log(np.maximum(z, LEAST) / np.maximum(y, LEAST))
            total += float((z - y - y * log).sum())
        return total


def fusion_problem(
    counts: Sequence[Array],
    geometry: SliceGeometry,
    *,
    gains: Sequence[float] | Float | None = None,
    background: Float | None = None,
    haadf: Array | None = None,
    haadf_geometry: SliceGeometry | None = None,
    blur: float = 0.0,
    threads: int = 1,
) -> FusionProblem:
    """Describe what was measured of a specimen.

    Parameters
    ----------
    counts : sequence of ndarray of shape (view, y, x)
        Counts of each element; interpolated, they need not be whole.
    geometry : SliceGeometry
        Of the counts.
    gains : sequence of float, optional
        Factor of each view, for beam current, live time and shadowing; by default 1. With 0 a view is
        ignored.
    background : ndarray that broadcasts to (element, view), optional
        Counts of a pixel that are expected without the element; by default 0.
    haadf : ndarray of shape (view, y, x), optional
        HAADF images.
    haadf_geometry : SliceGeometry, optional
        Of the HAADF images; thickness and width as for the counts.
    blur : float
        Blur of the counts by interpolation, as in `SlabViews`.
    threads : int
        Number of threads that a reconstruction uses.

    Returns
    -------
    FusionProblem

    Raises
    ------
    UsageError
        When shapes or numbers do not fit each other.
    DataError
        When counts are negative, or any value is not finite.
    """
    if not len(counts):
        raise UsageError("no counts; give those of at least one element")
    if np.ndim(counts[0]) != 3:
        raise UsageError(f"counts of shape {np.shape(counts[0])}; (views, rows, columns) are needed")
    n_rows = np.shape(counts[0])[1]
    width = slab_width(n_rows, len(counts), threads)
    views = SlabViews(geometry, n_rows, width, blur)
    shape = (len(counts), geometry.n_views)
    problem = FusionProblem(
        views,
        tuple(_checked_slabs(views, each) for each in counts),
        _checked_gains(np.ones(geometry.n_views) if gains is None else gains, geometry.n_views),
        _checked_background(np.zeros(shape) if background is None else background, shape),
        threads=threads,
    )
    if haadf is None:
        return problem
    if haadf_geometry is None:
        raise UsageError("HAADF images need haadf_geometry")
    size = geometry.thickness, geometry.width
    if (haadf_geometry.thickness, haadf_geometry.width) != size:
        raise UsageError(f"HAADF is of another volume; thickness and width must be {size[0]} and {size[1]}")
    haadf_views = SlabViews(haadf_geometry, n_rows, width)
    images = haadf_views.slabs(haadf)
    if not np.isfinite(images).all():
        raise DataError("HAADF images hold values that are not finite; exclude those views")
    return replace(problem, haadf=images, haadf_views=haadf_views)


def _checked_slabs(views: SlabViews, counts: Array) -> Array:
    """Return counts as slabs; raise DataError for values that are no counts."""
    slabs = views.slabs(counts)
    if not np.isfinite(slabs).all() or slabs.min() < 0:
        raise DataError("counts are negative or not finite; use counts as measured, without subtraction")
    return slabs


def _checked_gains(gains: Sequence[float] | Float, n_views: int) -> Float:
    """Return the factors of the views; raise UsageError unless there is one for each, and not all are 0."""
    values = np.asarray(gains, np.float64)
    if values.shape != (n_views,) or not np.isfinite(values).all() or values.min() < 0 or not values.any():
        raise UsageError(f"{n_views} views need as many gains of 0 or more, not all 0")
    return values


def _checked_background(background: Float, shape: tuple[int, int]) -> Float:
    """Return the expected background of each element and view; raise UsageError for impossible ones."""
    try:
        values = np.array(np.broadcast_to(np.asarray(background, np.float64), shape))
    except ValueError:
        raise UsageError(
            f"background of shape {np.shape(background)}; {shape} is needed (elements, views)"
        ) from None
    if not np.isfinite(values).all() or values.min() < 0:
        raise UsageError("the background must be 0 counts or more")
    return values
