"""The thickness of specimens of known extent."""

from dataclasses import replace

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector, from_slab
from etcli.core.reconstruction.thickness import find_thickness

TILT = np.arange(-66.0, 67, 3)


def views_of(volume, tilt=TILT, noise=0.02):
    """Return views of a volume (z, x) that is the same in all slices, with an extent across of its width."""
    nz, nx = volume.shape
    geometry = SliceGeometry(tilt, n_detector=nx, thickness=nz, width=nx)
    slab = np.repeat(np.float32(volume)[..., np.newaxis], 16, axis=-1)
    views = from_slab(SlabProjector(geometry, n_slices=16, kernel="strip").forward(slab), 16)
    rng = np.random.default_rng(0)
    return views + rng.normal(0, noise * views.max(), views.shape).astype(np.float32), geometry


@pytest.mark.parametrize("n", [96, 250])
@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.1), (0.05, 0.2), (-0.3, -0.2)])
def test_all_of_a_particle_is_held_and_little_more(n, low, high):
    z, x = ((np.arange(n) - (n - 1) / 2)[:, None] / n, (np.arange(n) - (n - 1) / 2) / n)
    particle = (z > low) & (z < high) & (abs(x - 0.1) < 0.12)
    views, geometry = views_of(particle)
    found = find_thickness(views, geometry) / n
    needed = 2 * max(abs(low), abs(high))
    assert needed < found < needed + 0.35  # the wedge stretches it, and there is a margin of 0.1


def test_offsets_are_those_of_the_projection():
    """The views of a particle off the axis, and of a volume above it, are of a particle that is thin."""
    n = 128
    z, x = np.arange(n)[:, None] - (n - 1) / 2, np.arange(n) - (n - 1) / 2
    views, geometry = views_of((abs(z - 20) < 8) & (abs(x) < 20))
    centred = find_thickness(views, replace(geometry, z_offset_px=20.0))
    assert 16 < centred < 60 < find_thickness(views, geometry)
    assert find_thickness(views, replace(geometry, z_offset_px=-20.0)) > 80
    shifted = np.roll(views, 11, axis=2)
    assert find_thickness(shifted, replace(geometry, z_offset_px=20.0, axis_offset_px=11.0)) == centred


def test_a_film_wider_than_the_views_is_thin():
    n = 200
    film = np.zeros((n, n))
    film[90:115] = 1 + 0.3 * np.sin(np.arange(n) / 3)
    views, geometry = views_of(film)
    assert 40 < find_thickness(views, geometry) < 120


def test_it_never_exceeds_what_was_asked_for_and_needs_something_to_see():
    views, geometry = views_of(np.ones((64, 64)))
    assert find_thickness(views, geometry) == 64
    with pytest.raises(DataError, match="nothing is brighter"):
        find_thickness(-views, geometry)


@pytest.mark.parametrize("most", [5.0, 0.5])  # counts of the brightest pixel
def test_a_particle_of_few_counts_is_found_as_one_of_many(most):
    n = 96
    z, x = np.arange(n)[:, None] - (n - 1) / 2, np.arange(n) - (n - 1) / 2
    views, geometry = views_of((z > 3) & (z < 18) & (abs(x - 8) < 12), noise=0)
    expected = np.repeat(views, 2 if most > 1 else 4, axis=1) * (most / views.max())
    drawn = np.random.default_rng(1).poisson(np.maximum(expected, 0)).astype(np.float32)
    assert 36 < find_thickness(drawn, geometry, counts=True) < 36 + 0.3 * n
    assert find_thickness(drawn[:, :16], geometry) > 80  # least squares fill the volume with noise
    with pytest.raises(DataError, match="nothing is brighter"):
        find_thickness(0 * drawn, geometry, counts=True)
