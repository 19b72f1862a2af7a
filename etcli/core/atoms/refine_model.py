"""Refinement of an atomic model against the views."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize

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
"""Expected standard deviation of the amplitude of an atom, relative to the mean of its species."""
ROUNDS, ITERATIONS = 3, 60
FLAT = 1e-9
TINY = 1e-12
UNSEEN_A = 10.0
RESTRAINT_A = 0.1
"""Default restraint: expected standard deviation of the displacement of an atom from where it was found."""


@dataclass(frozen=True, eq=False)
class RefinementProblem:
    """Misfit as a function of scaled variables, whose changes from the start are of the order of 1.

    Parameters
    ----------
    start : GaussianModel
    views : AtomViews
    weight : ndarray of shape (n_views, n_v, n_u), float64
        Inverse variances.
    spread : float
        Expected standard deviation of amplitudes, relative to the mean of their species.
    home_A : ndarray of shape (n_atoms, 3), float64
        Positions at which the atoms were found.
    restraint_A : float
        Expected standard deviation of the displacement from there.
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
        """Compute the Fisher information of each atom's (amplitude, x, y, z), and of the log of its width."""
        model, views = self.start, self.views
        projected = views.project_atoms(model)

        def view_information(k: int) -> Doubles:
            sums = np.empty((len(model), 7))
            _views.information(
                self.weight[k], projected.u[k], projected.v[k], model.amplitude, projected.sigma, sums
            )
            return sums

        blocks, of_width = np.zeros((len(model), 16)), np.zeros(len(model))
        for k, sums in enumerate(
            ordered_map(view_information, range(len(views.data)), threads=views.threads)
        ):
            jacobian = np.zeros((3, 4))
            jacobian[0, 0] = 1
            jacobian[1:, 1:] = views.rotation[k, :2] / views.pixel_A
            # Jᵀ F J of a symmetric F is linear in its six numbers
            products = np.zeros((6, 16))
            np.add.at(products, [0, 1, 2, 1, 3, 4, 2, 4, 5], np.kron(jacobian, jacobian))
            blocks += sums[:, :6] @ products
            of_width += sums[:, 6]
        return blocks.reshape(-1, 4, 4), of_width

    def steps(self, scaled: Doubles) -> Doubles:
        """Return the changes of amplitude, x, y and z of each atom, (n_atoms, 4), for scaled variables."""
        n = len(self.start)
        steps = np.linalg.solve(self.lower.transpose(0, 2, 1), scaled[: 4 * n].reshape(n, 4, 1))
        return np.asarray(steps[..., 0], np.float64)

    def model(self, scaled: Doubles) -> GaussianModel:
        """Return the model for given scaled variables."""
        n, n_species = len(self.start), len(self.start.sigma_A)
        parts = np.split(scaled, [4 * n, 4 * n + n_species])
        step = self.steps(scaled)
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
        projected = views.project_atoms(model)
        squares = np.empty(len(views.data))
        of_level = np.empty(len(views.data))

        def view_slopes(k: int) -> Doubles:
            surplus = view_of(model, views, projected, k) - views.data[k]
            weighted = self.weight[k] * surplus
            squares[k] = float((weighted * surplus).sum())
            of_level[k] = float(weighted.sum())
            slopes = np.empty((len(model), 4))
            _views.gather(weighted, projected.u[k], projected.v[k], model.amplitude, projected.sigma, slopes)
            return slopes

        gradient, of_width = np.zeros((len(model), 4)), np.zeros(len(model))
        for k, slopes in enumerate(ordered_map(view_slopes, range(len(views.data)), threads=views.threads)):
            gradient += _by_atom(slopes, views, k)
            of_width += slopes[:, 3]
        mean = self.start.means()[self.start.kind]
        away = (model.amplitude - mean) / (self.spread * mean)
        moved = (model.position_A - self.home_A) / self.restraint_A
        misfit = 0.5 * (squares.sum() + (away**2).sum() + (moved**2).sum())
        gradient[:, 0] += away / (self.spread * mean)
        gradient[:, 1:] += moved / self.restraint_A
        return float(misfit), self._scaled(gradient, of_width, of_level)

    def _scaled(self, gradient: Doubles, of_width: Doubles, of_level: Doubles) -> Doubles:
        """Return the gradient by scaled variables from those by atoms, logarithms of widths, and levels."""
        by_atom = np.linalg.solve(self.lower, gradient[..., np.newaxis])[..., 0]
        per_species = np.bincount(self.start.kind, of_width, len(self.start.sigma_A)) * self.scale_sigma
        return np.concatenate([by_atom.ravel(), per_species, of_level * self.scale_level])

    def noise_gradient(self, rng: np.random.Generator) -> Doubles:
        """Return a random gradient by scaled variables, as the noise of the views alone would cause."""
        model, views = self.start, self.views
        projected = views.project_atoms(model)
        gradient, of_width, of_level = np.zeros((len(model), 4)), np.zeros(len(model)), []
        for k, weight in enumerate(self.weight):
            weighted, slopes = np.sqrt(weight) * rng.normal(size=weight.shape), np.empty((len(model), 4))
            _views.gather(weighted, projected.u[k], projected.v[k], model.amplitude, projected.sigma, slopes)
            gradient += _by_atom(slopes, views, k)
            of_width += slopes[:, 3]
            of_level.append(weighted.sum())
        return self._scaled(gradient, of_width, np.array(of_level))

    def scatter(self) -> Doubles:
        """Compute the scatter of the gradient between views, for each atom's (amplitude, x, y, z)."""
        model, views = self.start, self.views
        projected = views.project_atoms(model)

        def view_gradient(k: int) -> Doubles:
            weighted = self.weight[k] * (view_of(model, views, projected, k) - views.data[k])
            slopes = np.empty((len(model), 4))
            _views.gather(weighted, projected.u[k], projected.v[k], model.amplitude, projected.sigma, slopes)
            return _by_atom(slopes, views, k)

        squares, total, n_views = np.zeros((len(model), 4, 4)), np.zeros((len(model), 4)), len(views.data)
        for gradient in ordered_map(view_gradient, range(n_views), threads=views.threads):
            squares += gradient[:, :, np.newaxis] * gradient[:, np.newaxis]
            total += gradient
        squares -= total[:, :, np.newaxis] * total[:, np.newaxis] / n_views
        return squares * n_views / max(n_views - 1, 1)


