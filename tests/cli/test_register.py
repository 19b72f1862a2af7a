"""``etcli register`` on series whose displacements are known."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from etcli.core.errors import DataError
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.io.euler import read_euler, write_euler
from etcli.io.mdoc import read_mdoc
from tests.files import etcli, failure, mdoc_text, write_stack

pytestmark = pytest.mark.usefixtures("coarse_pictures")


@pytest.fixture(scope="module")
def displaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A particle whose views are displaced by up to 4 pixels; truth.json beside it."""
    folder = tmp_path_factory.mktemp("register")
    etcli(
        *("simulate", "particle", "--size", 48, "--range", -60, 60, 5, "--drift", "4px", "--dose", 500),
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


@pytest.mark.parametrize("axis_deg", [0.0, 90.0, -90.0, 180.0])
def test_the_region_is_of_the_views_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis_deg: float
) -> None:
    """Whole turns take the pixels of the region to those that are compared."""
    data = np.random.default_rng(2).random((3, 40, 64), np.float32)
    series = tmp_path / "s.mrc"
    with mrcfile.new(series, data) as mrc:
        mrc.set_image_stack()
    Path(f"{series}.mdoc").write_text(mdoc_text((-40, 0, 40), axis_deg=axis_deg))
    compared = seen_regions(monkeypatch)
    region = ("--method", "pc", "--region", "10-41,5-24", "--background", "none")
    etcli("register", "-q", *region, series, tmp_path / "out.mrc", status=1)
    ((views, rows, columns),) = compared
    # counter-clockwise by R is what brings the axis there; row 0 is the bottom
    expected = np.rot90(data[1, 4:24, 9:41], round(axis_deg / 90))
    np.testing.assert_array_equal(np.asarray(views[1])[rows, columns], expected)


@pytest.mark.parametrize(
    ("region", "rows", "columns"),
    [
        ("21-60,21-60", (13, 67), (13, 67)),  # 40 (cos 30° + sin 30°) = 54.6 about the middle
        ("1-80,1-80", (0, 80), (0, 80)),
        # the corner (-40, 40) goes to (-14.6, 54.6), its sides of 30 px to 26.0 and 15.0
        ("1-30,51-80", (54, 80), (10, 51)),
    ],
)
def test_a_turned_region_is_held_by_an_upright_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    region: str,
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> None:
    series = tmp_path / "s.mrc"
    with mrcfile.new(series, np.ones((3, 80, 80), np.float32)) as mrc:
        mrc.set_image_stack()
    Path(f"{series}.mdoc").write_text(mdoc_text((-40, 0, 40), axis_deg=30))
    compared = seen_regions(monkeypatch)
    etcli("register", "-q", "--method", "pc", "--region", region, series, tmp_path / "out.mrc", status=1)
    assert compared[0][1:] == (slice(*rows), slice(*columns))


def seen_regions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, slice, slice]]:
    """Record what would be compared, and end the command there."""
    seen: list[tuple[object, slice, slice]] = []

    def record(views: object, tilt_deg: object, *, region: tuple[slice, slice], **how: object) -> None:
        seen.append((views, *region))
        raise DataError("enough")

    monkeypatch.setattr("etcli.core.registration.methods.correlate_views", record)
    return seen


@pytest.mark.parametrize(
    ("options", "output", "status"),
    [
        ((), "out.png", 2),
        ((), "absent/out.mrc", 1),
        (("--no-clobber",), "there.mrc", 2),
        (("--no-clobber", "--write-xf", "there.mrc"), "out.mrc", 2),
        (("--write-xf", "out.mrc.mdoc"), "out.mrc", 2),
        (("--plot", "absent/p.png"), "out.mrc", 1),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_before_the_search(
    displaced: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    output: str,
    status: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("etcli.pipeline.register.register_views", None)
    Path("there.mrc").write_text("precious")
    failure("register", *options, displaced, output, status=status)
    assert [path.name for path in tmp_path.iterdir()] == ["there.mrc"]
    assert Path("there.mrc").read_text() == "precious"


def test_errors_about_the_views_name_the_file(displaced: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat.mrc"
    with mrcfile.new(flat, np.ones_like(mrcfile.read(displaced))) as mrc:
        mrc.set_image_stack()
    Path(f"{flat}.mdoc").write_bytes(Path(f"{displaced}.mdoc").read_bytes())
    line = failure("register", "-q", flat, tmp_path / "out.mrc")
    assert line.startswith(f"ERROR: register - {flat}: ") and "in common" in line


def test_wrong_requests_are_refused(displaced: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mrc"
    assert "25 views" in failure("register", "-q", "--reference", 99, displaced, output, status=2)
    for region in ("1-49,1-20", "1-20,40-49"):
        line = failure("register", "-q", "--region", region, displaced, output, status=2)
        assert "--region reaches beyond the views of 48 x 48 pixels" in line
    small = failure("register", "-q", "--region", "1-4,1-4", displaced, output, status=2)
    assert "the part to compare is less than 16 pixels wide or high" in small
    assert "picture" in failure("register", "--plot", "p.txt", displaced, output, status=2)
    assert not list(tmp_path.iterdir())


def test_a_length_needs_a_pixel_size(displaced: Path, tmp_path: Path) -> None:
    nameless = tmp_path / "a.mrc"
    with mrcfile.new(nameless, mrcfile.read(displaced)) as mrc:
        mrc.set_image_stack()
        mrc.voxel_size = 0
    np.savetxt(tmp_path / "a.rawtlt", np.arange(-60, 61, 5))
    arguments = ("register", "-q", "--max-shift", "4nm", nameless, tmp_path / "b.mrc")
    assert "pixel size" in failure(*arguments, status=2)


def test_orientations_are_refined_and_written(tmp_path: Path) -> None:
    """Views of a cloud of particles whose angles are known to some degrees only."""
    rng = np.random.default_rng(4)
    true = tilts_as_euler(np.arange(-64, 65, 8.0))
    place, height = rng.uniform(-8, 8, (40, 3)), rng.uniform(0.5, 1.5, 40)
    grid = np.arange(30)[:, None] - 14.5
    views = []
    for rotation in rotation_matrices(true):
        u, v, _ = rotation @ place.T
        views.append((np.exp(-0.5 * (grid - v) ** 2) * height) @ np.exp(-0.5 * (grid - u) ** 2).T)
    series = write_stack(tmp_path / "s.mrc", np.array(views, np.float32))
    rough, output = tmp_path / "rough.csv", tmp_path / "out.mrc"
    write_euler(rough, true + rng.uniform(-3, 3, true.shape))
    etcli("register", "--euler", rough, series, output)

    def misfit_deg(path: Path) -> float:
        found = Rotation.from_matrix(rotation_matrices(read_euler(path)))
        apart = Rotation.from_matrix(rotation_matrices(true)).inv() * found
        return float(np.rad2deg(np.sqrt(np.mean((apart.mean().inv() * apart).magnitude() ** 2))))

    assert misfit_deg(Path(f"{output}.euler.csv")) < 0.4 * misfit_deg(rough)
    assert "--euler is for --method" in failure(
        "register", "--method", "pc", "--euler", rough, series, output, status=2
    )
    few = write_stack(tmp_path / "few.mrc", mrcfile.read(series)[:5])
    assert "rows of Euler angles" in failure("register", "--euler", rough, few, output)
