"""Background level of cropped views: found before, carried by the files, and missed where it is unknown."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

import etcli
from tests.cli.test_recon_trust import rod_views, write
from tests.files import etcli as run

LEVEL = -500.0
CROP = "15-36,3-22"
"""Specimen reaches all four sides."""
WARNED = "WARNING: recon - {}: no background is subtracted (the rim is not empty"


def raised(path: Path, level: float = LEVEL) -> Path:
    return write(path, rod_views() + level)


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Views that tiltalign has written, cropped then."""
    folder = tmp_path_factory.mktemp("cropped")
    run("tiltalign", "--angle", 0, raised(folder / "raw.mrc"), folder / "a.mrc")
    run("stack", "--crop", CROP, folder / "a.mrc", folder / "c.mrc")
    return folder / "c.mrc"


def subtracted(series: Path, *options: object) -> float | None:
    """Return the level that recon subtracts, without a warning of it."""
    said = run("recon", "--json", "--iterations", 3, *options, series, series.with_name("rec.mrc"))
    assert "no background is subtracted" not in said.err
    level = json.loads(said.out)["background"]
    assert f"background {level:.7g} is subtracted (known from an earlier step; here the " in said.err
    return level


@pytest.mark.parametrize("step", ["none", "tif", "bin", "gaussian", "views", "crop", "joined"])
def test_a_crop_knows_the_level_of_before(step: str, cropped: Path, tmp_path: Path) -> None:
    again = tmp_path / ("again.tif" if step == "tif" else "again.mrc")
    commands = {
        "tif": ("stack", cropped, again),
        "bin": ("bin", "--factor", 2, cropped, again),
        "gaussian": ("filter", "--method", "gaussian", cropped, again),
        "views": ("stack", "--exclude", "1,2", cropped, again),
        "crop": ("stack", "--crop", "2-21,1-20", cropped, again),
        "joined": ("stack", cropped, cropped, again),
    }
    if step in commands:
        run(*commands[step])
    assert subtracted(again if step in commands else cropped) == pytest.approx(LEVEL, abs=0.01)


def test_the_volume_is_that_of_views_without_a_level(cropped: Path, tmp_path: Path) -> None:
    run("stack", "--crop", CROP, write(tmp_path / "flat.mrc", rod_views()), tmp_path / "c.mrc")
    run("recon", "--background", 0, tmp_path / "c.mrc", tmp_path / "flat_rec.mrc")
    run("recon", cropped, tmp_path / "rec.mrc")
    flat, found = mrcfile.read(tmp_path / "flat_rec.mrc"), mrcfile.read(tmp_path / "rec.mrc")
    np.testing.assert_allclose(found, flat, atol=0.02)


@pytest.mark.parametrize("command", ["register", "tiltalign"])
def test_python_carries_it_too(command: str, tmp_path: Path) -> None:
    series = etcli.read(raised(tmp_path / "raw.mrc"))
    assert series.background is None
    if command == "register":
        found = etcli.register(series, method="stackreg").series
    else:
        found = etcli.tiltalign(series, angle_deg=0).series
    assert found.background == pytest.approx(LEVEL, abs=0.01)
    assert etcli.filter(found, "median").background == found.background
    assert etcli.filter(found, "sobel").background is None


@pytest.mark.parametrize("step", ["sobel", "scale", "another program"])
def test_other_values_have_no_known_level(step: str, cropped: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.mrc"
    if step == "sobel":
        run("filter", "--method", "sobel", cropped, again)
    elif step == "scale":
        run("stack", "--scale", "0%,100%", cropped, again)
    else:
        again.write_bytes(cropped.read_bytes())
        Path(f"{again}.mdoc").write_bytes(Path(f"{cropped}.mdoc").read_bytes())
        with mrcfile.open(again, "r+") as file:
            file.add_label("another: values doubled")
    assert etcli.read(again).background is None


@pytest.mark.parametrize("kind", ["mrc", "tif"])
def test_views_changed_since_do_not_stand_on_the_level(kind: str, cropped: Path, tmp_path: Path) -> None:
    """Another program has taken the level off and kept all that the file says."""
    again = tmp_path / f"again.{kind}"
    run("stack", cropped, again)
    if kind == "mrc":
        with mrcfile.open(again, "r+") as file:
            file.set_data(file.data - np.float32(LEVEL))
    else:
        tifffile.imwrite(again, tifffile.imread(again) - np.float32(LEVEL))
    said = run("recon", "--json", "--iterations", 3, again, tmp_path / "rec.mrc")
    assert f"WARNING: recon - {again}: background -500" in said.err and "does not fit the views" in said.err
    assert json.loads(said.out)["background"] is None
    run("register", "--method", "stackreg", again, tmp_path / "r.mrc")
    assert etcli.read(tmp_path / "r.mrc").background is None


def test_a_level_below_a_specimen_everywhere_is_kept(tmp_path: Path) -> None:
    """A film that fills the views never shows it."""
    film = write(tmp_path / "film.mrc", rod_views() + 30)
    run("register", "--method", "stackreg", "--background", -10, film, tmp_path / "r.mrc")
    run("stack", "--crop", CROP, tmp_path / "r.mrc", tmp_path / "c.mrc")
    assert subtracted(tmp_path / "c.mrc") == -10


def test_an_unknown_level_is_warned_of_with_the_remedy(tmp_path: Path) -> None:
    run("stack", "--crop", CROP, raised(tmp_path / "raw.mrc"), tmp_path / "c.mrc")
    said = run("recon", tmp_path / "c.mrc", tmp_path / "rec.mrc").err
    assert WARNED.format(tmp_path / "c.mrc") in said
    assert "give the value where there is nothing with --background, 0 if it is that" in said
    assert "the volume explains nothing of the views above their darkest parts" in said
    said = run("recon", "--background", LEVEL, tmp_path / "c.mrc", tmp_path / "rec.mrc").err
    assert "no background" not in said and "darkest" not in said


def test_views_that_are_dark_at_zero_lose_nothing(tmp_path: Path) -> None:
    views = rod_views()
    views[:, :4, :5] = 3  # something in a corner, so that the rim is not empty
    said = run("recon", write(tmp_path / "a.mrc", views), tmp_path / "rec.mrc").err
    assert "no background is subtracted: the rim is not empty" in said and "WARNING: recon - a" not in said


@pytest.mark.parametrize("method", ["sirt", "fbp"])
def test_a_level_is_nothing_that_a_volume_explains(method: str, tmp_path: Path) -> None:
    """Views in the wrong order are named, as large as the constant may be that was not subtracted."""
    order = np.random.default_rng(0).permutation(31)
    series = write(tmp_path / "s.mrc", (rod_views() + 500)[order])
    said = run("recon", "--method", method, "--background", "none", series, tmp_path / "rec.mrc").err
    assert "views of an aligned series are explained better" in said and "--background" in said