def _by_atom(slopes: Doubles, views: AtomViews, k: int) -> Doubles:
    """Return derivatives by amplitude, x, y and z from those by amplitude, u and v in view k."""
    return np.column_stack([slopes[:, 0], slopes[:, 1:3] @ views.rotation[k, :2] / views.pixel_A])


@dataclass(frozen=True, eq=False)
class RefinedModel:
    """Refined model, with errors of positions and measures of agreement.

    Parameters
    ----------
    model : GaussianModel
    information : ndarray of shape (n_atoms, 4, 4), float64
        Fisher information of the amplitude, x, y and z of each atom, by the noise of pixels.
    scatter : ndarray of shape (n_atoms, 4, 4), float64
        Covariance of the gradient of the misfit by these, from its scatter between views.
    r_factor : float
        Σ |data - model| / Σ |data - background (diffuse and level)| over all pixels.
    chi2 : float
        Mean square of the residual over its variance.
    overlap : ndarray of shape (3,), float64
        Factors of the errors of x, y and z for the overlap of images, see `etcli.core.atoms.overlap`.
    """

    model: GaussianModel
    information: Doubles
    scatter: Doubles
    r_factor: float
    chi2: float
    overlap: Doubles = field(default_factory=lambda: np.ones(3))

    @property
    def amplitude_error(self) -> Doubles:
        """Standard deviations of the amplitudes by the noise of pixels, of shape (n_atoms,)."""
        return np.asarray(np.sqrt(np.linalg.inv(self.information)[:, 0, 0]))

    def error_A(self, restraint_A: float = np.inf, home_error_A: Doubles | None = None) -> Doubles:
        """Compute the standard deviations of x, y and z.

        Parameters
        ----------
        restraint_A : float
            Restraint of the refinement.
        home_error_A : ndarray of shape (n_atoms, 3), float64, optional
            Standard deviations of the positions to which atoms were restrained; where they are NaN, and by
            default, those without a restraint.

        Returns
        -------
        ndarray of shape (n_atoms, 3), float64
            In Å.

        Notes
        -----
        With the information J and the covariance S of the gradient, positions that are determined by the
        views alone have the covariance ``J⁻¹ S J⁻¹`` [1]_. It equals J⁻¹ for a perfect model, but contains
        whatever differs between views in excess of the noise. A restraint of information P to another
        position reduces this error to that of ``(J + P)⁻¹ S (J + P)⁻¹``, and adds the share
        ``(J + P)⁻¹ P`` of the error of the other position. The two are added as they are and not as
        squares, because both come from the same views. These are errors of an atom whose neighbours are
        known, so they are multiplied by the factors for the overlap of images. Errors that all views have in
        common are not included.

        References
        ----------
        .. [1] H. White, Econometrica 50, 1 (1982), doi:10.2307/1912526: estimates from misspecified models.
        """
        free = self.overlap * _errors(np.asarray(np.linalg.inv(self.information), np.float64), self.scatter)
        if not np.isfinite(restraint_A):
            return free
        prior = np.diag([0.0, *[1 / restraint_A**2] * 3])
        inverse = np.asarray(np.linalg.inv(self.information + prior), np.float64)
        home_A = free if home_error_A is None else np.where(np.isnan(home_error_A), free, home_error_A)
        share = np.diagonal(inverse @ prior, axis1=1, axis2=2)[:, 1:]
        return self.overlap * _errors(inverse, self.scatter) + share * home_A


