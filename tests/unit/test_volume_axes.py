"""Flips, exchanges and turns of volumes, against coordinates of single voxels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from etcli.core.errors import UsageError
from etcli.core.series import Volume
from etcli.core.volume_axes import IMOD_TILT, UPRIGHT, VolumeAxes
from etcli.core.volume_frame import VolumeFrame

SHAPE = 3, 4, 5
FLIPS = [f"reverse{a}" for a in "xyz"]
SWAPS = ["swapxy", "swapxz", "swapyz"]
TURNS = [f"rot{a}{deg}" for a in "xyz" for deg in (90, 180, 270, -90, 0, 360)]
STEPS = st.lists(st.sampled_from([*FLIPS, *SWAPS, *TURNS]), min_size=1, max_size=4)


def matrix(step: str) -> np.ndarray:
    """Return the matrix that moves a point (x, y, z)."""
    if step.startswith("rot"):
        return Rotation.from_euler(step[3], int(step[4:]), degrees=True).as_matrix().round()
    found = np.eye(3)
    if step.startswith("reverse"):
        found["xyz".index(step[-1])] *= -1
        return found
    return found[["xyz".index(dict(zip(step[4:], step[:3:-1], strict=True)).get(a, a)) for a in "xyz"]]


def positions(volume: Volume, sides_A: tuple[float, float, float]) -> dict[float, np.ndarray]:
    """Return where each voxel, told by its value, lies from the rotation centre, (x, y, z) in Å."""
    z, y, x = np.indices(volume.shape).reshape(3, -1) + 0.5
    at = np.stack([x, y, z], axis=1) * sides_A + volume.origin_A - volume.frame.centre_A
    return dict(zip(volume.images().ravel().tolist(), at, strict=True))


def made(voxel_A: tuple[float, float, float] | None = None) -> Volume:
    data = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    frame = VolumeFrame((11.0, 12.5, 14.0), 2.0, x_tilt_deg=1.5, n_views=7)
    return Volume(data, pixel_A=2.0, origin_A=(1.0, 2.0, 3.0), frame=frame, voxel_A=voxel_A)


@given(STEPS)
def test_every_voxel_moves_about_the_rotation_centre(steps: list[str]) -> None:
    volume, turn = made(), VolumeAxes.of_steps(",".join(steps))
    moved = np.linalg.multi_dot([np.eye(3), *[matrix(step) for step in reversed(steps)], np.eye(3)])
    assert turn.is_mirrored == (np.linalg.det(moved) < 0)
    turned = volume.turned(turn)
    before, after = positions(volume, (2.0,) * 3), positions(turned, (2.0,) * 3)
    for value, at in before.items():
        np.testing.assert_allclose(after[value], moved @ at, atol=1e-9)
    back = turned.upright()
    np.testing.assert_array_equal(back.images(), volume.images())
    assert (back.frame, back.origin_A) == (volume.frame, volume.origin_A)


def test_unequal_sides_go_with_their_axes() -> None:
    turned = made((2.0, 3.0, 5.0)).turned(VolumeAxes.of_steps("rotx90"))
    assert (turned.pixel_A, turned.voxel_A) == (2.0, (2.0, 5.0, 3.0))
    turned = made((2.0, 3.0, 5.0)).turned(VolumeAxes.of_steps("swapxz"))
    assert (turned.pixel_A, turned.voxel_A) == (5.0, (5.0, 3.0, 2.0))


def test_without_a_rotation_centre_the_middle_stays() -> None:
    volume = Volume(np.zeros(SHAPE, np.float32), pixel_A=2.0, origin_A=(1.0, 2.0, 3.0))
    assert volume.turned(VolumeAxes.of_steps("reversex,swapyz")).origin_A == (1.0, 3.0, 2.0)
    assert Volume(np.zeros(SHAPE, np.float32)).turned(VolumeAxes.of_steps("rotz90")).pixel_A is None


@given(STEPS, STEPS)
def test_axes_are_a_group(one: list[str], other: list[str]) -> None:
    a, b = (VolumeAxes.of_steps(",".join(steps)) for steps in (one, other))
    assert a.then(b) == VolumeAxes.of_steps(",".join([*one, *other]))
    assert a.then(a.inverse()) == a.inverse().then(a) == UPRIGHT
    assert VolumeAxes.parse(str(a)) == a


def test_the_order_of_imod() -> None:
    assert str(IMOD_TILT) == "x,-z,y"
    assert IMOD_TILT.then(VolumeAxes.of_steps("rotx-90")) == UPRIGHT


@pytest.mark.parametrize("text", ["", "flipx", "reversexy", "rotx", "rotx45", "swapxx", "swapyx", "rotx90,"])
def test_other_steps_are_refused(text) -> None:
    with pytest.raises(UsageError, match="is no turn; give reversex, swapxy, rotz90"):
        VolumeAxes.of_steps(text)


@pytest.mark.parametrize("text", ["x,y", "x,y,y", "x y z", "x,y,-z,", "--x,y,z", ""])
def test_damaged_axes_are_refused(text) -> None:
    with pytest.raises(ValueError, match="three axes"):
        VolumeAxes.parse(text)
