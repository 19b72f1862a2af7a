"""Files become one series, view by view, each with its own description."""

from dataclasses import replace

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.core.series import TiltSeries
from etcli.io.assemble import assemble
from etcli.io.image_file import ImageFile
from etcli.io.mdoc import Mdoc
from etcli.io.tilts import Tilts
from tests.files import images, mdoc_text


def stack(name: str, tilt_deg, *, first: float = 0, **more) -> TiltSeries:
    """Return a stack whose view k is full of first + k."""
    n = len(tilt_deg)
    data = np.broadcast_to(first + np.arange(n, dtype=np.float32)[:, None, None], (n, 3, 4))
    mdoc = Mdoc.parse(mdoc_text(tilt_deg), name=f"{name}.mdoc")
    file = ImageFile(name, data, 2.5, mdoc=mdoc, tilts=Tilts(np.array(tilt_deg), f"{name}.mdoc"))
    return replace(file, **more).series()


def levels(series) -> list[float]:
    """Return the values that the views are full of."""
    views = [series.view(k) for k in range(len(series.parts))]
    assert all(view.dtype == np.float32 and np.ptp(view) == 0 for view in views)
    return [float(view[0, 0]) for view in views]


def marks(series) -> list[str]:
    return [section.get("Mark") for section in series.like.description.sections]


def test_files_follow_each_other() -> None:
    series = assemble([stack("a", [0.0, 3.0]), stack("b", [-3.0, -6.0], first=10)], range(4))
    assert levels(series) == [0, 1, 10, 11]
    assert series.like.tilt_deg.tolist() == [0, 3, -3, -6]
    assert marks(series) == ["m0", "m1", "m0", "m1"]
    assert series.like.description.numbers == (0, 1, 2, 3)
    assert series.like.tilts_source == "a.mdoc, b.mdoc"
    assert series.like.shape == (4, 3, 4)


def test_views_come_in_the_order_asked_for_also_across_files() -> None:
    series = assemble([stack("a", [0.0, 3.0]), stack("b", [-3.0, -6.0], first=10)], [3, 0, 2])
    assert levels(series) == [11, 0, 10]
    assert series.like.tilt_deg.tolist() == [-6, 0, -3]
    assert marks(series) == ["m1", "m0", "m0"]


def test_arranging_takes_everything_along() -> None:
    series = assemble([stack("a", [0.0, 3.0, -3.0])], range(3)).arranged([2, 0, 1])
    assert levels(series) == [2, 0, 1]
    assert series.like.tilt_deg.tolist() == [-3, 0, 3]
    assert marks(series) == ["m2", "m0", "m1"]


@pytest.mark.parametrize(
    ("frames", "expected"), [("mean", [1, 2, 5]), ("sum", [2, 4, 5]), ("keep", [0, 1, 2, 3, 5])]
)
def test_sections_at_one_tilt_are_frames(frames, expected) -> None:
    """Sections 0 and 2 are one view, 1 and 3 another; 4 is left out."""
    same = stack("a", [0.0, 5.0, 0.004, 5.006, 7.0, -5.0]).description.with_view_values("Defocus", [-1.0] * 6)
    series = assemble(
        [stack("a", [0.0, 5.0, 0.004, 5.006, 7.0, -5.0], mdoc=same)], [0, 1, 2, 3, 5], frames=frames
    )
    assert levels(series) == expected
    if frames == "keep":
        assert marks(series) == ["m0", "m1", "m2", "m3", "m5"]
        np.testing.assert_allclose(series.like.views.dose_e_A2, [1, 1.1, 1.2, 1.3, 1.5])
    else:
        assert marks(series) == ["m0", "m1", "m5"]
        assert series.like.tilt_deg.tolist() == [0, 5, -5]
        np.testing.assert_allclose(series.like.views.dose_e_A2, [2.2, 2.4, 1.5])


def test_a_focal_series_is_not_summed() -> None:
    """The mdoc of the helper has another defocus for every section."""
    assert levels(assemble([stack("a", [0.0, 0.0, 0.0])], range(3))) == [0, 1, 2]
    unknown = stack("a", [0.0, 0.0, 0.0], mdoc=None)
    assert levels(assemble([unknown], range(3))) == [1]


def test_frames_are_gathered_within_a_file_only() -> None:
    assert levels(assemble([stack("a", [0.0]), stack("b", [0.0], first=7)], range(2))) == [0, 7]


def test_sums_do_not_lose_digits() -> None:
    data = np.full((3, 2, 2), 2**24, np.float32)
    data[1:] = 1
    bright = ImageFile("a", data, tilts=Tilts(np.zeros(3), "test")).series()
    assert assemble([bright], range(3), frames="sum").view(0)[0, 0] == 2**24 + 2


def test_sections_without_images_of_their_own_do_not_shift_the_others() -> None:
    """The mdoc lacks section 1, which is left out: dose and defocus of the others stay theirs."""
    tilts = [0.0, 3.0, 6.0, 6.0]
    whole = stack("a", tilts)
    blocks = [block for block in whole.description.blocks if block.number != 1]
    holed = replace(whole, description=replace(whole.description, blocks=tuple(blocks)))
    series = assemble([holed], [0, 2, 3])
    assert marks(series) == ["m0", "m2", "m3"]
    assert series.like.description.defocus_um.tolist() == [-1, -1.02, -1.03]
    np.testing.assert_allclose(series.like.views.dose_e_A2, [1, 1.2, 1.3])


def test_a_file_without_a_description_does_not_take_that_of_the_others_away() -> None:
    series = assemble([stack("a", [0.0]), stack("b", [3.0], mdoc=None), stack("c", [6.0])], range(3))
    assert marks(series) == ["m0", None, "m0"]
    assert series.like.tilt_deg.tolist() == [0, 3, 6]
    assert assemble([stack("b", [3.0], mdoc=None)], [0]).like.description is None


def test_a_view_may_be_asked_for_twice() -> None:
    series = assemble([stack("a", [0.0, 3.0])], [1, 0, 1], frames="keep")
    assert levels(series) == [1, 0, 1]
    assert marks(series) == ["m1", "m0", "m1"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"data": images(1, 3, 5)}, r"b: images of 5 x 3, but a has 4 x 3; crop or bin them first"),
        ({"pixel_A": 2.51}, r"b: pixels of 2\.51 Å, but a has 2\.5 Å"),
        ({"tilts": None, "no_tilts": "b: no tilt angles (looked for b.tlt)"}, r"b: no tilt angles \(looked"),
    ],
)
def test_files_must_be_alike(other, message) -> None:
    with pytest.raises(DataError, match=message):
        assemble([stack("a", [0.0]), stack("b", [3.0], **other)], range(2))


def test_a_view_must_be_left() -> None:
    with pytest.raises(DataError, match="no view is left; exclude fewer"):
        assemble([stack("a", [0.0])], [])
