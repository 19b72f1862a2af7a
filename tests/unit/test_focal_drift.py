"""Drift of a focal series against series with known drift, and the correlation against its definition."""

import numpy as np
import pytest

from etcli.core.depth.drift import focal_drift, refine_drift
from etcli.core.depth.section_pairs import link_sections, overlap_correlation
from etcli.core.errors import DataError, NonFiniteViewError, UsageError
from etcli.core.registration.methods import n_steps, register_views
from etcli.core.registration.shifts import Shifts
from tests.drifted_columns import counted, disc, error_px, focal_images, walk

FOCUS_PX = np.linspace(-150, 150, 15)
N = len(FOCUS_PX)


def series(drift_px: np.ndarray, *, radius_px: float = 22, peak: float = 300) -> np.ndarray:
    return counted(focal_images(disc(radius_px), FOCUS_PX, drift_px), peak=peak)


def test_the_correlation_is_that_of_the_overlap() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 12, 15)) + 5
    found = overlap_correlation(first, second, reach_px=3)
    for y in range(-3, 4):
        for x in range(-3, 4):
            one = first[max(-y, 0) : 12 - max(y, 0), max(-x, 0) : 15 - max(x, 0)]
            other = second[max(y, 0) : 12 - max(-y, 0), max(x, 0) : 15 - max(-x, 0)]
            expected = np.corrcoef(one.ravel(), other.ravel())[0, 1]
            assert found[3 + y, 3 + x] == pytest.approx(expected, abs=1e-9)
    assert (overlap_correlation(np.ones((12, 15)), second, reach_px=3) == 0).all()


def test_a_displacement_is_from_the_first_to_the_second() -> None:
    drift_px = np.array([[0.0, 0.0], [2.3, -1.6]])
    first, second = focal_images(disc(18), np.zeros(2), drift_px)
    link = link_sections(first, second, (4, 5), low_pass_px=1.0, reach_px=8)
    assert link is not None and (link.first, link.second) == (4, 5)
    np.testing.assert_allclose(link.displacement_px, drift_px[1], atol=0.03)
    assert link.quality > 0.98


