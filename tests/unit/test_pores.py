"""Pores of balls with known holes, open and closed."""

import numpy as np
import pytest

from etcli.core.measurement.pores import changed_kind, closed_envelope, find_pores, solid_at

N = 60
AXIS = np.arange(N) - (N - 1) / 2
Z, Y, X = AXIS[:, None, None], AXIS[:, None], AXIS


def ball(radius: float, z: float = 0, y: float = 0, x: float = 0) -> np.ndarray:
    """How much of each voxel is in a ball, to a few percent."""
    return np.clip(radius + 0.5 - np.sqrt((Z - z) ** 2 + (Y - y) ** 2 + (X - x) ** 2), 0, 1)


def porous(*holes: tuple[float, float, float, float]) -> np.ndarray:
    """A ball of radius 25 without balls of given radius and centre."""
    solid = ball(25)
    for hole in holes:
        solid = np.minimum(solid, 1 - ball(*hole))
    return solid.astype(np.float32)


CLOSED, SECOND, OPEN = (6, 10, 0, 3), (4, -9.3, 8.2, 0.1), (6, -3, -23, 0)


def volume_of(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3


def overlap(first: float, second: float, distance: float) -> float:
    """Volume that two balls share."""
    if distance >= first + second:
        return 0.0
    part = (first + second - distance) ** 2
    sums = distance**2 + 2 * distance * (first + second) - 3 * (first - second) ** 2
    return np.pi * part * sums / (12 * distance)


def test_closed_pores_have_their_volumes() -> None:
    grey = porous(CLOSED, SECOND, OPEN)
    pores = find_pores(grey, grey > 0.5, 0.5, 1.0)
    assert np.bincount(pores.labels.ravel())[1:] == pytest.approx([volume_of(6), volume_of(4)], rel=0.02)
    assert not pores.is_open.any()
    assert pores.envelope is None
    assert pores.threshold == pytest.approx(0.5, abs=0.01)


def test_the_volume_of_pores_does_not_depend_on_the_threshold_of_the_solid() -> None:
    grey = porous(CLOSED, SECOND)
    low, high = (find_pores(grey, grey > level, level, 1.0).labels for level in (0.2, 0.8))
    assert (low == high).all()


def test_a_grey_pore_ends_half_way_to_its_own_level() -> None:
    grey = (1 - 0.6 * ball(6, *CLOSED[1:])).astype(np.float32) * (ball(25) > 0.5)  # 0.4 in the pore
    pores = find_pores(grey, grey > 0.5, 0.5, 1.0)
    assert np.bincount(pores.labels.ravel())[1:] == pytest.approx([volume_of(6)], rel=0.02)
    assert pores.threshold == pytest.approx([0.7], abs=0.01)


@pytest.mark.parametrize("radius_px", [12, 20])
def test_an_envelope_closes_the_mouths_of_open_pores(radius_px: float) -> None:
    grey = porous(CLOSED, OPEN)
    pores = find_pores(grey, grey > 0.5, 0.5, 1.0, envelope_px=radius_px)
    assert pores.envelope is not None
    open_ = pores.labels > 0
    open_ &= np.concatenate([[False], pores.is_open])[pores.labels]
    # the ball reaches into the mouth, the less the larger it is
    lens = overlap(6, 25, np.hypot(3, 23))
    assert 0.55 * lens < np.count_nonzero(open_) < 1.02 * lens
    assert np.count_nonzero(pores.envelope) == pytest.approx(volume_of(25), rel=0.01)
    assert pores.is_open.tolist() == [False, True]


def test_a_larger_ball_closes_more() -> None:
    solid = porous(OPEN) > 0.5
    counts = [np.count_nonzero(closed_envelope(solid, radius)) for radius in (2, 5, 10, 20)]
    assert counts == sorted(counts)
    assert counts[0] >= np.count_nonzero(solid)


def test_the_envelope_agrees_with_a_closing_by_a_ball() -> None:
    from scipy import ndimage

    noise = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((24, 26, 28)), 2)
    solid = np.pad(noise[4:-4, 4:-4, 4:-4] > 0.02, 4)
    ends = np.arange(-3, 4)
    element = ends[:, None, None] ** 2 + ends[:, None] ** 2 + ends**2 <= 9
    expected = ndimage.binary_closing(np.pad(solid, 5), element)[5:-5, 5:-5, 5:-5]
    assert (closed_envelope(solid, 3) == expected).all()


def test_a_solid_that_leaves_the_volume_goes_on_beyond_it() -> None:
    solid = np.zeros((30, 30, 30), bool)
    solid[:, 8:22, 8:22] = True  # a pillar along z
    solid[12:16, 8:14, 12:16] = False  # a hole that is open to the side
    envelope = closed_envelope(solid, 6)
    assert envelope[:, 8:22, 8:22][[0, 1, -1]].all()
    assert not envelope[:, :8].any()


def test_small_pieces_are_counted_but_are_no_pores() -> None:
    grey = porous(CLOSED)
    grey[20, 30, 30] = grey[40, 20, 20:22] = 0
    pores = find_pores(grey, grey > 0.5, 0.5, 1.0)
    assert len(pores) == 1
    assert pores.n_small == 2


def test_a_solid_without_pores_has_none() -> None:
    grey = porous()
    pores = find_pores(grey, grey > 0.5, 0.5, 1.0, envelope_px=5)
    assert len(pores) == pores.labels.max() == 0
    assert not changed_kind(pores, grey > 0.5).any()


def wall(level: float) -> np.ndarray:
    """A ball with a closed pore, and one whose wall to the outside has a spot of a given level."""
    grey = porous(CLOSED, (5, 0, -19.2, 0))
    grey[29:31, :8, 29:31] = np.where(ball(25)[29:31, :8, 29:31] > 0, level, 0)
    return grey


def test_pores_behind_thin_walls_change_their_kind() -> None:
    contrast, threshold = np.array([1.0]), np.array([0.5])
    for level, share, changes in ((0.53, 0.05, 1), (0.47, -0.05, 1), (0.6, 0.05, 0), (0.53, -0.05, 0)):
        grey = wall(level)
        labels = (grey > 0.5).astype(np.int32)
        pores = find_pores(grey, labels > 0, 0.5, 1.0, envelope_px=12)
        changed = changed_kind(pores, solid_at(grey, labels, threshold, contrast, share))
        assert np.count_nonzero(changed) == changes, (level, share)
