"""Files with the mistakes and habits of other programs, as their users have reported them."""

import json
import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from etcli.io.image_file import open_images
from tests.files import IMOD_STAMP, etcli, failure, images, mrc_bytes, write_stack

SIZE = (16, 12)


def about(path: Path) -> dict:
    return json.loads(etcli("-q", "info", "--json", path).out)


def prior_dose(path: Path) -> list[float]:
    """Dose before each view."""
    found = open_images(str(path)).series().views.prior_dose_e_A2
    assert found is not None
    return found.round(9).tolist()


def levels(n: int, dtype: str = "<i2") -> np.ndarray:
    """Images that are full of their number."""
    return np.broadcast_to(np.arange(n, dtype=dtype)[:, None, None], (n, *SIZE[::-1])).copy()


def write_levels(path: Path, n: int, *, pixel_A: float = 2.0, **header) -> Path:
    path.write_bytes(mrc_bytes(levels(n), (*SIZE, n), 1, pixel_A=pixel_A, span=(0, n - 1), **header))
    return path


def write_mdoc(path: Path, tilt_deg, *, head: str = "", more=lambda k: "") -> Path:
    """Write an mdoc with a section per angle, with ``more`` lines in each."""
    views = (f"[ZValue = {k}]\nTiltAngle = {angle}\n{more(k)}\n" for k, angle in enumerate(tilt_deg))
    path.write_text(f"PixelSpacing = 2\nVoltage = 300\n{head}\n" + "".join(views))
    return path


@pytest.mark.parametrize("extended_bytes", [131072, 13 * 128])
@pytest.mark.parametrize("label", ["Fei Company (C) Copyright 2003", "another program"])
def test_fei_counted_bytes_as_integers(tmp_path, extended_bytes, label) -> None:
    """128 integers and 32 floats per section are 32 floats, where FEI or its extended header says so."""
    tilts = np.arange(-60.0, 61, 10)
    words = np.zeros((extended_bytes // 128, 32), "<f4")
    words[:13, 0] = tilts
    series = write_levels(
        tmp_path / "a.mrc", 13, extended=words.tobytes(), counts=(128, 32), labels=[label], pixel_A=1
    )
    is_known = extended_bytes == 131072 or label.startswith("Fei ")
    assert about(series)["tilt_deg"] == (tilts.tolist() if is_known else None)


def test_rows_of_fei_run_from_the_top(tmp_path) -> None:
    """As IMOD finds: NVERSION 20140, without the stamp of IMOD; or rows along -y."""
    data = images(2)
    for kind, turned in ({"exttyp": b"FEI1"}, True), ({"exttyp": b"FEI1", "stamp": IMOD_STAMP}, False):
        raw = bytearray(mrc_bytes(data, (10, 12, 2), 2, **kind))
        struct.pack_into("<i", raw, 108, 20140)
        (tmp_path / "a.mrc").write_bytes(raw)
        run = etcli("stack", "--frames", "keep", tmp_path / "a.mrc", tmp_path / "b.mrc")
        np.testing.assert_array_equal(mrcfile.read(tmp_path / "b.mrc"), data[:, :: -1 if turned else 1])
        assert ("rows run from the top" in run.err) == turned
    raw = bytearray(mrc_bytes(data, (10, 12, 2), 2))
    struct.pack_into("<3i", raw, 64, 1, -2, 3)
    (tmp_path / "a.mrc").write_bytes(raw)
    etcli("-q", "stack", tmp_path / "a.mrc", tmp_path / "b.mrc")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "b.mrc"), data[:, ::-1])


