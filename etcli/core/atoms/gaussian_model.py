"""Atoms in views: how they are seen, and how much of it is noise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import nnls

from etcli.core.atoms import _views
from etcli.core.errors import DataError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map

Doubles = NDArray[np.float64]
Kinds = NDArray[np.intp]

LEAST_VARIANCE = 1e-3
"""Of the variance of a pixel, in that of the mean pixel."""
CLASSES = 20
MIRRORED = 1.02
FOREIGN = 0.2
"""Share of what a pixel shows of the model: where as much is seen of something else, it is not trusted."""


@dataclass(frozen=True, eq=False)
class AtomViews:
    """Views and how they were taken.

    Parameters
    ----------
    data : ndarray of shape (n_views, n_v, n_u), float64
        Linear in the projected density, in any unit, with or without a level below.
    rotation : ndarray of shape (n_views, 3, 3), float64
        See `etcli.core.orientation.rotation_matrices`.
    pixel_A : float
    diffuse_A : float
        Standard deviation of the Gaussian that tells from atoms what varies slowly over a view, such as what
        lies beyond the volume of a film; 0 where nothing but a level is to be expected.
    fixed : ndarray of shape (n_views, n_v, n_u), float64, optional
        What is seen beside atoms and levels.
    trusted : ndarray of shape (n_views, n_v, n_u), bool, optional
        Pixels that count; all by default.
    threads : int
    """

    data: Doubles
    rotation: Doubles
    pixel_A: float
    diffuse_A: float = 0.0
    fixed: Doubles | None = None
    trusted: NDArray[np.bool_] | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or self.rotation.shape != (len(self.data), 3, 3):
            raise DataError(f"views of shape {self.data.shape} need as many rotations")

    def seen(self, position_A: Doubles) -> tuple[Doubles, Doubles]:
        """Return u and v of all atoms in all views, as indices, each of shape (n_views, n_atoms)."""
        n_v, n_u = self.data.shape[1:]
        at = self.rotation[:, :2] @ position_A.T / self.pixel_A
        return at[:, 0] + centre(n_u), at[:, 1] + centre(n_v)

    def look_at(self, model: "GaussianModel") -> "SeenAtoms":
        """Return where and how wide the atoms of a model are seen."""
        return SeenAtoms(*self.seen(model.position_A), model.sigma_A[model.kind] / self.pixel_A)

    def of_views(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "AtomViews":
        """Return some of the views, without what was found to be beside the atoms."""
        return replace(self, data=self.data[chosen], rotation=self.rotation[chosen], fixed=None, trusted=None)

    def each(self, work: Callable[[int], Doubles]) -> list[Doubles]:
        """Return what a function returns for each view."""
        return list(ordered_map(work, range(len(self.data)), threads=self.threads))


class SeenAtoms(NamedTuple):
    """Atoms in views: places (n_views, n_atoms) as indices, and widths (n_atoms,), in pixels."""

    u: Doubles
    v: Doubles
    sigma: Doubles


@dataclass(frozen=True, eq=False)
class GaussianModel:
    """Atoms as views show them.

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
        Level below the atoms in each view.
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
        """Return the model of some of the atoms."""
        return replace(
            self,
            position_A=self.position_A[chosen],
            amplitude=self.amplitude[chosen],
            kind=self.kind[chosen],
        )

    def means(self) -> Doubles:
        """Return the mean amplitude of every species."""
        count = np.bincount(self.kind, minlength=len(self.sigma_A))
        return np.bincount(self.kind, self.amplitude, len(self.sigma_A)) / np.maximum(count, 1)

    def b_factors_A2(self) -> Doubles:
        """Return 8π² σ² of every species, which includes the width of the probe and of a pixel."""
        return np.asarray(8 * np.pi**2 * self.sigma_A**2)


def project_model(model: GaussianModel, views: AtomViews) -> Doubles:
    """Return what the views should show.

    Parameters
    ----------
    model : GaussianModel
    views : AtomViews

    Returns
    -------
    ndarray of shape (n_views, n_v, n_u), float64
    """
    seen = views.look_at(model)
    return np.stack(views.each(lambda k: view_of(model, views, seen, k)))


def view_of(model: GaussianModel, views: AtomViews, seen: "SeenAtoms", k: int) -> Doubles:
    """Return what view k should show, of shape (n_v, n_u), given where the atoms are seen."""
    image = np.full(views.data.shape[1:], model.level[k])
    if views.fixed is not None:
        image += views.fixed[k]
    _views.add_atoms(image, seen.u[k], seen.v[k], model.amplitude, seen.sigma)
    return image


