"""Local thickness: balls, slabs and cylinders, and a search of every ball in small volumes."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from etcli.core.measurement.local_thickness import local_thickness

RNG = np.random.default_rng(20)


def thickness(grey: np.ndarray, level: float = 0.5, *, threads: int = 1) -> np.ndarray:
    """Thickness of what exceeds a level."""
    grey = grey.astype(np.float32)
    solid = grey > level
    return local_thickness(grey, solid.astype(np.uint16), [0, level], solid, threads=threads)


def antialiased_ball(diameter: float) -> np.ndarray:
    """A ball at a random place; values are the part of each voxel that is inside, by 8³ points."""
    n, k = int(diameter) + 9, 8
    fine = (np.arange(n * k) + 0.5) / k - n / 2
    z, y, x = (fine - shift for shift in RNG.uniform(-0.5, 0.5, 3))
    inside = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < diameter**2 / 4
    return inside.reshape(n, k, n, k, n, k).mean(axis=(1, 3, 5))


@pytest.mark.parametrize("diameter", [5, 8, 12, 24])
def test_a_ball_is_as_thick_as_its_diameter(diameter: int) -> None:
    grey = antialiased_ball(diameter)
    measured = thickness(grey)[grey > 0.5]
    assert measured.mean() == pytest.approx(diameter - 0.2, abs=0.1)  # linear interpolation cuts the caps
    assert measured.std() < 0.1


@pytest.mark.parametrize("width", [3, 3.5, 4, 6.3, 9])
def test_a_slab_is_as_thick_as_it_is_wide(width: float) -> None:
    z = np.arange(int(width) + 12) - (int(width) + 12) / 2 + 0.2
    grey = np.broadcast_to(np.clip(0.5 + width / 2 - abs(z), 0, 1)[:, None, None], (len(z), 20, 20))
    measured = thickness(grey)
    assert measured[grey > 0.5] == pytest.approx(width, abs=0.07)
    assert (measured[grey <= 0.5] == 0).all()


@pytest.mark.parametrize("diameter", [4, 6, 9, 13])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cylinder_is_as_thick_as_its_diameter(diameter: int, axis: int) -> None:
    z = np.arange(diameter + 12) - diameter / 2 - 5.7
    profile = np.clip(0.5 + diameter / 2 - np.hypot(z[:, None], z + 0.2), 0, 1)
    grey = np.moveaxis(np.broadcast_to(profile, (20, *profile.shape)), 0, axis)
    assert thickness(grey)[grey > 0.5].mean() == pytest.approx(diameter - 0.12, abs=0.08)


def blobs(n: int, seed: int, width: float) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((n, n, n))
    smooth = ndimage.gaussian_filter(noise, width)
    return smooth / smooth.std()


def crossings(grey: np.ndarray, level: float) -> np.ndarray:
    """Where the grey values reach a level on the edges of the grid, by interpolation."""
    found = []
    for axis in range(3):
        first, second = np.delete(grey, -1, axis), np.delete(grey, 0, axis)
        at = np.argwhere((first > level) != (second > level)).astype(float)
        part = (level - first) / np.where(first == second, 1, second - first)
        at[:, axis] += part[(first > level) != (second > level)]
        found.append(at)
    return np.concatenate(found)


@pytest.mark.parametrize("below", [False, True])
def test_every_ball_of_a_fine_grid_is_tried(below: bool) -> None:
    grey = blobs(13, seed=3, width=2).astype(np.float32)
    mask = (grey <= 0.2) if below else (grey > 0.2)
    measured = local_thickness(grey, (grey > 0.2).astype(np.uint16), [0, 0.2], mask)
    axis = np.arange(-0.45, 12.5, 1 / 5)
    places = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    places = places[mask[tuple(np.rint(places).astype(int).T)]]
    radius, _ = cKDTree(crossings(grey, 0.2)).query(places)
    voxels = np.argwhere(mask)
    expected = np.array(
        [2 * radius[((places - voxel) ** 2).sum(axis=1) <= (radius + 0.5) ** 2].max() for voxel in voxels]
    )
    difference = measured[mask] - expected
    assert -0.05 < difference.mean() < 0.15  # the best place is between those tried here
    assert difference.std() < 0.35


def test_each_label_has_its_own_threshold() -> None:
    strength = np.array([1.0, 0.4])
    z = np.arange(40) - np.array([9.8, 28.6])[:, None]
    profile = (strength[:, None] * np.clip(0.5 + 7 / 2 - abs(z), 0, 1)).sum(axis=0)
    grey = np.broadcast_to(profile[:, None, None], (40, 15, 15)).astype(np.float32)
    labels = np.where(np.arange(40)[:, None, None] < 20, grey > 0.5, 2 * (grey > 0.2)).astype(np.uint16)
    measured = local_thickness(grey, labels, [0, 0.5, 0.2], labels > 0)
    assert measured[labels == 1] == pytest.approx(7, abs=0.07)
    assert measured[labels == 2] == pytest.approx(7, abs=0.07)


def test_threads_do_not_change_the_result() -> None:
    grey = blobs(24, seed=4, width=2)
    assert (thickness(grey, 0.3, threads=3) == thickness(grey, 0.3)).all()


def test_every_voxel_of_the_mask_has_a_thickness_and_no_other() -> None:
    grey = blobs(20, seed=5, width=0.7)  # rough: pieces of one voxel and corners that no ball reaches
    assert ((thickness(grey, 0.4) > 0) == (grey.astype(np.float32) > 0.4)).all()


def test_without_any_surface_the_thickness_is_infinite() -> None:
    assert np.isinf(thickness(np.ones((5, 6, 7)))).all()


def test_an_empty_mask_has_no_thickness() -> None:
    assert not thickness(np.zeros((5, 6, 7))).any()
