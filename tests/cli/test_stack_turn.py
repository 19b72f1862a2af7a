"""stack --turn: volumes keep their frame, and the voxels are those of IMOD's clip and rotatevol."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from etcli.io.image_file import open_images
from tests.files import etcli, failure, images, write_series, write_stack
from tests.imod import imod


def voxels(path: Path) -> np.ndarray:
    with mrcfile.open(path) as mrc:
        return mrc.data.copy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A reconstruction of a few slices, off the centre, in both orders of axes, and its projections."""
    folder = tmp_path_factory.mktemp("turn")
    made = ["--size", 24, "--pixel", "2nm", "--range", -60, 60, 15, "--seed", 1]
    etcli("simulate", "particle", *made, folder / "s.mrc")
    part = ["--slices", "5-20", "--thickness", "18px", "--z-offset", "2px", "--iterations", 2]
    for orient in ("zyx", "imod"):
        etcli("recon", *part, "--orient", orient, folder / "s.mrc", folder / f"{orient}.mrc")
    etcli("project", "--tilts", folder / "s.mrc", folder / "zyx.mrc", folder / "p.mrc")
    return folder


@pytest.mark.parametrize("turn", ["rotz90", "rotx90,roty-90", "swapyz", "reversex,reversez"])
def test_projections_of_a_turned_volume_are_those_of_the_volume(folder, turn) -> None:
    turned = folder / "turned.mrc"
    run = etcli("stack", "--turn", turn, folder / "zyx.mrc", turned)
    assert ("mirror image" in run.err) == (turn == "swapyz")
    etcli("project", "--tilts", folder / "s.mrc", turned, folder / "q.mrc")
    np.testing.assert_allclose(voxels(folder / "q.mrc"), voxels(folder / "p.mrc"), rtol=1e-6, atol=1e-6)
    assert etcli("compare", "--metric", "nrmse", turned, folder / "zyx.mrc").out.split()[-1] == "0"


@pytest.mark.parametrize("name", ["turned.mrc", "turned.tif"])
def test_the_frame_is_kept_by_further_commands(folder, name) -> None:
    etcli("stack", "--turn", "rotz90,swapxz", folder / "zyx.mrc", folder / name)
    etcli(
        "filter", "--method", "gaussian", "--sigma", "0.01", "--dims", 3, folder / name, folder / "again.mrc"
    )
    found, before = (
        open_images(str(folder / "again.mrc")).volume(),
        open_images(str(folder / "zyx.mrc")).volume(),
    )
    assert str(found.frame.axes) == "z,x,-y"
    upright = found.upright()
    np.testing.assert_allclose(upright.origin_A, before.origin_A)
    np.testing.assert_allclose(upright.frame.centre_A, before.frame.centre_A)
    np.testing.assert_array_equal(upright.images(), before.images())


def test_the_order_of_imod_becomes_that_of_etcli(folder) -> None:
    etcli("stack", "--turn", "rotx-90", folder / "imod.mrc", folder / "again.mrc")
    found, before = (open_images(str(folder / name)).volume() for name in ("again.mrc", "zyx.mrc"))
    np.testing.assert_allclose(found.images(), before.images(), atol=1e-6)
    np.testing.assert_allclose(found.origin_A, before.origin_A)
    assert found.frame == before.frame


def test_atoms_are_not_refined_in_a_turned_volume(folder) -> None:
    etcli("stack", "--turn", "rotz90", folder / "zyx.mrc", folder / "turned.mrc")
    line = failure(
        *("trace-atoms", "--refine", folder / "s.mrc", folder / "turned.mrc", folder / "a.xyz"), status=2
    )
    assert "was turned to the axes -y,x,z, which --refine does not support" in line


@pytest.mark.parametrize(
    ("turn", "program"),
    [
        ("reversex", ["clip", "flipy"]),
        ("reversey", ["clip", "flipx"]),
        ("reversez", ["clip", "flipz"]),
        ("swapxy", ["clip", "flipxy"]),
        ("swapyz", ["clip", "flipyz"]),
        ("swapxz", ["clip", "flipxz"]),
        ("rotx-90", ["clip", "rotx"]),
        ("rotz90", ["rotatevol", "-order", 1, "-size", "12,10,4", "-angles", "90,0,0"]),
        ("roty90", ["rotatevol", "-order", 1, "-size", "4,12,10", "-angles", "0,90,0"]),
        ("rotx90", ["rotatevol", "-order", 1, "-size", "10,4,12", "-angles", "0,0,90"]),
        ("roty90,rotx90", ["rotatevol", "-order", 1, "-size", "4,10,12", "-angles", "0,90,90"]),
    ],
)
def test_voxels_are_those_of_imod(tmp_path, turn, program) -> None:
    write_stack(tmp_path / "a.mrc", images())
    etcli("stack", "--turn", turn, tmp_path / "a.mrc", tmp_path / "b.mrc")
    imod(*program, tmp_path / "a.mrc", tmp_path / "c.mrc")
    inside = (slice(1, -1),) * 3  # rotatevol fills some of the outermost voxels
    ours, theirs = voxels(tmp_path / "b.mrc"), voxels(tmp_path / "c.mrc")
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[inside], theirs[inside], rtol=1e-4)


def test_sections_are_read_in_blocks_of_the_memory(tmp_path) -> None:
    data = images(7, 9, 5)
    write_stack(tmp_path / "a.mrc", data)
    etcli("stack", "--memory", "1K", "-j", 2, "--turn", "swapxz", tmp_path / "a.mrc", tmp_path / "b.mrc")
    np.testing.assert_array_equal(voxels(tmp_path / "b.mrc"), data.transpose(2, 1, 0))


def test_turned_scaled_bytes_for_imagej(tmp_path) -> None:
    data = images(4)
    write_stack(tmp_path / "a.mrc", data)
    etcli("stack", "--turn", "reversey", "--scale", "200,1000", tmp_path / "a.mrc", tmp_path / "b.tif")
    np.testing.assert_allclose(tifffile.imread(tmp_path / "b.tif"), (data - 200) / 800 * 255, atol=0.51)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert (file.imagej_metadata["spacing"], file.imagej_metadata["unit"]) == (0.25, "nm")


def test_series_and_parts_are_refused(tmp_path) -> None:
    write_series(tmp_path / "s.mrc")
    assert "is a tilt series" in failure(
        "stack", "--turn", "reversex", tmp_path / "s.mrc", tmp_path / "b.mrc"
    )
    for option in (["--crop", "1-5,1-5"], ["--views", "1"], ["--sort", "tilt"]):
        line = failure(
            "stack", "--turn", "reversex", *option, tmp_path / "s.mrc", tmp_path / "b.mrc", status=2
        )
        assert "--turn is for one whole volume" in line