def test_bytes_of_two_pixels_have_twice_the_width(tmp_path) -> None:
    """IMOD's flag 16: two pixels of 4 bits in each byte, the first one in the low bits."""
    pixels = np.arange(2 * 12 * 20, dtype=np.uint8).reshape(2, 12, 20) % 16
    packed = pixels[..., ::2] | pixels[..., 1::2] << 4
    raw = mrc_bytes(packed, (10, 12, 2), 0, stamp=IMOD_STAMP, flags=16, pixel_A=2)
    (tmp_path / "a.mrc").write_bytes(raw)
    facts = about(tmp_path / "a.mrc")
    assert (facts["size"], facts["pixel_A"], facts["max"]) == ([20, 12, 2], 2, 15)
    etcli("stack", tmp_path / "a.mrc", tmp_path / "b.mrc")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "b.mrc"), pixels)
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(packed, (10, 12, 2), 0, stamp=IMOD_STAMP, flags=17))
    assert "4-bit data in signed bytes" in failure("info", tmp_path / "a.mrc")


@pytest.mark.parametrize(("nx", "ny", "packed"), [(3710, 7676, True), (3838, 7000, False)])
def test_packed_frames_without_the_flag_have_the_size_of_a_camera(tmp_path, nx, ny, packed) -> None:
    label = "SerialEMCCD: Dose frac. image, 4 bits packed  r/f 0"
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(bytes(nx * ny), (nx, ny, 1), 0, span=(0, 15), labels=[label]))
    assert etcli("-q", "info", "--field", "size", tmp_path / "a.mrc").out == f"{nx * (1 + packed)} {ny} 1\n"


@pytest.mark.parametrize(
    ("span", "doubted"), [((0, 0), True), ((0, -1), True), ((0, 100), False), ((5, 5), False)]
)
def test_statistics_of_zero_do_not_tell_the_sign_of_bytes(tmp_path, span, doubted) -> None:
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(bytes(range(240)), (8, 6, 5), 0, span=span))
    run = etcli("info", tmp_path / "a.mrc")
    assert ("does not say whether its bytes are signed" in run.err) == doubted


def test_a_stack_of_volumes_is_named(tmp_path) -> None:
    raw = bytearray(mrc_bytes(levels(6), (*SIZE, 6), 1, cells=(*SIZE, 3)))
    for ispg, told in ((401, True), (1, False)):
        struct.pack_into("<i", raw, 88, ispg)
        (tmp_path / "a.mrc").write_bytes(raw)
        assert ("a stack of 2 volumes (ISPG 401)" in etcli("info", tmp_path / "a.mrc").err) == told


def pieces(*, same_image: bool) -> bytes:
    """Extended header of SerialEM: tilt, and column, row and image of each piece."""
    places = [(x, z) for z in range(3) for x in (0, 14)]
    rows = (
        struct.pack("<4h", 1000 * (z - 1), x, 0, z if same_image else k) for k, (x, z) in enumerate(places)
    )
    return b"".join(rows).ljust(1024, b"\0")


def test_a_montage_is_refused_whoever_says_so(tmp_path) -> None:
    """The extended header, or the mdoc; pieces of one image are no views at one tilt."""
    source = write_levels(
        tmp_path / "a.mrc", 6, exttyp=b"SERI", extended=pieces(same_image=True), counts=(8, 3)
    )
    for command in (("info", source), ("stack", source, tmp_path / "b.mrc")):
        assert "montages are not supported; blend the pieces" in failure(*command)
    write_levels(source, 6, exttyp=b"SERI", extended=pieces(same_image=False), counts=(8, 3))
    assert about(source)["tilt_deg"] == [-10, -10, 0, 0, 10, 10]
    places = [(x, z) for z in range(3) for x in (0, 14)]
    write_mdoc(
        Path(f"{source}.mdoc"), range(6), more=lambda k: "PieceCoordinates = {} 0 {}\n".format(*places[k])
    )
    assert "montages are not supported" in failure("info", source)


