"""Refinement of an atomic model against the views it was found in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from etcli.core.atoms import _views
from etcli.core.errors import DataError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map

Doubles = NDArray[np.float64]
Kinds = NDArray[np.intp]

AMPLITUDE_SPREAD = 0.35
"""Standard deviation expected of the amplitude of an atom, in the mean of its species."""
ROUNDS, ITERATIONS = 3, 60
FARTHEST_A = 1.0
"""What moves farther from where it was found is not the same atom."""
LEAST_VARIANCE = 1e-3
"""Of the variance of a pixel, in that of the mean pixel."""


@dataclass(frozen=True, eq=False)
class Views:
    """Views and how they were taken.

    Parameters
    ----------
    data : ndarray of shape (n_views, n_v, n_u), float64
        Linear in the projected density, in any unit, with or without a level below.
    rotation : ndarray of shape (n_views, 3, 3), float64
        See `etcli.core.orientation.rotation_matrices`.
    pixel_A : float
    fixed : ndarray of shape (n_views, n_v, n_u), float64, optional
        What else is seen, such as what lies outside the volume.
    threads : int
    """

    data: Doubles
    rotation: Doubles
    pixel_A: float
    fixed: Doubles | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or self.rotation.shape != (len(self.data), 3, 3):
            raise DataError(f"views of shape {self.data.shape} need as many rotations")

    def seen(self, position_A: Doubles) -> tuple[Doubles, Doubles]:
        """Return u and v of all atoms in all views, as indices, each of shape (n_views, n_atoms)."""
        n_v, n_u = self.data.shape[1:]
        at = self.rotation[:, :2] @ position_A.T / self.pixel_A
        return at[:, 0] + centre(n_u), at[:, 1] + centre(n_v)

    def each(self, work: Callable[[int], Doubles]) -> list[Doubles]:
        """Return what a function returns for each view."""
        return list(ordered_map(work, range(len(self.data)), threads=self.threads))


@dataclass(frozen=True, eq=False)
class Model:
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

    def select(self, chosen: NDArray[np.bool_]) -> "Model":
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


def project_model(model: Model, views: Views) -> Doubles:
    """Return what the views should show.

    Parameters
    ----------
    model : Model
    views : Views

    Returns
    -------
    ndarray of shape (n_views, n_v, n_u), float64
    """
    u, v = views.seen(model.position_A)
    sigma = model.sigma_A[model.kind] / views.pixel_A

    def work(k: int) -> Doubles:
        image = np.full(views.data.shape[1:], model.level[k])
        if views.fixed is not None:
            image += views.fixed[k]
        _views.add_atoms(image, u[k], v[k], model.amplitude, sigma)
        return image

    return np.stack(views.each(work))


def start_model(
    position_A: Doubles, intensity: Doubles, kind: Kinds, sigma_A: Doubles, views: Views
) -> Model:
    """Bring the intensities of atoms in a volume to the unit of the views, by least squares.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
    intensity : ndarray of shape (n_atoms,), float64
        Relative.
    kind : ndarray of shape (n_atoms,), int
    sigma_A : ndarray of shape (n_species,), float64
    views : Views

    Returns
    -------
    Model

    Raises
    ------
    DataError
        When the views do not show the atoms.
    """
    none = np.zeros(len(views.data))
    model = Model(position_A, intensity, kind, sigma_A, none)
    shown = project_model(model, replace(views, fixed=None))
    measured = views.data if views.fixed is None else views.data - views.fixed
    a, b = (each - each.mean(axis=(1, 2), keepdims=True) for each in (shown, measured))
    scale = float((a * b).sum() / max(float((a * a).sum()), 1e-300))
    if not scale > 0:
        raise DataError(
            "the views do not show the atoms of the volume; is it the series that was reconstructed, with the "
            "same angles?"
        )
    level = (measured - scale * shown).mean(axis=(1, 2))
    return replace(model, amplitude=scale * intensity, level=level)


def noise_variance(views: Views, shown: Doubles) -> Doubles:
    """Return the variance of every pixel, a line in what should be seen there, from the residuals.

    Parameters
    ----------
    views : Views
    shown : ndarray of shape (n_views, n_v, n_u), float64
        From `project_model`.

    Returns
    -------
    ndarray of shape (n_views, n_v, n_u), float64
        ``a + c λ`` with a, c ≥ 0: Poisson noise of any gain has a = 0, and noise that is the same everywhere
        has c = 0. Found from the mean squares of residuals in 20 classes of λ.
    """
    from scipy.optimize import nnls

    square = (views.data - shown).ravel() ** 2
    value = shown.ravel()
    edges = np.quantile(value, np.linspace(0, 1, 21))
    label = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, 19)
    count = np.bincount(label, minlength=20)
    used = count > 0
    mean_value = (np.bincount(label, value, 20)[used] / count[used]).clip(min=0)
    mean_square = np.bincount(label, square, 20)[used] / count[used]
    typical = float(mean_square.mean()) or 1.0
    # relative errors of the mean squares: their weights follow from themselves
    weight = np.sqrt(count[used]) / np.maximum(mean_square, LEAST_VARIANCE * typical)
    (a, c), _ = nnls(np.column_stack([weight, weight * mean_value]), weight * mean_square)
    return np.maximum(a + c * np.maximum(shown, 0), LEAST_VARIANCE * typical)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The misfit as a function of scaled variables, all of them about 1 from where it begins.

    Parameters
    ----------
    start : Model
    views : Views
    weight : ndarray of shape (n_views, n_v, n_u), float64
        Inverse variances.
    spread : float
        Of amplitudes, in the mean of their species.
    """

    start: Model
    views: Views
    weight: Doubles
    spread: float
    lower: Doubles = field(init=False, repr=False)
    scale_sigma: Doubles = field(init=False, repr=False)
    scale_level: Doubles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        blocks, of_width = self.information()
        mean = self.start.means()[self.start.kind]
        blocks[:, 0, 0] += 1 / (self.spread * mean) ** 2
        # an atom that no view shows must not make the block singular
        blocks[:, range(4), range(4)] *= 1 + 1e-6
        blocks[:, range(1, 4), range(1, 4)] += 1 / FARTHEST_A**2
        object.__setattr__(self, "lower", np.linalg.cholesky(blocks))
        per_species = np.bincount(self.start.kind, of_width, len(self.start.sigma_A))
        object.__setattr__(self, "scale_sigma", 1 / np.sqrt(np.maximum(per_species, 1e-12)))
        object.__setattr__(self, "scale_level", 1 / np.sqrt(self.weight.sum(axis=(1, 2))))

    def information(self) -> tuple[Doubles, Doubles]:
        """Return the Fisher information of (amplitude, x, y, z) of each atom, and of its logarithmic width."""
        model, views = self.start, self.views
        u, v = views.seen(model.position_A)
        sigma = model.sigma_A[model.kind] / views.pixel_A

        def work(k: int) -> Doubles:
            found = np.empty((len(model), 7))
            _views.information(self.weight[k], u[k], v[k], model.amplitude, sigma, found)
            return found

        blocks, of_width = np.zeros((len(model), 4, 4)), np.zeros(len(model))
        for k, found in enumerate(ordered_map(work, range(len(views.data)), threads=views.threads)):
            turn = np.zeros((3, 4))
            turn[0, 0] = 1
            turn[1:, 1:] = views.rotation[k, :2] / views.pixel_A
            part = found[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
            blocks += turn.T @ part @ turn
            of_width += found[:, 6]
        return blocks, of_width

    def model(self, scaled: Doubles) -> Model:
        """Return the model of scaled variables."""
        n, n_species = len(self.start), len(self.start.sigma_A)
        parts = np.split(scaled, [4 * n, 4 * n + n_species])
        step = np.linalg.solve(self.lower.transpose(0, 2, 1), parts[0].reshape(n, 4, 1))[..., 0]
        return replace(
            self.start,
            amplitude=self.start.amplitude + step[:, 0],
            position_A=self.start.position_A + step[:, 1:],
            sigma_A=self.start.sigma_A * np.exp(np.clip(parts[1] * self.scale_sigma, -1, 1)),
            level=self.start.level + parts[2] * self.scale_level,
        )

    def __call__(self, scaled: Doubles) -> tuple[float, Doubles]:
        """Return the misfit and its gradient."""
        model, views = self.model(scaled), self.views
        u, v = views.seen(model.position_A)
        sigma = model.sigma_A[model.kind] / views.pixel_A
        squares = np.empty(len(views.data))
        of_level = np.empty(len(views.data))

        def work(k: int) -> Doubles:
            image = np.full(views.data.shape[1:], model.level[k])
            if views.fixed is not None:
                image += views.fixed[k]
            _views.add_atoms(image, u[k], v[k], model.amplitude, sigma)
            image -= views.data[k]
            weighted = self.weight[k] * image
            squares[k] = float((weighted * image).sum())
            of_level[k] = float(weighted.sum())
            slopes = np.empty((len(model), 4))
            _views.gather(weighted, u[k], v[k], model.amplitude, sigma, slopes)
            return slopes

        gradient, of_width = np.zeros((len(model), 4)), np.zeros(len(model))
        for k, slopes in enumerate(ordered_map(work, range(len(views.data)), threads=views.threads)):
            gradient[:, 0] += slopes[:, 0]
            gradient[:, 1:] += slopes[:, 1:3] @ views.rotation[k, :2] / views.pixel_A
            of_width += slopes[:, 3]
        mean = self.start.means()[self.start.kind]
        away = (model.amplitude - mean) / (self.spread * mean)
        moved = (model.position_A - self.start.position_A) / FARTHEST_A
        misfit = 0.5 * (squares.sum() + (away**2).sum() + (moved**2).sum())
        gradient[:, 0] += away / (self.spread * mean)
        gradient[:, 1:] += moved / FARTHEST_A
        scaled_gradient = np.linalg.solve(self.lower, gradient[..., np.newaxis])[..., 0]
        per_species = np.bincount(model.kind, of_width, len(model.sigma_A)) * self.scale_sigma
        return float(misfit), np.concatenate(
            [scaled_gradient.ravel(), per_species, of_level * self.scale_level]
        )


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined model.

    Parameters
    ----------
    model : Model
    error_A : ndarray of shape (n_atoms, 3), float64
        Standard deviations of x, y and z from the Fisher information of each atom; how neighbours share what
        is seen is left out, so they are optimistic.
    r_factor : float
        Σ |data - model| / Σ |data - level| over all pixels.
    chi2 : float
        Mean square of the residual over its variance.
    """

    model: Model
    error_A: Doubles
    r_factor: float
    chi2: float


def refine(
    model: Model,
    views: Views,
    *,
    spread: float = AMPLITUDE_SPREAD,
    rounds: int = ROUNDS,
    iterations: int = ITERATIONS,
    progress: Callable[[int], None] | None = None,
) -> Refined:
    """Refine positions, amplitudes, widths and levels of a model so that it shows what the views show.

    Parameters
    ----------
    model : Model
        Where to start.
    views : Views
    spread : float
        Standard deviation expected of amplitudes, in the mean of their species.
    rounds : int
        How often the noise is estimated again.
    iterations : int
        Of L-BFGS in each round.
    progress : callable, optional
        Called with 1 after every iteration.

    Returns
    -------
    Refined
        Atoms in the order of the model.

    Notes
    -----
    In view k the pixel (u, v) shows ``λ = bₖ + Σ Aₙ G(u - uₙₖ) G(v - vₙₖ)``. What is minimised is
    ``½ Σ (y - λ)² / (a + c λ)``, with the variance from the residuals of the last round (so that counts of any
    gain get the weights of Poisson noise), and the squares of how far amplitudes are from the mean of their
    species, in ``spread``. The variables are scaled by the Cholesky factor of the Fisher information of each
    atom.

    References
    ----------
    Y. Yang et al., Nature 542, 75 (2017), doi:10.1038/nature21042, methods: refinement of positions, H and B.
    D. C. Liu, J. Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116: L-BFGS.
    """
    tell = progress or (lambda steps: None)
    problem: _Problem | None = None
    for _ in range(rounds):
        weight = 1 / noise_variance(views, project_model(model, views))
        problem = _Problem(model, views, weight, spread)
        n_variables = 4 * len(model) + len(model.sigma_A) + len(model.level)
        found = minimize(
            problem,
            np.zeros(n_variables),
            jac=True,
            method="L-BFGS-B",
            callback=lambda x: tell(1),
            options={"maxiter": iterations, "maxcor": 10, "ftol": 1e-9},
        )
        model = problem.model(found.x)
    shown = project_model(model, views)
    variance = noise_variance(views, shown)
    blocks, _ = _Problem(model, views, 1 / variance, spread).information()
    mean = model.means()[model.kind]
    blocks[:, 0, 0] += 1 / (spread * mean) ** 2
    blocks[:, range(1, 4), range(1, 4)] += 1e-12 + 1 / FARTHEST_A**2
    covariance = np.linalg.inv(blocks)
    residual = views.data - shown
    above = np.abs(views.data - model.level[:, np.newaxis, np.newaxis]).sum()
    return Refined(
        model,
        np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)[:, 1:]),
        float(np.abs(residual).sum() / max(above, 1e-300)),
        float((residual**2 / variance).mean()),
    )
