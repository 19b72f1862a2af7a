"""Atoms against views: derivatives, information, and refinement to the truth and to the bound."""

from dataclasses import replace

import numpy as np
import pytest

from etcli.core.atoms import _views
from etcli.core.atoms.gaussian_fit import FitRules, start_atoms
from etcli.core.atoms.gaussian_model import (
    AtomViews,
    GaussianModel,
    inverse_variance,
    left_out_misfit,
    project_model,
    smooth_part,
    start_model,
    with_diffuse,
)
from etcli.core.atoms.missing import missing_atoms
from etcli.core.atoms.refine_model import RefinementProblem, refine_model
from etcli.core.atoms.restraint import _first_good, find_restraint
from etcli.core.errors import DataError, UsageError
from etcli.core.orientation import rotation_matrices, tilts_as_euler

PIXEL_A, SIGMA_A = 0.4, 0.5


def cluster(n=4, *, step=2.6, spread=0.3, seed=0):
    """Places (x, y, z) of n³ atoms about the rotation centre, in Å."""
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return (grid - (n - 1) / 2) * step + np.random.default_rng(seed).uniform(-spread, spread, grid.shape)


def model_of(position_A, *, amplitude=100.0, kind=None, n_views=40, level=2.0):
    n = len(position_A)
    kind = np.zeros(n, int) if kind is None else kind
    sigma_A = np.full(kind.max() + 1, SIGMA_A)
    return GaussianModel(
        position_A, np.full(n, amplitude) * (1 + kind), kind, sigma_A, np.full(n_views, level)
    )


def rotations(n_views, seed=None):
    if seed is None:
        return rotation_matrices(tilts_as_euler(np.linspace(-90, 90, n_views, endpoint=False)))
    return rotation_matrices(np.random.default_rng(seed).uniform(-180, 180, (n_views, 3)))


def seen(model, rotation, *, shape=(40, 42), counts=None, threads=1):
    """Views of a model, with Poisson noise where a generator of it is given."""
    empty = AtomViews(np.zeros((len(rotation), *shape)), rotation, PIXEL_A, threads=threads)
    shown = project_model(model, empty)
    return replace(empty, data=shown if counts is None else counts.poisson(shown).astype(float))


def moved(model, size_A=0.1, seed=5):
    step = np.random.default_rng(seed).normal(size=model.position_A.shape) * size_A
    return replace(model, position_A=model.position_A + step)


def rms(found, true):
    return float(np.sqrt(((found - true) ** 2).sum(axis=1).mean()))


def test_views_show_gaussians_at_the_rotated_places():
    rotation = rotations(5, seed=1)
    model = model_of(np.array([[1.0, -2.0, 1.5], [-2.2, 0.4, 0.3]]), n_views=5)
    views = seen(model, rotation, shape=(41, 42))
    v, u = ((np.arange(n) - (n - 1) / 2) * PIXEL_A for n in (41, 42))
    expected = np.full((5, 41, 42), 2.0)
    for k, place in ((k, rotation[k] @ one) for k in range(5) for one in model.position_A):
        square = (u - place[0]) ** 2 + (v[:, None] - place[1]) ** 2
        expected[k] += 100 * PIXEL_A**2 / (2 * np.pi * SIGMA_A**2) * np.exp(-square / (2 * SIGMA_A**2))
    np.testing.assert_allclose(views.data, expected, atol=0.01)


def test_gather_is_the_adjoint_of_the_derivative():
    rng = np.random.default_rng(2)
    u, v = rng.uniform(-2, 32, 12), rng.uniform(-2, 27, 12)
    amplitude, sigma = rng.uniform(1, 2, 12), rng.uniform(1, 1.6, 12)
    weighted = rng.normal(size=(26, 31))
    slopes, step = np.empty((12, 4)), 1e-6
    _views.gather(weighted, u, v, amplitude, sigma, slopes)
    for n in range(12):
        for column, values in enumerate((amplitude, u, v, sigma)):
            sums = []
            for sign in (1, -1):
                changed = [amplitude.copy(), u.copy(), v.copy(), sigma.copy()]
                changed[column][n] += sign * step * (values[n] if column == 3 else 1)
                image = np.zeros(weighted.shape)
                _views.add_atoms(image, changed[1], changed[2], changed[0], changed[3])
                sums.append((weighted * image).sum())
            # pixels at the end of a Gaussian's reach come and go
            assert slopes[n, column] == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=1e-4, abs=1e-3)


