"""Slab projector with a weight for each view."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector

Array = NDArray[np.float32]


class WeightedProjector:
    """Slab projector that multiplies every view by its weight, after projection and before the transpose.

    If the data are multiplied by the same weights, SIRT and SART count each view in proportion to its weight,
    and least-squares methods in proportion to the square of the weight.

    Parameters
    ----------
    geometry : SliceGeometry
        Views with their weights, and slice.
    n_slices : int
        Slices of the slab.
    kernel : {"linear", "strip"}
        As for `etcli.core.projectors.slab.SlabProjector`.
    make : callable
        ``make(geometry, n_slices=..., kernel=...)`` returns the projector without weights.
    """

    def __init__(
        self,
        geometry: SliceGeometry,
        *,
        n_slices: int,
        kernel: str = "linear",
        make: Callable[..., Any] = SlabProjector,
    ) -> None:
        self._projector = make(geometry, n_slices=n_slices, kernel=kernel)
        self.geometry, self.kernel, self._make = geometry, kernel, make
        self.device = self._projector.device
        weight = geometry.view_weight
        self._weight = None if weight is None else self.device.put(weight[:, np.newaxis, np.newaxis])
        self.domain_shape, self.range_shape = self._projector.domain_shape, self._projector.range_shape

    def of_views(self, views: Sequence[int] | NDArray[np.intp]) -> "WeightedProjector":
        """Return the projector for some of the views, counted from 0."""
        geometry = self.geometry.of_views(views)
        n_slices = self.domain_shape[2]
        return WeightedProjector(geometry, n_slices=n_slices, kernel=self.kernel, make=self._make)

    def forward(self, volume: Array, *, out: Array | None = None) -> Array:
        """Project the volume; ``out`` is overwritten and returned."""
        return self._apply_weights(self._projector.forward(volume, out=out))

    def adjoint(self, sinogram: Array, *, out: Array | None = None) -> Array:
        """Apply the transpose of the projection; ``out`` is overwritten and returned."""
        volume: Array = self._projector.adjoint(self._apply_weights(sinogram.copy()), out=out)
        return volume

    def interpolate(self, sinogram: Array, *, view_weight: NDArray[np.float64] | None = None) -> Array:
        """Sum the views, which are weighted already, at the detector position of every voxel."""
        total: Array = self._projector.interpolate(sinogram, view_weight=view_weight)
        return total

    def _apply_weights(self, sinogram: Array) -> Array:
        """Multiply views by their weights, in place, and return them."""
        if self._weight is not None:
            sinogram *= self._weight
        return sinogram