def start_model(
    position_A: Doubles, intensity: Doubles, kind: Kinds, sigma_A: Doubles, views: AtomViews
) -> GaussianModel:
    """Bring the intensities of atoms in a volume to the unit of the views, by least squares.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
    intensity : ndarray of shape (n_atoms,), float64
        Relative.
    kind : ndarray of shape (n_atoms,), int
    sigma_A : ndarray of shape (n_species,), float64
    views : AtomViews

    Returns
    -------
    Model

    Raises
    ------
    DataError
        When the views do not show the atoms.
    """
    model = GaussianModel(position_A, intensity, kind, sigma_A, np.zeros(len(views.data)))
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
    """Return what of images may be of atoms."""
    if views.diffuse_A:
        return np.asarray(images - smooth_part(images, views.diffuse_A / views.pixel_A))
    return np.asarray(images - images.mean(axis=(1, 2), keepdims=True))


def check_hand(model: GaussianModel, views: AtomViews) -> None:
    """Refuse views that show the mirror image of a model.

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
    seen = _contrast(views.data, views)
    likeness = []
    for each in (model, mirrored):
        shown = _contrast(project_model(each, replace(views, fixed=None)), views)
        likeness.append(float((shown * seen).sum() / max(float(np.sqrt((shown**2).sum())), 1e-300)))
    if likeness[1] > MIRRORED * likeness[0]:
        raise DataError(
            "the views show the mirror image (z reversed) of the atoms of the volume; are the signs of the "
            "angles those that it was reconstructed with?"
        )


def left_out_misfit(
    model: GaussianModel, views: AtomViews, weight: Doubles | None = None
) -> tuple[Doubles, Doubles]:
    """Return how badly a model predicts views that it was not refined against.

    Parameters
    ----------
    model : GaussianModel
        Its levels are not looked at.
    views : AtomViews
    weight : ndarray of shape (n_views, n_v, n_u), float64, optional
        Inverse variances of pixels; from the residuals by default.

    Returns
    -------
    misfit : ndarray of shape (n_views,), float64
        Mean square of the residual of each view over its variance, with its level, or smooth part, fitted.
    weight : ndarray of shape (n_views, n_v, n_u), float64
        For other models to be compared.
    """
    views = replace(views, fixed=None)
    bare = project_model(replace(model, level=np.zeros(len(views.data))), views)
    model = replace(model, level=(views.data - bare).mean(axis=(1, 2)))
    views = with_diffuse(views, model)
    shown = project_model(model, views)
    residual = views.data - shown
    if weight is None:
        weight = inverse_variance(views, shown)
    count = np.maximum(np.count_nonzero(weight, axis=(1, 2)), 1)
    return np.asarray((weight * residual**2).sum(axis=(1, 2)) / count), weight


def with_diffuse(views: AtomViews, model: GaussianModel) -> AtomViews:
    """Put down to other than atoms what varies slowly over the views and the model does not show.

    Parameters
    ----------
    views : AtomViews
    model : GaussianModel

    Returns
    -------
    Views
        With the smooth part of the residual as ``fixed``, unless there is none to be expected. Pixels where
        it is a large part of what is seen show matter that is not in the model, and are not trusted.
    """
    if not views.diffuse_A:
        return views
    shown = project_model(model, replace(views, fixed=None))
    fixed = smooth_part(views.data - shown, views.diffuse_A / views.pixel_A)
    return replace(views, fixed=fixed, trusted=np.abs(fixed) < FOREIGN * np.abs(shown))


def smooth_part(images: Doubles, sigma_px: float) -> Doubles:
    """Return images convolved with a Gaussian, each for itself."""
    return np.stack([ndimage.gaussian_filter(image, sigma_px, mode="nearest") for image in images])


def inverse_variance(views: AtomViews, shown: Doubles) -> Doubles:
    """Return the weight of every pixel: the inverse of its variance, a line in what should be seen there.

    Parameters
    ----------
    views : AtomViews
    shown : ndarray of shape (n_views, n_v, n_u), float64
        From `project_model`.

    Returns
    -------
    ndarray of shape (n_views, n_v, n_u), float64
        ``1 / (a + c λ)`` with a, c ≥ 0, and 0 where a pixel is not trusted: Poisson noise of any gain has
        a = 0, and noise that is the same everywhere has c = 0. Found from the mean squares of residuals in 20
        classes of λ.

    Raises
    ------
    DataError
        When no pixel is trusted.
    """
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
    # relative errors of the mean squares: their weights follow from themselves
    weight = np.sqrt(count[used]) / np.maximum(mean_square, LEAST_VARIANCE * typical)
    (a, c), _ = nnls(np.column_stack([weight, weight * mean_value]), weight * mean_square)
    return np.asarray(trusted / np.maximum(a + c * np.maximum(shown, 0), LEAST_VARIANCE * typical))