def test_information_is_the_sum_of_squared_derivatives():
    weight = np.random.default_rng(3).uniform(0.5, 2, (25, 30))
    atom = np.array([14.3]), np.array([11.8]), np.array([1.7]), np.array([1.4])
    found = np.empty((1, 7))
    _views.information(weight, *atom, found)
    jacobian = np.empty((4, weight.size))
    for pixel in range(weight.size):
        one = np.zeros(weight.size)
        one[pixel] = 1
        slopes = np.empty((1, 4))
        _views.gather(one.reshape(weight.shape), *atom, slopes)
        jacobian[:, pixel] = slopes[0]
    matrix = jacobian @ (weight.ravel()[:, None] * jacobian.T)
    expected = [*matrix[0, :3], *matrix[1, 1:3], matrix[2, 2], matrix[3, 3]]
    np.testing.assert_allclose(found[0], expected, rtol=1e-10, atol=1e-10)


def problem(threads=1):
    rotation = rotations(9, seed=4)
    true = model_of(cluster(2), kind=np.arange(8) % 2, n_views=9)
    views = seen(true, rotation, counts=np.random.default_rng(1), threads=threads)
    start = moved(true)
    weight = inverse_variance(views, project_model(start, views))
    views = replace(views, fixed=np.full(views.data.shape, 0.3))
    return RefinementProblem(start, views, weight, 0.35, start.position_A + 0.05, 0.2)


def test_the_gradient_is_that_of_the_misfit():
    of = problem()
    rng = np.random.default_rng(6)
    at = rng.normal(size=4 * 8 + 2 + 9)
    _, gradient = of(at)
    for _ in range(6):
        way = rng.normal(size=at.size)
        slope = (of(at + 1e-5 * way)[0] - of(at - 1e-5 * way)[0]) / 2e-5
        assert gradient @ way == pytest.approx(slope, rel=1e-3, abs=1e-2)
    for part in (slice(0, 4), slice(32, 34), slice(34, 36)):
        for i in range(*part.indices(at.size)):
            way = np.eye(at.size)[i]
            slope = (of(at + 1e-5 * way)[0] - of(at - 1e-5 * way)[0]) / 2e-5
            assert gradient[i] == pytest.approx(slope, rel=1e-2, abs=0.05)


def test_scaled_variables_begin_where_the_model_is():
    of = problem()
    start = of.model(np.zeros(4 * 8 + 2 + 9))
    np.testing.assert_array_equal(start.position_A, of.start.position_A)
    # the Fisher information is the identity in them
    scaled = np.linalg.solve(of.lower, np.linalg.solve(of.lower, of.blocks).transpose(0, 2, 1))
    np.testing.assert_allclose(scaled, np.broadcast_to(np.eye(4), scaled.shape), atol=1e-6)


def test_threads_change_nothing():
    at = np.random.default_rng(7).normal(size=4 * 8 + 2 + 9)
    one, several = problem()(at), problem(threads=3)(at)
    assert one[0] == several[0]
    np.testing.assert_array_equal(one[1], several[1])


@pytest.mark.parametrize("seed", [None, 8])
def test_without_noise_the_truth_is_found(seed):
    """About one axis, and for views of any orientation."""
    true = model_of(cluster(3), kind=np.arange(27) % 2)
    views = seen(true, rotations(40, seed))
    start = replace(moved(true, 0.08), amplitude=true.amplitude * 0.8, sigma_A=true.sigma_A * 1.1)
    found = refine_model(start, views, restraint_A=10, spread=10).model
    assert rms(found.position_A, true.position_A) < 2e-3
    np.testing.assert_allclose(found.amplitude, true.amplitude, rtol=0.02)
    np.testing.assert_allclose(found.sigma_A, SIGMA_A, rtol=0.01)


@pytest.fixture(scope="module")
def counted():
    """A model, Poisson counts of its views, and what refinement makes of it from elsewhere."""
    true = model_of(cluster(4, step=3.2), amplitude=60.0, level=0.5)
    views = seen(true, rotations(40), counts=np.random.default_rng(9), shape=(48, 48))
    start = moved(true, 0.05)
    return true, views, start, refine_model(start, views, restraint_A=1)


