"""Euler angles: their matrices, and the files that hold them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from etcli.core.errors import DataError
from etcli.core.orientation import euler_angles, rotation_matrices, tilts_as_euler
from etcli.io.euler import read_euler, write_euler

ANGLES = arrays(np.float64, (7, 3), elements=st.floats(-360, 360))


@pytest.mark.parametrize(
    ("euler_deg", "seen"),
    [
        # (x, y, z) = (1, 2, 3) turned back by a quarter turn about one axis, right-handed
        ((90, 0, 0), (2, -1, 3)),
        ((0, 90, 0), (-3, 2, 1)),
        ((0, 0, 90), (1, 3, -2)),
        # Rx last of all, because it is the first of the active turns
        ((90, 0, 90), (2, 3, 1)),
    ],
)
def test_quarter_turns(euler_deg, seen) -> None:
    np.testing.assert_allclose(rotation_matrices([euler_deg])[0] @ (1, 2, 3), seen, atol=1e-12)


def test_all_three_angles_are_the_product_of_the_convention() -> None:
    (c1, s1), (c2, s2), (c3, s3) = ((np.cos(a), np.sin(a)) for a in np.deg2rad([10.0, -35.0, 70.0]))
    about_z = np.array([[c1, -s1, 0], [s1, c1, 0], [0, 0, 1]])
    about_y = np.array([[c2, 0, s2], [0, 1, 0], [-s2, 0, c2]])
    about_x = np.array([[1, 0, 0], [0, c3, -s3], [0, s3, c3]])
    found = rotation_matrices([[10, -35, 70]])[0]
    np.testing.assert_allclose(found, (about_z @ about_y @ about_x).T, atol=1e-15)


def test_a_single_axis_is_the_geometry_of_tilts() -> None:
    tilt = np.array([-60.0, 0, 25])
    seen = rotation_matrices(tilts_as_euler(tilt)) @ (3.0, 4, 5)
    angle = np.deg2rad(tilt)
    np.testing.assert_allclose(seen[:, 0], 3 * np.cos(angle) + 5 * np.sin(angle), atol=1e-12)
    np.testing.assert_allclose(seen[:, 1], 4, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(ANGLES)
def test_the_nearest_angles_are_the_given_ones(euler_deg) -> None:
    away = abs(np.cos(np.deg2rad(euler_deg[:, 1]))) > 1e-3
    found = euler_angles(rotation_matrices(euler_deg), near_deg=euler_deg)
    np.testing.assert_allclose(rotation_matrices(found), rotation_matrices(euler_deg), atol=1e-9)
    np.testing.assert_allclose(found[away], euler_deg[away], atol=1e-6)


@pytest.mark.parametrize("theta", [90.0, -90.0, 270.0])
def test_angles_are_found_where_two_of_them_are_one(theta) -> None:
    euler_deg = np.array([[12.0, theta, -40], [0, theta, 0], [200, theta, 100]])
    found = euler_angles(rotation_matrices(euler_deg), near_deg=euler_deg)
    np.testing.assert_allclose(found, euler_deg, atol=1e-9)


@pytest.mark.parametrize("euler_deg", [np.zeros((0, 3)), np.zeros((4, 2)), [[0, np.nan, 0]], [1.0, 2, 3]])
def test_other_than_three_angles_a_view_are_refused(euler_deg) -> None:
    with pytest.raises(DataError, match="three finite Euler angles"):
        rotation_matrices(euler_deg)


def test_the_published_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "angles.csv"
    path.write_bytes(b"\xef\xbb\xbfphi, Theta,psi\r\n-0.2000,-63.0005,0.2000\r\n\r\n1e1,0,-0\r\n")
    np.testing.assert_array_equal(read_euler(path, n_views=2), [[-0.2, -63.0005, 0.2], [10, 0, 0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected the header phi,theta,psi, not ''"),
        ("\n0,1,2\n", "line 2: expected the header phi,theta,psi, not '0,1,2'"),
        ("phi,psi,theta\n0,1,2\n", "line 1: expected the header phi,theta,psi, not 'phi,psi,theta'"),
        ("phi,theta,psi\n\n", "no Euler angles below the header"),
        ("phi,theta,psi\n1,2,3\n1,2\n", "line 3: expected phi, theta, psi in degrees, not '1,2'"),
        ("phi,theta,psi\n1,2,x\n", "line 2: expected phi, theta, psi in degrees, not '1,2,x'"),
        ("phi,theta,psi\n1,nan,3\n", "line 2: expected phi, theta, psi in degrees, not '1,nan,3'"),
        ("phi,theta,psi\n1,361,3\n", "line 2: expected phi, theta, psi in degrees, not '1,361,3'"),
        ("phi,theta,psi\n1,2,3\n", "1 rows of Euler angles for 2 views"),
    ],
)
def test_damaged_tables_are_named_with_their_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_euler(path, n_views=2)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(ANGLES)
def test_what_is_written_is_read(tmp_path_factory, euler_deg) -> None:
    path = tmp_path_factory.mktemp("euler") / "a.csv"
    write_euler(path, euler_deg)
    np.testing.assert_allclose(read_euler(path), euler_deg, rtol=5.1e-9, atol=1e-300)
    assert path.read_text().startswith("phi,theta,psi\n")


def test_nine_digits_are_written(tmp_path: Path) -> None:
    write_euler(tmp_path / "a.csv", [[-0.0, -63.0005, 1 / 3]])
    assert (tmp_path / "a.csv").read_bytes() == b"phi,theta,psi\n0,-63.0005,0.333333333\n"
