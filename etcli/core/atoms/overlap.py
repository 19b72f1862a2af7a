"""Errors of atoms whose images overlap: larger than those of an atom whose neighbours are known."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, inverse_variance, project_model
from etcli.core.atoms.refine_model import RefinementProblem

Doubles = NDArray[np.float64]

FEWEST, MOST_SAMPLES = 2000, 20
"""Displacements from which a factor is estimated, to 3 %; largest number of each where atoms are fewer."""
STEP = 0.02
"""Largest step of a difference of gradients, in standard deviations of a variable."""
ACCURATE, ITERATIONS = 0.01, 60
"""Relative residual at which displacements are accurate enough, and largest number of iterations."""


def overlap_factors(
    model: GaussianModel, views: AtomViews, *, home_A: Doubles, restraint_A: float, spread: float
) -> Doubles:
    """Estimate by how much errors of positions grow because the images of atoms overlap.

    Parameters
    ----------
    model : GaussianModel
        Refined model, of at least one atom.
    views : AtomViews
        With tails or the diffuse background.
    home_A, restraint_A, spread
        Of its refinement, as for `etcli.core.atoms.refine_model.refine_model`.

    Returns
    -------
    ndarray of shape (3,), float64
        Factors for x, y and z, at least 1.

    Notes
    -----
    The covariance of all parameters together is the inverse of a matrix J that is too large to invert. But if
    a random g has the covariance J, the solution d of ``J d = g`` has the covariance J⁻¹. Noise of the views
    makes such g, products with J are differences of gradients, and conjugate gradients solve for d. Mean
    squares of d over all atoms are compared with those from the block of J of each atom. A restraint is added
    to J, but not to g.

    References
    ----------
    G. Papandreou, A. L. Yuille, Adv. Neural Inf. Process. Syst. 23, 1858 (2010): samples of a Gaussian from
    perturbed data.
    """
    weight = inverse_variance(views, project_model(model, views))
    problem = RefinementProblem(model, views, weight, spread, home_A, restraint_A)
    rng = np.random.default_rng(0)
    zero = np.zeros_like(problem.noise_gradient(rng))

    def times(direction: Doubles) -> Doubles:
        largest = float(np.abs(direction).max())
        if not largest:
            return zero
        step = STEP / largest * direction
        return (problem(step)[1] - problem(-step)[1]) * largest / (2 * STEP)

    curvature = LinearOperator((len(zero), len(zero)), matvec=times, dtype=np.float64)
    squares = []
    for _ in range(min(-(-FEWEST // len(model)), MOST_SAMPLES)):
        solution, _ = cg(curvature, problem.noise_gradient(rng), rtol=ACCURATE, maxiter=ITERATIONS)
        squares.append((problem.steps(solution)[:, 1:] ** 2).mean(axis=0))
    inverse = np.linalg.inv(problem.blocks)
    alone = np.diagonal(inverse @ problem.information()[0] @ inverse, axis1=1, axis2=2)[:, 1:]
    together = np.mean(squares, axis=0)
    return np.asarray(np.sqrt(np.maximum(together / np.maximum(alone.mean(axis=0), 1e-300), 1)))
