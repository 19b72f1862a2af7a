"""A registered series whose tilt axis is neither vertical nor central: what recon and info say."""

import json
from pathlib import Path

import numpy as np
import pytest

from etcli.io.axis_of_register import axis_of_register
from etcli.io.transforms import read_axis
from tests.files import etcli, mdoc_text, write_stack
from tests.series import particle_views, scattered

TILT_DEG = np.arange(-60.0, 61.0, 4.0)
REGISTER = "etcli register 0.1: match, residual 0.04 px, axis 2.749 deg, offset 23.019 px"
BY_OURS = (
    "etcli xform 0.1: r.xf\n  input: s.mrc, 9 bytes\n  input: r.xf, 9 bytes\n  input: r.xf.axis, 9 bytes"
)
FOREIGN = "etcli xform 0.1: r.xf\n  input: s.mrc, 9 bytes\n  input: r.xf, 9 bytes"
TILTALIGN = "etcli tiltalign 0.1: axis 2.75 deg, offset 23.02 px"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a series about an axis at 3°, 5 px off the middle, registered and aligned."""
    made = tmp_path_factory.mktemp("axis")
    views = particle_views(scattered(25, 0, (12, 12, 8)), TILT_DEG, (48, 48), axis_deg=3, offset_px=5)
    series = write_stack(made / "s.mrc", views, 10.0)
    Path(f"{series}.mdoc").write_text(mdoc_text(TILT_DEG, axis_deg=0, pixel_A=10))
    etcli("register", "--write-xf", made / "r.xf", series, made / "reg.mrc")
    prexf = ("--prexf", made / "r.xf", "--write-xf", made / "t.xf")
    etcli("tiltalign", *prexf, series, made / "ali.mrc")
    etcli("xform", "--xf", made / "r.xf", series, made / "moved.mrc")
    etcli("xform", "--xf", made / "t.xf", series, made / "aligned.mrc")
    etcli("stack", "--crop", "9-48,1-48", made / "reg.mrc", made / "crop.mrc")
    return made


@pytest.mark.parametrize(
    ("name", "options", "warned"),
    [
        ("reg", (), True),
        ("moved", (), True),
        ("crop", (), True),
        ("ali", (), False),
        ("aligned", (), False),
        ("s", (), False),
        ("reg", ("--axis-offset", "5"), True),  # its angle is wrong as well
    ],
)
def test_recon_of_registered_views(
    name: str, options: tuple[str, ...], warned: bool, folder: Path, tmp_path: Path
) -> None:
    said = etcli("recon", "--method", "bp", *options, folder / f"{name}.mrc", tmp_path / "v.mrc").err
    assert ("is registered, but its tilt axis is at" in said) == warned
    assert ("px off the centre by register; use tiltalign first" in said) == warned


def test_info_tells_what_register_found(folder: Path) -> None:
    said = etcli("info", folder / "reg.mrc").out
    assert "0° from +y in the description; register found it at" in said
    found = json.loads(etcli("info", "--json", folder / "reg.mrc").out)["registered_axis"]
    beside = read_axis(folder / "r.xf")
    assert found == {"deg": beside.angle_deg, "offset_px": beside.offset_px}
    assert found["deg"] == pytest.approx(3, abs=0.1) and found["offset_px"] > 1
    assert json.loads(etcli("info", "--json", folder / "ali.mrc").out)["registered_axis"] is None


@pytest.mark.parametrize(
    ("history", "found"),
    [
        ((), False),
        ((REGISTER,), True),
        ((REGISTER, "etcli filter 0.1: median", "etcli bin 0.1: 2"), True),
        ((REGISTER, BY_OURS), True),
        ((REGISTER, FOREIGN), False),
        ((REGISTER, TILTALIGN), False),
        ((REGISTER, TILTALIGN, BY_OURS), False),
        ((TILTALIGN, REGISTER), True),
        (("etcli register 0.1: pc, residual 0.04 px",), False),
    ],
)
def test_the_newest_step_that_moved_the_views_counts(history: tuple[str, ...], found: bool) -> None:
    assert (axis_of_register(history) is not None) == found
