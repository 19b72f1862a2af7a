"""Gaussian model of atoms in views: projection, diffuse background, and noise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import nnls

from etcli.core.atoms import _views
from etcli.core.atoms.tails import tails
from etcli.core.errors import DataError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map

Doubles = NDArray[np.float64]
Kinds = NDArray[np.intp]

LEAST_VARIANCE = 1e-3
"""Smallest variance of a pixel, relative to that of the mean pixel."""
CLASSES = 20
MIRRORED = 1.02
FIRST_TAILS = 2
"""Rounds in which tails of atoms are found, because the noise is first estimated without them."""
FOREIGN = 0.2
"""Pixels whose diffuse background exceeds this share of the projected model are not trusted."""


@dataclass(frozen=True, eq=False)
class AtomViews:
    """Views for the refinement of atoms, with their orientations.

    Parameters
    ----------
    data : ndarray of shape (n_views, n_v, n_u), float64
        Linear in the projected density, in any unit, with or without a background level.
    rotation : ndarray of shape (n_views, 3, 3), float64
        See `etcli.core.orientation.rotation_matrices`.
    pixel_A : float
    centre_px : (float, float)
        Position (u, v) of the rotation centre in pixels from the middle of the views.
    diffuse_A : float
        Standard deviation of the Gaussian that separates the slowly varying background of a view, such as a
        film outside the volume, from atoms; 0 if no background other than a constant level is expected.
    widest_A : float
        Largest width of an atom: wider and wider ones would take the place of a diffuse background.
    outside : ndarray of shape (n_views, n_v, n_u), float64, optional
        What the views show from outside the volume of the atoms.
    fixed : ndarray of shape (n_views, n_v, n_u), float64, optional
        Diffuse background, in addition to atoms, levels and what is outside.
    trusted : ndarray of shape (n_views, n_v, n_u), bool, optional
        Pixels that are used; all by default.
    threads : int
    """

    data: Doubles
    rotation: Doubles
    pixel_A: float
    centre_px: tuple[float, float] = (0.0, 0.0)
    diffuse_A: float = 0.0
    widest_A: float = np.inf
    outside: Doubles | None = None
    fixed: Doubles | None = None
    trusted: NDArray[np.bool_] | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or self.rotation.shape != (len(self.data), 3, 3):
            raise DataError(f"views of shape {self.data.shape} need as many rotations")

    def project_positions(self, position_A: Doubles) -> tuple[Doubles, Doubles]:
        """Return u and v of all atoms in all views, as indices, each of shape (n_views, n_atoms)."""
        n_v, n_u = self.data.shape[1:]
        projected = self.rotation[:, :2] @ position_A.T / self.pixel_A
        u_px, v_px = self.centre_px
        return projected[:, 0] + (centre(n_u) + u_px), projected[:, 1] + (centre(n_v) + v_px)

    def project_atoms(self, model: "GaussianModel") -> "ProjectedAtoms":
        """Return the positions and widths of the atoms of a model in all views."""
        return ProjectedAtoms(
            *self.project_positions(model.position_A), model.sigma_A[model.kind] / self.pixel_A
        )

    def of_views(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "AtomViews":
        """Return a subset of the views, without their diffuse background."""
        outside = None if self.outside is None else self.outside[chosen]
        data, rotation = self.data[chosen], self.rotation[chosen]
        return replace(self, data=data, rotation=rotation, outside=outside, fixed=None, trusted=None)

    def less_outside(self) -> "AtomViews":
        """Return the views less what they show from outside the volume."""
        if self.outside is None:
            return self
        return replace(self, data=self.data - self.outside, outside=None)

    def map_views(self, function: Callable[[int], Doubles]) -> list[Doubles]:
        """Apply a function to the index of each view, on several threads, and return the results."""
        return list(ordered_map(function, range(len(self.data)), threads=self.threads))


class ProjectedAtoms(NamedTuple):
    """Atoms in views: positions (n_views, n_atoms) as indices, and widths (n_atoms,), in pixels."""

    u: Doubles
    v: Doubles
    sigma: Doubles


@dataclass(frozen=True, eq=False)
class GaussianModel:
    """Model of atoms as Gaussians in views.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
        x, y and z from the rotation centre.
    amplitude : ndarray of shape (n_atoms,), float64
        Integral of an atom over a view, in the unit of a pixel.
    kind : ndarray of shape (n_atoms,), int
        Number of the species.
    sigma_A : ndarray of shape (n_species,), float64
        Width of the atoms of each species.
    level : ndarray of shape (n_views,), float64
        Background level of each view.
    """

    position_A: Doubles
    amplitude: Doubles
    kind: Kinds
    sigma_A: Doubles
    level: Doubles

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.amplitude)

    def select(self, chosen: NDArray[np.bool_]) -> "GaussianModel":
        """Return the model of a subset of the atoms."""
        return replace(
            self,
            position_A=self.position_A[chosen],
            amplitude=self.amplitude[chosen],
            kind=self.kind[chosen],
        )

    def means(self) -> Doubles:
        """Return the mean amplitude of each species."""
        count = np.bincount(self.kind, minlength=len(self.sigma_A))
        return np.bincount(self.kind, self.amplitude, len(self.sigma_A)) / np.maximum(count, 1)

    def b_factors_A2(self) -> Doubles:
        """Return 8π² σ² of each species, which includes the width of the probe and of a pixel."""
        return np.asarray(8 * np.pi**2 * self.sigma_A**2)


def project_model(model: GaussianModel, views: AtomViews) -> Doubles:
    """Compute the views that a model predicts.

    Parameters
    ----------
    model : GaussianModel
    views : AtomViews

    Returns
    -------
    ndarray of shape (n_views, n_v, n_u), float64
    """
    projected = views.project_atoms(model)
    return np.stack(views.map_views(lambda k: view_of(model, views, projected, k)))


def view_of(model: GaussianModel, views: AtomViews, projected: "ProjectedAtoms", k: int) -> Doubles:
    """Compute view k of a model, of shape (n_v, n_u), from the projected positions of its atoms."""
    image = np.full(views.data.shape[1:], model.level[k])
    for other in (views.outside, views.fixed):
        if other is not None:
            image += other[k]
    _views.add_atoms(image, projected.u[k], projected.v[k], model.amplitude, projected.sigma)
    return image


def start_model(
    position_A: Doubles, intensity: Doubles, kind: Kinds, sigma_A: Doubles, views: AtomViews
) -> GaussianModel:
    """Create the initial model: scale the intensities of atoms in a volume to the views by least squares.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
    intensity : ndarray of shape (n_atoms,), float64
        Relative intensities.
    kind : ndarray of shape (n_atoms,), int
    sigma_A : ndarray of shape (n_species,), float64
    views : AtomViews

    Returns
    -------
    GaussianModel

    Raises
    ------
    DataError
        When the views do not show the atoms.
    """
    model = GaussianModel(position_A, intensity, kind, sigma_A, np.zeros(len(views.data)))
    views = views.less_outside()
    shown = project_model(model, replace(views, fixed=None))
    a, b = (_contrast(each, views) for each in (shown, views.data))
    scale = float((a * b).sum() / max(float((a * a).sum()), 1e-300))
    if not scale > 0:
        raise DataError(
            "the views do not show the atoms of the volume; is it the series that was reconstructed, with "
            "the same angles?"
        )
    level = (views.data - scale * shown).mean(axis=(1, 2))
    return replace(model, amplitude=scale * intensity, level=level)


def _contrast(images: Doubles, views: AtomViews) -> Doubles:
    """Return images minus their smooth part, or minus their mean: the contrast that atoms may cause."""
    if views.diffuse_A:
        return np.asarray(images - smooth_part(images, views.diffuse_A / views.pixel_A))
    return np.asarray(images - images.mean(axis=(1, 2), keepdims=True))


def check_hand(model: GaussianModel, views: AtomViews) -> None:
    """Check that the views do not show the mirror image of a model.

    Parameters
    ----------
    model : GaussianModel
        From `start_model`.
    views : AtomViews

    Raises
    ------
    DataError
        When the views are better explained with z reversed: the sign of the angles is not that of the volume.
    """
    mirrored = replace(model, position_A=model.position_A * [1, 1, -1])
    views = views.less_outside()
    measured = _contrast(views.data, views)
    correlation = []
    for each in (model, mirrored):
        shown = _contrast(project_model(each, replace(views, fixed=None)), views)
        correlation.append(float((shown * measured).sum() / max(float(np.sqrt((shown**2).sum())), 1e-300)))
    if correlation[1] > MIRRORED * correlation[0]:
        raise DataError(
            "the views show the mirror image (z reversed) of the atoms of the volume; are the signs of the "
            "angles those that it was reconstructed with?"
        )


def left_out_misfit(
    model: GaussianModel, views: AtomViews, weight: Doubles | None = None
) -> tuple[Doubles, Doubles]:
    """Compute the misfit of a model to left-out views, against which it was not refined.

    Parameters
    ----------
    model : GaussianModel
        Its levels are ignored.
    views : AtomViews
    weight : ndarray of shape (n_views, n_v, n_u), float64, optional
        Inverse variances of pixels; from the residuals by default.

    Returns
    -------
    misfit : ndarray of shape (n_views,), float64
        Mean square of the residual of each view over its variance, after a fit of its level, or smooth part.
    weight : ndarray of shape (n_views, n_v, n_u), float64
        The weights used, so that other models can be compared with the same.
    """
    views = replace(views, fixed=None)
    bare = project_model(replace(model, level=np.zeros(len(views.data))), views)
    model = replace(model, level=(views.data - bare).mean(axis=(1, 2)))
    views = with_diffuse(views, model)
    shown = project_model(model, views)
    residual = views.data - shown
    if weight is None:
        weight = inverse_variance(views, shown)
    total = np.maximum(weight.sum(axis=(1, 2)), 1e-300)
    residual -= ((weight * residual).sum(axis=(1, 2)) / total)[:, np.newaxis, np.newaxis]
    count = np.maximum(np.count_nonzero(weight, axis=(1, 2)), 1)
    return np.asarray((weight * residual**2).sum(axis=(1, 2)) / count), weight


def with_diffuse(views: AtomViews, model: GaussianModel) -> AtomViews:
    """Model what the views show in addition to Gaussians: tails of atoms, or diffuse background.

    Parameters
    ----------
    views : AtomViews
    model : GaussianModel

    Returns
    -------
    AtomViews
        With the tails of the atoms as ``fixed``, see `etcli.core.atoms.tails.tails`; if a diffuse background
        is expected, with the smooth part of the residual in their place. Pixels where it is large compared
        with the model show matter that is not in the model, and are not trusted.
    """
    if not views.diffuse_A:
        return _with_tails(views, model)
    inside = views.less_outside()
    shown = project_model(model, replace(inside, fixed=None))
    fixed = smooth_part(inside.data - shown, views.diffuse_A / views.pixel_A)
    trusted = np.abs(fixed) < FOREIGN * np.abs(shown) if views.trusted is None else views.trusted
    return replace(views, fixed=fixed, trusted=trusted)


def _with_tails(views: AtomViews, model: GaussianModel) -> AtomViews:
    """Return the views with the tails of the atoms of a model."""
    if not len(model):
        return replace(views, fixed=None)
    atoms = project_model(replace(model, level=np.zeros(len(views.data))), replace(views, fixed=None))
    without_tails = atoms + model.level[:, np.newaxis, np.newaxis]
    sigma_px = float(model.sigma_A[model.kind].mean()) / views.pixel_A
    fixed = views.fixed
    for _ in range(1 if fixed is not None else FIRST_TAILS):
        weight = inverse_variance(views, without_tails if fixed is None else without_tails + fixed)
        fixed = tails(atoms, views.data - without_tails, weight, sigma_px)
    return replace(views, fixed=fixed)


def smooth_part(images: Doubles, sigma_px: float) -> Doubles:
    """Convolve each image with a Gaussian."""
    return np.stack([ndimage.gaussian_filter(image, sigma_px, mode="nearest") for image in images])


def inverse_variance(views: AtomViews, shown: Doubles) -> Doubles:
    """Compute the weight of every pixel: the inverse of its variance, which is linear in the predicted value.

    Parameters
    ----------
    views : AtomViews
    shown : ndarray of shape (n_views, n_v, n_u), float64
        Predicted views λ from `project_model`.

    Returns
    -------
    ndarray of shape (n_views, n_v, n_u), float64
        ``1 / (a + c λ)``, see `variance_of_pixels`, and 0 where a pixel is not trusted.

    Raises
    ------
    DataError
        When no pixel is trusted.
    """
    trusted = 1.0 if views.trusted is None else views.trusted
    a, c, least = _variance(views, shown)
    return np.asarray(trusted / np.maximum(a + c * np.maximum(shown, 0), least))


def variance_of_pixels(views: AtomViews, shown: Doubles) -> tuple[float, float]:
    """Estimate the variance of pixels, which is linear in the predicted value.

    Parameters
    ----------
    views : AtomViews
    shown : ndarray of shape (n_views, n_v, n_u), float64
        Predicted views λ from `project_model`.

    Returns
    -------
    a, c : float
        The variance is ``a + c λ`` with a, c ≥ 0: Poisson noise of any gain has a = 0, uniform noise has
        c = 0. Both are fitted to the mean squares of residuals in 20 classes of λ.

    Raises
    ------
    DataError
        When no pixel is trusted.
    """
    a, c, _ = _variance(views, shown)
    return a, c


def _variance(views: AtomViews, shown: Doubles) -> tuple[float, float, float]:
    """Return the constants of the variance of pixels, and the least variance."""
    trusted = np.ones(shown.shape, bool) if views.trusted is None else views.trusted
    if not trusted.any():
        raise DataError("the views show hardly anything of atoms; is it the series that was reconstructed?")
    square, value = (views.data - shown)[trusted] ** 2, shown[trusted]
    edges = np.quantile(value, np.linspace(0, 1, CLASSES + 1))
    label = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, CLASSES - 1)
    count = np.bincount(label, minlength=CLASSES)
    used = count > 0
    mean_value = (np.bincount(label, value, CLASSES)[used] / count[used]).clip(min=0)
    mean_square = np.bincount(label, square, CLASSES)[used] / count[used]
    typical = float(mean_square.mean()) or 1.0
    # weights for equal relative errors: the error of a mean square is proportional to itself
    weight = np.sqrt(count[used]) / np.maximum(mean_square, LEAST_VARIANCE * typical)
    (a, c), _ = nnls(np.column_stack([weight, weight * mean_value]), weight * mean_square)
    return float(a), float(c), LEAST_VARIANCE * typical
