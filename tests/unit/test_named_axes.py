"""Axes are placed by what the file calls them, and units are understood however they are spelled."""

import json
import sys

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.image_file import open_images
from etcli.io.named_axes import Axis, as_stack, pixel_on, tilts_on
from etcli.io.text import as_number, decoded
from etcli.io.units import angle_unit_deg, length_unit_A
from tests.files import etcli, failure

TILTS = np.array([-60, -50, -40, -35, -30, -20, -10, 0, 10, 20, 30, 45, 60.0])
DATA = np.random.default_rng(4).normal(size=(13, 12, 16)).astype("f4")


@pytest.mark.parametrize(
    ("unit", "length_A"),
    [
        *((unit, 10) for unit in ("nm", "[n_m]", "nanometer", "Nanometers", "nanometre", " nm ")),
        *((unit, 1e4) for unit in ("um", "µm", "μm", "\\u00B5m", "micron", "Microns", "micrometer")),
        *((unit, 1) for unit in ("A", "Å", "\u212b", "\\u00C5", "Angstrom", "angstroms", "ångström")),
        *(("pm", 0.01), ("mm", 1e7), ("cm", 1e8), ("m", 1e10), ("meter", 1e10), ("inch", 2.54e8)),
        *((unit, None) for unit in ("", None, "pixel", "px", "1/nm", "eV", "s", "deg", "Mm2", "nmm")),
    ],
)
def test_units_of_length(unit, length_A) -> None:
    assert length_unit_A(unit) == length_A


def test_units_of_angle() -> None:
    assert [angle_unit_deg(unit) for unit in ("°", "[deg]", "Degrees", "nm")] == [1, 1, 1, None]
    assert angle_unit_deg("rad") == pytest.approx(180 / np.pi)


@pytest.mark.parametrize(
    ("word", "number"), [("1.6D+00", 1.6), ("-2.5d-03", -0.0025), ("1e2", 100), (".5", 0.5), ("7", 7)]
)
def test_numbers_of_fortran(word, number) -> None:
    assert as_number(word) == number


def test_what_is_no_number_stays_so() -> None:
    for word in ("D", "1.6D", "1,5", "0x10", ""):
        with pytest.raises(ValueError):
            as_number(word)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding) -> None:
    assert decoded("1 Å\n".encode(encoding)) == "1 Å\n"


def axis(name: str, unit: str, n: int, step: float = 1.0) -> Axis:
    return Axis(name, unit, step * np.arange(n))


@pytest.mark.parametrize(
    ("named", "order"),
    [
        ([("angles", "[deg]"), ("y", "nm"), ("x", "nm")], (0, 1, 2)),
        ([("x", "nm"), ("y", "nm"), ("angles", "[deg]")], (2, 1, 0)),
        ([("y", "nm"), ("tilt", ""), ("x", "nm")], (1, 0, 2)),
        ([("x", "nm"), ("y", "nm"), ("z", "nm")], (2, 1, 0)),
        ([("z", ""), ("y", ""), ("x", "")], (0, 1, 2)),
        ([("height", "nm"), ("width", "nm"), ("frame", "")], (2, 0, 1)),
        ([("", ""), ("", ""), ("", "")], (0, 1, 2)),
    ],
)
def test_axes_are_placed_by_name_and_unit(named, order) -> None:
    axes = [axis(name, unit, n) for (name, unit), n in zip(named, DATA.shape, strict=True)]
    stack, placed = as_stack(DATA, axes)
    np.testing.assert_array_equal(stack, DATA.transpose(order))
    assert [len(one.values) for one in placed] == list(stack.shape)


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ((3, 4, 5), [("y", "nm"), ("x", "nm"), ("Energy", "keV")]),
        ((3, 4, 5), [("", ""), ("ky", "1/nm"), ("kx", "1/nm")]),
        ((2, 3, 4, 5), [("", "")] * 4),
        ((5,), [("x", "nm")]),
    ],
)
def test_what_is_no_stack_of_images_is_refused(shape, named) -> None:
    axes = [axis(name, unit, n) for (name, unit), n in zip(named, shape, strict=True)]
    with pytest.raises(DataError, match="is no stack of images"):
        as_stack(np.zeros(shape), axes)


def test_what_axes_tell() -> None:
    assert tilts_on(Axis("", "rad", np.array([0, np.pi / 6]))).tolist() == pytest.approx([0, 30])
    assert tilts_on(axis("frame", "s", 3)) is None
    assert pixel_on(axis("y", "nm", 5, -0.5), axis("x", "nm", 4, 0.5)) == (5, [])
    size_A, warnings = pixel_on(axis("y", "nm", 5, 1), axis("x", "Å", 4, 5))
    assert size_A == 5
    assert warnings == ["pixels of 5 x 10 Å are not square; the first counts"]
    assert pixel_on(axis("y", "", 5), axis("x", "", 4)) == (None, [])


def write_emd(path, data: np.ndarray, dimensions, *, first: int = 1) -> None:
    """Write an EMD file of Berkeley, as tomviz does."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        group = file.create_group("/data/tomography")
        group.attrs["emd_group_type"] = 1
        group["data"] = data
        for k, (values, name, unit) in enumerate(dimensions, first):
            group[f"dim{k}"] = values
            group[f"dim{k}"].attrs["name"] = name
            group[f"dim{k}"].attrs["units"] = unit


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_tilt_series_of_tomviz(tmp_path, order, first) -> None:
    """Angles at uneven steps, whatever the order of the axes; a vector of two values is an even axis."""
    dimensions = [
        (TILTS, "angles", "[deg]"),
        (np.array([0, 2.0]), "y", "[n_m]"),
        (2.0 * np.arange(16), "x", b"[n_m]"),
    ]
    path = tmp_path / "a.emd"
    write_emd(path, DATA.transpose(order), [dimensions[k] for k in order], first=first)
    series = open_images(str(path)).series()
    assert series.tilt_deg.tolist() == TILTS.tolist()
    assert (series.shape, series.pixel_A) == ((13, 12, 16), 20)
    np.testing.assert_array_equal(series.view(3), DATA[3, ::-1])
    assert json.loads(etcli("info", "--json", path).out)["source"] == str(path)


def test_a_spectrum_image_in_an_emd_file_is_refused(tmp_path) -> None:
    path = tmp_path / "a.emd"
    axes = [(np.arange(13), "y", "nm"), (np.arange(12), "x", "nm"), (np.arange(16), "Energy", "eV")]
    write_emd(path, DATA, axes)
    line = failure("info", path)
    assert "a.emd: data of shape (13, 12, 16) with the axes y (nm), x (nm), Energy (eV) is no stack" in line
    path.write_bytes(path.read_bytes()[:800])
    assert "a.emd: cannot be read (" in failure("info", path)


@pytest.mark.parametrize(
    ("name", "missing", "package"),
    [
        ("a.emd", "h5py", "h5py"),
        ("a.dm3", "rsciio", "rosettasciio h5py"),
        ("a.ser", "rsciio", "rosettasciio h5py"),
        ("a.hspy", "h5py", "h5py"),
    ],
)
def test_a_missing_module_is_named_with_what_brings_it(tmp_path, monkeypatch, name, missing, package) -> None:
    """However etcli was installed: its own extra needs it in an index, or the folder it came from."""
    for module in [key for key in sys.modules if key.split(".")[0] in (missing, "rsciio")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    (tmp_path / name).write_bytes(bytes(100))
    line = failure("info", tmp_path / name)
    assert line.endswith(
        f"needs the Python module {missing}, which is not installed; python -m pip install {package}"
    )
