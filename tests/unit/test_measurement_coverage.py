"""Errors of volumes in a simulated tomogram: how often the stated standard deviations cover them."""

import contextlib

import numpy as np
import pytest

import etcli
from tests.bodies import ball

SHAPE = (36, 64, 72)
PLACES = [(z, y, x) for z, y, x in np.ndindex(1, 3, 4)]
SETTINGS = {
    "sirt": {"method": "sirt", "iterations": 30},
    "fista": {"method": "fista", "prior": "tv", "weight": 0.3, "iterations": 30},
}


@pytest.fixture(scope="module")
def specimen() -> tuple[etcli.TiltSeries, np.ndarray, np.ndarray]:
    """Noisy views of twelve balls of two densities, their true volumes and centres."""
    rng = np.random.default_rng(7)
    radius = rng.uniform(3.5, 7, 12)
    volume, centre = np.zeros(SHAPE, np.float32), np.empty((12, 3))
    for k, (_, j, i) in enumerate(PLACES):
        centre[k] = [
            17.5 + rng.uniform(-5, 5),
            11 + 21 * j + rng.uniform(-1, 1),
            9 + 18 * i + rng.uniform(-1, 1),
        ]
        volume += np.float32((1.0, 0.6)[k % 2]) * ball(SHAPE, tuple(centre[k]), radius[k])
    views = etcli.project(etcli.Volume(volume, pixel_A=10), np.arange(-70, 71, 2.0))
    clean = views.images()
    high = np.percentile(clean, 99)
    noisy = rng.poisson(clean.clip(0) / high * 625) / 625 * high + rng.normal(0, 0.01 * high, clean.shape)
    series = etcli.TiltSeries.of(noisy.astype(np.float32), views.tilt_deg, pixel_A=10, axis_deg=0.0)
    return series, 4 / 3 * np.pi * radius**3, centre


@pytest.mark.parametrize("method", SETTINGS)
def test_errors_of_volumes_are_covered(
    specimen: tuple[etcli.TiltSeries, np.ndarray, np.ndarray], method: str
) -> None:
    series, true, centre = specimen
    made = [
        etcli.reconstruct(
            series.select(np.arange(first, 71, step)),
            thickness="36px",
            nonnegative=True,
            background="none",
            **SETTINGS[method],
        ).volume
        for first, step in ((0, 1), (0, 2), (1, 2))
    ]
    labels = etcli.segment(made[0]).labels
    with pytest.warns(match="crowd about z") if method == "sirt" else contextlib.nullcontext():
        found = etcli.measure(made[0], labels, halves=(made[1], made[2]), series=series).columns
    place = np.stack([found[f"{name}_nm"] for name in "zyx"], 1) + (np.array(SHAPE) - 1) / 2
    apart = np.linalg.norm(place[:, np.newaxis] - centre, axis=2)
    assert len(place) == 12 and apart.min(0).max() < 0.5
    error = found["volume_nm3"] - true[apart.argmin(1)]
    ratio = np.abs(error) / found["sigma_volume_nm3"]
    assert np.mean(ratio <= 1) >= 0.6 and np.mean(ratio <= 2) >= 0.9
    assert np.median(ratio) > 0.05
    assert np.median(found["sigma_volume_nm3"] / found["volume_nm3"]) < 0.06
    assert np.sqrt(np.mean((error / true[apart.argmin(1)]) ** 2)) < {"sirt": 0.08, "fista": 0.05}[method]
    density = np.array([1.0, 0.6])[apart.argmin(1) % 2]
    assert np.abs(found["density_lsq"] / density - 1).max() < 0.25
