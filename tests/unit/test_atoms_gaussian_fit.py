"""Gaussians in a volume: sums, derivatives, and fits as good as the noise allows."""

import numpy as np
import pytest

from etcli.core.atoms import _gaussians
from etcli.core.atoms.gaussian_fit import (
    FitRules,
    axes,
    fit_atoms,
    heights,
    integrals,
    places,
    residual_of,
    scores,
    sigmas,
    start_atoms,
)
from tests.gaussians import bound_px, gaussian_volume, jittered, noisy

SIGMA = 1.25


def rows(place, height=1.0, sigma=SIGMA):
    place = np.asarray(place, float).reshape(-1, 3)
    return start_atoms(place, np.full(len(place), height), sigma)


def started(true, seed=1):
    return rows(true + np.random.default_rng(seed).uniform(-0.3, 0.3, true.shape), 0.8)


@pytest.mark.parametrize("freedom", [0, 1, 2])
def test_derivatives_are_those_of_the_model(freedom):
    atom = np.array([4.2, 5.1, 6.3, 1.7, 0.7, 0.5, 0.6, 0.1, -0.05, 0.08])
    if freedom < 2:
        atom[4:] = 0.6, 0.6, 0.6, 0, 0, 0
    place = np.array([5.0, 4.0, 7.0])

    def value(changed):
        return _gaussians._derivatives.py_func(changed, place, freedom, np.empty(10))

    row = np.empty(10)
    _gaussians._derivatives.py_func(atom, place, freedom, row)
    free = {0: range(4), 1: range(4), 2: range(10)}[freedom]
    for column in free:
        step = np.eye(10)[column] * 1e-5
        slope = (value(atom + step) - value(atom - step)) / 2e-5
        assert row[column] == pytest.approx(slope, rel=1e-7, abs=1e-10)
    if freedom == 1:
        factor = np.ones(10)
        factor[4:7] = np.exp(-2e-5)
        assert row[4] == pytest.approx((value(atom * factor) - value(atom / factor)) / 2e-5, rel=1e-7)


def test_residual_is_the_volume_less_every_gaussian():
    place = np.array([[7.2, 8.4, 9.1], [0.3, 6.0, 12.9], [-2.0, 5.0, 5.0], [40.0, 5.0, 5.0]])
    volume = gaussian_volume(place, (18, 17, 19), height=[1, 2, 3, 4])
    atoms = rows(place)
    atoms[:, _gaussians.HEIGHT] = [1, 2, 3, 4]
    # a Gaussian ends after 4 standard deviations
    assert abs(residual_of(volume.astype(np.float32), atoms)).max() < 4 * np.exp(-8)