@pytest.mark.parametrize(
    ("step_px", "radius_px", "range_px"), [(0.1, 22, 150), (1.0, 22, 150), (2.5, 16, 150), (1.5, 60, 50)]
)
def test_the_drift_is_found(step_px: float, radius_px: float, range_px: float) -> None:
    """Also where steps are longer than half the spacing of 5 px, and where the lattice fills the frame."""
    drift_px = walk(N, step_px)
    images = focal_images(disc(radius_px), np.linspace(-range_px, range_px, N), drift_px)
    shifts = focal_drift(counted(images, peak=300))
    assert error_px(shifts.shift_px, drift_px) < 0.2
    assert not shifts.doubtful.any()
    assert shifts.residual_px < 0.2
    assert shifts.shift_px[N // 2].tolist() == [0, 0]


def test_a_particle_that_is_cut_off_at_the_border_is_followed() -> None:
    """A window would hold its outline where it is."""
    drift_px = walk(N, 1.0, seed=2) + np.array([18, 0])
    assert error_px(focal_drift(series(drift_px)).shift_px, drift_px) < 0.35


def test_few_electrons_are_enough() -> None:
    drift_px = walk(N, 0.4)
    shifts = focal_drift(series(drift_px, peak=20))
    assert error_px(shifts.shift_px, drift_px) < 0.5


def test_defoci_put_the_sections_in_order() -> None:
    drift_px = walk(N, 1.0)
    sections = series(drift_px)
    mixed = np.random.default_rng(5).permutation(N)
    expected = focal_drift(sections, reference=3)
    found = focal_drift(
        sections[mixed], defocus_um=FOCUS_PX[mixed], reference=int(np.flatnonzero(mixed == 3)[0]), threads=2
    )
    np.testing.assert_allclose(found.shift_px, expected.shift_px[mixed], atol=1e-9)
    np.testing.assert_allclose(found.quality, expected.quality[mixed])
    assert expected.shift_px[3].tolist() == [0, 0]


def test_a_blank_section_is_doubtful_and_comes_between_its_neighbours() -> None:
    drift_px = walk(N, 0.5)
    sections = series(drift_px)
    sections[5] = np.random.default_rng(0).poisson(20, sections[5].shape)
    shifts = focal_drift(sections)
    assert np.flatnonzero(shifts.doubtful).tolist() == [5]
    assert shifts.quality[5] == 0
    np.testing.assert_allclose(shifts.shift_px[5], shifts.shift_px[[4, 6]].mean(axis=0), atol=1e-3)
    others = np.arange(N) != 5
    assert error_px(shifts.shift_px[others], drift_px[others]) < 0.2


def test_a_perfect_lattice_without_outline_is_not_followed_by_whole_spacings() -> None:
    """What it shows is the same one spacing further; the shorter step is taken."""
    drift_px = walk(N, 0.3)
    lattice = disc(70, tilt=0.0)
    even = type(lattice)(lattice.place_px, np.full(len(lattice.n_atoms), 5.0), lattice.depth_px)
    sections = counted(focal_images(even, np.linspace(-40, 40, N), drift_px), peak=300)
    assert error_px(focal_drift(sections).shift_px, drift_px) < 0.2


def test_a_limit_is_kept() -> None:
    drift_px = np.zeros((N, 2))
    drift_px[N // 2 :] = 9.0
    free, limited = (focal_drift(series(drift_px), max_shift_px=limit) for limit in (None, 4))
    assert error_px(free.shift_px, drift_px) < 0.2
    assert np.abs(np.diff(limited.shift_px, axis=0)).max() <= 5


def test_a_region_is_compared_alone() -> None:
    drift_px = walk(N, 0.3)
    sections = series(drift_px)
    sections[:, :, 44:] = counted(focal_images(disc(22), FOCUS_PX, -drift_px), peak=300)[:, :, 44:]
    shifts = focal_drift(sections, region=(slice(4, 60), slice(2, 42)))
    assert error_px(shifts.shift_px, drift_px) < 0.3


def test_progress_is_announced_by_the_registry() -> None:
    seen: list[int] = []
    sections = series(walk(N, 0.3))
    matched = register_views(sections, np.zeros(N), method="focal", progress=seen.append)
    assert sum(seen) == n_steps("focal", n_views=N, iterations=1)
    np.testing.assert_array_equal(matched.shifts.shift_px, focal_drift(sections).shift_px)
    assert np.isnan(matched.axis.angle_deg)


def test_wrong_input_is_refused() -> None:
    sections = series(np.zeros((N, 2))).astype(np.float32)
    with pytest.raises(DataError, match="at least two sections"):
        focal_drift(sections[:1])
    with pytest.raises(DataError, match="15 sections but 3 defoci"):
        focal_drift(sections, defocus_um=[0, 1, 2])
    with pytest.raises(DataError, match="defocus of section 2"):
        focal_drift(sections[:3], defocus_um=[0, np.nan, 2])
    with pytest.raises(UsageError, match="reference section 16"):
        focal_drift(sections, reference=15)
    with pytest.raises(UsageError, match="too small"):
        focal_drift(sections, max_shift_px=0.5)
    with pytest.raises(UsageError, match="negative"):
        focal_drift(sections, low_pass_px=-1)
    with pytest.raises(UsageError, match="region of 10 x 64"):
        focal_drift(sections, region=(slice(0, 64), slice(0, 10)))
    with pytest.raises(DataError, match="in common"):
        focal_drift(np.random.default_rng(0).poisson(20, sections.shape))
    sections[3, 5, 5] = np.nan
    with pytest.raises(NonFiniteViewError, match="view 4"):
        focal_drift(sections)


def shifts_of(shift_px: np.ndarray) -> Shifts:
    return Shifts(shift_px, np.ones(len(shift_px)), np.zeros(len(shift_px), bool), np.nan)


@pytest.mark.parametrize("peak", [300, 30])
def test_the_prediction_refines_the_drift(peak: float) -> None:
    drift_px = walk(N, 0.5)
    sections = series(drift_px, peak=peak)
    predicted = 7 * focal_images(disc(22), FOCUS_PX, np.zeros((N, 2))) - 3  # of any gain and offset
    start = shifts_of(np.random.default_rng(1).uniform(-1, 1, (N, 2)) - drift_px)
    seen: list[int] = []
    found = refine_drift(sections, predicted, start, progress=seen.append)
    assert not found.doubtful.any() and sum(seen) == N
    # in the frame of the prediction: no common shift is taken off
    error = np.sqrt(((found.shift_px + drift_px) ** 2).sum(axis=1).mean())
    assert error < 0.1 * np.sqrt(300 / peak)
    change = found.shift_px - start.shift_px
    assert found.residual_px == pytest.approx(np.sqrt((change**2).sum(axis=1).mean()))


def test_sections_without_noise_are_refined_exactly() -> None:
    drift_px = walk(N, 0.5)
    columns = disc(16)
    sections = focal_images(columns, FOCUS_PX, drift_px)
    predicted = focal_images(columns, FOCUS_PX, np.zeros((N, 2)))
    found = refine_drift(sections, predicted, shifts_of(0.4 - drift_px))
    np.testing.assert_allclose(found.shift_px, -drift_px, atol=0.01)  # what splines leave
    assert (found.quality > 0.999).all()


def test_a_section_unlike_its_prediction_keeps_its_shift() -> None:
    drift_px = walk(N, 0.5)
    sections = series(drift_px)
    sections[2] = 20  # blank
    predicted = focal_images(disc(22), FOCUS_PX, np.zeros((N, 2)))
    start = shifts_of(-drift_px)
    start.shift_px[6] += 2.4  # the next column is nearer
    found = refine_drift(sections, predicted, start, max_change_px=1.0)
    assert np.flatnonzero(found.doubtful).tolist() == [2, 6]
    np.testing.assert_array_equal(found.shift_px[[2, 6]], start.shift_px[[2, 6]])
    with pytest.raises(DataError, match="same shape"):
        refine_drift(sections, predicted[:3], start)
    with pytest.raises(UsageError, match="nothing to refine"):
        refine_drift(sections, predicted, start, max_change_px=0)
