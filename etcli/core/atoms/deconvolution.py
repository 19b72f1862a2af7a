"""Atoms in a density that is deconvolved from the width of an atom, where light ones are not hidden."""

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, project_model, variance_of_pixels
from etcli.core.atoms.peaks import find_peaks, smoothed, spaced
from etcli.core.geometry import centre
from etcli.core.projectors.oriented import OrientedProjector

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

UPDATES, UPDATES_BETWEEN, VIEWS_PER_UPDATE = 400, 100, 5
"""Updates of the density of all atoms, and of those between known ones; views that each update uses."""
FASTER, SMOOTH = 3.0, 3.0
"""Factor of the steps of details, and standard deviation in that of an atom of what is no detail."""
SMOOTHING_PX = 1.0
"""Smoothing before the search for maxima, as an atom is a cluster of a few voxels."""
FAINTEST = 0.01
"""Least amplitude of a maximum, as a share of that of strong ones; a refinement tells noise from atoms."""
STRONG_PERCENTILE = 95
START = 0.01
"""Integral of the initial density, as a share of that of the atoms of a model."""
LEAST_EXPECTED = 1e-3
"""Least expected value of a pixel, as a share of the mean, so that nothing is divided by zero."""
LEAST_SEEN = 0.05
"""Least mean of what a view adds to a voxel; 1 where all views show it."""


def deconvolved_atoms(
    model: GaussianModel,
    views: AtomViews,
    *,
    low_A: Doubles,
    high_A: Doubles,
    clearance_A: float,
    nearly_complete: bool,
) -> tuple[Doubles, Doubles]:
    """Find atoms that a model lacks in a density that is deconvolved from the width of its atoms.

    Parameters
    ----------
    model : GaussianModel
        Its atoms, with one width, its levels, and the background of the views are known approximately.
    views : AtomViews
        Views, with their tails of atoms.
    low_A, high_A : ndarray of shape (3,), float64
        Corners of the box to search, from the rotation centre.
    clearance_A : float
        Smallest distance to an atom of the model, and between new atoms.
    nearly_complete : bool
        Whether the density is only that of atoms between those of the model. If many are missing, the known
        ones have taken their place in the views, and the density must be that of all.

    Returns
    -------
    position_A : ndarray of shape (n, 3), float64
        Maxima of the density, the highest first. Some may be noise, which a refinement tells from atoms.
    amplitude : ndarray of shape (n,), float64
        Integral of the density around each.

    Notes
    -----
    In a volume at the resolution of the views, a light atom between heavy ones is a shoulder. Images of many
    atoms that a model lacks overlap, so that the residual of views hides them as well. The density of points
    whose images have the width of an atom has neither fault: see `point_density`.
    """
    low = np.maximum(low_A, model.position_A.min(axis=0) - 2 * clearance_A)
    high = np.minimum(high_A, model.position_A.max(axis=0) + 2 * clearance_A)
    shape = tuple(np.maximum(np.ceil((high - low) / views.pixel_A), 1).astype(int)[::-1].tolist())
    centre_A = (low + high) / 2
    density = point_density(model, views, shape, centre_A, beside_model=nearly_complete)
    place, _ = find_peaks(smoothed(density, SMOOTHING_PX, threads=views.threads), 0.0)
    amplitude = _around(density, place, clearance_A / 2 / views.pixel_A)
    middle = np.array([centre(n) for n in shape[::-1]])
    position_A = (place - middle) * views.pixel_A + centre_A
    strongest = np.argsort(-amplitude, kind="stable")
    position_A, amplitude = position_A[strongest], amplitude[strongest]
    distance_A, _ = cKDTree(model.position_A).query(position_A)
    bright = amplitude > FAINTEST * np.percentile(model.amplitude, STRONG_PERCENTILE)
    new = np.flatnonzero(bright & (distance_A >= clearance_A) & (distance_A < 3 * clearance_A))
    new = new[spaced(position_A[new], clearance_A)]
    return position_A[new], amplitude[new]