def test_a_montage_without_pieces_is_a_series(tmp_path) -> None:
    source = write_levels(tmp_path / "a.mrc", 5)
    write_mdoc(Path(f"{source}.mdoc"), (0, 3, -3, -6, 6), head="Montage = 1\n")
    run = etcli("info", "--json", source)
    assert json.loads(run.out)["tilt_deg"] == [0, 3, -3, -6, 6]
    assert "says Montage = 1 but lists no pieces" in run.err
    (tmp_path / "given").write_text("0\n1\n2\n3\n4\n")
    assert etcli("-q", "info", "--field", "tilts", "--tilts", tmp_path / "given", source).out == (
        "0.00\n1.00\n2.00\n3.00\n4.00\n"
    )
    etcli("stack", source, tmp_path / "b.mrc")
    assert etcli("info", tmp_path / "b.mrc").err == ""


def test_one_section_may_describe_all_frames_of_a_file(tmp_path) -> None:
    """SerialEM's [FrameSet = 0]: three files with four frames of 1.9 e/Å² each."""
    for k, tilt in enumerate((0, 3, -3)):
        write_stack(tmp_path / f"{k}.mrc", levels(4, "<f4") + 100 * k)
        (tmp_path / f"{k}.mrc.mdoc").write_text(
            f"Voltage = 300\n\n[FrameSet = 0]\nTiltAngle = {tilt}\nExposureDose = 7.6\nNumSubFrames = 4\n"
            f"DateTime = 08-Oct-21  07:{39 + k}:08\n"
        )
    files = [tmp_path / f"{k}.mrc" for k in range(3)]
    etcli("stack", "--sort", "tilt", *files, tmp_path / "all.mrc")
    facts = about(tmp_path / "all.mrc")
    assert (facts["tilt_deg"], facts["dose_e_A2"]) == ([-3, 0, 3], [7.6] * 3)
    assert mrcfile.read(tmp_path / "all.mrc")[:, 0, 0].tolist() == [201.5, 1.5, 101.5]
    assert prior_dose(tmp_path / "all.mrc") == [15.2, 0, 7.6]
    etcli("stack", "--frames", "keep", files[1], tmp_path / "one.mrc")
    assert about(tmp_path / "one.mrc")["dose_e_A2"] == [1.9] * 4
    files[0].unlink()
    write_stack(files[0], levels(3, "<f4"))
    line = failure("stack", *files, tmp_path / "all.mrc")
    assert "0.mrc.mdoc: 4 frames, but the file has 3; copy it again, or use --tilts" in line


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.rawtlt", b"-20 0\n0 0\n20 0\n", "a.rawtlt: line 1: expected tilt angle, not '-20 0'"),
        ("a.rawtlt", b"-20,5\n0,5\n20,5\n", "a.rawtlt: line 1: expected tilt angle, not '-20,5'"),
        (
            "a.mrc.mdoc",
            b"[ZValue = 0]\nTiltAngle = 1\n[ZValue = 1]\n[ZValue = 2]\n",
            "no TiltAngle in [ZValue = 1]",
        ),
    ],
)
def test_why_angles_cannot_be_used_is_said(tmp_path, name, content, reason) -> None:
    source = write_levels(tmp_path / "a.mrc", 3)
    (tmp_path / name).write_bytes(content)
    assert reason in etcli("info", source).err
    run = etcli("info", "--field", "tilts", source, status=1)
    assert reason in run.err.splitlines()[-1]
    assert "; use" in run.err or "; write one number per line" in run.err


def test_given_angles_need_no_mdoc_and_no_advice_to_give_them(tmp_path) -> None:
    source = write_levels(tmp_path / "a.mrc", 3)
    (tmp_path / "given").write_text("-20\n0\n20\n")
    for text in ("[ZValue = one]\nTiltAngle = 1\n", "[ZValue = 0]\nTiltAngle = 1\n"):
        Path(f"{source}.mdoc").write_text(text)
        assert "use --tilts" in failure("info", source)
        run = etcli("info", "--json", "--tilts", tmp_path / "given", source)
        assert json.loads(run.out)["tilt_deg"] == [-20, 0, 20]
        assert "; ignored" in run.err
        assert "--tilts" not in run.err


