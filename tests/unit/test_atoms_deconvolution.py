"""Light atoms between heavy ones, which a density without the width of atoms shows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from etcli.core.atoms.deconvolution import deconvolved_atoms, point_density
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, project_model, variance_of_pixels
from etcli.core.orientation import rotation_matrices, tilts_as_euler

PIXEL_A, SIGMA_A, LEVEL = 0.4, 0.6, 3.0
SHAPE = (50, 52)
LIGHT, HEAVY = 60.0, 240.0
ROTATION = rotation_matrices(tilts_as_euler(np.linspace(-66, 66, 34)))
BOX_A = np.full(3, 8.5)


@pytest.fixture(scope="module")
def alloy():
    """Return light and heavy atoms in turn, 2.7 Å apart, seen in the missing wedge."""
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    place_A = (grid - 2) * 2.7 + rng.uniform(-0.15, 0.15, grid.shape) + [0.3, -0.2, 0.1]
    kind = grid.sum(axis=1) % 2
    amplitude = np.where(kind, HEAVY, LIGHT)
    zeros = np.zeros(len(kind), int)
    model = GaussianModel(place_A, amplitude, zeros, np.array([SIGMA_A]), np.full(len(ROTATION), LEVEL))
    empty = AtomViews(np.zeros((len(ROTATION), *SHAPE)), ROTATION, PIXEL_A)
    return model, kind, replace(empty, data=project_model(model, empty))


def found_in(alloy, data, scale=1.0):
    """Return the atoms found by a model of the heavy ones alone, and those that it lacks."""
    model, kind, views = alloy
    heavy = replace(model, amplitude=scale * model.amplitude, level=scale * model.level).select(kind == 1)
    position_A, amplitude = deconvolved_atoms(
        heavy, replace(views, data=data), low_A=-BOX_A, high_A=BOX_A, clearance_A=1.4, nearly_complete=False
    )
    return position_A, amplitude / scale, model.position_A[kind == 0]


def check_light_atoms(position_A, amplitude, light_A):
    """Check that nearly all light atoms are found, and that whatever else is found is much weaker."""
    distance_A, index = cKDTree(position_A).query(light_A)
    seen = distance_A < 0.65
    assert seen.mean() > 0.95
    assert LIGHT / 2 < np.median(amplitude[index[seen]]) < LIGHT
    others = np.delete(amplitude, index[seen])
    assert len(others) <= 0.5 * len(light_A) and np.count_nonzero(others > LIGHT / 6) <= 0.05 * len(light_A)


def test_light_atoms_between_heavy_ones_are_found_in_counts(alloy):
    counts = np.random.default_rng(4).poisson(alloy[2].data).astype(float)
    check_light_atoms(*found_in(alloy, counts))


@pytest.mark.parametrize("gain", [0.01, 500.0])
def test_the_unit_of_views_does_not_matter(alloy, gain):
    counts = np.random.default_rng(4).poisson(alloy[2].data).astype(float)
    position_A, amplitude, _ = found_in(alloy, counts)
    scaled_A, scaled, _ = found_in(alloy, gain * counts, gain)
    np.testing.assert_allclose(scaled_A, position_A, atol=0.02)
    np.testing.assert_allclose(scaled, amplitude, rtol=0.02)


def test_uniform_noise_and_negative_values_are_no_obstacle(alloy):
    noise = np.random.default_rng(5).normal(scale=3, size=alloy[2].data.shape)
    assert (alloy[2].data + noise).min() < -3
    check_light_atoms(*found_in(alloy, alloy[2].data + noise))


def test_views_whose_rotation_centre_is_not_in_the_middle(alloy):
    model, kind, views = alloy
    cropped = replace(views, centre_px=(5.0, -3.0))
    cropped = replace(cropped, data=project_model(model, cropped))
    position_A, amplitude = deconvolved_atoms(
        model.select(kind == 1),
        cropped,
        low_A=-BOX_A,
        high_A=BOX_A,
        clearance_A=1.4,
        nearly_complete=False,
    )
    check_light_atoms(position_A, amplitude, model.position_A[kind == 0])


def test_the_last_atoms_are_found_beside_the_known_ones(alloy):
    model, kind, views = alloy
    gone = np.flatnonzero(kind == 0)[::9]
    known = model.select(np.delete(np.arange(len(model)), gone))
    counts = np.random.default_rng(7).poisson(views.data).astype(float)
    position_A, amplitude = deconvolved_atoms(
        known,
        replace(views, data=counts),
        low_A=-BOX_A,
        high_A=BOX_A,
        clearance_A=1.4,
        nearly_complete=True,
    )
    distance_A, index = cKDTree(position_A).query(model.position_A[gone])
    assert distance_A.max() < 0.4
    assert amplitude[index].min() > 2 * np.delete(amplitude, index).max(initial=LIGHT / 8)


def test_the_density_explains_the_views_and_nothing_of_the_level(alloy):
    model, _, views = alloy
    density = point_density(model, views, (48, 48, 48), np.zeros(3))
    assert density.min() >= 0
    assert float(density.sum()) == pytest.approx(model.amplitude.sum(), rel=0.03)
    # points, not images of the width of an atom: most voxels are empty
    assert np.sort(density.ravel())[-len(model) * 30 :].sum() > 0.9 * density.sum()


def test_untrusted_pixels_are_not_used(alloy):
    _, _, views = alloy
    trusted = np.ones(views.data.shape, bool)
    trusted[::3, 20:30, 20:30] = False
    spoiled = np.where(trusted, views.data, 1e4)
    model, kind, _ = alloy
    position_A, amplitude = deconvolved_atoms(
        model.select(kind == 1),
        replace(views, data=spoiled, trusted=trusted),
        low_A=-BOX_A,
        high_A=BOX_A,
        clearance_A=1.4,
        nearly_complete=False,
    )
    check_light_atoms(position_A, amplitude, model.position_A[kind == 0])


@pytest.mark.parametrize(("gain", "constant"), [(1.0, 0.0), (7.0, 300.0), (0.0, 50.0)])
def test_variance_of_counts_and_of_a_detector(alloy, gain, constant):
    views = alloy[2]
    rng = np.random.default_rng(6)
    shown = 40 * views.data
    noisy = shown + rng.normal(size=shown.shape) * np.sqrt(constant + gain * shown)
    a, c = variance_of_pixels(replace(views, data=noisy), shown)
    assert c == pytest.approx(gain, rel=0.05, abs=0.02)
    assert a == pytest.approx(constant, rel=0.1, abs=0.1 * gain * shown.mean())
