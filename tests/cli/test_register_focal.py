"""``etcli register`` of a focal series whose drift is known."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli
from tests.drifted_columns import counted, disc, error_px, focal_images, walk
from tests.files import etcli as run
from tests.files import failure, mdoc_text, write_stack

pytestmark = pytest.mark.usefixtures("coarse_pictures")

N = 9
DRIFT_PX = walk(N, 0.8)
DEFOCUS_UM = np.linspace(0.02, -0.02, N)
MIXED = np.random.default_rng(3).permutation(N)  # in the file, sections are not in order of focus
MIDDLE = int(np.flatnonzero(MIXED == N // 2)[0])


@pytest.fixture
def focal(tmp_path: Path) -> Path:
    images = counted(focal_images(disc(16), np.linspace(-80, 80, N), DRIFT_PX, size=48), peak=300)
    path = write_stack(tmp_path / "focal.mrc", images[MIXED], 0.4)
    mdoc = mdoc_text([0.0] * N, defocus_um=list(DEFOCUS_UM[MIXED]), pixel_A=0.4)
    Path(f"{path}.mdoc").write_text(mdoc)
    return path


def test_a_focal_series_is_registered_in_order_of_focus(focal: Path, tmp_path: Path) -> None:
    output, xf, picture = tmp_path / "out.mrc", tmp_path / "r.xf", tmp_path / "p.png"
    result = run("register", "-v", "--json", "--write-xf", xf, "--plot", picture, focal, output)
    numbers = json.loads(result.out)
    assert numbers["method"] == "focal" and numbers["doubtful"] == []
    rows = np.loadtxt(xf)
    np.testing.assert_allclose(numbers["shift_px"], rows[:, 4:], atol=1e-3)
    assert error_px(rows[:, 4:], DRIFT_PX[MIXED]) < 0.2
    assert rows[MIDDLE, 4:].tolist() == [0, 0]
    assert 0 < numbers["residual_px"] < 0.2
    assert numbers["residual_A"] == pytest.approx(0.4 * numbers["residual_px"])
    assert "focus (µm)" in result.err and "tilt" not in result.err.split("focus (µm)")[1]
    assert picture.read_bytes().startswith(b"\x89PNG")
    written = etcli.read(output)
    np.testing.assert_allclose(written.views.defocus_um, DEFOCUS_UM[MIXED])
    assert written.history[-1].startswith("etcli register") and "focal" in written.history[-1]
    registered = etcli.register(etcli.read(focal))
    np.testing.assert_array_equal(registered.series.images(), mrcfile.read(output))


def test_without_defoci_sections_are_in_order(focal: Path, tmp_path: Path) -> None:
    bare = write_stack(tmp_path / "bare.mrc", mrcfile.read(focal)[np.argsort(MIXED)], 0.4)
    options = ("--method", "focal", "--reference", 3, "--max-shift", "2A", "--region", "3-46,3-46")
    result = run("register", "--json", *options, bare, tmp_path / "out.mrc")
    assert "taken as in order of focus" in result.err
    shift_px = np.array(json.loads(result.out)["shift_px"])
    assert error_px(shift_px, DRIFT_PX) < 0.2
    assert shift_px[2].tolist() == [0, 0]
    assert "no tilt angles" in failure("register", "-q", bare, tmp_path / "out2.mrc")


def test_a_section_with_nothing_in_common_is_named(focal: Path, tmp_path: Path) -> None:
    data = mrcfile.read(focal).copy()
    data[MIDDLE] = np.random.default_rng(0).poisson(20, data[MIDDLE].shape)
    with mrcfile.mmap(focal, "r+") as mrc:
        mrc.data[:] = data
    result = run("register", "--json", "--reference", MIDDLE % N + 2, focal, tmp_path / "out.mrc")
    assert json.loads(result.out)["doubtful"] == [MIDDLE + 1]
    assert f"look at view {MIDDLE + 1}: too little in common with their neighbours" in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--iterations", 3), "--iterations is for --method auto or match, not for focal; leave it out"),
        (("--axis", 3), "--axis is for --method auto, pc, stackreg, com, com-cl or match, not for focal"),
        (("--region", "1-60,1-20"), "--region reaches beyond the views of 48 x 48 pixels"),
        (("--reference", 12), "--reference 12: there are 9 views"),
    ],
)
def test_what_does_not_suit_is_refused(
    focal: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    output = tmp_path / "out.mrc"
    line = failure("register", "-q", "--method", "focal", *options, focal, output, status=2)
    assert message in line
    assert not output.exists()


def test_a_focal_series_has_no_axis_and_a_tilt_series_no_focus(focal: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mrc"
    assert "no tilt axis" in failure("register", "-q", "--axis", 3, focal, output, status=2)
    Path(f"{focal}.mdoc").write_text(mdoc_text(np.arange(N) * 5.0, pixel_A=0.4))
    line = failure("register", "-q", "--method", "focal", focal, output, status=2)
    assert f"{focal}: 9 tilt angles; --method focal is for views of one tilt" in line
    with pytest.raises(etcli.UsageError, match="one tilt"):
        etcli.register(etcli.read(focal), method="focal")
