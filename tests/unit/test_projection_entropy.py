"""Entropy of projections against counting, the paper's equations and closed forms."""

from itertools import product
from math import comb, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from etcli.core.entropy.projection import occupied_voxels, pixel_entropy, projection_entropy
from etcli.core.errors import DataError, UsageError

IMAGES = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(0, 1e6)
)


def brute_force(counts: int, n_voxels: int) -> int:
    """Number of ways to write the counts as an ordered sum of that many numbers, by trying all."""
    return sum(sum(voxels) == counts for voxels in product(range(counts + 1), repeat=n_voxels))


@pytest.mark.parametrize(("counts", "n_voxels"), [(0, 3), (1, 1), (1, 4), (3, 3), (5, 4), (7, 3)])
def test_the_exponential_is_the_number_of_arrangements(counts: int, n_voxels: int) -> None:
    assert brute_force(counts, n_voxels) == comb(counts + n_voxels - 1, counts)
    found = pixel_entropy(counts, n_voxels)
    assert np.exp(found) == pytest.approx(brute_force(counts, n_voxels), rel=1e-13)


@pytest.mark.parametrize(
    ("image", "n_voxels", "gamma", "stirling"),
    [
        ([[0, 1], [2, 3]], 2, log(24), 5.545177444480),
        (np.diag([7, 0, 0]), 3, log(36), 4.767355791519),
        ([[4, 0, 1], [2, 9, 3], [0, 0, 6]], 3, log(4_158_000), 21.580488172526),
        ([[0, 1], [139, 1e6]], 140, 1564.683102810, 1572.106729560),
    ],
)
def test_tiny_images(image, n_voxels, gamma, stirling) -> None:
    assert projection_entropy(image, n_voxels) == pytest.approx(gamma, rel=1e-11)
    assert projection_entropy(image, n_voxels, form="stirling") == pytest.approx(stirling, rel=1e-11)


def test_a_partner_limits_the_voxels_of_each_row() -> None:
    image, partner = [[4, 0, 1], [2, 9, 3], [0, 0, 6]], [[5, 0, 0], [7, 7, 0], [2, 2, 2]]
    n = occupied_voxels(partner)
    np.testing.assert_array_equal(n, [1, 2, 3])
    assert projection_entropy(image, n) == pytest.approx(log(3360), rel=1e-13)
    ways = [comb(i + k - 1, i) for row, k in zip(image, (1, 2, 3), strict=True) for i in row]
    assert np.prod(ways, dtype=float) == 3360
    assert projection_entropy(image, n, form="stirling") == pytest.approx(11.908393974225, rel=1e-11)


def test_empty_rows_and_hot_pixels() -> None:
    np.testing.assert_array_equal(occupied_voxels([[0, 0, 0], [0, 0, 4]]), [1, 1])
    flat = np.full((1, 100), 5.0)
    hot = flat.copy()
    hot[0, 3] = 50.0
    assert occupied_voxels(flat) == 100
    assert occupied_voxels(hot) == pytest.approx(10.9)
    assert occupied_voxels(hot, percentile=98) == pytest.approx(100)
    np.testing.assert_array_equal(occupied_voxels(np.zeros((3, 4)), percentile=98), [1, 1, 1])


@settings(deadline=None)
@given(image=IMAGES, n_voxels=st.floats(1, 1e3), data=st.data())
def test_only_the_values_of_the_pixels_count(image, n_voxels, data) -> None:
    entropy = projection_entropy(image, n_voxels)
    shuffled = image.ravel()[data.draw(st.permutations(range(image.size)))].reshape(image.shape)
    for other in (shuffled, np.rot90(image), image[::-1], image[:, ::-1]):
        assert projection_entropy(other, n_voxels) == pytest.approx(entropy, rel=1e-12, abs=1e-8)
    assert entropy == pytest.approx(pixel_entropy(image, n_voxels).sum(), rel=1e-12, abs=1e-8)


@settings(deadline=None)
@given(image=IMAGES, data=st.data(), form=st.sampled_from(["gamma", "stirling"]))
def test_a_condition_never_adds_entropy(image, data, form) -> None:
    partner = data.draw(hnp.arrays(np.float64, image.shape, elements=st.floats(0, 1e3)))
    n = occupied_voxels(partner)
    assert ((n >= 1) & (n <= image.shape[1] * (1 + 1e-12))).all()
    alone = projection_entropy(image, image.shape[1], form=form)
    assert projection_entropy(image, n, form=form) <= alone * (1 + 1e-12) + 1e-8


@settings(deadline=None)
@given(counts=st.floats(1e-3, 1e8), n_voxels=st.floats(1.001, 1e5))
def test_the_stirling_form_is_an_upper_bound(counts, n_voxels) -> None:
    exact, rough = (pixel_entropy(counts, n_voxels, form=form) for form in ("gamma", "stirling"))
    assert 0 <= exact <= rough * (1 + 1e-9) + 1e-6


def test_no_counts_and_no_depth_have_no_entropy() -> None:
    np.testing.assert_array_equal(pixel_entropy([0.0, -3.0, 5.0, 5.0], [9, 9, 1, 0.5]), 0)
    assert projection_entropy(np.zeros((4, 4)), 4) == 0
    assert projection_entropy([[1.0, 5.0]], [0.5]) == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="no form of the entropy named 'exact'"):
        pixel_entropy(1, 2, form="exact")
    with pytest.raises(DataError, match="one number of voxels per row"):
        projection_entropy(np.ones((3, 4)), np.ones(4))
