"""Drift of a focal series does not depend on levels, contrasts or orientation of the images."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.depth.drift import focal_drift
from tests.drifted_columns import counted, disc, focal_images, walk

N = 5
SECTIONS = counted(focal_images(disc(14), np.linspace(-40, 40, N), walk(N, 0.7), size=40), peak=200)
SHIFT_PX = focal_drift(SECTIONS).shift_px


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 5), st.floats(-50, 50)), min_size=N, max_size=N))
def test_gain_and_offset_of_a_section_do_not_matter(levels: list[tuple[float, float]]) -> None:
    gain, offset = np.array(levels).T[:, :, np.newaxis, np.newaxis]
    np.testing.assert_allclose(focal_drift(gain * SECTIONS + offset).shift_px, SHIFT_PX, atol=1e-6)


@settings(max_examples=4, deadline=None)
@given(st.sampled_from([(1, 1), (-1, 1), (1, -1), (-1, -1)]), st.booleans())
def test_mirrored_and_transposed_sections_have_mirrored_and_transposed_shifts(
    sign: tuple[int, int], transposed: bool
) -> None:
    sections, shift_px = SECTIONS[:, :: sign[1], :: sign[0]], SHIFT_PX * sign
    if transposed:
        sections, shift_px = sections.swapaxes(1, 2), shift_px[:, ::-1]
    np.testing.assert_allclose(focal_drift(sections).shift_px, shift_px, atol=1e-6)
