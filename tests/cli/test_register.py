"""``etcli register`` on series whose displacements are known."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.io.mdoc import read_mdoc
from tests.files import etcli, failure


@pytest.fixture(scope="module")
def displaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A particle whose views are displaced by up to 4 pixels; truth.json beside it."""
    folder = tmp_path_factory.mktemp("register")
    etcli(
        *("simulate", "particle", "--size", 64, "--range", -60, 60, 4, "--drift", "4px", "--dose", 500),
        *("--seed", 3, "--write-truth", folder / "truth.json", folder / "series.mrc"),
    )
    return folder / "series.mrc"


def truth(series: Path) -> dict[str, NDArray[np.float64]]:
    content = json.loads(series.with_name("truth.json").read_text())
    return {key: np.array(value) for key, value in content.items() if isinstance(value, list)}


def errors(found: NDArray[np.float64], true: dict[str, NDArray[np.float64]]) -> tuple[float, float]:
    """RMS error across the axis, but for motions a + b cos θ + c sin θ of the specimen, and along it."""
    error = found + true["shift_px"]
    tilt = np.deg2rad(true["tilt_deg"])
    free = np.stack([np.ones_like(tilt), np.cos(tilt), np.sin(tilt)], 1)
    across = error[:, 0] - free @ np.linalg.lstsq(free, error[:, 0], rcond=None)[0]
    return float(across.std()), float(error[:, 1].std())


def test_finds_the_shifts_and_applies_what_it_writes(displaced: Path, tmp_path: Path) -> None:
    output, xf = tmp_path / "out.mrc", tmp_path / "r.xf"
    run = etcli("register", "--json", "--write-xf", xf, "--plot", tmp_path / "p.png", displaced, output)
    rows = np.loadtxt(xf)
    np.testing.assert_array_equal(rows[:, :4], np.tile([1, 0, 0, 1], (len(rows), 1)))
    across, along = errors(rows[:, 4:], truth(displaced))
    before = errors(np.zeros_like(rows[:, 4:]), truth(displaced))
    # Shifts of the wrong sign would double the errors of about 2 px.
    assert across < 0.3 and along < 0.1, (across, along, before)
    assert min(before) > 1.5
    numbers = json.loads(run.out)
    np.testing.assert_allclose(numbers["shift_px"], rows[:, 4:], atol=1e-3)
    assert 0 < numbers["residual_px"] < 0.3
    assert numbers["residual_A"] == pytest.approx(10 * numbers["residual_px"])
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again.mrc"
    etcli("xform", "--xf", xf, displaced, again)
    inner = np.s_[:, 12:-12, 12:-12]
    np.testing.assert_allclose(mrcfile.read(again)[inner], mrcfile.read(output)[inner], atol=0.02)


def test_an_axis_along_x_is_heeded(displaced: Path, tmp_path: Path) -> None:
    upright = mrcfile.read(displaced)
    lying = tmp_path / "lying.mrc"
    with mrcfile.new(lying, np.ascontiguousarray(np.rot90(upright, 1, (2, 1)))) as mrc:
        mrc.set_image_stack()
    mdoc = read_mdoc(Path(f"{displaced}.mdoc")).with_axis(90.0)
    Path(f"{lying}.mdoc").write_bytes(mdoc.dump())
    xf = tmp_path / "r.xf"
    etcli("register", "--write-xf", xf, lying, tmp_path / "out.mrc")
    x, y = np.loadtxt(xf)[:, 4:].T
    # A quarter turn counter-clockwise takes +x to +y and +y (the axis) to -x, which is at +90 degrees.
    across, along = errors(np.stack([y, -x], 1), truth(displaced))
    assert across < 0.3 and along < 0.1


def test_a_blank_view_is_named(displaced: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.mrc"
    data = mrcfile.read(displaced).copy()
    data[11] = 0
    with mrcfile.new(blank, data) as mrc:
        mrc.set_image_stack()
    Path(f"{blank}.mdoc").write_bytes(Path(f"{displaced}.mdoc").read_bytes())
    run = etcli("register", "--json", blank, tmp_path / "out.mrc")
    assert json.loads(run.out)["doubtful"] == [12]
    assert "WARNING: register - look at view 12" in run.err


def test_wrong_requests_are_refused(displaced: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mrc"
    assert "31 views" in failure("register", "-q", "--reference", 99, displaced, output, status=2)
    assert "region" in failure("register", "-q", "--region", "1-4,1-4", displaced, output, status=2)
    assert "picture" in failure("register", "--plot", "p.txt", displaced, output, status=2)
    assert not list(tmp_path.iterdir())