def test_powershell_writes_utf_16(tmp_path) -> None:
    source = write_levels(tmp_path / "a.mrc", 3)
    (tmp_path / "a.rawtlt").write_bytes("-20\r\n0\r\n20\r\n".encode("utf-16"))
    assert about(source)["tilt_deg"] == [-20, 0, 20]
    text = write_mdoc(tmp_path / "a.mrc.mdoc", (-21, 1, 21)).read_text()
    (tmp_path / "a.mrc.mdoc").write_bytes(text.encode("utf-16"))
    assert about(source)["tilt_deg"] == [-21, 1, 21]


def test_pixel_sizes_that_disagree_are_both_named(tmp_path) -> None:
    source = write_levels(tmp_path / "a.mrc", 3, pixel_A=0.2)
    write_mdoc(Path(f"{source}.mdoc"), (-10, 0, 10))
    err = etcli("stack", source, tmp_path / "b.mrc").err
    assert "0.2 Å per pixel in its header, which counts, but 2 Å in" in err
    assert etcli("info", tmp_path / "b.mrc").err == ""
    write_levels(source, 3, pixel_A=2.01)
    assert etcli("info", source).err == ""
    write_levels(source, 3, pixel_A=2e-10)
    assert "pixels of 2e-10 Å cannot be meant" in etcli("info", source).err


def test_tilt_axes_that_disagree_are_both_named(tmp_path) -> None:
    label = "    Tilt axis angle = 85.3, binning = 1  spot = 5  camera = 1"
    source = write_levels(tmp_path / "a.mrc", 3, labels=[label])
    for axis, told in ((-94.7, True), (85.31, False)):
        write_mdoc(
            Path(f"{source}.mdoc"), (-10, 0, 10), head=f"[T = Tilt axis angle = {axis}, binning = 1]\n"
        )
        run = etcli("info", "--json", source)
        assert json.loads(run.out)["axis_deg"] == axis
        assert ("tilt axis at 85.3° in its header, but -94.7° in" in run.err) == told


@pytest.mark.parametrize(
    ("title", "axis_deg"),
    [
        ("Tilt axis angle = -176,73, binning = 1  spot = 5", -176.73),
        ("Tilt axis angle = 85,binning = 1", 85),
        ("TiltAxisAngle = 1,5  Binning = 1", 1.5),
    ],
)
def test_a_tilt_axis_may_have_a_decimal_comma(tmp_path, title, axis_deg) -> None:
    source = write_levels(tmp_path / "a.mrc", 3)
    write_mdoc(Path(f"{source}.mdoc"), (-10, 0, 10), head=f"[T =     {title}]\n")
    assert about(source)["axis_deg"] == axis_deg


def test_what_the_order_tells_is_written_down_before_it_changes(tmp_path) -> None:
    """Dose-symmetric series of 3 e/Å² per view, without times: in one file, and in one file per view."""
    tilts = (0, 3, -3, -6, 6)
    source = write_levels(tmp_path / "a.mrc", 5)
    write_mdoc(Path(f"{source}.mdoc"), tilts, more=lambda k: "ExposureDose = 3\n")
    for k, tilt in enumerate(tilts):
        write_mdoc(
            Path(f"{write_levels(tmp_path / f'{k}.mrc', 1)}.mdoc"),
            [tilt],
            more=lambda k: "ExposureDose = 3\n",
        )
    for inputs in ([source], [tmp_path / f"{k}.mrc" for k in range(5)]):
        etcli("stack", "--sort", "tilt", *inputs, tmp_path / "b.mrc")
        assert prior_dose(tmp_path / "b.mrc") == [9, 6, 0, 3, 12]


