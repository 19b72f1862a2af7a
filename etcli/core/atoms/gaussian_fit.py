"""Fits of Gaussians to the atoms of a volume, each after subtraction of the others."""

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
"""Bounds of a fitted width, relative to the expected width."""
RADIUS = 1.8
"""Radius within which an atom is fitted, in standard deviations: a larger one includes more residuals of
neighbours and of the reconstruction, a smaller one wastes signal."""
MOST_STEPS = 14
SETTLED_PX = 0.001
"""Root mean square displacement at which the sweeps end."""
BATCH = 256


@dataclass(frozen=True)
class FitRules:
    """Parameters of the fit of Gaussians.

    Parameters
    ----------
    sigma_px : float
        Expected standard deviation of an atom in the volume, in voxels.
    freedom : {"shared", "isotropic", "elliptical"}
        Fitted shape: none, a width, or width and direction of three axes.
    radius_px : float
        Voxels within this distance of the initial position of an atom are fitted.
    diffuse_px : float
        Density that varies over longer distances than this standard deviation is diffuse and not attributed
        to atoms; 0 for no diffuse density.
    threads : int
        Number of threads; the result does not depend on it.
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
        """Smallest and largest standard deviation, in voxels."""
        return NARROWEST * self.sigma_px, WIDEST * self.sigma_px


def start_atoms(place: Doubles, height: Doubles, sigma_px: float) -> Doubles:
    """Create the rows of isotropic Gaussians.

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
        In the columns of `etcli.core.atoms._gaussians`.
    """
    atoms = np.zeros((len(place), columns.COLUMNS))
    atoms[:, :3] = place
    atoms[:, columns.HEIGHT] = height
    atoms[:, columns.P_XX : columns.P_ZZ + 1] = 1 / sigma_px**2
    return atoms


def positions_A(place: Doubles, shape: tuple[int, ...], voxel_A: float, centre_A: Doubles) -> Doubles:
    """Convert indices in a volume to positions in Å.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        x, y and z as indices.
    shape : (nz, ny, nx)
        Shape of the volume.
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
    """Return x, y and z of atoms as indices."""
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
    """Return the matrices P of atoms, of shape (n, 3, 3)."""
    xx, yy, zz, xy, xz, yz = atoms[:, columns.P_XX : columns.P_YZ + 1].T
    return np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1).reshape(-1, 3, 3)


def integrals(atoms: Doubles) -> Doubles:
    """Return the integrals of the Gaussians, in density times voxels."""
    return np.asarray(heights(atoms) * (2 * np.pi) ** 1.5 * sigmas(atoms) ** 3)


def residual_of(volume: Array, atoms: Doubles, *, out: Array | None = None, threads: int = 1) -> Array:
    """Subtract all atoms from a volume.

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

    def subtract(part: tuple[int, int]) -> None:
        z0, z1 = part
        out[z0:z1] = volume[z0:z1]
        near = np.searchsorted(order[:, columns.Z], [z0 - longest - 1, z1 + longest + 1])
        columns.add_gaussians(out, order[near[0] : near[1]], -1.0, z0, z1)

    edges = np.linspace(0, len(volume), min(4 * threads, len(volume)) + 1).astype(int).tolist()
    for _ in ordered_map(subtract, list(pairwise(edges)), threads=threads):
        pass
    return out


def residual_without_diffuse(
    volume: Array, atoms: Doubles, rules: FitRules, *, out: Array | None = None
) -> Array:
    """Subtract all atoms from a volume, then the diffuse density: the slowly varying part of the residual.

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
    In a thick or noisy specimen the reconstruction does not resolve all density into atoms: they are on top
    of a density that varies slowly from place to place.
    """
    out = residual_of(volume, atoms, out=out, threads=rules.threads)
    if rules.diffuse_px:
        out -= smoothed(out, rules.diffuse_px, threads=rules.threads)
    return out


def fit_atoms(
    volume: Array, atoms: Doubles, rules: FitRules, *, sweeps: int, residual: Array | None = None
) -> tuple[Doubles, Array]:
    """Fit all atoms in repeated sweeps until none moves.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    atoms : ndarray of shape (n, 10), float64
        Initial atoms.
    rules : FitRules
    sweeps : int
        Largest number of sweeps.
    residual : ndarray of shape (nz, ny, nx), float32, optional
        Overwritten and returned.

    Returns
    -------
    atoms : ndarray of shape (n, 10), float64
    residual : ndarray of shape (nz, ny, nx), float32
        The volume minus all atoms and the diffuse density.

    Notes
    -----
    Each sweep subtracts all atoms from the volume, adds back each one separately and fits
    ``height exp(-dᵀ P d / 2)`` to the voxels around it by least squares (Levenberg-Marquardt with analytic
    derivatives, steps of at most half a voxel, within bounds). So the order of atoms does not matter.
    """
    residual = residual_without_diffuse(volume, atoms, rules, out=residual)
    for _ in range(sweeps):
        if not len(atoms):
            break
        fitted = _fit_once(residual, atoms, rules)
        rms_move = float(np.sqrt(((fitted - atoms)[:, :3] ** 2).sum(axis=1).mean()))
        atoms = fitted
        residual = residual_without_diffuse(volume, atoms, rules, out=residual)
        if rms_move < SETTLED_PX:
            break
    return atoms, residual


def _fit_once(residual: Array, atoms: Doubles, rules: FitRules) -> Doubles:
    """Fit every atom once, with all others fixed."""
    fitted = np.empty_like(atoms)

    def fit_batch(start: int) -> None:
        part = slice(start, start + BATCH)
        settings = rules.radius_px, FREEDOM[rules.freedom], rules.widths, MOST_STEPS
        columns.fit(residual, atoms[part], *settings, fitted[part])

    for _ in ordered_map(fit_batch, range(0, len(atoms), BATCH), threads=rules.threads):
        pass
    return fitted


def scores(residual: Array, atoms: Doubles, rules: FitRules) -> Doubles:
    """Compute the score of each atom: the height of the best-fitting Gaussian of the expected width.

    Parameters
    ----------
    residual : ndarray of shape (nz, ny, nx), float32
        The volume minus all atoms.
    atoms : ndarray of shape (n, 10), float64
    rules : FitRules

    Returns
    -------
    ndarray of shape (n,), float64
        The matched filter Σ d g / Σ g² over the voxels within the radius, where d is the volume minus the
        other atoms and g the Gaussian of height 1: noise scatters it less than fitted heights and widths.
    """
    score = np.empty(len(atoms))

    def score_batch(start: int) -> None:
        part = slice(start, start + BATCH)
        columns.match(residual, atoms[part], rules.radius_px, rules.sigma_px, score[part])

    for _ in ordered_map(score_batch, range(0, len(atoms), BATCH), threads=rules.threads):
        pass
    return score


def rescaled(atoms: Doubles, volume: Array, *, threads: int = 1) -> Doubles:
    """Rescale the heights of atoms to another volume of the same specimen, which may have other units.

    Parameters
    ----------
    atoms : ndarray of shape (n, 10), float64
    volume : ndarray of shape (nz, ny, nx), float32
    threads : int

    Returns
    -------
    ndarray of shape (n, 10), float64
        Heights times the factor with which all atoms fit the volume best; unchanged if none lies in it.
    """
    negative = residual_of(np.zeros_like(volume), atoms, threads=threads)  # the atoms with negative sign
    power = float(np.vdot(negative, negative))
    scaled = atoms.copy()
    heights(scaled)[:] *= -float(np.vdot(negative, volume)) / power if power > 0 else 1.0
    return scaled
