"""What ``etcli depthsect`` does where a result is doubtful, or part of it is known already."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tests.depthsect_runs import read, refused, section, warned
from tests.files import etcli, mdoc_text
from tests.focal_particle import PIXEL_A, Particle, counted, particle, write_focal

LATTICE = ("--lattice", "fcc:Au:4.08")


@pytest.fixture(scope="module")
def gold() -> Particle:
    return particle(3)


@pytest.fixture
def quiet(tmp_path: Path, gold: Particle) -> Path:
    """A series without drift."""
    return write_focal(tmp_path / "s.mrc", counted(gold.sections()))


def right(table: dict[str, np.ndarray], truth: Particle) -> np.ndarray:
    """Which columns of the table have the true count; places are known but for a common shift."""
    place = np.column_stack([table["x_A"], table["y_A"]])
    nearest = cKDTree(truth.place_A).query(place)[1]
    return table["count"] == truth.count[nearest]


def test_a_crystal_that_fills_the_image(tmp_path: Path) -> None:
    """A fitted background would take the tails of the columns outside, and every count would be wrong."""
    crystal = particle(14, least=5, most=9, seed=4)
    source, table = write_focal(tmp_path / "s.mrc", counted(crystal.sections())), tmp_path / "c.csv"
    run = etcli(
        "depthsect", "--defocus", source.with_suffix(".defocus"), "--dose", 40_000, "--no-align", *LATTICE,
        "--csv", table, source, tmp_path / "o.xyz",
    )  # fmt: skip
    assert "the crystal fills the image: its background is taken as 0" in run.err
    found = read(table)
    inside = np.array(["edge" not in flag for flag in found["flag"]])
    assert inside.sum() > 40 and right(found, crystal)[inside].mean() > 0.95


def test_heights_a_spacing_off_are_expected(tmp_path: Path, gold: Particle) -> None:
    """With few electrons the probability tells how many heights are wrong."""
    wrong, expected = 0, 0.0
    for seed in range(4):
        sections = counted(gold.sections(), 4000, seed)
        source, table = write_focal(tmp_path / f"{seed}.mrc", sections), tmp_path / "c.csv"
        numbers = section(source, *LATTICE, "--no-align", "--csv", table, dose=4000)
        found = read(table)
        nearest = cKDTree(gold.place_A).query(np.column_stack([found["x_A"], found["y_A"]]))[1]
        off = found["z_snapped_A"] - gold.depth_A[nearest]
        wrong += int((np.abs(off - np.median(off)) > 2.1).sum())
        expected += numbers["lattice"]["expected_wrong_heights"]
        doubtful = np.array(["ambiguous_height" in flag for flag in found["flag"]])
        np.testing.assert_array_equal(doubtful, found["snap_prob"] < 0.9)
    assert 0.5 < expected < 15 and abs(wrong - expected) < 3 * np.sqrt(expected) + 1


def test_given_counts_are_kept_without_depths(quiet: Path, gold: Particle) -> None:
    table = quiet.parent / "given.csv"
    rows = [f"{x:.4f},{y:.4f},7" for x, y in gold.place_A]
    table.write_text("\n".join(["x_A,y_A,count", *rows, ""]))
    section(quiet, "--no-align", "--counts", table, "--stop-after", "count", to="c.csv")
    assert (read(quiet.parent / "c.csv")["count"] == 7).all()


def test_a_column_of_nothing_builds_no_atom(quiet: Path, gold: Particle) -> None:
    table = quiet.parent / "given.csv"
    places = np.vstack([gold.place_A, [-8.0, 7.5]])
    table.write_text("\n".join(["x_A,y_A", *(f"{x:.4f},{y:.4f}" for x, y in places), ""]))
    section(quiet, *LATTICE, "--no-align", "--columns", table, "--csv", quiet.parent / "c.csv")
    found = read(quiet.parent / "c.csv")
    assert found["flag"][-1]
    lines = (quiet.parent / "o.xyz").read_text().splitlines()[2:]
    z = np.array([float(line.split()[3]) for line in lines])
    assert np.abs(z).max() < 40 and len(lines) == gold.count.sum()


def test_a_tilt_series_is_refused(quiet: Path) -> None:
    quiet.with_name("s.mrc.mdoc").write_text(mdoc_text(np.linspace(-50, 50, 11)))
    run = etcli(
        "depthsect", "--defocus", quiet.with_suffix(".defocus"), "--dose", 40_000, *LATTICE, quiet,
        quiet.parent / "o.xyz", status=1,
    )  # fmt: skip
    assert "is a tilt series; depth sectioning takes images at one tilt" in run.err.splitlines()[-1]
    assert not (quiet.parent / "o.xyz").exists()


def test_another_voltage_is_told(quiet: Path) -> None:
    text = mdoc_text(np.zeros(11)).replace("\n\n[ZValue", "\nVoltage = 200\n\n[ZValue", 1)
    quiet.with_name("s.mrc.mdoc").write_text(text)
    lines = warned(quiet, "--no-align", "--element", "Au", "--spacing", "4.08A")
    assert any("was taken at 200 kV, the library is for 300 kV" in line for line in lines)


def test_cells_count_as_well(quiet: Path, gold: Particle) -> None:
    section(quiet, *LATTICE, "--no-align", "--cross-sections", "voronoi", "--csv", quiet.parent / "c.csv")
    found = read(quiet.parent / "c.csv")
    assert right(found, gold).all()
    section(quiet, *LATTICE, "--no-align", "--csv", quiet.parent / "g.csv")
    assert not np.allclose(found["scs"], read(quiet.parent / "g.csv")["scs"], rtol=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--alpha", 0.021), "give them in mrad"),
        (("--kv", 300_000), "give it in kV, not in V"),
        (("--lattice", "fcc:Au:0.408"), "lengths are in Å"),
        (("--no-correction", "--depth-method", "gaussian"), "add --relax none"),
        (("--scs-scale", 1.1, "--count-method", "hybrid"), "the others fit their own scale"),
        (("--views", "1-60"), "section 12 asked for, but there are 11"),
    ],
)
def test_wrong_units_and_options(quiet: Path, options: tuple, words: str) -> None:
    given = () if "--lattice" in options else LATTICE
    assert words in refused(quiet, *given, *options, status=2)


def test_a_dose_per_pixel_is_noticed(quiet: Path) -> None:
    line = refused(quiet, *LATTICE, dose=40_000 * PIXEL_A**2 / 20)
    assert "check --dose (electrons per Å², not per pixel)" in line
