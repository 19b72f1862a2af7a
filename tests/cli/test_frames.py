"""A volume tells where it lies, and every command that takes one reads it back."""

import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli
from etcli.core.volume_frame import VolumeFrame
from tests.files import etcli as run
from tests.files import failure, mdoc_text, write_stack

TILT_DEG = np.linspace(-70, 70, 29)
BALLS = ((6.0, 3.0, -4.0, 3.5), (-5.0, -2.0, 5.0, 3.0), (1.0, 6.0, 0.0, 2.5))  # x, y, z, radius
NX, NY = 36, 28


def projected() -> np.ndarray:
    """Views of some balls; exact line integrals, in pixels."""
    v, u = np.mgrid[:NY, :NX] - np.array([(NY - 1) / 2, (NX - 1) / 2])[:, None, None]
    views = np.zeros((len(TILT_DEG), NY, NX))
    for view, tilt in zip(views, np.deg2rad(TILT_DEG), strict=True):
        for x, y, z, radius in BALLS:
            away = (u - x * np.cos(tilt) - z * np.sin(tilt)) ** 2 + (v - y) ** 2
            view += 2 * np.sqrt(np.maximum(radius**2 - away, 0))
    return views.astype(np.float32)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_stack(tmp_path_factory.mktemp("frames") / "a.mrc", projected())
    Path(f"{path}.mdoc").write_text(mdoc_text(TILT_DEG.tolist(), axis_deg=0))
    return path


def recon(series: Path, target: Path, *options: object) -> Path:
    run("recon", "-q", "--iterations", 60, "--nonnegative", *options, series, target)
    return target


@pytest.mark.parametrize("ending", ["mrc", "tif"])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--orient", "imod"),
        ("--z-offset", "3px"),
        ("--x-tilt", 9),
        ("--x-tilt", -6, "--z-offset", "-2px"),
        ("--orient", "imod", "--z-offset", "3px"),
        ("--thickness", "30px", "--axis-offset", "0px", "--width", "36px"),
    ],
)
def test_a_volume_projects_to_its_views(
    series: Path, tmp_path: Path, options: tuple[object, ...], ending: str
) -> None:
    """About its rotation centre, whatever its axes, and as it was before it was turned."""
    volume = recon(series, tmp_path / f"v.{ending}", *options)
    run("project", "--tilts", series, volume, tmp_path / "p.mrc")
    views = mrcfile.read(tmp_path / "p.mrc")
    error = np.linalg.norm(views - projected()) / np.linalg.norm(projected())
    assert error < 0.12
    moved = np.linalg.norm(np.roll(views, 1, axis=2) - projected()) / np.linalg.norm(projected())
    assert error < 0.7 * moved  # a pixel aside is far worse


def test_a_part_of_a_volume_projects_to_its_part_of_the_views(series: Path, tmp_path: Path) -> None:
    volume = recon(series, tmp_path / "v.mrc", "--slices", "5-20")
    run("project", "--tilts", series, volume, tmp_path / "p.mrc")
    part = projected()[:, 4:20]
    assert np.linalg.norm(mrcfile.read(tmp_path / "p.mrc") - part) < 0.12 * np.linalg.norm(part)
    assert etcli.read(tmp_path / "p.mrc").origin_A == (0.0, 4 * 2.5, 0.0)


def test_orientations_project_as_tilts_do(series: Path, tmp_path: Path) -> None:
    volume = recon(series, tmp_path / "v.mrc")
    rows = "".join(f"0,{0 - tilt:.9g},0\n" for tilt in TILT_DEG)
    (tmp_path / "e.csv").write_text("phi,theta,psi\n" + rows)
    run("project", "--euler", tmp_path / "e.csv", volume, tmp_path / "e.mrc")
    run("project", "--tilts", series, volume, tmp_path / "t.mrc")
    np.testing.assert_allclose(
        mrcfile.read(tmp_path / "e.mrc"), mrcfile.read(tmp_path / "t.mrc"), rtol=1e-4, atol=1e-4
    )
    assert (tmp_path / "e.mrc.euler.csv").read_text() == (tmp_path / "e.csv").read_text()
    found = etcli.read(tmp_path / "e.mrc")
    np.testing.assert_allclose(found.views.euler_deg[:, 1], -TILT_DEG)
    np.testing.assert_allclose(found.tilt_deg, TILT_DEG, atol=1e-6)
    # they are heeded where the series is reconstructed
    line = failure("recon", "-q", "--method", "fbp", tmp_path / "e.mrc", tmp_path / "x.mrc", status=2)
    assert "--method fbp needs views tilted about one axis; with others use sirt, " in line
    euler = "--euler", tmp_path / "e.csv"
    for wrong in ((*euler, "--range", 0, 1, 1), (*euler, "--tilts", series)):
        assert "give the tilt angles" in failure("project", *wrong, volume, tmp_path / "x.mrc", status=2)
    line = failure("project", *euler, "--kernel", "strip", volume, tmp_path / "x.mrc", status=2)
    assert "--kernel strip is for views tilted about one axis" in line


