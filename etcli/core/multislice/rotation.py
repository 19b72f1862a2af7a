"""Rotation of a volume about the tilt axis into slabs across the beam, and its adjoint."""

from dataclasses import dataclass
from math import radians
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import check_choice
from etcli.core.multislice._rotation import add_product, multiply, slab_matrix, transposed
from etcli.core.multislice.shear_rotation import ShearRotation
from etcli.core.projectors import Device

Array = NDArray[np.float32]

SOURCE = Path(__file__).with_name("rotation.cu")

KERNELS = {"linear": (2, 0), "cubic": (4, 1), "lanczos": (6, 2)}
"""Interpolation by name: number of neighbours in each direction, and the kernel's number."""

INTERPOLATIONS = (*KERNELS, "shear")
"""Names of the rotations that `make_rotation` knows."""


class SparseMatrix(NamedTuple):
    """Sparse matrix of plane to slabs in compressed rows."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    weights: Array

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return sum(array.nbytes for array in self)

    def on(self, device: Device) -> "SparseMatrix":
        """Return the matrix for volumes on a device."""
        starts = self.starts if device.free_bytes() is None else self.starts.astype(np.int32)
        return SparseMatrix(*map(device.put, (starts, self.columns, self.weights)))


@dataclass(frozen=True)
class SlabRotation:
    """Rotation of volumes about the tilt axis, with the sums of slices that make slabs.

    All planes across the axis are rotated alike: by a sparse matrix, which is applied to whole rows along the
    axis, and whose transpose is the exact adjoint.

    Parameters
    ----------
    plane : (int, int)
        Voxels (nz, nx) of the volume across the tilt axis.
    n_across : int
        Voxels of a slab across beam and axis.
    n_slabs, n_binned : int
        Number of slabs, and slices added up in each; the middle of all slices is on the tilt axis.
    interpolation : {"lanczos", "cubic", "linear"}
        Interpolation in the plane; lanczos is that of three lobes.

    Notes
    -----
    With the coordinates (x, z) from the axis, a slab shows x' = x cos θ + z sin θ at z' = -x sin θ + z cos θ.

    References
    ----------
    C. E. Duchon, J. Appl. Meteorol. 18, 1016 (1979), doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2:
    Lanczos's kernel.
    """

    plane: tuple[int, int]
    n_across: int
    n_slabs: int
    n_binned: int
    interpolation: str = "lanczos"

    def __post_init__(self) -> None:
        check_choice("interpolation", self.interpolation, KERNELS)

    def matrix(self, tilt_deg: float) -> SparseMatrix:
        """Compute the matrix (n_slabs · n_across, nz · nx) of a tilt angle in degrees."""
        taps, kind = KERNELS[self.interpolation]
        n_z, n_x = self.plane
        arrays = slab_matrix(
            radians(tilt_deg), n_z, n_x, self.n_across, self.n_slabs, self.n_binned, taps, kind
        )
        return SparseMatrix(*arrays)

    def transpose(self, matrix: SparseMatrix) -> SparseMatrix:
        """Compute the transpose of a matrix, (nz · nx, n_slabs · n_across)."""
        return SparseMatrix(*transposed(*matrix, self.plane[0] * self.plane[1]))

    def slabs(
        self,
        volume: Array,
        matrix: SparseMatrix,
        out: Array,
        *,
        scale: float = 1.0,
        columns: slice | None = None,
    ) -> None:
        """Rotate a volume and add up its slices.

        Parameters
        ----------
        volume : ndarray of shape (nz, nx, ny), float32
            On the host, or like all other arrays on a GPU.
        matrix : SparseMatrix
            Of `matrix`.
        out : ndarray of shape (n_slabs, n_across, ny), float32
            Overwritten by ``scale`` times the sums.
        scale : float
            Factor.
        columns : slice, optional
            Positions along y to compute; all by default, and always on a GPU.
        """
        low, high, _ = (columns or slice(None)).indices(volume.shape[2])
        planes, sums = volume.reshape(-1, volume.shape[2]), out.reshape(-1, out.shape[2])
        if isinstance(out, np.ndarray):
            multiply(*matrix, planes, np.float32(scale), sums, low, high)
            return
        out[:] = 0
        _add_product_on_gpu(matrix, planes, scale, sums)

    def add_adjoint(
        self,
        slabs: Array,
        transpose: SparseMatrix,
        volume: Array,
        *,
        scale: float = 1.0,
        columns: slice | None = None,
    ) -> None:
        """Add ``scale`` times the adjoint of the rotation of slabs to a volume.

        Parameters
        ----------
        slabs : ndarray of shape (n_slabs, n_across, ny), float32
        transpose : SparseMatrix
            Of `transpose`.
        volume : ndarray of shape (nz, nx, ny), float32
            Changed in place.
        scale : float
            Factor.
        columns : slice, optional
            Positions along y to change; all by default, and always on a GPU.
        """
        low, high, _ = (columns or slice(None)).indices(volume.shape[2])
        planes, sums = volume.reshape(-1, volume.shape[2]), slabs.reshape(-1, slabs.shape[2])
        if isinstance(volume, np.ndarray):
            add_product(*transpose, sums, np.float32(scale), planes, low, high)
            return
        _add_product_on_gpu(transpose, sums, scale, planes)


def _add_product_on_gpu(matrix: SparseMatrix, source: Any, scale: float, target: Any) -> None:
    """Add ``scale`` times the product of a matrix and ``source`` to ``target``."""
    from etcli.core.gpu import run_step

    run_step(SOURCE, "add_product", target, (*matrix, source, float(scale)))


def make_rotation(
    plane: tuple[int, int], n_across: int, n_slabs: int, n_binned: int, interpolation: str
) -> SlabRotation | ShearRotation:
    """Create a rotation by the name of its interpolation.

    Parameters
    ----------
    plane, n_across, n_slabs, n_binned
        As for `SlabRotation`.
    interpolation : {"lanczos", "cubic", "linear", "shear"}
        The last one is by Fourier series: it can be undone almost without loss, but takes many times longer.

    Returns
    -------
    SlabRotation or ShearRotation

    Raises
    ------
    UsageError
        If there is no such interpolation.
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    if interpolation == "shear":
        return ShearRotation(plane, n_across, n_slabs, n_binned)
    return SlabRotation(plane, n_across, n_slabs, n_binned, interpolation)