def test_doses_that_the_microscope_counted_through_all_files_are_kept(tmp_path) -> None:
    for k, tilt in enumerate((-3, 0, 3)):
        prior = f"ExposureDose = 3\nPriorRecordDose = {(6, 0, 3)[k]}\n"
        write_mdoc(
            Path(f"{write_levels(tmp_path / f'{k}.mrc', 1)}.mdoc"), [tilt], more=lambda k, text=prior: text
        )
    etcli("stack", *(tmp_path / f"{k}.mrc" for k in range(3)), tmp_path / "b.mrc")
    assert prior_dose(tmp_path / "b.mrc") == [6, 0, 3]


def test_angles_that_look_like_radians_are_doubted(tmp_path) -> None:
    source = write_levels(tmp_path / "a.mrc", 13)
    for tilts, doubted in ((np.radians(np.arange(-60, 61, 10)), True), (np.arange(-60, 61, 10), False)):
        np.savetxt(tmp_path / "a.rawtlt", tilts, fmt="%.5f")
        assert (
            "13 angles from -1.047 to 1.047, taken for degrees; are they radians?"
            in etcli("info", source).err
        ) == (doubted)
    write_levels(source, 5)
    np.savetxt(tmp_path / "a.rawtlt", [-2, -1, 0, 1, 2])
    assert etcli("info", source).err == ""


@pytest.mark.parametrize(
    ("how", "pixel", "warning"),
    [
        *(
            ({"imagej": True, "resolution": (1 / size, 1 / size), "metadata": {"unit": unit}}, "5", "")
            for unit, size in {
                **{"microns": 5e-4, "cm": 5e-8, "mm": 5e-7, "Angstrom": 5.0, "nanometer": 0.5, "nm": 0.5},
                **{"\\u00C5": 5.0, "pm": 500.0, "\\u00B5m": 5e-4, "inch": 5 / 2.54e8},
            }.items()
        ),
        ({"resolution": (2.54e8 / 5,) * 2, "resolutionunit": "INCH"}, "5", ""),
        ({"imagej": True, "resolution": (2, 1), "metadata": {"unit": "nm"}}, "5", "5 x 10 Å are not square"),
        (
            {"imagej": True, "resolution": (2, 2), "metadata": {"unit": "furlong"}},
            None,
            "in 'furlong', an unknown unit",
        ),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "pixel"}}, None, ""),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None, ""),
        ({"resolution": (28.35, 28.35), "resolutionunit": "CENTIMETER"}, None, ""),
        (
            {
                "ome": True,
                "metadata": {
                    "PhysicalSizeX": 0.5,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeY": 10,
                    "PhysicalSizeYUnit": "Å",
                },
            },
            "5",
            "5 x 10 Å are not square",
        ),
    ],
)
def test_tiff_is_calibrated_in_many_units(tmp_path, how, pixel, warning) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 12, 16), np.uint16), photometric="minisblack", **how)
    run = etcli("info", "--json", tmp_path / "a.tif")
    assert json.loads(run.out)["pixel_A"] == (
        None if pixel is None else pytest.approx(float(pixel), rel=1e-5)
    )
    assert warning in run.err if warning else run.err == ""


def test_atoms_as_fortran_and_by_number(tmp_path) -> None:
    rows = "Si 0 0 0\nSi 2.35 0 0\nO 0 1.6 0\n"
    (tmp_path / "ref.xyz").write_text(f"3\nProperties=species:S:1:pos:R:3\n{rows}")
    (tmp_path / "d.xyz").write_text(
        '3\nLattice="0.5D+01 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3\nSi 0.0D+00 0.0D+00 0.0D+00\n'
        "Si 0.235D+01 0.0D+00 0.0D+00\nO 0.0d+00 1.6d+00 0.0d+00\n"
    )
    (tmp_path / "z.xyz").write_text("3\n\n14 0 0 0\n14 2.35 0 0\n8 0 1.6 0\n")
    for name in ("d.xyz", "z.xyz"):
        found = json.loads(etcli("compare", "--json", tmp_path / name, tmp_path / "ref.xyz").out)
        assert (found["found"], found["right_percent"], found["rmsd_pm"]) == (3, 100, 0)
