"""What must hold for atoms in any volume and any views."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etcli.core.atoms.cleaning import merge_close, without_close
from etcli.core.atoms.gaussian_fit import FitRules, fit_atoms, places, residual_of, start_atoms
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, project_model
from etcli.core.atoms.mixture import fit_mixture
from etcli.core.atoms.peaks import find_peaks, smoothed, spaced
from etcli.core.orientation import rotation_matrices

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(*[st.integers(1, 14)] * 3)
RULES = FitRules(1.25)


def atoms_in(shape, n, rng):
    size = np.array(shape[::-1])
    return start_atoms(rng.uniform(-2, size + 1, (n, 3)), rng.uniform(0.5, 2, n), 1.25)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, shape=SHAPES, n=st.integers(0, 9), freedom=st.sampled_from(["shared", "isotropic"]))
def test_fits_in_any_volume_are_finite_and_lower_the_misfit(seed, shape, n, freedom):
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=shape).astype(np.float32)
    atoms = atoms_in(shape, n, rng)
    fitted, residual = fit_atoms(volume, atoms, FitRules(1.25, freedom), sweeps=3)
    assert fitted.shape == atoms.shape and np.isfinite(fitted).all() and (fitted[:, 3] >= 0).all()
    np.testing.assert_allclose(residual, residual_of(volume, fitted), atol=1e-6)
    if n == 1:  # what is fitted are the voxels about where it begins
        z, y, x = np.indices(shape)
        near = ((np.stack([x, y, z], axis=-1) - places(atoms)[0]) ** 2).sum(axis=-1) <= RULES.radius_px**2
        _, once = fit_atoms(volume, atoms, FitRules(1.25, freedom), sweeps=1)
        before = residual_of(volume, atoms)
        assert (once[near] ** 2).sum() <= (before[near] ** 2).sum() * (1 + 1e-3) + 1e-3


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, axes=st.permutations((0, 1, 2)), mirrored=st.tuples(*[st.booleans()] * 3))
def test_turned_volumes_have_turned_atoms(seed, axes, mirrored):
    rng = np.random.default_rng(seed)
    volume = smoothed(rng.normal(size=(12, 13, 14)).astype(np.float32), 1.0)
    place, height = find_peaks(volume, 0.1)
    flipped = tuple(axis for axis in range(3) if mirrored[axis])
    turned = np.ascontiguousarray(np.flip(volume.transpose(axes), flipped))
    there = place[:, ::-1][:, axes]  # z, y, x of the turned volume
    for axis in flipped:
        there[:, axis] = turned.shape[axis] - 1 - there[:, axis]
    found, heights = find_peaks(turned, 0.1)
    np.testing.assert_array_equal(heights, height)
    np.testing.assert_allclose(found, there[:, ::-1], atol=1e-5)
    one, _ = fit_atoms(volume, start_atoms(place, height, 1.25), RULES, sweeps=1)
    other, _ = fit_atoms(turned, start_atoms(there[:, ::-1], height, 1.25), RULES, sweeps=1)
    back = places(other)[:, ::-1].copy()
    for axis in flipped:
        back[:, axis] = turned.shape[axis] - 1 - back[:, axis]
    np.testing.assert_allclose(back, places(one)[:, ::-1][:, axes], atol=5e-3)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 60), distance=st.floats(0.1, 5))
def test_rules_for_distances_leave_none_too_close(seed, n, distance):
    rng = np.random.default_rng(seed)
    place, score = rng.uniform(0, 10, (n, 3)), rng.permutation(n) + 1.0
    for kept in (place[without_close(place, score, distance)], place[spaced(place, distance)]):
        apart = np.linalg.norm(kept[:, None] - kept, axis=2)[np.triu_indices(len(kept), 1)]
        assert len(kept) and (apart >= distance).all()
    merged, count = merge_close(place, score, distance)
    assert len(merged) == n - count and np.isfinite(merged).all()


@settings(max_examples=40, deadline=None)
@example(seed=10, n=9, n_species=None)  # an empty cluster
@given(seed=SEEDS, n=st.integers(1, 80), n_species=st.one_of(st.none(), st.integers(1, 4)))
def test_mixtures_of_any_scores_have_probabilities(seed, n, n_species):
    score = 0.1 + np.random.default_rng(seed).gamma(2, 1, n)
    mixture = fit_mixture(score, threshold=0.1, n_species=n_species)
    probability = mixture.probabilities(score)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (np.diff(mixture.mean) >= 0).all() and abs(mixture.share.sum() - 1) < 1e-5


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, n_views=st.integers(1, 4))
def test_turning_atoms_is_turning_views_and_they_add_up(seed, n_views):
    rng = np.random.default_rng(seed)
    rotation, turn = (rotation_matrices(rng.uniform(-180, 180, (k, 3))) for k in (n_views, 1))
    position_A, amplitude = rng.uniform(-4, 4, (6, 3)), rng.uniform(1, 2, 6)
    kind, level = np.zeros(6, int), rng.normal(size=n_views)

    def shown(position_A, rotation, chosen=slice(None), level=level):
        views = AtomViews(np.zeros((n_views, 30, 31)), rotation, 0.4)
        parts = position_A[chosen], amplitude[chosen], kind[chosen]
        return project_model(GaussianModel(*parts, np.array([0.5]), level), views)

    whole = shown(position_A, rotation)
    np.testing.assert_allclose(shown(position_A @ turn[0].T, rotation @ turn[0].T), whole, atol=2e-4)
    order = rng.permutation(6)
    np.testing.assert_allclose(shown(position_A, rotation, order), whole, atol=1e-12)
    halves = shown(position_A, rotation, slice(3)), shown(position_A, rotation, slice(3, 6), 0 * level)
    np.testing.assert_allclose(halves[0] + halves[1], whole, atol=1e-12)