def test_an_elliptical_gaussian_is_its_matrix():
    covariance = np.array([[2.0, 0.4, 0.1], [0.4, 1.5, -0.3], [0.1, -0.3, 1.8]])
    matrix = np.linalg.inv(covariance)
    atoms = rows([8.3, 9.1, 7.6])
    atoms[0, 4:] = matrix[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    z, y, x = np.mgrid[:18, :18, :18]
    away = np.stack([x - 8.3, y - 9.1, z - 7.6], axis=-1)
    expected = np.exp(-0.5 * np.einsum("...i,ij,...j", away, matrix, away))
    found = -residual_of(np.zeros((18, 18, 18), np.float32), atoms)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(axes(atoms)[0], np.sqrt(np.diag(covariance)))
    assert integrals(atoms)[0] == pytest.approx(expected.sum(), rel=1e-3)
    fitted, _ = fit_atoms(
        expected.astype(np.float32), rows([8, 9, 8]), FitRules(SIGMA, "elliptical"), sweeps=20
    )
    np.testing.assert_allclose(fitted[0], atoms[0], atol=1e-3)


@pytest.mark.parametrize("freedom", ["shared", "isotropic", "elliptical"])
def test_without_noise_the_truth_is_found(freedom):
    # an atom beyond the border does not tell how wide it is along each axis
    last = 26.6 if freedom != "elliptical" else 26
    true = np.concatenate([jittered(2, step=9), [[9, 9, 13.0], [0.4, 18, 18], [18, 18, last]]])
    volume = gaussian_volume(true, (27, 27, 27), sigma_px=SIGMA, height=1.3).astype(np.float32)
    fitted, residual = fit_atoms(volume, started(true), FitRules(SIGMA, freedom), sweeps=40)
    assert abs(places(fitted) - true).max() < 1e-3
    np.testing.assert_allclose(heights(fitted), 1.3, rtol=2e-3)
    np.testing.assert_allclose(sigmas(fitted), SIGMA, rtol=2e-3)
    np.testing.assert_allclose(scores(residual, fitted, FitRules(SIGMA)), 1.3, rtol=2e-3)
    assert abs(residual).max() < 2e-3


def test_an_atom_beyond_the_border_is_still_fitted():
    true = np.array([[-0.8, 8.0, 8.3], [16.6, 8.2, 7.9]])
    volume = gaussian_volume(true, (17, 17, 17)).astype(np.float32)
    fitted, _ = fit_atoms(volume, rows([[0, 8, 8], [16, 8, 8]]), FitRules(SIGMA, "shared"), sweeps=20)
    assert abs(places(fitted) - true).max() < 2e-2


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_errors_are_near_the_bound(noise):
    true = jittered(8, step=9)
    volume = noisy(gaussian_volume(true, (81, 81, 81), sigma_px=SIGMA), noise)
    fitted, _ = fit_atoms(volume, started(true), FitRules(SIGMA), sweeps=20)
    error = (places(fitted) - true).std(axis=0)
    assert (error < 1.2 * bound_px(noise, SIGMA)).all()
    assert (error > 0.9 * bound_px(noise, SIGMA)).all()


def test_neighbours_do_not_draw_each_other():
    """Pairs 1.6 Å apart on voxels of 0.5 Å."""
    first = jittered(3, step=12)
    turn = np.random.default_rng(3).normal(size=first.shape)
    true = np.concatenate([first, first + 3.2 * turn / np.linalg.norm(turn, axis=1, keepdims=True)])
    volume = gaussian_volume(true, (48, 48, 48), sigma_px=1.0).astype(np.float32)
    atoms = rows(true + np.random.default_rng(4).uniform(-0.3, 0.3, true.shape), 0.8, 1.0)
    fitted, _ = fit_atoms(volume, atoms, FitRules(1.0), sweeps=40)
    assert abs(places(fitted) - true).max() < 0.01


def test_neither_threads_nor_order_change_results():
    true = jittered(7, step=4)
    volume = noisy(gaussian_volume(true, (34, 34, 34), sigma_px=SIGMA), 0.05)
    atoms = started(true)
    one, residual = fit_atoms(volume, atoms, FitRules(SIGMA), sweeps=5)
    several, other = fit_atoms(volume, atoms, FitRules(SIGMA, threads=3), sweeps=5)
    np.testing.assert_array_equal(several, one)
    np.testing.assert_array_equal(other, residual)
    order = np.random.default_rng(5).permutation(len(atoms))
    shuffled, _ = fit_atoms(volume, atoms[order], FitRules(SIGMA), sweeps=5)
    np.testing.assert_allclose(shuffled, one[order], atol=1e-4)


def test_no_atoms_are_no_trouble():
    volume = np.ones((5, 5, 5), np.float32)
    fitted, residual = fit_atoms(volume, rows(np.empty((0, 3))), FitRules(SIGMA), sweeps=3)
    assert fitted.shape == (0, 10)
    np.testing.assert_array_equal(residual, volume)


def test_flat_surroundings_leave_an_atom_where_it_was():
    fitted, _ = fit_atoms(np.zeros((9, 9, 9), np.float32), rows([4, 4, 4]), FitRules(SIGMA), sweeps=3)
    assert np.isfinite(fitted).all() and heights(fitted)[0] < 1e-6