def _errors(inverse: Doubles, scatter: Doubles) -> Doubles:
    """Return the standard deviations of x, y and z from inverse information and scatter of the gradient."""
    covariance = inverse @ scatter @ inverse
    return np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2)[:, 1:], 0))


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
    """Refine positions, amplitudes, widths and levels of a model by least squares against the views.

    Parameters
    ----------
    model : GaussianModel
        Initial model.
    views : AtomViews
    restraint_A : float
        Expected standard deviation of the displacement of an atom from `home_A`; see
        `etcli.core.atoms.restraint.find_restraint`.
    home_A : ndarray of shape (n_atoms, 3), float64, optional
        Positions at which the atoms were found; by default those of the model.
    spread : float
        Expected standard deviation of amplitudes, relative to the mean of their species.
    rounds : int
        Number of rounds, each with a new estimate of the noise.
    iterations : int
        Largest number of L-BFGS iterations in each round.

    Returns
    -------
    RefinedModel
        Atoms in the order of the model.

    Notes
    -----
    In view k the pixel (u, v) has the expected value ``λ = bₖ + Σ Aₙ G(u - uₙₖ) G(v - vₙₖ)``. The sum
    ``½ Σ (y - λ)² / (a + c λ)`` is minimised, with the variance from the residuals of the last round (so that
    counts of any gain get the weights of Poisson noise). Two restraints are added: half the squared
    deviations of amplitudes from the mean of their species, in units of ``spread``, and half the squared
    displacements of atoms, in units of ``restraint_A``. Errors of the views (angles, shifts, matter other
    than atoms) are not white noise, and would displace atoms without restraints. The variables are scaled by
    the Cholesky factor of the Fisher information of each atom.

    References
    ----------
    Y. Yang et al., Nature 542, 75 (2017), doi:10.1038/nature21042, methods: refinement of positions, H and B.
    D. C. Liu, J. Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116: L-BFGS.
    """
    home_A = model.position_A if home_A is None else home_A
    for _ in range(rounds):
        views = with_diffuse(views, model)
        weight = inverse_variance(views, project_model(model, views))
        problem = RefinementProblem(model, views, weight, spread, home_A, restraint_A)
        n_free, n_species = 4 * len(model), len(model.sigma_A)
        highest = np.full(n_free + n_species + len(model.level), np.inf)
        wider = np.log(np.maximum(views.widest_A / model.sigma_A, 1))
        highest[n_free : n_free + n_species] = wider / problem.scale_sigma
        result = minimize(
            problem,
            np.zeros(len(highest)),
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(-np.inf, highest),
            options={"maxiter": iterations, "maxcor": 10, "ftol": FLAT},
        )
        model = problem.model(result.x)
    return _with_errors(model, with_diffuse(views, model), spread)


def _with_errors(model: GaussianModel, views: AtomViews, spread: float) -> RefinedModel:
    """Compute the information about a model, its R factor and its chi-square."""
    shown = project_model(model, views)
    weight = inverse_variance(views, shown)
    problem = RefinementProblem(model, views, weight, spread, model.position_A, np.inf)
    # an atom outside all views is uncertain by UNSEEN_A
    unseen = np.diag([TINY, *[1 / UNSEEN_A**2] * 3])
    residual = views.data - shown
    without_atoms = replace(model, amplitude=np.zeros(len(model)))
    signal = np.abs((views.data - project_model(without_atoms, views))[weight > 0]).sum()
    return RefinedModel(
        model,
        problem.blocks + unseen,
        problem.scatter() + unseen,
        float(np.abs(residual[weight > 0]).sum() / max(signal, 1e-300)),
        float((residual**2 * weight).sum() / np.count_nonzero(weight)),
    )
