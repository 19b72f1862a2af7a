"""Surroundings of atoms: what views of a film show from outside the volume that was traced."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.atoms.gaussian_model import AtomViews
from etcli.core.binning import bin_axis
from etcli.core.errors import UsageError
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.solvers.fista import fista
from etcli.core.solvers.misfit import OrientedMisfit
from etcli.core.solvers.priors import make_prior
from etcli.core.solvers.resire import extended_shape, middle

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
Three = tuple[int, int, int]

ITERATIONS = 30
SAME = 1e-3
"""Relative difference of sizes that counts as equal."""
MOST_SPACE = 8
"""Largest factor by which a volume is enlarged for parts of a film outside it, endless in edge-on views."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Density inside and outside a volume, reconstructed from views.

    Parameters
    ----------
    whole : ndarray of shape (nz, ny, nx), float32
        Density; the volume is in its middle.
    shape : (nz, ny, nx)
        Shape of the volume.
    voxel_A : float
    centre_A : ndarray of shape (3,), float64
        x, y and z of the middle of the volume from the rotation centre.
    """

    whole: Array
    shape: Three
    voxel_A: float
    centre_A: Doubles

    def inside(self) -> Array:
        """Return a copy of the density of the volume."""
        return np.ascontiguousarray(middle(self.whole, self.shape)).copy()

    def views_of_outside(self, views: AtomViews) -> Doubles | None:
        """Project the density outside the volume.

        Parameters
        ----------
        views : AtomViews
            With the orientations and the size of the views.

        Returns
        -------
        ndarray of shape (n_views, n_v, n_u), float64, or None
            None where the volume is all there is.
        """
        if self.whole.shape == self.shape:
            return None
        outside = self.whole.copy()
        middle(outside, self.shape)[...] = 0
        factor = _factor(views, self.voxel_A)
        n_v, n_u = _binned(views.data[:1], factor).shape[1:]
        images = _projector(views, outside.shape, (n_v, n_u), self.voxel_A, self.centre_A).forward(outside)
        if (n_v, n_u) == views.data.shape[1:]:
            return images.astype(np.float64)
        # centres of pixels of the views as indices of binned pixels
        where = [(np.arange(n) + 0.5) / factor - 0.5 for n in views.data.shape[1:]]
        grid = np.stack(np.meshgrid(*where, indexing="ij"))
        return np.stack([ndimage.map_coordinates(each, grid, order=1, mode="nearest") for each in images])


def reconstruct_surroundings(
    views: AtomViews, shape: Three, voxel_A: float, centre_A: Doubles, level: float
) -> Surroundings:
    """Reconstruct the density of a volume, and of the parts of a film around it that the views show.

    Parameters
    ----------
    views : AtomViews
    shape : (nz, ny, nx)
        Shape of the volume.
    voxel_A : float
        Size of its voxels.
    centre_A : ndarray of shape (3,), float64
        x, y and z of its middle from the rotation centre.
    level : float
        Background level of the views.

    Returns
    -------
    Surroundings

    Raises
    ------
    UsageError
        When the voxels are finer than the pixels of the views.
    """
    images = np.ascontiguousarray(_binned(views.data - level, _factor(views, voxel_A)), np.float32)
    whole = _shape_with_margin(views, shape, images.shape[1:])
    projector = _projector(views, whole, images.shape[1:], voxel_A, centre_A)
    positive = make_prior("none", whole, lower=0.0, threads=views.threads)
    volume = fista(OrientedMisfit(projector, images), positive, iterations=ITERATIONS)
    return Surroundings(volume, shape, voxel_A, centre_A)


def _factor(views: AtomViews, voxel_A: float) -> float:
    """Return the size of voxels in pixels of the views."""
    factor = voxel_A / views.pixel_A
    if factor < 1 - SAME:
        raise UsageError(
            f"voxels of {voxel_A:g} Å are finer than the {views.pixel_A:g} Å of the views; give the views "
            "that were reconstructed, or --hold as a length"
        )
    return factor


def _binned(images: Doubles, factor: float) -> Doubles:
    """Return views with pixels as large as voxels."""
    if factor <= 1 + 1e-6:
        return images
    return np.asarray(bin_axis(bin_axis(images, factor, axis=1), factor, axis=2), np.float64)


def _projector(
    views: AtomViews, whole: Three, detector: tuple[int, ...], voxel_A: float, centre_A: Doubles
) -> OrientedProjector:
    return OrientedProjector(
        views.rotation,
        whole,
        detector,
        centre_px=(views.rotation[:, :2] @ centre_A + np.multiply(views.centre_px, views.pixel_A)) / voxel_A,
        threads=views.threads,
    )


def _shape_with_margin(views: AtomViews, shape: Three, detector: tuple[int, ...]) -> Three:
    """Return the shape of a volume that also contains the parts of a film that the views show outside."""
    if not views.diffuse_A:
        return shape
    try:
        extended = extended_shape(views.rotation, shape, detector)
    except UsageError:  # a view edge-on, in which a film is endless
        return shape
    return extended if prod(extended) <= MOST_SPACE * prod(shape) else shape
