"""Gaussians fitted to the atoms of a volume, each with the others taken off."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms import _gaussians as columns
from etcli.core.atoms.peaks import smoothed
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
Freedom = Literal["shared", "isotropic", "elliptical"]

FREEDOM: dict[Freedom, int] = {"shared": 0, "isotropic": 1, "elliptical": 2}
NARROWEST, WIDEST = 0.6, 1.6
"""Bounds of a width, in those that are expected."""
RADIUS = 1.8
"""How far from its middle an atom is fitted, in standard deviations: wider includes more of what neighbours
and the reconstruction leave, narrower wastes signal."""
MOST_STEPS = 14
SETTLED_PX = 0.001
"""Root mean square move at which the sweeps end."""
BATCH = 256


@dataclass(frozen=True)
class FitRules:
    """How atoms are fitted.

    Parameters
    ----------
    sigma_px : float
        Standard deviation expected of an atom in the volume, in voxels.
    freedom : {"shared", "isotropic", "elliptical"}
        What of the shape is fitted: nothing, a width, or a width and direction of three axes.
    radius_px : float
        Voxels within this distance of where an atom begins are looked at.
    diffuse_px : float
        What varies over longer distances than this standard deviation is not put down to atoms; 0: nothing.
    threads : int
        Threads to work on; the result does not depend on their number.
    """

    sigma_px: float
    freedom: Freedom = "isotropic"
    radius_px: float = 0.0
    diffuse_px: float = 0.0
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.radius_px:
            object.__setattr__(self, "radius_px", RADIUS * self.sigma_px)

    @property
    def widths(self) -> tuple[float, float]:
        """Least and largest standard deviation, in voxels."""
        return NARROWEST * self.sigma_px, WIDEST * self.sigma_px


def start_atoms(place: Doubles, height: Doubles, sigma_px: float) -> Doubles:
    """Return rows of round Gaussians.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        x, y and z as indices.
    height : ndarray of shape (n,), float64
        Heights.
    sigma_px : float
        Standard deviation in voxels.

    Returns
    -------
    ndarray of shape (n, 10), float64
        As `etcli.core.atoms._gaussians` has them.
    """
    atoms = np.zeros((len(place), columns.COLUMNS))
    atoms[:, :3] = place
    atoms[:, columns.HEIGHT] = height
    atoms[:, columns.P_XX : columns.P_ZZ + 1] = 1 / sigma_px**2
    return atoms


def positions_A(place: Doubles, shape: tuple[int, ...], voxel_A: float, centre_A: Doubles) -> Doubles:
    """Return where places in a volume are.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        x, y and z as indices.
    shape : (nz, ny, nx)
        Of the volume.
    voxel_A : float
        Size of its voxels in Å.
    centre_A : ndarray of shape (3,), float64
        x, y and z of its middle from the rotation centre.

    Returns
    -------
    ndarray of shape (n, 3), float64
        x, y and z from the rotation centre, in Å.
    """
    middle = np.array([centre(n) for n in shape[::-1]])
    return np.asarray((place - middle) * voxel_A + centre_A)


def places(atoms: Doubles) -> Doubles:
    """Return x, y and z of atoms, as indices."""
    return atoms[:, :3]


def heights(atoms: Doubles) -> Doubles:
    """Return the heights of atoms."""
    return atoms[:, columns.HEIGHT]


def sigmas(atoms: Doubles) -> Doubles:
    """Return the widths of atoms in voxels: the geometric mean of their axes."""
    return np.asarray(np.linalg.det(_precisions(atoms)) ** (-1 / 6))


def axes(atoms: Doubles) -> Doubles:
    """Return the standard deviations of atoms along x, y and z in voxels, of shape (n, 3)."""
    covariance = np.linalg.inv(_precisions(atoms))
    return np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))


def _precisions(atoms: Doubles) -> Doubles:
    """Return the matrices P, of shape (n, 3, 3)."""
    xx, yy, zz, xy, xz, yz = atoms[:, columns.P_XX : columns.P_YZ + 1].T
    return np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1).reshape(-1, 3, 3)


def integrals(atoms: Doubles) -> Doubles:
    """Return the integrals of Gaussians, in density times voxels."""
    return np.asarray(heights(atoms) * (2 * np.pi) ** 1.5 * sigmas(atoms) ** 3)


def residual_of(volume: Array, atoms: Doubles, *, out: Array | None = None, threads: int = 1) -> Array:
    """Take all atoms off a volume.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    atoms : ndarray of shape (n, 10), float64
    out : ndarray of shape (nz, ny, nx), float32, optional
        Overwritten and returned.
    threads : int

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
    """
    out = np.empty_like(volume) if out is None else out
    order = atoms[np.argsort(atoms[:, columns.Z], kind="stable")]
    reach = columns.REACH / np.sqrt(order[:, columns.P_XX : columns.P_ZZ + 1].min(axis=1, initial=np.inf))
    longest = reach.max(initial=0.0)

    def work(part: tuple[int, int]) -> None:
        z0, z1 = part
        out[z0:z1] = volume[z0:z1]
        near = np.searchsorted(order[:, columns.Z], [z0 - longest - 1, z1 + longest + 1])
        columns.add_gaussians(out, order[near[0] : near[1]], -1.0, z0, z1)

    edges = np.linspace(0, len(volume), min(4 * threads, len(volume)) + 1).astype(int).tolist()
    for _ in ordered_map(work, list(pairwise(edges)), threads=threads):
        pass
    return out


def rest_of(volume: Array, atoms: Doubles, rules: FitRules, *, out: Array | None = None) -> Array:
    """Take all atoms off a volume, and what varies slowly in what is left.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    atoms : ndarray of shape (n, 10), float64
    rules : FitRules
    out : ndarray of shape (nz, ny, nx), float32, optional
        Overwritten and returned.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32

    Notes
    -----
    In a thick or noisy specimen the reconstruction has not resolved all density into atoms: they stand on a
    level that varies from place to place.
    """
    out = residual_of(volume, atoms, out=out, threads=rules.threads)
    if rules.diffuse_px:
        out -= smoothed(out, rules.diffuse_px, threads=rules.threads)
    return out


def fit_atoms(
    volume: Array, atoms: Doubles, rules: FitRules, *, sweeps: int, residual: Array | None = None
) -> tuple[Doubles, Array]:
    """Fit all atoms, again and again, until none moves.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    atoms : ndarray of shape (n, 10), float64
        Where to start.
    rules : FitRules
    sweeps : int
        At most.
    residual : ndarray of shape (nz, ny, nx), float32, optional
        Overwritten and returned.

    Returns
    -------
    atoms : ndarray of shape (n, 10), float64
    residual : ndarray of shape (nz, ny, nx), float32
        The volume less all atoms.

    Notes
    -----
    Each sweep takes all atoms off the volume, adds each back for itself and fits
    ``height exp(-dᵀ P d / 2)`` to the voxels about it by least squares (Levenberg-Marquardt with analytic
    derivatives, steps of half a voxel at most, within bounds). So the order of atoms does not matter.
    """
    residual = rest_of(volume, atoms, rules, out=residual)
    for _ in range(sweeps):
        if not len(atoms):
            break
        fitted = _fit_once(residual, atoms, rules)
        move = float(np.sqrt(((fitted - atoms)[:, :3] ** 2).sum(axis=1).mean()))
        atoms = fitted
        residual = rest_of(volume, atoms, rules, out=residual)
        if move < SETTLED_PX:
            break
    return atoms, residual


def _fit_once(residual: Array, atoms: Doubles, rules: FitRules) -> Doubles:
    """Return all atoms, fitted with the others as they were."""
    fitted = np.empty_like(atoms)

    def work(start: int) -> None:
        part = slice(start, start + BATCH)
        how = rules.radius_px, FREEDOM[rules.freedom], rules.widths, MOST_STEPS
        columns.fit(residual, atoms[part], *how, fitted[part])

    for _ in ordered_map(work, range(0, len(atoms), BATCH), threads=rules.threads):
        pass
    return fitted


def scores(residual: Array, atoms: Doubles, rules: FitRules) -> Doubles:
    """Return how high atoms of the expected width are that fit best where the atoms are.

    Parameters
    ----------
    residual : ndarray of shape (nz, ny, nx), float32
        The volume less all atoms.
    atoms : ndarray of shape (n, 10), float64
    rules : FitRules

    Returns
    -------
    ndarray of shape (n,), float64
        The matched filter Σ d g / Σ g² over the voxels within the radius, where d is the volume less the
        other atoms and g the Gaussian of height 1: less scattered by noise than fitted heights and widths.
    """
    found = np.empty(len(atoms))

    def work(start: int) -> None:
        part = slice(start, start + BATCH)
        columns.match(residual, atoms[part], rules.radius_px, rules.sigma_px, found[part])

    for _ in ordered_map(work, range(0, len(atoms), BATCH), threads=rules.threads):
        pass
    return found


def rescaled(atoms: Doubles, volume: Array, *, threads: int = 1) -> Doubles:
    """Bring atoms to the scale of another volume of the same specimen, which may be in other units.

    Parameters
    ----------
    atoms : ndarray of shape (n, 10), float64
    volume : ndarray of shape (nz, ny, nx), float32
    threads : int

    Returns
    -------
    ndarray of shape (n, 10), float64
        With heights times the factor by which all fit the volume best; as they are where none lies in it.
    """
    missing = residual_of(np.zeros_like(volume), atoms, threads=threads)  # the atoms, with the other sign
    power = float(np.vdot(missing, missing))
    start = atoms.copy()
    heights(start)[:] *= -float(np.vdot(missing, volume)) / power if power > 0 else 1.0
    return start
