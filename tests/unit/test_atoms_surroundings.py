"""What views of a film show from outside the volume that was traced."""

from dataclasses import replace

import numpy as np
import pytest

from etcli.core.atoms.gaussian_model import (
    AtomViews,
    GaussianModel,
    project_model,
    smooth_part,
    start_model,
    with_diffuse,
)
from etcli.core.atoms.refine_model import refine_model
from etcli.core.atoms.surroundings import reconstruct_surroundings
from etcli.core.errors import UsageError
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.solvers.resire import middle

PIXEL_A, SIGMA_A, SHAPE = 0.5, 0.55, (20, 24, 24)
TILT_DEG = np.linspace(-60, 60, 31)
ROTATION = rotation_matrices(tilts_as_euler(TILT_DEG))


def model_of(position_A: np.ndarray) -> GaussianModel:
    n = len(position_A)
    return GaussianModel(
        position_A, np.full(n, 100.0), np.zeros(n, int), np.array([SIGMA_A]), np.zeros(len(TILT_DEG))
    )


@pytest.fixture(scope="module")
def film() -> tuple[GaussianModel, GaussianModel, AtomViews]:
    """Atoms in a volume, those of the film around it, and views of both."""
    rng = np.random.default_rng(2)
    axes = [np.arange(-5, 6)] * 2 + [np.arange(-1, 2)]
    grid_A = 2.8 * np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    place_A = grid_A + rng.uniform(-0.4, 0.4, (len(grid_A), 3))
    inside = (abs(place_A[:, :2]) < PIXEL_A * SHAPE[1] / 2).all(axis=1)
    empty = AtomViews(np.zeros((len(TILT_DEG), *SHAPE[1:])), ROTATION, PIXEL_A, diffuse_A=2.5)
    data = sum(project_model(model_of(place_A[part]), empty) for part in (inside, ~inside))
    return model_of(place_A[inside]), model_of(place_A[~inside]), replace(empty, data=data)


def test_what_is_outside_is_told_from_what_is_inside(film) -> None:
    _, around, views = film
    found = reconstruct_surroundings(views, SHAPE, PIXEL_A, np.zeros(3), 0.0)
    outside = found.views_of_outside(views)
    true = project_model(around, replace(views, data=np.zeros_like(views.data)))
    tilted = abs(TILT_DEG) > 30
    # what is smooth is left to the diffuse background
    contrast = [each[tilted] - smooth_part(each[tilted], 2.5 / PIXEL_A) for each in (outside, true)]
    correlation = np.corrcoef(contrast[0].ravel(), contrast[1].ravel())[0, 1]
    print(f"\noutside: correlation {correlation:.3f}")
    assert correlation > 0.9
    # inside and outside together are the views
    projector = OrientedProjector(ROTATION, SHAPE, SHAPE[1:])
    together = projector.forward(np.ascontiguousarray(middle(found.whole, SHAPE))) + outside
    assert np.sqrt(np.mean((together - views.data) ** 2)) < 0.1 * views.data.std()
    np.testing.assert_array_equal(found.inside(), middle(found.whole, SHAPE))


def test_of_binned_views_it_is_as_large_as_the_views(film) -> None:
    _, _, views = film
    fine = reconstruct_surroundings(views, SHAPE, PIXEL_A, np.zeros(3), 0.0).views_of_outside(views)
    coarse = reconstruct_surroundings(views, (10, 12, 12), 2 * PIXEL_A, np.zeros(3), 0.0)
    outside = coarse.views_of_outside(views)
    assert outside.shape == views.data.shape
    assert np.corrcoef(outside.ravel(), fine.ravel())[0, 1] > 0.9
    with pytest.raises(UsageError, match=r"voxels of 0.25 Å are finer than the 0.5 Å of the views"):
        reconstruct_surroundings(views, SHAPE, PIXEL_A / 2, np.zeros(3), 0.0)


def test_a_specimen_without_surroundings_has_none(film) -> None:
    _, _, views = film
    alone = replace(views, diffuse_A=0.0)
    assert reconstruct_surroundings(alone, SHAPE, PIXEL_A, np.zeros(3), 0.0).views_of_outside(alone) is None


def test_atoms_of_a_film_are_refined_better_when_its_surroundings_are_known(film) -> None:
    true, _, views = film
    rng = np.random.default_rng(4)
    noisy = replace(views, data=views.data + rng.normal(0, 0.02 * views.data.max(), views.data.shape))
    around = reconstruct_surroundings(noisy, SHAPE, PIXEL_A, np.zeros(3), 0.0)
    known = replace(noisy, outside=around.views_of_outside(noisy), widest_A=1.2 * SIGMA_A)
    start_A = true.position_A + rng.normal(0, 0.1, true.position_A.shape)
    inner = (abs(true.position_A[:, :2]) < PIXEL_A * SHAPE[1] / 2 - 1.5).all(axis=1)
    error = {}
    for name, each in (("without", noisy), ("with", known)):
        start = start_model(start_A, np.ones(len(true)), true.kind, true.sigma_A, each)
        found = refine_model(start, with_diffuse(each, start), restraint_A=0.1).model
        error[name] = np.sqrt(((found.position_A - true.position_A)[inner] ** 2).sum(axis=1).mean())
        assert found.sigma_A[0] <= each.widest_A * (1 + 1e-9)
    print(f"\npositions: {error['without']:.4f} Å without, {error['with']:.4f} Å with the surroundings")
    assert error["with"] < 0.8 * error["without"]


def test_wider_and_wider_atoms_do_not_take_the_place_of_the_background(film) -> None:
    true, _, views = film
    start = start_model(true.position_A, np.ones(len(true)), true.kind, 0.9 * true.sigma_A, views)
    bounded = replace(views, widest_A=0.95 * SIGMA_A)
    assert refine_model(start, bounded, rounds=1).model.sigma_A[0] == pytest.approx(0.95 * SIGMA_A)