def test_volumes_of_both_orders_of_axes_are_compared_voxel_by_voxel(series: Path, tmp_path: Path) -> None:
    upright = recon(series, tmp_path / "v.mrc")
    imod = recon(series, tmp_path / "i.mrc", "--orient", "imod")
    for a, b in ((upright, imod), (imod, upright)):
        assert etcli.compare(etcli.read(a), etcli.read(b), metrics=["nrmse"])["nrmse"] == 0
        assert run("compare", "--metric", "nrmse", a, b).out == f"{'nrmse':<20} 0\n"
    turned = recon(series, tmp_path / "x.mrc", "--x-tilt", 9)
    err = run("compare", "--metric", "nrmse", turned, upright).err
    assert "x.mrc is turned by 9° about x and" in err and "compared one by one" in err


@pytest.mark.parametrize("option", ["--initial", "--mask"])
def test_a_volume_given_to_recon_is_turned_to_its_axes(series: Path, tmp_path: Path, option: str) -> None:
    start = [recon(series, tmp_path / f"{orient}.mrc", "--orient", orient) for orient in ("zyx", "imod")]
    found = [recon(series, tmp_path / f"{k}.mrc", option, volume) for k, volume in enumerate(start)]
    np.testing.assert_array_equal(mrcfile.read(found[0]), mrcfile.read(found[1]))


def test_a_volume_that_lies_elsewhere_is_refused(series: Path, tmp_path: Path) -> None:
    above = recon(series, tmp_path / "z.mrc", "--z-offset", "3px")
    line = failure("recon", "-q", "--initial", above, series, tmp_path / "v.mrc", status=2)
    assert "z.mrc: lies 0, 0, 7.5 Å (x, y, z) from where the volume to be made does" in line
    recon(series, tmp_path / "v.mrc", "--initial", above, "--z-offset", "3px")
    turned = recon(series, tmp_path / "x.mrc", "--x-tilt", 9)
    line = failure("recon", "-q", "--mask", turned, series, tmp_path / "v.mrc", status=2)
    assert "x.mrc: is turned by 9° about x, the volume to be made by 0°; make the mask with the same" in line
    low, high = (recon(series, tmp_path / f"{rows}.mrc", "--slices", rows) for rows in ("1-10", "15-24"))
    line = failure("recon", "-q", "--initial", low, "--slices", "15-24", series, tmp_path / "v.mrc", status=2)
    assert "lies 0, -35, 0 Å" in line
    recon(series, tmp_path / "v.mrc", "--initial", high, "--slices", "15-24")


def test_the_frame_has_all_its_digits_in_the_file_and_beside_it(series: Path, tmp_path: Path) -> None:
    volume = recon(series, tmp_path / "v.mrc", "--x-tilt", 1.23456789, "--axis-offset", "0.123456px")
    frame = etcli.read(volume).frame
    assert frame == VolumeFrame(
        ((NX / 2 + 0.123456) * 2.5, NY / 2 * 2.5, NX / 2 * 2.5), 2.5, 1.23456789, n_views=len(TILT_DEG)
    )
    raw = volume.read_bytes()
    assert raw[104:108] == b"MDOC"
    text = raw[1024 : 1024 + struct.unpack("<i", raw[92:96])[0]].rstrip(b"\0").decode()
    beside = Path(f"{volume}.mdoc").read_text()
    assert text == beside.replace("ImageFile = v.mrc\n", "")
    for line in ("VolumeSize = 36 28 36", "XTilt = 1.23456789", "SectionsAlong = z", "NumberOfViews = 29"):
        assert f"\n{line}\n" in beside
    assert "[T = etcli recon 0.1: SIRT 60" in beside


def test_a_tiff_has_its_frame_beside_it(series: Path, tmp_path: Path) -> None:
    tiff = recon(series, tmp_path / "v.tif", "--z-offset", "3px")
    mrc = recon(series, tmp_path / "v.mrc", "--z-offset", "3px")
    assert etcli.read(tiff).frame == etcli.read(mrc).frame is not None
    assert isinstance(etcli.read(tiff), etcli.Volume)
    # of another size it is another's
    beside = Path(f"{tiff}.mdoc")
    beside.write_text(beside.read_text().replace("VolumeSize = 36", "VolumeSize = 35"))
    assert etcli.read(tiff).frame is None


def test_what_keeps_the_voxels_keeps_the_frame(series: Path, tmp_path: Path) -> None:
    volume = recon(series, tmp_path / "v.mrc", "--x-tilt", 2.5)
    frame = etcli.read(volume).frame
    run("filter", "--dims", 3, "--method", "gaussian", volume, tmp_path / "f.mrc")
    assert etcli.read(tmp_path / "f.mrc").frame == frame
    run("bin", "--dims", 3, volume, tmp_path / "b.mrc")
    binned = etcli.read(tmp_path / "b.mrc")
    assert binned.frame == VolumeFrame(frame.centre_A, 5.0, 2.5, n_views=29)
    half = binned.frame.middle_A(binned.shape, binned.origin_A, binned.pixel_A)
    np.testing.assert_array_equal(half, 0)
    with mrcfile.open(tmp_path / "b.mrc", "r+") as mrc:  # another program's label
        mrc.add_label("clip: flipped about x")
    assert etcli.read(tmp_path / "b.mrc").frame is None


def test_an_imod_volume_is_seen_with_its_sections_along_z(series: Path, tmp_path: Path) -> None:
    recon(series, tmp_path / "v.mrc")
    recon(series, tmp_path / "i.mrc", "--orient", "imod")
    for name in ("v", "i"):
        run("view", tmp_path / f"{name}.mrc", tmp_path / f"{name}.png")
    assert (tmp_path / "v.png").read_bytes() == (tmp_path / "i.png").read_bytes()
