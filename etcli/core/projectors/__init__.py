"""Common interface of all projectors; each module of this package holds one implementation."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Device(Protocol):
    """Memory that holds the arrays of a projector: NumPy arrays on the host, NumPy-like arrays on a GPU."""

    @property
    def name(self) -> str:
        """Name of the device, for messages."""

    @property
    def widths(self) -> Mapping[int, float]:
        """Allowed numbers of slices in a slab, ascending, and the relative time that each of them takes."""

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """Return an uninitialised array."""

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an array of zeros."""

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """Transfer an array from the host to the device."""

    def to_slab(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transfer slices to the device, and from the memory layout of files to that of slabs."""

    def from_slab(self, slab: NDArray[np.float32], n_slices: int) -> NDArray[np.float32]:
        """Transfer slices to the host, and from the memory layout of slabs to that of files."""

    def free_bytes(self) -> int | None:
        """Return the bytes available for arrays; None where the arrays are in the memory of the host."""

    def session(self) -> AbstractContextManager[None]:
        """Return the context manager in which a thread works on a slab."""


class Projector(Protocol):
    """Linear map from a volume to its projections, with its exact transpose."""

    @property
    def device(self) -> Device:
        """Device that holds volumes and sinograms."""

    @property
    def domain_shape(self) -> tuple[int, ...]:
        """Shape of the volume."""

    @property
    def range_shape(self) -> tuple[int, ...]:
        """Shape of the sinogram, views first."""

    def forward(
        self, volume: NDArray[np.float32], *, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Project the volume; ``out`` is overwritten and returned."""

    def adjoint(
        self, sinogram: NDArray[np.float32], *, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Apply the transpose of the projection; ``out`` is overwritten and returned."""