def test_errors_are_as_told_and_near_the_bound(counted):
    true, _, start, found = counted
    error = found.model.position_A - true.position_A
    told = np.sqrt((found.error_A() ** 2).sum(axis=1).mean())
    assert rms(found.model.position_A, true.position_A) == pytest.approx(told, rel=0.2)
    assert rms(found.model.position_A, true.position_A) < rms(start.position_A, true.position_A)
    assert abs(error.mean(axis=0)).max() < 4 * told / np.sqrt(3 * len(error))
    assert found.chi2 == pytest.approx(1, abs=0.05)
    assert 0 < found.r_factor < 1


@pytest.mark.parametrize("gain", [1e-3, 0.25, 500.0])
def test_the_gain_of_the_views_changes_nothing(counted, gain):
    _, views, start, plain = counted
    scaled = replace(start, amplitude=gain * start.amplitude, level=gain * start.level)
    found = refine_model(scaled, replace(views, data=gain * views.data), restraint_A=1)
    assert rms(found.model.position_A, plain.model.position_A) < 2e-3
    np.testing.assert_allclose(found.model.amplitude, gain * plain.model.amplitude, rtol=0.02)
    np.testing.assert_allclose(found.error_A(), plain.error_A(), rtol=0.02)


def test_a_tight_hold_keeps_atoms_at_home(counted):
    _, views, start, _ = counted
    still = refine_model(start, views, restraint_A=1e-4, rounds=1, iterations=15).model
    assert rms(still.position_A, start.position_A) < 1e-3
    home = start.position_A + 0.2
    drawn = refine_model(start, views, restraint_A=1e-3, home_A=home, rounds=1, iterations=30).model
    assert rms(drawn.position_A, home) < 0.02


def test_order_of_atoms_does_not_matter(counted):
    _, views, start, plain = counted
    order = np.random.default_rng(1).permutation(len(start))
    shuffled = replace(
        start.select(np.ones(len(start), bool)),
        position_A=start.position_A[order],
        amplitude=start.amplitude[order],
    )
    found = refine_model(shuffled, views, restraint_A=1)
    assert rms(found.model.position_A, plain.model.position_A[order]) < 2e-3


def test_atoms_no_view_shows_are_uncertain_and_no_trouble(counted):
    _, views, start, _ = counted
    more = replace(
        start,
        position_A=np.concatenate([start.position_A, [[0.0, 50.0, 0.0]]]),
        amplitude=np.append(start.amplitude, 60.0),
        kind=np.append(start.kind, 0),
    )
    found = refine_model(more, views, restraint_A=1, rounds=1, iterations=5)
    assert np.isfinite(found.error_A()).all() and found.error_A()[-1].min() > 1


def test_missing_atoms_are_found_where_they_were_removed(counted):
    true, views, _, _ = counted
    stay = np.ones(len(true), bool)
    gone = [5, 21, 42]
    stay[gone] = False
    lacking = refine_model(true.select(stay), views, restraint_A=0.1, rounds=1, iterations=20).model
    box_A = np.full(3, 8.0)
    place, amplitude = missing_atoms(lacking, views, low_A=-box_A, high_A=box_A, clearance_A=1.6)
    distance = np.linalg.norm(place[:3, None] - true.position_A[gone], axis=2)
    # places that several lacking atoms make look significant come after them, and are refined away
    assert (distance.min(axis=0) < 0.6).all() and len(place) <= 6
    assert (abs(amplitude[:3] / 60 - 1) < 0.5).all()
    whole, _ = missing_atoms(true, views, low_A=-box_A, high_A=box_A, clearance_A=1.6)
    assert len(whole) == 0


def test_intensities_of_the_volume_are_brought_to_the_unit_of_views(counted):
    true, views, _, _ = counted
    kind, sigma_A = np.zeros(len(true), int), np.array([SIGMA_A])
    model = start_model(true.position_A, np.full(len(true), 7.0), kind, sigma_A, views)
    np.testing.assert_allclose(model.amplitude, 60, rtol=0.03)
    np.testing.assert_allclose(model.level, 0.5, atol=0.15)
    mirrored = replace(views, data=-views.data)
    with pytest.raises(DataError, match="the views do not show the atoms"):
        start_model(true.position_A, np.ones(len(true)), kind, sigma_A, mirrored)


