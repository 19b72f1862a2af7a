"""Projectors: what all of them look like. Each module of this package has one implementation."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Device(Protocol):
    """Where the arrays of a projector are: those of the host are NumPy's, those of a GPU understand NumPy."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def widths(self) -> Mapping[int, float]:
        """Slices that a slab may have, rising, and the relative time that it takes."""

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """Return an uninitialised array."""

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an array of zeros."""

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring an array of the host here."""

    def to_slab(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring slices here and from the order of files to the order of slabs."""

    def from_slab(self, slab: NDArray[np.float32], n_slices: int) -> NDArray[np.float32]:
        """Bring slices to the host and from the order of slabs to the order of files."""

    def free_bytes(self) -> int | None:
        """Return the memory that arrays may take; None where it is that of the host."""

    def session(self) -> AbstractContextManager[None]:
        """Return the context of a thread's work on a slab."""


class Projector(Protocol):
    """A linear map from a volume to its projections, and its exact transpose."""

    @property
    def device(self) -> Device:
        """Where volumes and sinograms are."""

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
