"""Columns move and turn with the image."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.depth.column_fit import fit_columns
from etcli.core.depth.columns import find_columns, voronoi_cross_sections
from tests.columns import column_image, square_lattice

N = 48
few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 1000)


def specimen(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    place = square_lattice(3, step=8.0, spread=0.9, seed=seed) + 8.0
    image = column_image(place, (N, N), width_px=2.2, height=rng.uniform(1, 3, 9), background=0.5)
    return image + rng.normal(0, 0.02, image.shape)


def analysed(image: np.ndarray) -> np.ndarray:
    """Rows of x, y, height, cross-section by fit and by integration."""
    found = find_columns(image, sigma_px=1.6, min_distance_px=4.0, threshold=0.2)
    fit = fit_columns(image, found)
    cells = voronoi_cross_sections(image, found, background=0.5, max_radius_px=5.03)
    return np.stack([fit.x_px, fit.y_px, fit.height, fit.cross_section_px2, cells], axis=1)


def ordered(rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(rows[:, 2])]


@few
@given(seeds, st.integers(-5, 5), st.integers(-5, 5))
def test_shifts(seed: int, dx: int, dy: int) -> None:
    image = specimen(seed)
    before, after = analysed(image), analysed(np.roll(image, (dy, dx), (0, 1)))
    assert len(before) >= 9
    np.testing.assert_allclose(
        ordered(after), ordered(before) + np.array([dx, dy, 0, 0, 0]), rtol=2e-3, atol=2e-3
    )


@few
@given(seeds)
def test_quarter_turns(seed: int) -> None:
    image = specimen(seed)
    before, after = ordered(analysed(image)), ordered(analysed(np.rot90(image)))
    turned = before.copy()
    turned[:, 0], turned[:, 1] = before[:, 1], N - 1 - before[:, 0]
    np.testing.assert_allclose(after, turned, rtol=2e-3, atol=2e-3)


@few
@given(seeds, st.floats(1e-6, 1e6), st.floats(-10, 10))
def test_units_of_the_image(seed: int, scale: float, offset: float) -> None:
    image = specimen(seed)
    before, after = analysed(image)[:, :4], analysed(scale * (image + offset))[:, :4]
    np.testing.assert_allclose(after, before * [1, 1, scale, scale], rtol=2e-3, atol=2e-3 * min(scale, 1))
