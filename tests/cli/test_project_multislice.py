"""``etcli project --model multislice``."""

from pathlib import Path

import mdocfile
import mrcfile
import numpy as np
import pytest

import etcli as package
from etcli.core.atomic_model import Atoms
from etcli.io.atoms import write_atoms
from tests.files import etcli, failure, write_series

MULTISLICE = ("--model", "multislice")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A series of a few atoms at two defoci, and their potential in ``v.mrc``."""
    position = np.array([[-2.0, 1.0, 4.0], [3.0, -2.0, -3.0], [0.0, 3.0, 0.0]])
    write_atoms(tmp_path / "m.xyz", Atoms(position, np.array(["Si", "Ti", "O"])))
    frame = ("--size", 32, "--range", -40, 40, 40, "--defocus", "0.02,-0.01", "--kv", 200)
    truth = ("--write-truth", tmp_path / "v.mrc")
    etcli("simulate", "hrtem", *frame, *truth, tmp_path / "m.xyz", tmp_path / "s.mrc")
    return tmp_path / "s.mrc"


def project(folder: Path, *options: object, target: str = "p.mrc") -> np.ndarray:
    etcli("project", *MULTISLICE, *options, folder / "v.mrc", folder / target)
    return mrcfile.read(folder / target)


def test_a_series_is_projected_again(series: Path) -> None:
    """At its tilts and defoci, with its voltage."""
    found, wanted = project(series.parent, "--tilts", series), mrcfile.read(series)
    for image, truth in zip(found, wanted, strict=True):
        assert np.corrcoef(image.ravel(), truth.ravel())[0, 1] > 0.97
    mdoc = mdocfile.read(series.parent / "p.mrc.mdoc")
    assert mdoc.TiltAngle.tolist() == [-40, -40, 0, 0, 40, 40]
    assert mdoc.Defocus.tolist() == [0.02, -0.01] * 3 and set(mdoc.Voltage) == {200}
    np.testing.assert_array_equal(project(series.parent, "--tilts", f"{series}.mdoc", target="q.mrc"), found)


def test_defoci_at_each_tilt(series: Path) -> None:
    found = project(series.parent, "--tilts", series)
    options = ("--range", -40, 40, 40, "--kv", 200)
    given = project(series.parent, *options, "--defocus", "0.02,-0.01")
    np.testing.assert_array_equal(given, found)
    np.testing.assert_array_equal(
        project(series.parent, "--tilts", series, "--defocus", "-0.01"),
        project(series.parent, *options, "--defocus", "-0.01"),
    )
    for changed in (("--cs", 1), ("--alpha", 8), ("--binned-slices", 1), ("--kv", 300)):
        other = project(series.parent, *options, "--defocus", "0.02,-0.01", *changed)
        assert np.abs(other - found).max() > 0.001, changed


def test_in_python(series: Path) -> None:
    found = project(series.parent, "--range", -40, 40, 40, "--kv", 200, "--defocus", 0.02)
    volume = package.read(series.parent / "v.mrc")
    images = package.project(volume, [-40, 0, 40], model="multislice", defocus_um=[0.02], kv=200)
    np.testing.assert_array_equal(images.images(), found)
    assert images.views.defocus_um.tolist() == [0.02] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*MULTISLICE, "--range", 0, 0, 1), "the defocus is not known; give --defocus LIST, in µm"),
        ((*MULTISLICE, "--range", 0, 0, 1, "--defocus", "0.02"), "give it with --kv"),
        ((*MULTISLICE, "--range", 0, 0, 1, "--kernel", "strip"), "--kernel strip is for --model linear"),
        (
            (*MULTISLICE, "--range", 0, 0, 1, "--kv", 200, "--defocus", "20"),
            "a defocus of 20 µm needs a wave of 6912 pixels for images of 32; is it in µm?",
        ),
        (
            (*MULTISLICE, "--range", 0, 0, 1, "--kv", 200, "--defocus", "0.02", "--cs", 1000),
            "a spherical aberration of 1000 mm needs a wave of ",
        ),
        (
            (*MULTISLICE, "--range", 0, 0, 1, "--kv", 200, "--defocus", "0.02", "--mode", 1),
            "--mode 1 has no fractions, but intensities are about 1; use --mode 2 or 12",
        ),
        (
            (*MULTISLICE, "--range", 0, 0, 1, "--kv", 200, "--defocus", "0.02", "--alpha", "0.02"),
            "an aperture of 0.02 mrad lets almost nothing pass of what pixels of 0.5 Å resolve (25.08 mrad)",
        ),
        (("--range", 0, 0, 1, "--defocus", "0.02"), "--defocus is for --model multislice; leave it out"),
        (("--range", 0, 0, 1, "--binned-slices", 4), "--binned-slices is for --model multislice"),
    ],
)
def test_what_is_asked_for_is_checked(series: Path, options: tuple[object, ...], words: str) -> None:
    line = failure("project", *options, series.parent / "v.mrc", series.parent / "x.mrc", status=2)
    assert words in line
    assert not (series.parent / "x.mrc").exists()


def test_little_memory_is_enough_or_refused(series: Path) -> None:
    found = project(series.parent, "--tilts", series)
    np.testing.assert_array_equal(project(series.parent, "--tilts", series, "--memory", "2M"), found)
    options = (*MULTISLICE, "--tilts", series, "--memory", "700K", series.parent / "v.mrc")
    line = failure("project", *options, series.parent / "x.mrc", status=2)
    assert "the work takes 2M of memory, but only 0M are allowed" in line


def test_tilts_that_differ_by_rounding_are_one(series: Path) -> None:
    tilts = series.parent / "t.txt"
    tilts.write_text("-40\n-39.995\n0\n")
    found = project(series.parent, "--tilts", tilts, "--kv", 200, "--defocus", "0.02,-0.01")
    assert len(found) == 4
    assert mdocfile.read(series.parent / "p.mrc.mdoc").TiltAngle.tolist() == [-40, -40, 0, 0]


def test_orientations_are_refused(series: Path) -> None:
    table = series.parent / "e.csv"
    table.write_text("phi,theta,psi\n0,10,0\n")
    options = (*MULTISLICE, "--euler", table, "--kv", 200, "--defocus", "0.02")
    line = failure("project", *options, series.parent / "v.mrc", series.parent / "x.mrc", status=2)
    assert "--model multislice projects at tilt angles" in line


def test_the_voxel_size_is_needed(series: Path) -> None:
    with mrcfile.open(series.parent / "v.mrc", "r+") as file:
        data = file.data.copy()
    with mrcfile.new(series.parent / "w.mrc", data) as file:
        file.set_volume()
    options = (*MULTISLICE, "--range", 0, 0, 1, "--kv", 200, "--defocus", "0.02")
    line = failure("project", *options, series.parent / "w.mrc", series.parent / "x.mrc", status=2)
    assert "the voxel size is not known" in line


def test_the_axis_is_in_the_middle(series: Path) -> None:
    """Of a volume that recon wrote, which is 3 voxels above the axis."""
    write_series(series.parent / "t.mrc", np.ones((4, 12, 16), np.float32), axis_deg=0)
    etcli("recon", "--z-offset", 3, series.parent / "t.mrc", series.parent / "r.mrc")
    options = (*MULTISLICE, "--range", 0, 0, 1, "--kv", 200, "--defocus", "0.02")
    line = failure("project", *options, series.parent / "r.mrc", series.parent / "x.mrc", status=2)
    assert "needs the tilt axis in the middle of the volume" in line
