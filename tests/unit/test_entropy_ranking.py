"""Ranking of views by entropy: counts, partners, selection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import etcli
from etcli.core.entropy.counts import CountConversion, CountedView
from etcli.core.entropy.projection import occupied_voxels, projection_entropy
from etcli.core.entropy.ranking import ViewEntropies, angle_between, lowest, view_entropies
from etcli.core.errors import DataError, UsageError


def images(n: int, *, shape: tuple[int, int] = (12, 16), seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).poisson(2.0, (n, *shape)).astype(np.float32)


def ranked(views: np.ndarray, tilt_deg: object, **options: object) -> ViewEntropies:
    conversion = CountConversion()
    return view_entropies(lambda k: conversion.counts(views[k], k), tilt_deg, **options)


def test_entropies_are_those_of_single_images() -> None:
    views = images(3)
    found = ranked(views, [0.0, 40.0, 90.5], total=None, threads=2)
    for k, view in enumerate(views):
        assert found.entropy_nat[k] == pytest.approx(projection_entropy(view, 16), rel=1e-12)
        assert found.zero_fraction[k] == (view == 0).mean()
    np.testing.assert_array_equal(found.partner, [2, -1, 0])
    np.testing.assert_array_equal(found.partner_deg, [90.5, np.nan, 0.0])
    assert found.joint_nat[0] == pytest.approx(
        projection_entropy(views[0], occupied_voxels(views[2])), rel=1e-12
    )
    assert np.isnan(found.joint_nat[1])
    assert found.ranks("joint")[1] == 3


@pytest.mark.parametrize(("tolerance_deg", "paired"), [(0.4, [-1, -1]), (0.5, [1, 0]), (1.5, [1, 0])])
def test_partners_are_within_the_tolerance(tolerance_deg: float, paired: list[int]) -> None:
    assert ranked(images(2), [10.0, -79.5], tolerance_deg=tolerance_deg).partner.tolist() == paired


def test_a_partner_from_behind_is_a_partner() -> None:
    np.testing.assert_array_equal(ranked(images(2), [0.0, 270.0]).partner, [1, 0])
    np.testing.assert_array_equal(ranked(images(2), [-80.0, 190.0]).partner, [1, 0])


def test_a_partner_can_be_interpolated() -> None:
    views = images(4)
    found = ranked(views, [0.0, 86.0, 88.0, 91.0], total=None, interpolate=True, tolerance_deg=0)
    occupied = occupied_voxels(views[2]) / 3 + occupied_voxels(views[3]) * 2 / 3
    assert found.joint_nat[0] == pytest.approx(projection_entropy(views[0], occupied), rel=1e-12)
    assert found.partner[0] == 3 and found.partner_deg[0] == 90.0
    assert (found.partner[1:3] == -1).all()  # their partners would be far from other views


def test_all_views_count_the_same_in_all() -> None:
    views = images(3) * np.array([1.0, 0.8, 1.3])[:, None, None]
    found = ranked(views, [0, 30, 60])
    np.testing.assert_allclose(found.total_counts, np.median(views.sum(axis=(1, 2))), rtol=1e-6)
    np.testing.assert_allclose(ranked(views * 7, [0, 30, 60], total=5000).total_counts, 5000, rtol=1e-6)
    one, other = ranked(views, [0, 30, 60], total=900), ranked(images(3), [0, 30, 60], total=900)
    np.testing.assert_allclose(one.entropy_nat, other.entropy_nat, rtol=1e-6)


def test_views_without_counts_come_last_and_are_not_selected() -> None:
    views = images(3)
    views[1] = 0
    found = ranked(views, [0, 45, 90])
    assert found.entropy_nat[1] == 0 and found.ranks()[1] == 3
    with pytest.raises(UsageError, match="only 2 views can be selected, not 3"):
        found.select(3)
    with pytest.raises(DataError, match="no view has counts above the background"):
        ranked(np.zeros((2, 8, 8), np.float32), [0, 90])


def test_one_view_is_ranked_alone() -> None:
    found = ranked(images(1), [0.0])
    assert found.ranks().tolist() == [1] and np.isnan(found.joint_nat).all()


def test_the_bootstrap_gives_the_scatter_of_images_taken_again() -> None:
    mean = 40.0 * images(1)[0]
    rng = np.random.default_rng(0)
    again = np.std([projection_entropy(rng.poisson(mean), 16) for _ in range(400)])
    found = ranked(np.array([mean, mean]), [0, 90], total=None, bootstrap=400)
    np.testing.assert_allclose(found.sd_nat, again, rtol=0.2)
    assert (found.joint_sd_nat > 0).all()
    np.testing.assert_array_equal(
        found.sd_nat, ranked(np.array([mean, mean]), [0, 90], total=None, bootstrap=400, threads=2).sd_nat
    )
    with pytest.raises(UsageError, match="2 images or more"):
        ranked(images(1), [0], bootstrap=1)


def test_views_that_are_displaced_along_the_axis_are_noticed() -> None:
    rows = np.exp(-0.5 * ((np.arange(40) - 17) / 5) ** 2)
    views = np.array([np.outer(np.roll(rows, shift), np.ones(20)) for shift in (0, 3)], np.float32)
    np.testing.assert_array_equal(np.abs(ranked(views, [0, 90]).lag_rows), 3)
    np.testing.assert_array_equal(ranked(views[[0, 0]], [0, 90]).lag_rows, 0)


def test_values_become_counts() -> None:
    image = np.array([[10, 12], [9, 18]], np.float32)
    view = CountConversion(level=10, gain=2).counts(image, 0)
    np.testing.assert_array_equal(view.counts, [[0, 1], [0, 4]])
    assert (view.negative_fraction, view.clipped, view.level) == (0.25, 0.5, 10)
    support = np.array([[True, True], [False, True]])
    masked = CountConversion(support=support, level_outside=True).counts(image, 0)
    np.testing.assert_array_equal(masked.counts, [[1, 3], [0, 9]])
    np.testing.assert_array_equal(CountConversion(factor=2).counts(image, 0).counts, [[49]])
    with pytest.raises(DataError, match=r"view 4 has -1 counts in a pixel"):
        CountConversion(level=10, clip=False).counts(image, 3)
    with pytest.raises(DataError, match="a mask of 3 x 3 pixels does not fit views of 2 x 2"):
        CountConversion(support=np.ones((3, 3), bool)).counts(image, 0)


@pytest.mark.parametrize(("highest", "n"), [(255, 4), (4095, 4), (65535, 4), (256, 4), (300, 0), (127, 0)])
def test_the_end_of_a_detector_s_range_is_noticed(highest: int, n: int) -> None:
    image = np.zeros((4, 4), np.float32)
    image[0] = highest
    assert CountConversion().counts(image, 0).n_saturated == n
    image[0, 1:] = 5
    assert CountConversion().counts(image, 0).n_saturated == 0


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    step=st.floats(1, 30),
    spread_deg=st.floats(0, 60),
    n=st.integers(1, 6),
)
def test_chosen_views_are_the_lowest_that_keep_their_distance(values, step, spread_deg, n) -> None:
    angles = np.arange(len(values)) * step
    try:
        chosen = lowest(values, angles, n, spread_deg=spread_deg)
    except UsageError:
        assert n > len(values) or spread_deg > 0
        return
    assert len(set(chosen)) == n
    for place, k in enumerate(chosen):
        assert all(angle_between(angles[k], angles[j]) >= spread_deg - 1e-6 for j in chosen[:place])
        free = [
            j
            for j in range(len(values))
            if j not in chosen
            and all(angle_between(angles[j], angles[i]) >= spread_deg for i in chosen[:place])
        ]
        assert all(values[k] <= values[j] for j in free)


def test_angles_are_compared_from_both_sides() -> None:
    np.testing.assert_allclose(angle_between([0, 170, -90, 10], [180, -10, 90, 100]), [0, 0, 0, 90])


def test_choices_are_recorded_and_results_have_all_units() -> None:
    series = etcli.TiltSeries.of(images(3), [0, 45, 90])
    ranking = etcli.entropy(series, background=0.5, gain=0.25, total=1000)
    assert ranking.numbers["background"] == 0.5 and ranking.numbers["total_counts"] == pytest.approx(1000)
    row = ranking.numbers["views"][0]
    assert row["S_per_N3"] == pytest.approx(row["S"] / 16**3)
    assert row["S_per_N2"] == pytest.approx(row["S"] / 16**2)
    assert row["S_bits"] == pytest.approx(row["S"] / np.log(2))
    assert ranking.select(1, drop=True) == [k for k in range(3) if ranking.ranks[k] > 1]
    for options, message in (
        ({"gain": 0}, "--gain 0"),
        ({"total": -1}, "--total -1"),
        ({"percentile": 0}, "--row-maximum 0"),
        ({"as_counts": True, "gain": 2}, "--as-counts uses values as they are"),
        ({"by": "pair"}, "no ranking named 'pair'"),
        ({"n_voxels": 1, "background": "none"}, "1 voxels along a ray"),
    ):
        with pytest.raises(UsageError, match=message):
            etcli.entropy(series, **options)


def test_a_view_is_counted_once_per_pass() -> None:
    """So that memory does not grow with the number of views."""
    seen: list[int] = []

    def counted(k: int) -> CountedView:
        seen.append(k)
        return CountConversion().counts(images(1, seed=k)[0], k)

    view_entropies(counted, np.arange(5.0))
    assert sorted(seen) == sorted([*range(5), *range(5)])


def test_rows_are_those_along_the_tilt_axis() -> None:
    views = images(2)
    upright = etcli.entropy(etcli.TiltSeries.of(views, [0, 90], axis_deg=0.0), background="none")
    lying = etcli.TiltSeries.of(views.transpose(0, 2, 1), [0, 90], axis_deg=90.0)
    turned = etcli.entropy(lying, background="none")
    np.testing.assert_allclose(turned.entropies.joint_nat, upright.entropies.joint_nat)
    assert turned.entropies.n_voxels == upright.entropies.n_voxels == 16
    leaning = etcli.TiltSeries.of(views, [0, 90], axis_deg=20.0)
    with pytest.warns(etcli.EtcliWarning, match="the tilt axis is at 20°; joint entropies need it vertical"):
        etcli.entropy(leaning, background="none")


def test_views_of_any_orientation_have_no_partners() -> None:
    series = etcli.TiltSeries.of(images(2), [0, 90]).with_orientations([[0, 0, 0], [10, -90, 5]], "test")
    assert (etcli.entropy(series, background="none").entropies.partner == -1).all()


def test_the_scatter_of_totals_is_not_that_of_scaled_views() -> None:
    """A series of many views of one image: what the bootstrap of one view says is how they scatter."""
    mean = 3.0 * images(1)[0]
    rng = np.random.default_rng(7)
    found = ranked(rng.poisson(mean, (60, *mean.shape)).astype(np.float32), np.arange(60.0), bootstrap=60)
    scatter = float(np.std(found.entropy_nat, ddof=1))
    assert float(np.median(found.sd_nat)) == pytest.approx(scatter, rel=0.35)
    unscaled = ranked(rng.poisson(mean, (1, *mean.shape)).astype(np.float32), [0.0], total=None, bootstrap=60)
    assert unscaled.sd_nat[0] > 2 * scatter


def test_a_mask_of_all_pixels_does_not_hide_the_background() -> None:
    views = np.zeros((3, 40, 60), np.float32)
    views[:, 10:30, 20:40] = 50
    series = etcli.TiltSeries.of(views + 500, [0, 45, 90])
    full = etcli.entropy(series, mask=np.ones((40, 60)))
    assert full.numbers["background"] == pytest.approx(500)
    np.testing.assert_allclose(full.entropies.recorded_counts, views[0].sum())
    with pytest.raises(DataError, match="the mask holds values that are not finite"):
        etcli.entropy(series, mask=np.full((40, 60), np.nan))


@pytest.mark.parametrize(
    "options",
    [
        {"factor": 0},
        {"factor": 1.5},
        {"n_voxels": float("nan")},
        {"n_voxels": 10**12},
        {"total": float("inf")},
        {"total": 1e24},
        {"total": None},
        {"tolerance_deg": -1},
        {"gain": None},
        {"bootstrap": 2.5},
        {"seed": -1},
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(options: dict) -> None:
    with pytest.raises(UsageError):
        etcli.entropy(etcli.TiltSeries.of(images(2), [0, 90]), **options)


def test_a_selection_takes_one_view_or_more() -> None:
    with pytest.raises(UsageError, match="-1 views cannot be selected"):
        lowest([1.0, 2.0], [0, 90], -1)
    with pytest.raises(UsageError, match="the lowest first, can be selected, not 2"):
        lowest([2.0, 1.0, 2.0], [0, 10, 20], 2, spread_deg=15)
