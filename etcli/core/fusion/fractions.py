"""Atomic fractions of the elements in each voxel, by the method of k-factors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion.scales import half_above

Array = NDArray[np.float32]

SOLID = 1 / 3
"""Share of a high density from which on a voxel holds enough specimen for fractions."""


def atomic_fractions(
    counts: Array, k_factors: Sequence[float] | NDArray[np.float64], scales: NDArray[np.float64]
) -> Array:
    """Compute the fraction of each element in the atoms of a voxel.

    Parameters
    ----------
    counts : ndarray of shape (n_elements, nz, ny, nx), float32
        Counts a voxel u.
    k_factors : sequence of float
        Atoms per count K of each element, up to a factor that all have in common.
    scales : ndarray of shape (n_elements,), float64
        Counts a voxel where each element is dense.

    Returns
    -------
    ndarray of the same shape, float32
        f_c = K_c u_c / Σ K u; 0 where there is too little of everything: where the densities Σ u/k are less
        than a third of the one above which half of the sum lies.

    References
    ----------
    G. Cliff, G. W. Lorimer, J. Microsc. 103 (1975) 203, doi:10.1111/j.1365-2818.1975.tb03895.x.
    """
    density = np.tensordot((1 / np.asarray(scales)).astype(np.float32), counts, axes=1)
    solid = density > SOLID * half_above(density)
    atoms = counts * np.asarray(k_factors, np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    total = atoms.sum(axis=0)
    fractions: Array = np.divide(atoms, total, out=np.zeros_like(atoms), where=solid & (total > 0))
    return fractions
