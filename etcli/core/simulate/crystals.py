"""Balls of crystal for simulations, and the orientation of a specimen in the microscope."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError

Array = NDArray[np.float64]

MOST_ATOMS = 20_000_000
"""Atoms of the largest ball, as a limit to the memory."""


def ball_of_crystal(cell: Atoms, lattice_A: Array, diameter_A: float, rng: np.random.Generator) -> Atoms:
    """Cut a ball out of an infinite crystal.

    Parameters
    ----------
    cell : Atoms
        Atoms of one unit cell.
    lattice_A : ndarray of shape (3, 3), float64
        Edges of the unit cell as vectors (x, y, z), one per row.
    diameter_A : float
    rng : numpy.random.Generator
        The centre of the ball is drawn uniformly from the unit cell. So it lies on no symmetry element, and
        columns of atoms seen end on do not fall on the edges of pixels, where rounding would divide them.

    Returns
    -------
    Atoms
        Those no farther than the radius from the centre, which is their origin; empty for a very small ball.

    Raises
    ------
    UsageError
        When the cell has no volume, the ball no size, or it holds more than `MOST_ATOMS` atoms.
    """
    volume_A3 = abs(float(np.linalg.det(lattice_A)))
    if not 1e-6 < volume_A3 < np.inf:
        raise UsageError("the unit cell has no volume; check its lattice constants")
    _check_diameter(diameter_A)
    n_atoms = len(cell) / volume_A3 * np.pi / 6 * diameter_A**3
    if n_atoms > MOST_ATOMS:
        raise UsageError(
            f"a ball of {diameter_A:g} Å holds {n_atoms:.1e} atoms, too many; give a smaller --diameter"
        )
    radius_A = diameter_A / 2
    centre_A = rng.random(3) @ lattice_A
    # distances between lattice planes tell how many cells the ball reaches in each direction
    reach = radius_A * np.linalg.norm(np.linalg.inv(lattice_A), axis=0)
    found, species = [], []
    for position, symbol in zip(cell.position_A - centre_A, cell.species, strict=True):
        middle = -position @ np.linalg.inv(lattice_A)
        low, high = np.floor(middle - reach).astype(int), np.ceil(middle + reach).astype(int)
        b, c = (np.arange(low[k], high[k] + 1)[:, None] * lattice_A[k] for k in (1, 2))
        plane = position + (b[:, None] + c).reshape(-1, 3)
        for a in range(low[0], high[0] + 1):
            row = plane + a * lattice_A[0]
            found.append(row[(row**2).sum(axis=1) <= radius_A**2])
            species.append(np.full(len(found[-1]), symbol))
    return Atoms(np.concatenate(found), np.concatenate(species))


def cut_to_ball(atoms: Atoms, diameter_A: float) -> Atoms:
    """Select the atoms no farther than the radius from the rotation centre.

    Parameters
    ----------
    atoms : Atoms
    diameter_A : float

    Returns
    -------
    Atoms

    Raises
    ------
    UsageError
        When the ball has no size.
    """
    _check_diameter(diameter_A)
    return atoms.select((atoms.position_A**2).sum(axis=1) <= (diameter_A / 2) ** 2)


def orientation(axis: ArrayLike, beam: ArrayLike) -> Array:
    """Compute the rotation of a specimen that brings one direction to the tilt axis, another to the beam.

    Parameters
    ----------
    axis : array_like of shape (3,)
        Direction (x, y, z) of the specimen that goes to +y, the tilt axis.
    beam : array_like of shape (3,)
        Direction that goes to +z, the beam at 0°; what of it is along the axis is taken off.

    Returns
    -------
    ndarray of shape (3, 3), float64
        Rotation matrix R: the point r of the specimen comes to R r. Its rows are w, k and v, with k along the
        axis, v along the beam and w = k × v.

    Raises
    ------
    UsageError
        When a direction has no length or is not finite, or the beam is parallel to the axis.
    """
    k, v = (_unit(direction, name) for direction, name in ((axis, "--axis-direction"), (beam, "--beam")))
    v = v - (v @ k) * k
    length = np.linalg.norm(v)
    if length < 1e-6:
        raise UsageError("--beam is parallel to --axis-direction; the beam cannot pass along the tilt axis")
    v /= length
    return np.stack([np.cross(k, v), k, v])


def _unit(direction: ArrayLike, name: str) -> Array:
    """Scale a direction to the length 1; raise UsageError for one without length."""
    vector = np.asarray(direction, np.float64)
    length = np.linalg.norm(vector)
    if not 0 < length < np.inf:
        raise UsageError(f"{name} must be a direction: three finite numbers that are not all 0")
    return np.asarray(vector / length)


def _check_diameter(diameter_A: float) -> None:
    """Raise UsageError for a diameter that is not positive."""
    if not 0 < diameter_A < np.inf:
        raise UsageError(f"a ball of {diameter_A:g} Å holds nothing; give a positive --diameter")
