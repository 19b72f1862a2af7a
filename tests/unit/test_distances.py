"""Exact distances in masks and labels against brute force and SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from etcli.core.segmentation.distance import distance_inside, nearest_label


def blobs(seed: int, shape: tuple[int, ...] = (19, 23, 37), share: float = 0.7) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return smooth > np.quantile(smooth, 1 - share)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
@pytest.mark.parametrize("threads", [1, 2])
def test_distance_in_a_mask_is_that_of_scipy(share: float, threads: int) -> None:
    mask = blobs(3, share=share)
    np.testing.assert_allclose(
        distance_inside(mask, threads=threads), ndimage.distance_transform_edt(mask), rtol=1e-6
    )


def test_borders_of_the_array_count_where_they_are_asked_to() -> None:
    mask = blobs(4, share=0.9)
    padded = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(distance_inside(mask, outside=True), padded, rtol=1e-6)


def test_each_label_ends_where_its_neighbour_begins() -> None:
    labels = np.random.default_rng(5).integers(0, 4, (4, 5, 6)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    labels = labels.astype(np.int32)
    expected = sum(ndimage.distance_transform_edt(labels == i) for i in (1, 2, 3))
    np.testing.assert_allclose(distance_inside(labels), expected, rtol=1e-6)


def test_without_any_background_the_distance_is_infinite() -> None:
    assert np.isinf(distance_inside(np.ones((3, 4, 5), bool))).all()
    assert (distance_inside(np.ones((1, 1, 1), bool), outside=True) == 1).all()


def test_nearest_labels_are_at_the_distance_of_scipy() -> None:
    labels, _ = ndimage.label(blobs(6, share=0.1))
    nearest, distance = nearest_label(labels, threads=2)
    np.testing.assert_allclose(distance, ndimage.distance_transform_edt(labels == 0), rtol=1e-6)
    for value in range(1, labels.max() + 1):
        alone = ndimage.distance_transform_edt(labels != value)
        np.testing.assert_allclose(distance[nearest == value], alone[nearest == value], rtol=1e-6)
    assert (nearest > 0).all()


def test_no_label_is_nearest_where_there_is_none() -> None:
    nearest, distance = nearest_label(np.zeros((3, 4, 5), np.int32))
    assert (nearest == 0).all()
    assert np.isinf(distance).all()
