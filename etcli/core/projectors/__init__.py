"""Projectors: what all of them look like. Each module of this package has one implementation."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Projector(Protocol):
    """A linear map from a volume to its projections, and its exact transpose."""

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
