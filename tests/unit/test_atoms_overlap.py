"""Errors of atoms whose images overlap, against the inverse of the whole information matrix."""

from dataclasses import replace

import numpy as np
import pytest

from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, inverse_variance, project_model
from etcli.core.atoms.overlap import overlap_factors
from etcli.core.atoms.refine_model import refine_model
from etcli.core.orientation import rotation_matrices, tilts_as_euler

PIXEL_A, SIGMA_A = 0.4, 0.55
ROTATION = rotation_matrices(tilts_as_euler(np.linspace(-60, 60, 13)))


def counted(step_A, n=4, seed=1):
    """A block of atoms and their views, in counts."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    place_A = (grid - (n - 1) / 2) * step_A + rng.uniform(-0.2, 0.2, grid.shape)
    zeros = np.zeros(len(place_A), int)
    level = np.full(len(ROTATION), 4.0)
    model = GaussianModel(place_A, np.full(len(place_A), 500.0), zeros, np.array([SIGMA_A]), level)
    edge = int((n * step_A + 8) / PIXEL_A)
    empty = AtomViews(np.zeros((len(ROTATION), edge, edge + 1)), ROTATION, PIXEL_A)
    return model, replace(empty, data=rng.poisson(project_model(model, empty)).astype(float))


def whole_factors(model, views, restraint_A):
    """Factors from the inverse of the information about all parameters, by finite differences."""
    weight = inverse_variance(views, project_model(model, views)).ravel()
    columns, step = [], 1e-3

    def column(**change):
        models = [replace(model, **{name: of(s) for name, of in change.items()}) for s in (1, -1)]
        sides = [project_model(each, views) for each in models]
        columns.append(((sides[0] - sides[1]) / (2 * step)).ravel())

    n = len(model)
    for atom in range(n):
        one = np.eye(n)[atom] * step
        column(amplitude=lambda s, one=one: model.amplitude + s * one)
        for axis in np.eye(3):
            column(position_A=lambda s, one=one, axis=axis: model.position_A + s * np.outer(one, axis))
    column(sigma_A=lambda s: model.sigma_A + s * step)
    for view in np.eye(len(ROTATION)):
        column(level=lambda s, view=view: model.level + s * step * view)
    jacobian = np.stack(columns)
    whole = (jacobian * weight) @ jacobian.T
    prior = np.zeros(len(whole))
    prior[: 4 * n] = np.tile([0, *[1 / restraint_A**2] * 3], n)
    inverse = np.linalg.inv(whole + np.diag(prior))
    together = np.diag(inverse @ whole @ inverse)[: 4 * n].reshape(n, 4)[:, 1:]
    alone = []
    for atom in range(n):
        part = slice(4 * atom, 4 * atom + 4)
        inverse = np.linalg.inv(whole[part, part] + np.diag(prior[part]))
        alone.append(np.diag(inverse @ whole[part, part] @ inverse)[1:])
    return np.sqrt(together.mean(axis=0) / np.mean(alone, axis=0))


@pytest.mark.parametrize(("step_A", "restraint_A"), [(2.0, 1.0), (2.0, 0.05), (4.5, 1.0)])
def test_factors_are_those_of_the_whole_information(step_A, restraint_A):
    model, views = counted(step_A, n=3)
    home_A = model.position_A
    found = overlap_factors(model, views, home_A=home_A, restraint_A=restraint_A, spread=np.inf)
    expected = whole_factors(model, views, restraint_A)
    np.testing.assert_allclose(found, np.maximum(expected, 1), rtol=0.08)


def test_errors_of_a_dense_block_are_those_of_its_refinement():
    model, views = counted(2.3)
    refined = refine_model(model, views, restraint_A=5.0, spread=np.inf)
    factors = overlap_factors(refined.model, views, home_A=model.position_A, restraint_A=5.0, spread=np.inf)
    true_A = np.sqrt(((refined.model.position_A - model.position_A) ** 2).mean(axis=0))
    alone_A = np.sqrt((refined.error_A(5.0) ** 2).mean(axis=0))
    assert (factors > 1.15).any()
    together_A = np.sqrt((replace(refined, overlap=factors).error_A(5.0) ** 2).mean(axis=0))
    np.testing.assert_allclose(together_A, factors * alone_A)
    np.testing.assert_allclose(together_A / true_A, 1, atol=0.25)
