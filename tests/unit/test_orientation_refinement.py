"""Refinement of orientations, against particles whose projections have a closed form."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from etcli.core.errors import DataError, UsageError
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.core.registration.orientation_refinement import align_orientations, refine_orientations

Float = NDArray[np.float64]
SIZE, SIGMA, N_VIEWS = 40, 1.6, 24


def particles(seed: int) -> Float:
    """Places (x, y, z) from the centre, in a ball."""
    place = np.random.default_rng(seed).uniform(-1, 1, (400, 3))
    return 13 * place[np.linalg.norm(place, axis=1) < 1][:60]


def gaussians(offsets: list[Float]) -> NDArray[np.float32]:
    """Sum of Gaussians on a grid, given the coordinates of the grid from each of them, last axis first."""
    parts = [np.exp(-0.5 * (offset / SIGMA) ** 2) for offset in offsets]
    return np.einsum("ni,nj,nk->kji" if len(parts) == 3 else "ni,nj->ji", *parts).astype(np.float32)


def volume_of(place: Float) -> NDArray[np.float32]:
    grid = np.arange(SIZE) - (SIZE - 1) / 2
    return gaussians([grid - place[:, axis, None] for axis in range(3)])


def views_of(place: Float, euler_deg: Float, centre_px: Float) -> NDArray[np.float32]:
    grid = np.arange(SIZE) - (SIZE - 1) / 2
    height = np.float32(SIGMA * np.sqrt(2 * np.pi))
    seen = place @ rotation_matrices(euler_deg)[:, :2].transpose(0, 2, 1) + centre_px[:, None]
    return np.array([height * gaussians([grid - s[:, 0, None], grid - s[:, 1, None]]) for s in seen])


def common(found_deg: Float, true_deg: Float) -> Float:
    """The rotation of the specimen that brings all views nearest to the truth."""
    true, found = rotation_matrices(true_deg), rotation_matrices(found_deg)
    return Rotation.from_matrix(true.transpose(0, 2, 1) @ found).mean().as_matrix()


def turned_deg(found_deg: Float, true_deg: Float, specimen: Float | None = None) -> Float:
    """Angle between the orientations of each view, the specimen turned."""
    true = rotation_matrices(true_deg) @ (np.eye(3) if specimen is None else specimen)
    difference = rotation_matrices(found_deg) @ true.transpose(0, 2, 1)
    return np.rad2deg(Rotation.from_matrix(difference).magnitude())


def rms(values: Float) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("threads", [1, 2])
def test_views_are_turned_and_moved_to_a_volume(threads) -> None:
    rng = np.random.default_rng(1)
    place = particles(1)
    true, start = rng.uniform(-180, 180, (N_VIEWS, 3)), rng.uniform(-3, 3, (N_VIEWS, 3))
    centre = rng.uniform(-1.5, 1.5, (N_VIEWS, 2))
    views = views_of(place, true, centre)
    found = refine_orientations(volume_of(place), views, true + start, steps=6, threads=threads)
    assert rms(turned_deg(true + start, true)) > 2.5
    # what remains is the linear interpolation of so small particles
    assert rms(turned_deg(found.euler_deg, true)) < 0.1
    np.testing.assert_allclose(found.shift_px, -centre, atol=0.03)
    assert found.correlation.min() > 0.99
    assert found.change_deg < 0.05


def test_the_step_is_limited_and_starts_where_asked() -> None:
    place = particles(2)
    true = np.random.default_rng(2).uniform(-180, 180, (N_VIEWS, 3))
    start, shift = true + np.array([3, 0, 0]), np.full((N_VIEWS, 2), 0.8)
    views = views_of(place, true, np.zeros((N_VIEWS, 2)))
    found = refine_orientations(
        volume_of(place), views, start, shift_px=shift, steps=1, max_step_deg=0.5, max_step_px=0.1
    )
    moved = np.linalg.norm(found.shift_px - shift, axis=1)
    turned = turned_deg(found.euler_deg, start)
    assert turned.max() < 0.5 + 1e-6
    assert moved.max() < 0.1 + 1e-6
    assert np.median(turned) == pytest.approx(0.5, abs=1e-6)
    assert np.median(moved) == pytest.approx(0.1, abs=1e-6)
    assert found.change_deg == pytest.approx(rms(turned))


def test_no_view_becomes_worse_and_blank_ones_stay() -> None:
    rng = np.random.default_rng(3)
    place = particles(3)
    true = rng.uniform(-180, 180, (N_VIEWS, 3))
    views = views_of(place, true, np.zeros((N_VIEWS, 2)))
    views[5] = 0
    views[6] = rng.standard_normal(views[6].shape)
    start = true + rng.uniform(-8, 8, true.shape)  # beyond what can be captured
    correlations = [
        refine_orientations(volume_of(place), views, start, steps=steps).correlation for steps in (1, 3, 6)
    ]
    assert (np.diff(correlations, axis=0) >= 0).all()
    found = refine_orientations(volume_of(place), views, start, steps=2)
    np.testing.assert_allclose(found.euler_deg[5], start[5], atol=1e-9)
    assert found.correlation[5] == 0
    assert found.correlation[6] < 0.3


def test_orientations_and_volume_are_found_together() -> None:
    rng = np.random.default_rng(4)
    place = particles(4)
    true = tilts_as_euler(np.arange(N_VIEWS) * 7.5) + rng.uniform(-2, 2, (N_VIEWS, 3))
    start = true + rng.uniform(-3, 3, true.shape)
    centre = rng.uniform(-1, 1, (N_VIEWS, 2))
    rounds: list[int] = []
    found = align_orientations(
        views_of(place, true, centre), start, rounds=8, iterations=20, threads=2, progress=rounds.append
    )
    assert rms(turned_deg(start, true, common(start, true))) > 2.5
    assert rms(turned_deg(found.euler_deg, true, common(found.euler_deg, true))) < 0.6
    # the specimen as a whole has neither turned nor moved
    np.testing.assert_allclose(common(found.euler_deg, start), np.eye(3), atol=1e-9)
    seen_from = rotation_matrices(found.euler_deg)[:, :2].reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.lstsq(seen_from, found.shift_px.ravel())[0], 0, atol=1e-9)
    left = (found.shift_px + centre).ravel()
    assert rms(left - seen_from @ np.linalg.lstsq(seen_from, left)[0]) < 0.07
    assert found.correlation.min() > 0.99
    assert rounds == [1] * 8


def test_rounds_end_when_they_follow_the_noise() -> None:
    """As above, where all rounds are needed, but in so much noise that few of them find anything."""
    rng = np.random.default_rng(4)
    true = tilts_as_euler(np.arange(N_VIEWS) * 7.5)
    views = views_of(particles(4), true, np.zeros((N_VIEWS, 2)))
    views += rng.normal(0, 1.5 * views.std(), views.shape).astype(np.float32)
    start = true + rng.uniform(-1, 1, true.shape)
    found = align_orientations(views, start, rounds=9, iterations=10)
    assert found.follows_noise
    assert 2 <= found.rounds < 9


def test_rounds_end_when_nothing_changes() -> None:
    place = particles(5)
    true = tilts_as_euler(np.arange(N_VIEWS) * 7.5)
    rounds: list[int] = []
    found = align_orientations(
        views_of(place, true, np.zeros((N_VIEWS, 2))),
        true,
        rounds=9,
        iterations=5,
        tolerance_deg=5,
        progress=rounds.append,
    )
    assert rounds == [1]
    assert 0 < found.change_deg < 5


def test_wrong_requests_are_refused() -> None:
    volume, views, euler = np.ones((6, 6, 6), np.float32), np.ones((3, 6, 6), np.float32), np.zeros((3, 3))
    with pytest.raises(DataError, match=r"not 2 and .* views of shape \(3, 6, 6\)"):
        refine_orientations(volume, views, euler[:2])
    with pytest.raises(DataError, match=r"array of shape \(3,\)"):
        refine_orientations(volume, views, euler, shift_px=np.zeros(3))
    with pytest.raises(DataError, match="finite numbers"):
        align_orientations(views * np.float32(np.nan), euler)
    with pytest.raises(DataError, match="not all of them zero"):
        refine_orientations(0 * volume, views, euler)
    with pytest.raises(DataError, match="nothing to reconstruct"):
        align_orientations(0 * views, euler)
    with pytest.raises(UsageError, match="3 to 2 pixels"):
        refine_orientations(volume, views, euler, band_px=(3, 2))
    with pytest.raises(UsageError, match="steps: at least 1 is needed, not 0"):
        refine_orientations(volume, views, euler, steps=0)
    with pytest.raises(UsageError, match="rounds: at least 1"):
        align_orientations(views, euler, rounds=0)
    with pytest.raises(UsageError, match="longest step"):
        align_orientations(views, euler, max_step_deg=0)