def point_density(
    model: GaussianModel,
    views: AtomViews,
    shape: tuple[int, ...],
    centre_A: Doubles,
    *,
    beside_model: bool = False,
) -> Array:
    """Reconstruct the density of points whose images have the width of the atoms of a model.

    Parameters
    ----------
    model : GaussianModel
        Gives the width, levels and noise.
    views : AtomViews
    shape : (nz, ny, nx)
        Voxels, of the size of the pixels of the views.
    centre_A : ndarray of shape (3,), float64
        x, y and z of their middle from the rotation centre.
    beside_model : bool
        Whether the atoms of the model are not part of the density.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
        Integral of what each voxel adds to a view, in the unit of a pixel; not negative.

    Notes
    -----
    x ← x + x Aᵀ(y / (A x + b) - 1) / Aᵀ1 with subsets of the views [1]_, where A projects and then blurs by
    the width of an atom, and b is all else that the views show. This converges to the most likely density for
    counts; as none is negative, that is concentrated in few points [2]_. Where the variance a + c λ has a
    constant part, a/c is added to the views and b [3]_. Pixels that are not trusted change nothing.

    The surplus y / (A x + b) - 1 of a detail is a small part of the whole thickness, so that details appear
    after hundreds of updates, the later the thicker the specimen. Therefore steps of details, which remain of
    a view when it is smoothed and subtracted, are three times as long. An update changes a wave of frequency
    f by at most (3 - 2 S) G² of what is missing, where G and S are the transfer functions of the width of an
    atom and of the smoothing. That is at most 1.84 for any f, and from 2 on, updates would diverge. The last
    steps have the usual length, as those preserve the sum of the views.

    References
    ----------
    .. [1] H. M. Hudson, R. S. Larkin, IEEE Trans. Med. Imaging 13, 601 (1994), doi:10.1109/42.363108.
    .. [2] D. L. Donoho et al., J. R. Stat. Soc. B 54, 41 (1992), doi:10.1111/j.2517-6161.1992.tb01864.x:
       why a restriction to positive values resolves sparse objects.
    .. [3] D. L. Snyder et al., J. Opt. Soc. Am. A 12, 272 (1995), doi:10.1364/JOSAA.12.000272: counts with
       the noise of a detector.
    """
    background = shown = project_model(model, views)
    a, c = variance_of_pixels(views, shown)
    if not beside_model:
        background = project_model(replace(model, amplitude=np.zeros(len(model))), views)
    mean = float(np.abs(views.data).mean())
    shift = a / c if c * mean > a else mean
    measured = np.maximum(views.data + shift, 0).astype(np.float32)
    background = np.maximum(background + shift, LEAST_EXPECTED * mean).astype(np.float32)
    sigma_px = float(model.sigma_A[model.kind].mean()) / views.pixel_A

    def blurred(images: Array) -> Array:
        for image in images:
            ndimage.gaussian_filter(image, sigma_px, output=image, mode="constant")
        return images

    projector = OrientedProjector(
        views.rotation,
        shape,
        views.data.shape[1:],
        centre_px=views.rotation[:, :2] @ centre_A / views.pixel_A + np.asarray(views.centre_px),
        threads=views.threads,
    )
    n_subsets = max(len(measured) // VIEWS_PER_UPDATE, 1)
    subsets = [np.argsort(projector.tilt_deg, kind="stable")[k::n_subsets] for k in range(n_subsets)]
    parts = [(projector.of_views(subset), subset) for subset in subsets]
    # what all views add to a voxel, as a mean of each, as one array for each subset would fill the memory
    total = projector.adjoint(blurred(np.ones_like(measured))) / np.float32(len(measured))
    np.maximum(total, LEAST_SEEN, out=total)
    density = np.full(shape, START * float(model.amplitude.sum()) / prod(shape), np.float32)
    change, growth = np.empty_like(density), np.empty_like(density)
    n_rounds = -(-(UPDATES_BETWEEN if beside_model else UPDATES) // n_subsets)
    for n in range(n_rounds):
        for part, subset in parts:
            expected = blurred(part.forward(density))
            expected += background[subset]
            surplus = measured[subset] / expected - 1
            if views.trusted is not None:
                surplus *= views.trusted[subset]
            blurred(surplus)
            if n < n_rounds - 1:
                _lengthen_steps(surplus, SMOOTH * sigma_px)
            part.adjoint(surplus, out=change)
            change /= total
            change /= np.float32(len(subset))
            # no step divides or multiplies by more than 1 + |change|, so that no voxel vanishes for good
            np.maximum(change, 0, out=growth)
            growth += 1
            density *= growth
            np.minimum(change, 0, out=change)
            density /= np.subtract(1, change, out=change)
    return density


def _lengthen_steps(surplus: Array, smooth_px: float) -> None:
    """Multiply the details of each image, in place."""
    for image in surplus:
        smooth = ndimage.gaussian_filter(image, smooth_px, mode="constant")
        image += (FASTER - 1) * (image - smooth)


def _around(density: Array, place: Doubles, radius_px: float) -> Doubles:
    """Return the integral of a density around places."""
    n = int(radius_px)
    ball = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest = np.rint(place[:, ::-1]).astype(int)
    sums = np.zeros(len(place))
    for step in ball[(ball**2).sum(axis=1) <= radius_px**2]:
        index = nearest + step
        inside = ((index >= 0) & (index < density.shape)).all(axis=1)
        sums[inside] += density[tuple(index[inside].T)]
    return sums
