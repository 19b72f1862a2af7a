"""Refinement of an atomic model against the views it was found in."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from etcli.core.atoms import _views
from etcli.core.atoms.gaussian_model import (
    AtomViews,
    GaussianModel,
    inverse_variance,
    project_model,
    view_of,
    with_diffuse,
)
from etcli.core.parallel import ordered_map

Doubles = NDArray[np.float64]
Kinds = NDArray[np.intp]

AMPLITUDE_SPREAD = 0.35
"""Standard deviation expected of the amplitude of an atom, in the mean of its species."""
ROUNDS, ITERATIONS = 3, 60
FLAT = 1e-9
TINY = 1e-12
UNSEEN_A = 10.0
RESTRAINT_A = 0.1
"""Standard deviation expected of a move from where an atom was found, when nobody says."""


@dataclass(frozen=True, eq=False)
class _Problem:
    """The misfit as a function of scaled variables, all of them about 1 from where it begins.

    Parameters
    ----------
    start : GaussianModel
    views : AtomViews
    weight : ndarray of shape (n_views, n_v, n_u), float64
        Inverse variances.
    spread : float
        Of amplitudes, in the mean of their species.
    home_A : ndarray of shape (n_atoms, 3), float64
        Where the atoms were found.
    restraint_A : float
        Standard deviation expected of a move from there.
    """

    start: GaussianModel
    views: AtomViews
    weight: Doubles
    spread: float
    home_A: Doubles
    restraint_A: float
    blocks: Doubles = field(init=False, repr=False)
    lower: Doubles = field(init=False, repr=False)
    scale_sigma: Doubles = field(init=False, repr=False)
    scale_level: Doubles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        blocks, of_width = self.information()
        blocks[:, 0, 0] += 1 / (self.spread * self.start.means()[self.start.kind]) ** 2
        blocks[:, range(1, 4), range(1, 4)] += 1 / self.restraint_A**2
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "lower", np.linalg.cholesky(blocks + TINY * np.eye(4)))
        per_species = np.bincount(self.start.kind, of_width, len(self.start.sigma_A))
        object.__setattr__(self, "scale_sigma", 1 / np.sqrt(np.maximum(per_species, 1e-12)))
        object.__setattr__(self, "scale_level", 1 / np.sqrt(np.maximum(self.weight.sum(axis=(1, 2)), TINY)))

    def information(self) -> tuple[Doubles, Doubles]:
        """Return the information on (amplitude, x, y, z) of each atom, and on the logarithm of its width."""
        model, views = self.start, self.views
        seen = views.look_at(model)

        def work(k: int) -> Doubles:
            found = np.empty((len(model), 7))
            _views.information(self.weight[k], seen.u[k], seen.v[k], model.amplitude, seen.sigma, found)
            return found

        blocks, of_width = np.zeros((len(model), 16)), np.zeros(len(model))
        for k, found in enumerate(ordered_map(work, range(len(views.data)), threads=views.threads)):
            turn = np.zeros((3, 4))
            turn[0, 0] = 1
            turn[1:, 1:] = views.rotation[k, :2] / views.pixel_A
            # Jᵀ F J of a symmetric F is linear in its six numbers
            products = np.zeros((6, 16))
            np.add.at(products, [0, 1, 2, 1, 3, 4, 2, 4, 5], np.kron(turn, turn))
            blocks += found[:, :6] @ products
            of_width += found[:, 6]
        return blocks.reshape(-1, 4, 4), of_width

    def model(self, scaled: Doubles) -> GaussianModel:
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
        seen = views.look_at(model)
        squares = np.empty(len(views.data))
        of_level = np.empty(len(views.data))

        def work(k: int) -> Doubles:
            surplus = view_of(model, views, seen, k) - views.data[k]
            weighted = self.weight[k] * surplus
            squares[k] = float((weighted * surplus).sum())
            of_level[k] = float(weighted.sum())
            slopes = np.empty((len(model), 4))
            _views.gather(weighted, seen.u[k], seen.v[k], model.amplitude, seen.sigma, slopes)
            return slopes

        gradient, of_width = np.zeros((len(model), 4)), np.zeros(len(model))
        for k, slopes in enumerate(ordered_map(work, range(len(views.data)), threads=views.threads)):
            gradient[:, 0] += slopes[:, 0]
            gradient[:, 1:] += slopes[:, 1:3] @ views.rotation[k, :2] / views.pixel_A
            of_width += slopes[:, 3]
        mean = self.start.means()[self.start.kind]
        away = (model.amplitude - mean) / (self.spread * mean)
        moved = (model.position_A - self.home_A) / self.restraint_A
        misfit = 0.5 * (squares.sum() + (away**2).sum() + (moved**2).sum())
        gradient[:, 0] += away / (self.spread * mean)
        gradient[:, 1:] += moved / self.restraint_A
        scaled_gradient = np.linalg.solve(self.lower, gradient[..., np.newaxis])[..., 0]
        per_species = np.bincount(model.kind, of_width, len(model.sigma_A)) * self.scale_sigma
        return float(misfit), np.concatenate(
            [scaled_gradient.ravel(), per_species, of_level * self.scale_level]
        )


@dataclass(frozen=True, eq=False)
class RefinedModel:
    """A refined model.

    Parameters
    ----------
    model : GaussianModel
    error_A : ndarray of shape (n_atoms, 3), float64
        Standard deviations of x, y and z from the Fisher information of each atom; how neighbours share what
        is seen is left out, so they are optimistic.
    r_factor : float
        Σ |data - model| / Σ |data - what is seen beside atoms| over all pixels.
    chi2 : float
        Mean square of the residual over its variance.
    """

    model: GaussianModel
    error_A: Doubles
    r_factor: float
    chi2: float


def refine_model(
    model: GaussianModel,
    views: AtomViews,
    *,
    restraint_A: float = RESTRAINT_A,
    home_A: Doubles | None = None,
    spread: float = AMPLITUDE_SPREAD,
    rounds: int = ROUNDS,
    iterations: int = ITERATIONS,
) -> RefinedModel:
    """Refine positions, amplitudes, widths and levels of a model so that it shows what the views show.

    Parameters
    ----------
    model : GaussianModel
        Where to start.
    views : AtomViews
    restraint_A : float
        Standard deviation expected of a move from home; see `etcli.core.atoms.restraint.find_restraint`.
    home_A : ndarray of shape (n_atoms, 3), float64, optional
        Where the atoms were found; by default where they are.
    spread : float
        Standard deviation expected of amplitudes, in the mean of their species.
    rounds : int
        How often the noise is estimated again.
    iterations : int
        Of L-BFGS in each round, at most.

    Returns
    -------
    Refined
        Atoms in the order of the model.

    Notes
    -----
    In view k the pixel (u, v) shows ``λ = bₖ + Σ Aₙ G(u - uₙₖ) G(v - vₙₖ)``. What is minimised is
    ``½ Σ (y - λ)² / (a + c λ)``, with the variance from the residuals of the last round (so that counts of
    any gain get the weights of Poisson noise), plus half the squares of how far amplitudes are from the mean
    of their species, in ``spread``, and of how far atoms are from where they were found, in ``restraint_A``:
    what is wrong with the views (angles, shifts, what is no atom) is not white noise, and would move them.
    The variables are scaled by the Cholesky factor of the Fisher information of each atom.

    References
    ----------
    Y. Yang et al., Nature 542, 75 (2017), doi:10.1038/nature21042, methods: refinement of positions, H and B.
    D. C. Liu, J. Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116: L-BFGS.
    """
    home_A = model.position_A if home_A is None else home_A
    for _ in range(rounds):
        views = with_diffuse(views, model)
        weight = inverse_variance(views, project_model(model, views))
        problem = _Problem(model, views, weight, spread, home_A, restraint_A)
        found = minimize(
            problem,
            np.zeros(4 * len(model) + len(model.sigma_A) + len(model.level)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxcor": 10, "ftol": FLAT},
        )
        model = problem.model(found.x)
    return _judged(model, with_diffuse(views, model), spread)


def _judged(model: GaussianModel, views: AtomViews, spread: float) -> RefinedModel:
    """Return a model with what is left and how certain it is."""
    shown = project_model(model, views)
    weight = inverse_variance(views, shown)
    problem = _Problem(model, views, weight, spread, model.position_A, np.inf)
    # an atom that no view shows is not certain at all, but its block must not be singular
    blocks = problem.blocks + np.diag([0.0, *[1 / UNSEEN_A**2] * 3])
    residual = views.data - shown
    plain = replace(model, amplitude=np.zeros(len(model)))
    above = np.abs((views.data - project_model(plain, views))[weight > 0]).sum()
    return RefinedModel(
        model,
        np.sqrt(np.diagonal(np.linalg.inv(blocks), axis1=1, axis2=2)[:, 1:]),
        float(np.abs(residual[weight > 0]).sum() / max(above, 1e-300)),
        float((residual**2 * weight).sum() / np.count_nonzero(weight)),
    )