@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_the_variance_is_a_line_in_what_is_seen(gain):
    rng = np.random.default_rng(3)
    shown = rng.uniform(1, 100, (6, 60, 60))
    views = AtomViews(gain * rng.poisson(shown).astype(float), rotations(6), PIXEL_A)
    variance = 1 / inverse_variance(views, gain * shown)
    np.testing.assert_allclose(variance[shown > 10], gain**2 * shown[shown > 10], rtol=0.1)
    flat = replace(views, data=shown + rng.normal(0, 3, shown.shape))
    np.testing.assert_allclose(1 / inverse_variance(flat, shown), 9, rtol=0.1)
    exact = inverse_variance(replace(views, data=shown), shown)
    assert np.isfinite(exact).all()


def film():
    """A layer wider than the views, of which the model knows only the middle."""
    rng = np.random.default_rng(11)
    wide = cluster(9, step=2.9, seed=2)
    wide = wide[abs(wide[:, 2]) < 5]
    inside = (abs(wide[:, :2]) < 6).all(axis=1)
    rotation = rotation_matrices(tilts_as_euler(np.linspace(-60, 60, 31)))
    views = seen(model_of(wide, amplitude=200.0, n_views=31), rotation, shape=(36, 36), counts=rng)
    return model_of(wide[inside], amplitude=200.0, n_views=31), replace(views, diffuse_A=2.5)


def test_matter_beside_the_volume_of_a_film_does_not_move_its_atoms():
    true, views = film()
    start = moved(true, 0.1)
    inner = (abs(true.position_A[:, :2]) < 3.5).all(axis=1)
    found = refine_model(start, views, restraint_A=0.1)
    plain = refine_model(start, replace(views, diffuse_A=0.0), restraint_A=0.1)
    error, careless, before = (
        rms(model.position_A[inner], true.position_A[inner]) for model in (found.model, plain.model, start)
    )
    print(f"\nfilm: {before:.3f} Å before, {error:.3f} Å with, {careless:.3f} Å without the smooth part")
    assert error < 0.7 * before and error <= careless * 1.05
    diffuse = with_diffuse(views, true)
    np.testing.assert_allclose(
        diffuse.fixed, smooth_part(views.data - project_model(true, views), 2.5 / PIXEL_A)
    )
    assert with_diffuse(replace(views, diffuse_A=0.0), true).trusted is None


def test_views_left_out_tell_good_models_from_bad_ones(counted):
    true, views, start, _ = counted
    good, weight = left_out_misfit(true, views)
    assert good.shape == (len(views.data),) and good.mean() == pytest.approx(1, abs=0.05)
    assert (left_out_misfit(start, views, weight)[0] > good).all()
    assert left_out_misfit(replace(true, level=true.level + 9), views, weight)[0] == pytest.approx(good)


def test_the_tightest_hold_with_most_of_the_gain_is_taken():
    means = np.array([5.0, 4.0, 3.0, 2.1, 2.0, 2.2])
    even = np.stack([means, means, means], axis=1)
    assert _first_good(even) == 4  # every view says the same
    scattered = even + np.array([0.3, 0.0, -0.3]) * np.arange(6)[::-1, np.newaxis]
    assert _first_good(scattered) == 3
    assert _first_good(even[::-1][:, :1]) == 1
    assert _first_good(np.array([[1.0, 2.0]])) == 0


def test_a_hold_is_not_found_from_a_few_views(counted):
    true, views, _, _ = counted
    atoms = start_atoms(true.position_A / PIXEL_A + 24, np.ones(len(true)), 1.25)
    with pytest.raises(UsageError, match="5 views are too few to leave some out; give --hold"):
        find_restraint(
            views.of_views(np.arange(5)),
            atoms,
            FitRules(1.25),
            kind=true.kind,
            score=np.ones(len(true)),
            sigma_A=true.sigma_A,
            smoothing_A=0.2,
            shape=(48, 48, 48),
            voxel_A=PIXEL_A,
            centre_A=np.zeros(3),
            level=0.0,
            complete=lambda position_A, used, restraint_A: pytest.fail("nothing to complete"),
        )


def test_views_that_show_nothing_of_atoms_are_refused(counted):
    true, views, _, _ = counted
    nothing = replace(views, trusted=np.zeros(views.data.shape, bool))
    with pytest.raises(DataError, match="hardly anything of atoms"):
        inverse_variance(nothing, project_model(true, views))


def test_views_need_as_many_rotations():
    with pytest.raises(DataError, match="need as many rotations"):
        AtomViews(np.zeros((3, 5, 5)), rotations(2), PIXEL_A)
