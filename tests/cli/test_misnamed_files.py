"""Files whose endings tell something else than their content, and endings of outputs that no format has."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.files import etcli, failure, images, write_series, write_stack


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_series(Path("s.mrc"))
    return tmp_path


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("s.mrc", b"x" * 2000)
    return packed.getvalue()


def saved() -> bytes:
    array = io.BytesIO()
    np.save(array, images())
    return array.getvalue()


@pytest.mark.parametrize("ending", [".dm3", ".dm4", ".hspy", ".emd", ".ser", ".tif", ".h5"])
def test_an_mrc_file_is_read_whatever_its_name(folder, ending) -> None:
    write_stack(Path(f"a{ending}"), images())
    run = etcli("info", "--field", "size", f"a{ending}")
    assert run.out == "10 12 4\n"
    assert f"WARNING: info - a{ending}: is an MRC file, whatever its ending says; read as one" in run.err


@pytest.mark.parametrize("ending", [".mrc", ".dm3", ".emd", ".rec"])
def test_a_tiff_is_read_whatever_its_name(folder, ending) -> None:
    tifffile.imwrite(f"a{ending}", images(), photometric="minisblack")
    run = etcli("info", "--field", "size", f"a{ending}")
    assert run.out == "10 12 4\n"
    assert f"a{ending}: is a TIFF, whatever its ending says" in run.err


def test_endings_that_fit_and_unknown_ones_are_no_doubt(folder) -> None:
    for name in ("a.mrc", "a.st", "a.rec", "a", "a.1", "a.preali"):
        write_stack(Path(name), images())
        assert etcli("info", name).err == ""


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"x" * 2000, "is a PNG picture; give the images themselves, as MRC or TIFF"),
        (b"\xff\xd8\xff\xe0" + b"x" * 100, "is a JPEG picture"),
        (b"\x89HDF\r\n\x1a\n" + b"x" * 2000, "is an HDF5 file; end its name in .emd, .hspy or .h5"),
        (
            b"\0\0\0\3" + b"\0\0\x10\0" + b"\0\0\0\1" + b"\1" * 2000,
            "is a DigitalMicrograph file; end",
        ),
        (zipped(), "is a ZIP archive; unpack it first"),
        (saved(), "is a NumPy array; write it with etcli.write in Python"),
        (b"<!DOCTYPE html>\n<html>" + b"Sign in " * 300, "is a web page; download"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a placeholder of Git LFS; fetch the file"),
        (b"3\nplain\nSi 0 0 0\n" * 99, "is a text file; name the file of the images"),
    ],
)
@pytest.mark.parametrize("ending", [".mrc", ".tif", ".ser", ""])
def test_what_cannot_be_read_is_told(folder, content, what, ending) -> None:
    Path(f"a{ending}").write_bytes(content)
    assert f"a{ending}: {what}" in failure("bin", f"a{ending}", "o.mrc")


def test_a_damaged_file_is_not_told_by_its_kind(folder) -> None:
    """The reader knows better what is wrong."""
    Path("a.mrc").write_bytes(Path("s.mrc").read_bytes()[:-7])
    assert "truncated" in failure("info", "a.mrc")
    Path("b.mrc.gz").write_bytes(gzip.compress(Path("s.mrc").read_bytes())[:-200])
    assert "compressed data is damaged" in failure("info", "b.mrc.gz")
    tifffile.imwrite("c.mrc", images(), photometric="minisblack")
    Path("c.mrc").write_bytes(Path("c.mrc").read_bytes()[:300])
    assert "not a TIFF that can be read" in failure("info", "c.mrc")


@pytest.mark.parametrize(
    "words",
    [
        ("xform", "--xf", "bad", "s.mrc", "o.mrc"),
        ("info", "--tilts", "bad", "s.mrc"),
        ("stack", "--defocus", "bad", "s.mrc", "o.mrc"),
        ("recon", "--euler", "bad", "s.mrc", "o.mrc"),
        ("stack", "bad.mdoc", "o.mrc"),
        ("compare", "bad.xyz", "bad.xyz"),
        ("compare", "bad.cif", "bad.cif"),
        ("view", "bad.pdb", "o.png"),
    ],
)
def test_images_in_place_of_text_are_told(folder, words) -> None:
    (bad,) = {word for word in words if word.startswith("bad")}
    write_stack(Path(bad), images())
    assert f"{bad}: is an MRC file, not text; give the right file" in failure(*words)


def test_a_text_with_the_word_of_an_mrc_file_in_its_place_is_text(folder) -> None:
    comment = "x" * 206 + "MAP of the atoms"
    Path("a.xyz").write_text(f"1\n{comment}\nAu 0 0 0\n")
    assert Path("a.xyz").read_bytes()[208:212] == b"MAP "
    assert "Au 1" in etcli("info", "a.xyz").out


def test_electron_events_are_no_images(folder) -> None:
    """A TIFF with a compression of its own; averages beside it are found first."""
    tifffile.imwrite("p.eer", images(2), photometric="minisblack")
    content = bytearray(Path("p.eer").read_bytes())
    entry = bytes([3, 1, 3, 0, 1, 0, 0, 0, 1, 0])  # compression, one short, none
    assert content.count(entry) == 2
    Path("p.eer").write_bytes(content.replace(entry, entry[:8] + (65001).to_bytes(2, "little")))
    line = failure("info", "p.eer")
    assert "p.eer: EER, single electrons in the order of their arrival, which are no images yet" in line
    assert "MotionCor3, RELION or IMOD's alignframes" in line
    Path("e.mdoc").write_text("[ZValue = 0]\nTiltAngle = 0\nSubFramePath = D:\\p.eer\n")
    assert "p.eer: EER" in failure("stack", "e.mdoc", "o.mrc")
    write_stack(Path("p.mrc"), images(1))
    etcli("stack", "e.mdoc", "o.mrc")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("register", "--write-xf", "a.mrc"),
            "a.mrc: transforms cannot be written as .mrc; end the name in .xf",
        ),
        (("tiltalign", "--write-xf", "a.csv"), "a.csv: transforms cannot be written as .csv"),
        (
            ("tiltalign", "--write-tlt", "a.mdoc"),
            "a.mdoc: tilt angles cannot be written as .mdoc; end the name",
        ),
        (
            ("recon", "--error-curve", "a.png"),
            "a.png: a table cannot be written as .png; end the name in .csv",
        ),
        (("depthsect", "--lattice", "fcc:Au:4", "--kv", 300, "--csv", "a.ods"), "a.ods: a table cannot be"),
        (
            ("depthsect", "--lattice", "fcc:Au:4", "--kv", 300, "--write-xf", "a.txt.gz"),
            "transforms cannot be",
        ),
    ],
)
def test_texts_are_not_written_under_other_endings(folder, words, message) -> None:
    output = "o.xyz" if words[0] == "depthsect" else "o.mrc"
    assert message in failure(*words, "s.mrc", output, status=2)


def test_tables_of_entropy_have_the_ending_of_a_table(folder) -> None:
    assert "a.xlsx: a table cannot be" in failure("entropy", "--csv", "a.xlsx", "s.mrc", status=2)
    plan = ("entropy", "--plan", "diamond:Si:5.431", "--diameter", "2nm", "--csv", "a.xlsx")
    assert "a.xlsx: a table cannot be" in failure(*plan, status=2)


def test_names_without_an_ending_are_taken(folder) -> None:
    words = ("--angle", 0, "--write-xf", "x", "--write-tlt", "TILTS.TXT")
    etcli("-q", "tiltalign", *words, "s.mrc", "o.mrc")
    assert Path("x").exists()
    assert Path("TILTS.TXT").exists()
