"""``etcli depthsect`` on a particle of gold whose columns, counts and depths are known."""

import json
from functools import cache
from pathlib import Path
from shutil import copy

import ase.io
import mrcfile
import numpy as np
import pytest
from scipy.spatial import cKDTree

from etcli.core.depth.focal_library import focal_library
from etcli.core.depth.focal_optics import FocalOptics
from tests.depthsect_runs import read, refused, section, warned
from tests.files import mdoc_text, write_stack
from tests.focal_particle import (
    DOSE,
    FOCUS_A,
    GOLD_A,
    KIND,
    PIXEL_A,
    Particle,
    counted,
    particle,
    write_focal,
)

pytestmark = pytest.mark.usefixtures("coarse_pictures", "remembered_libraries")

LIBRARY = cache(focal_library)
DRIFT_PX = np.random.default_rng(3).normal(0, 0.4, (len(FOCUS_A), 2)).cumsum(axis=0)
DRIFT_PX -= np.median(DRIFT_PX, axis=0)
TABLE = [
    *("x_A", "y_A", "rho_A", "scs", "scs_err", "count", "count_prob", "z_peak_A", "z_A", "sigma_z_A"),
    *("crlb_A", "chi2", "z_snapped_A", "snap_prob", "flag"),
]
LATTICE = ("--lattice", "fcc:Au:4.08")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCLI_THREADS", "1")


@pytest.fixture
def remembered_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate each library once for all tests."""
    monkeypatch.setattr("etcli.pipeline.depth_libraries.focal_library", LIBRARY)


@pytest.fixture(scope="module")
def gold() -> Particle:
    """Nine columns, for what needs no more."""
    return particle(3)


@pytest.fixture(scope="module")
def sections(gold: Particle) -> np.ndarray:
    """Electrons in the sections, which have drifted."""
    return counted(gold.sections(drift_px=DRIFT_PX))


@pytest.fixture(scope="module")
def still(gold: Particle) -> np.ndarray:
    """Electrons in sections without drift."""
    return counted(gold.sections())


@pytest.fixture
def series(tmp_path: Path, sections: np.ndarray) -> Path:
    return write_focal(tmp_path / "s.mrc", sections)


@pytest.fixture
def quiet(tmp_path: Path, still: np.ndarray) -> Path:
    """A series without drift."""
    return write_focal(tmp_path / "s.mrc", still)


def partner(table: dict[str, np.ndarray], gold: Particle) -> np.ndarray:
    """The column of the particle that each row is, where the image may be shifted as a whole."""
    place = np.column_stack([table["x_A"], table["y_A"]])
    place = place - place.mean(axis=0) + gold.place_A.mean(axis=0)
    away, index = cKDTree(gold.place_A).query(place)
    assert away.max() < 0.3 and len(set(index)) == len(index)
    return index


def check(table: dict[str, np.ndarray], gold: Particle, *, sigma_A: float = 1.0) -> None:
    """Counts must be right, and depths within their errors."""
    true = partner(table, gold)
    assert len(true) == len(gold.count)
    np.testing.assert_array_equal(table["count"], gold.count[true])
    error = table["z_A"] - gold.depth_A[true]
    assert np.sqrt(np.mean(error**2)) < sigma_A and np.abs(error).max() < 3.5 * sigma_A


def write_csv(path: Path, **columns: np.ndarray) -> Path:
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(repr, map(float, row))) for row in rows)]))
    return path


@pytest.fixture(scope="module")
def large() -> Particle:
    """25 columns."""
    return particle(5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, large: Particle) -> Path:
    """A folder with all that one run can write."""
    folder = tmp_path_factory.mktemp("all")
    source = write_focal(folder / "s.mrc", counted(large.sections(drift_px=DRIFT_PX)))
    outputs = {"csv": "c.csv", "write-xf": "s.xf", "write-aligned": "a.mrc", "plot": "p.png"}
    outputs |= {"write-mean": "mean.mrc", "write-model": "model.mrc"}
    options = [word for name, file in outputs.items() for word in (f"--{name}", folder / file)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etcli.pipeline.depth_libraries.focal_library", LIBRARY)
        patch.setenv("ETCLI_THREADS", "1")
        numbers = section(source, *LATTICE, *options, "--crlb")
    (folder / "numbers.json").write_text(json.dumps(numbers))
    return folder


class TestResult:
    """Outputs of one run."""

    def test_the_table(self, run: Path, large: Particle) -> None:
        assert (run / "c.csv").read_text().splitlines()[0].split(",") == TABLE
        table = read(run / "c.csv")
        check(table, large)
        true = partner(table, large)
        snapped = table["z_snapped_A"] - large.depth_A[true]
        assert np.ptp(snapped) < 1e-6 and abs(snapped.mean()) < 0.5
        assert set(table["flag"]) <= {"", "ambiguous_height"} and (table["count_prob"] > 0.9).all()
        assert (table["crlb_A"] < table["sigma_z_A"]).all() and (table["crlb_A"] > 0.1).all()
        assert 0.5 < np.median(table["chi2"]) < 2

    def test_the_model(self, run: Path, large: Particle) -> None:
        atoms, table = ase.io.read(run / "o.xyz"), read(run / "c.csv")
        assert set(atoms.symbols) == {"Au"} and len(atoms) == large.count.sum()
        column = atoms.arrays["column"].astype(int)
        np.testing.assert_array_equal(np.bincount(column), table["count"])
        for name in ("x_A", "y_A"):
            np.testing.assert_allclose(
                atoms.positions[:, "xy".index(name[0])], table[name][column], atol=1e-4
            )
        depth = np.bincount(column, atoms.positions[:, 2]) / table["count"]
        np.testing.assert_allclose(depth, table["z_snapped_A"], atol=1e-4)
        np.testing.assert_allclose(atoms.arrays["sigma_z_A"], table["sigma_z_A"][column], rtol=1e-4)
        first = np.sort(atoms.positions[column == 0, 2])
        np.testing.assert_allclose(np.diff(first), GOLD_A, atol=1e-4)

    def test_the_surface(self, run: Path) -> None:
        atoms = ase.io.read(run / "o.xyz")
        away = np.linalg.norm(atoms.positions[:, np.newaxis] - atoms.positions, axis=-1)
        neighbours = ((away > 0) & (away < 1.2 * GOLD_A / np.sqrt(2))).sum(axis=1)
        assert 0 < (neighbours == 12).sum() < len(atoms)
        np.testing.assert_array_equal(atoms.arrays["surface"] == 1, neighbours < 12)

    def test_the_numbers(self, run: Path, large: Particle) -> None:
        numbers = json.loads((run / "numbers.json").read_text())
        assert numbers["sections"] == 11 and numbers["pixel_A"] == pytest.approx(PIXEL_A)
        assert numbers["dose_e_A2"] == DOSE and numbers["columns"] == 25 and numbers["flagged"] <= 2
        assert numbers["atoms"] == large.count.sum()
        assert numbers["scs_scale"] == pytest.approx(1, abs=0.01)
        assert len(numbers["averaged_sections"]) == 8 and numbers["lattice"]["matched"] == 25
        bound = numbers["crlb"]
        assert bound["n_atoms"] == 7 and len(bound["single_atoms_A"]) == 7
        assert min(bound["single_atoms_A"]) > 10 and bound["column_A"][0] > bound["column_A"][6]
        assert bound["single_atoms_trusted"] == (bound["condition"] < 1e6)
        assert not numbers["defocus_sign"]["testable"]

    def test_the_drift(self, run: Path) -> None:
        transforms = np.loadtxt(run / "s.xf")
        np.testing.assert_allclose(transforms[:, :4], np.tile([1, 0, 0, 1], (11, 1)))
        error = transforms[:, 4:] + DRIFT_PX
        assert np.sqrt(((error - error.mean(axis=0)) ** 2).sum(axis=1).mean()) < 0.1

    def test_the_images(self, run: Path, large: Particle) -> None:
        with mrcfile.open(run / "a.mrc") as file:
            assert file.voxel_size.x == pytest.approx(PIXEL_A)
            aligned = file.data / (DOSE * PIXEL_A**2)
        numbers = json.loads((run / "numbers.json").read_text())
        mean, model = mrcfile.read(run / "mean.mrc"), mrcfile.read(run / "model.mrc")
        chosen = np.array(numbers["averaged_sections"]) - 1
        np.testing.assert_allclose(aligned[chosen].mean(axis=0), np.squeeze(mean), atol=1e-5)
        inside = np.corrcoef(np.squeeze(mean).ravel(), np.squeeze(model).ravel())[0, 1]
        assert inside > 0.98 and np.squeeze(model).shape == (48, 48)
        assert run.joinpath("p.png").read_bytes().startswith(b"\x89PNG")


def test_a_focal_series_needs_nothing_but_its_mdoc(
    tmp_path: Path, sections: np.ndarray, gold: Particle
) -> None:
    source = write_stack(tmp_path / "s.mrc", sections, PIXEL_A)
    text = mdoc_text([0.0] * 11, pixel_A=PIXEL_A, defocus_um=(-FOCUS_A / 1e4).tolist())
    dose = "\n".join(
        f"ExposureDose = {DOSE:g}" if line.startswith("ExposureDose") else line for line in text.split("\n")
    )
    Path(f"{source}.mdoc").write_text(dose)
    numbers = section(source, *LATTICE, "--csv", tmp_path / "c.csv", defocus=False, dose=None)
    assert numbers["dose_e_A2"] == DOSE
    check(read(tmp_path / "c.csv"), gold)


def test_the_other_sign_of_the_defocus_turns_the_particle_over(quiet: Path, gold: Particle) -> None:
    quiet.with_suffix(".defocus").write_text("".join(f"{focus / 1e4}\n" for focus in FOCUS_A))
    table = quiet.parent / "c.csv"
    section(quiet, *LATTICE, "--no-align", "--csv", table, "--defocus-sign", "positive-under")
    check(read(table), gold)
    section(quiet, *LATTICE, "--no-align", "--csv", table, to="p.xyz")
    found = read(table)
    assert np.corrcoef(found["z_A"], gold.depth_A[partner(found, gold)])[0, 1] < -0.9


def test_views_of_uneven_focus(tmp_path: Path, gold: Particle) -> None:
    focus = np.array([-100.0, -85, -60, -40, -25, -10, 0, 15, 35, 60, 100, 140])
    source = write_focal(tmp_path / "s.mrc", counted(gold.sections(focus)), focus)
    table = tmp_path / "c.csv"
    numbers = section(source, *LATTICE, "--no-align", "--views", "11-1", "--csv", table)
    assert numbers["sections"] == 11 and numbers["drift_rms_A"] == 0
    check(read(table), gold)


def test_numbers_that_are_fractions_of_the_beam(tmp_path: Path, gold: Particle, still: np.ndarray) -> None:
    table = tmp_path / "c.csv"
    clean = write_focal(tmp_path / "f.mrc", gold.sections())
    numbers = section(clean, *LATTICE, "--no-align", "--csv", table, dose=None)
    assert numbers["dose_e_A2"] is None and "median_chi2" not in numbers
    check(read(table), gold, sigma_A=0.2)
    floats = write_focal(tmp_path / "g.mrc", still.astype(np.float32))
    assert "are no fractions of the beam" in refused(floats, *LATTICE, "--values", "fractions")
    numbers = section(floats, *LATTICE, "--no-align", "--values", "counts", "--csv", table)
    check(read(table), gold)
    assert "give the --dose of an image" in refused(
        write_focal(tmp_path / "h.mrc", still), *LATTICE, "--values", "fractions"
    )


def test_without_a_pixel_size(tmp_path: Path, still: np.ndarray) -> None:
    source = write_stack(tmp_path / "s.mrc", still, 0)
    stop = ("--no-align", "--stop-after", "columns")
    assert "the pixel size is not known; give --pixel" in refused(source, *stop, to="c.csv", defocus=False)
    numbers = section(source, *stop, "--pixel", "0.04nm", to="c.csv", defocus=False)
    assert numbers["pixel_A"] == pytest.approx(PIXEL_A) and numbers["columns"] == 9


@pytest.mark.parametrize(
    ("stage", "to", "wrong"),
    [
        ("align", "o.mrc", "o.csv"),
        ("columns", "o.csv", "o.xyz"),
        ("count", "o.csv", "o.mrc"),
        ("depth", "o.csv", "o.xyz"),
        ("build", "o.cif", "o.csv"),
    ],
)
def test_the_last_stage_decides_the_output(
    quiet: Path, gold: Particle, stage: str, to: str, wrong: str
) -> None:
    options = (*LATTICE, "--stop-after", stage)
    line = refused(quiet, *options, to=wrong, status=2)
    assert wrong in line and ("the output is" in line or "the model is written" in line)
    section(quiet, *options, to=to)
    target = quiet.parent / to
    if to == "o.csv":
        table = read(target)
        known = {name for name in TABLE if name != "flag" and np.isfinite(table[name]).all()}
        assert known >= {"x_A", "y_A", "rho_A", "scs", "scs_err"}
        assert ("count" in known) == (stage != "columns") and ("z_A" in known) == (stage == "depth")
    elif stage == "align":
        assert mrcfile.read(target).shape == (11, 48, 48)
    else:
        assert len(ase.io.read(target)) == gold.count.sum()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--stop-after", "align", "--write-mean", "m.mrc"), "--stop-after align finds no columns"),
        (("--stop-after", "align", "--columns", "c.csv"), "--stop-after align finds no columns"),
        (("--stop-after", "align", "--crlb"), "--crlb is about depths"),
    ],
)
def test_what_the_last_stage_cannot_give(quiet: Path, options: tuple[str, ...], line: str) -> None:
    assert line in refused(quiet, *options, to="o.mrc", status=2)


class TestTables:
    """Known columns, counts and libraries."""

    @pytest.fixture
    def known(self, tmp_path: Path, gold: Particle) -> Path:
        places = {"x_A": gold.place_A[:, 0], "y_A": gold.place_A[:, 1]}
        return write_csv(tmp_path / "known.csv", **places, count=gold.count)

    def test_the_own_table_is_taken_again(self, quiet: Path, gold: Particle) -> None:
        first, second = quiet.parent / "c.csv", quiet.parent / "d.csv"
        section(quiet, *LATTICE, "--no-align", "--csv", first)
        given = ("--columns", first, "--counts", first)
        section(quiet, *LATTICE, "--no-align", *given, "--csv", second, to="p.xyz")
        a, b = read(first), read(second)
        for name, tolerance in (("x_A", 0.01), ("count", 0), ("z_A", 0.1), ("z_snapped_A", 0.1)):
            np.testing.assert_allclose(a[name], b[name], atol=tolerance)
        assert np.isnan(b["count_prob"]).all()  # nothing was counted

    @pytest.mark.parametrize("by", ["place", "order", "place alone"])
    def test_counts_by(self, quiet: Path, known: Path, gold: Particle, by: str) -> None:
        table = quiet.parent / "c.csv"
        counts = write_csv(quiet.parent / "counts.csv", count=gold.count) if by == "order" else known
        if by == "place":  # in another order than the columns
            rows = known.read_text().splitlines()
            counts = quiet.parent / "counts.csv"
            counts.write_text("\n".join([rows[0], *rows[:0:-1]]))
        columns = () if by == "place alone" else ("--columns", known)
        numbers = section(quiet, *LATTICE, "--no-align", *columns, "--counts", counts, "--csv", table)
        assert numbers["atoms"] == gold.count.sum() and "scs_scale" not in numbers
        check(read(table), gold)

    @pytest.mark.parametrize("kind", ["cross-sections", "profiles", "both"])
    def test_a_library_of_another_program(self, quiet: Path, gold: Particle, kind: str) -> None:
        library = LIBRARY(KIND, FocalOptics(), most_atoms=9, focus_range_A=140.0, radius_A=5.0)
        n, table = quiet.parent / "library.csv", quiet.parent / "c.csv"
        core, focus = library.core_profiles(0.5), np.arange(-120.0, 121, 8)
        section(quiet, *LATTICE, "--no-align", "--stop-after", "count", to="c.csv")
        found = read(table)
        slope, offset = np.polyfit(found["count"], found["scs"], 1)  # close enough to the true ones
        scs = slope * np.arange(1, 10) + offset
        if kind == "cross-sections":
            write_csv(n, n_atoms=np.arange(1, 10), scs_A2=scs)
        else:
            parts = {
                "n_atoms": np.repeat(np.arange(1, 10), len(focus)),
                "defocus_minus_zcom_A": np.tile(focus, 9),
                "core_intensity_r0.5A": np.concatenate([core.at(k, focus) for k in range(1, 10)]),
            }
            write_csv(n, **parts, **({"scs_A2": np.repeat(scs, len(focus))} if kind == "both" else {}))
        numbers = section(quiet, *LATTICE, "--no-align", "--library", n, "--csv", table)
        assert numbers["scs_scale"] == pytest.approx(1, abs=0.02)
        check(read(table), gold)

    def test_a_library_that_is_too_short(self, quiet: Path) -> None:
        library = LIBRARY(KIND, FocalOptics(), most_atoms=9, focus_range_A=140.0, radius_A=5.0)
        core, path = library.core_profiles(0.5), quiet.parent / "library.csv"

        def profiles(first: float, last: float, most: int = 9) -> Path:
            focus = np.arange(first, last + 1, 10)
            return write_csv(
                path,
                n_atoms=np.repeat(np.arange(1, most + 1), len(focus)),
                **{"defocus_minus_zcom_A": np.tile(focus, most)},
                **{"core_intensity_r0.5A": np.concatenate([core.at(k + 1, focus) for k in range(most)])},
            )

        options = (*LATTICE, "--no-align", "--library", path)
        for first, last in ((-60, 120), (-120, 60)):
            profiles(first, last)
            line = refused(quiet, *options)
            assert "too short in focus" in line and f"from {first} to {last} Å" in line
        section(quiet, *options, "--focus-window", 50)
        profiles(-120, 120, most=4)
        (quiet.parent / "o.xyz").unlink()
        assert "atoms is not in the library, which holds 1 to 4" in refused(quiet, *options)
        write_csv(path, n_atoms=np.arange(1, 4), scs_A2=np.array([0.014, 0.029, 0.044]))
        assert "the library is too short: " in refused(quiet, *options)

    @pytest.mark.parametrize(
        ("option", "text", "line"),
        [
            ("columns", "", "no column 'x_A' in the header row; it has none"),
            ("columns", "x_A,y_A\n", "no rows below the header"),
            ("columns", "x_A,y\n1,2\n", "no column 'y_A' in the header row; it has x_A, y"),
            ("columns", "x_A,y_A\n0,0\n1,a\n", "line 3: y_A 'a' is not a number"),
            ("columns", "x_A,y_A\n0,0\n1\n", "line 3: y_A '' is not a number"),
            ("columns", "x_A,y_A\n0,0\n100,3\n", "1 of 2 columns are outside of the image"),
            ("columns", "x_A,y_A\n0,0\n0,0\n", "closer than 1 px"),
            ("counts", "count\n1\n", "without x_A and y_A, counts need the --columns"),
            ("counts", "count,x_A,y_A\n1.5,0,0\n", "a count is a whole number of atoms"),
            ("counts", "count,x_A,y_A\n-1,0,0\n", "a count is a whole number of atoms"),
            ("library", "n_atoms\n1\n", "a library has a column scs_A2, or"),
            ("library", "n_atoms,scs_A2\n1,0.01\n3,0.02\n", "n_atoms must be 1, 2, 3, ... without gaps"),
            ("library", "n_atoms,scs_A2\n1,0.01\n1,0.02\n", "2 different cross-sections for 1 atoms"),
            ("library", "n_atoms,scs_A2\n1,0.02\n2,0.02\n", "the library does not increase at 2 atoms"),
        ],
    )
    def test_damaged(self, quiet: Path, option: str, text: str, line: str) -> None:
        bad = quiet.parent / "bad.csv"
        bad.write_text(text)
        assert line in refused(quiet, *LATTICE, "--no-align", f"--{option}", bad)

    def test_counts_of_other_columns(self, quiet: Path, known: Path) -> None:
        counts = write_csv(quiet.parent / "n.csv", count=np.ones(3))
        given = ("--columns", known, "--counts", counts)
        assert "3 counts for the 9 columns" in refused(quiet, *LATTICE, *given)
        write_csv(counts, count=np.ones(1), x_A=np.zeros(1), y_A=np.zeros(1))
        assert "columns have none" in refused(quiet, *LATTICE, *given)

    def test_inputs_are_never_replaced(self, quiet: Path, known: Path) -> None:
        for option in ("columns", "counts", "library"):
            copy(known, quiet.parent / "k.csv")
            if option == "library":
                (quiet.parent / "k.csv").write_text("n_atoms,scs_A2\n1,0.01\n")
            same = (*LATTICE, f"--{option}", quiet.parent / "k.csv")
            assert "k.csv: is an input" in refused(
                quiet, *same, "--stop-after", "count", to="k.csv", status=2
            )
            assert "k.csv: is an input" in refused(quiet, *same, "--csv", quiet.parent / "k.csv", status=2)
        assert "named as output twice" in refused(
            quiet, *LATTICE, "--stop-after", "count", "--csv", quiet.parent / "o.csv", to="o.csv", status=2
        )


def test_a_hybrid_mixture(quiet: Path, gold: Particle) -> None:
    numbers = section(
        quiet, *LATTICE, "--no-align", "--count-method", "hybrid", "--stop-after", "count", to="c.csv"
    )
    assert numbers["atoms"] == gold.count.sum()


def test_a_free_mixture(tmp_path: Path) -> None:
    gold = particle(5, most=5, seed=2)
    source = write_focal(tmp_path / "s.mrc", counted(gold.sections()))
    icl = ("--no-align", "--count-method", "icl", "--stop-after", "count")
    n = len(np.unique(gold.count))
    numbers = section(source, *icl, "--components", n, "--first-count", gold.count.min(), to="c.csv")
    assert numbers["components"] == n and len(numbers["icl"]) >= n
    table = read(tmp_path / "c.csv")
    assert (table["count"] == gold.count[partner(table, gold)]).all()
    unclear = particle(4)
    source = write_focal(tmp_path / "u.mrc", counted(unclear.sections()))
    line = refused(source, *icl, to="d.csv")
    assert "local minima of ICL are" in line and "(--components)" in line


def test_without_a_lattice(quiet: Path, gold: Particle) -> None:
    table = quiet.parent / "c.csv"
    kind = ("--element", "Au", "--spacing", "4.08A")
    numbers = section(quiet, "--no-align", *kind, "--csv", table)
    assert "lattice" not in numbers and np.isnan(read(table)["z_snapped_A"]).all()
    check(read(table), gold)
    atoms = ase.io.read(quiet.parent / "o.xyz")
    assert "surface" not in atoms.arrays
    line = refused(quiet, "--no-align", to="p.xyz", status=2)
    assert "a model needs a --lattice with its --zone, or --element and --spacing" in line
    line = refused(quiet, "--no-align", *LATTICE, "--element", "Pt", to="p.xyz", status=2)
    assert "--element Pt, but the lattice is of Au" in line


def test_depths_as_measured(quiet: Path) -> None:
    table = quiet.parent / "c.csv"
    section(quiet, *LATTICE, "--no-align", "--relax", "none", "--csv", table)
    atoms, rows = ase.io.read(quiet.parent / "o.xyz"), read(table)
    column = atoms.arrays["column"].astype(int)
    depth = np.bincount(column, atoms.positions[:, 2]) / rows["count"]
    np.testing.assert_allclose(depth, rows["z_A"], atol=1e-4)
    assert np.abs(rows["z_A"] - rows["z_snapped_A"]).max() > 0.1


def test_depths_without_a_library(quiet: Path, gold: Particle) -> None:
    known = write_csv(
        quiet.parent / "k.csv", x_A=gold.place_A[:, 0], y_A=gold.place_A[:, 1], count=gold.count
    )
    options = ("--no-align", "--counts", known, "--library", "none", "--no-correction")
    assert "give --depth-method gaussian with --no-correction" in refused(
        quiet, *options, "--stop-after", "depth", to="d.csv", status=2
    )
    (line,) = warned(quiet, *options, "--depth-method", "gaussian", "--stop-after", "depth", to="d.csv")
    assert "depths are peaks without correction" in line
    check(read(quiet.parent / "d.csv"), gold, sigma_A=2.0)


def test_saturated_pixels(tmp_path: Path, still: np.ndarray, gold: Particle) -> None:
    limit = int(0.6 * still.max())
    source, table = write_focal(tmp_path / "s.mrc", np.minimum(still, limit)), tmp_path / "c.csv"
    lines = warned(source, *LATTICE, "--no-align", "--csv", table)
    assert any("columns have saturated pixels" in line for line in lines)
    found = read(table)
    clipped = np.array(["saturated" in flag for flag in found["flag"]])
    thick = gold.count[partner(found, gold)]
    assert clipped[thick == 7].all() and not clipped[thick <= 3].any()


def test_columns_at_the_edge(tmp_path: Path, gold: Particle) -> None:
    moved = Particle(gold.place_A + np.array([6.2, 0]), gold.count, gold.depth_A)
    source, table = write_focal(tmp_path / "s.mrc", counted(moved.sections())), tmp_path / "c.csv"
    section(source, *LATTICE, "--no-align", "--csv", table)
    found = read(table)
    edge = np.array(["edge" in flag.split() for flag in found["flag"]])
    np.testing.assert_array_equal(edge, found["x_A"] > 8)
    assert edge.sum() == 3


def test_noise_is_doubtful(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).poisson(50, (11, 48, 48)).astype(np.int16)
    source = write_focal(tmp_path / "s.mrc", noise)
    assert "no two neighbouring sections have anything in common" in refused(source, *LATTICE)
    line = refused(source, "--no-align", "--background", 0, "--element", "Au", "--spacing", "4.08A")
    assert "could be fitted as a column; is it a crystal in zone axis?" in line


def test_columns_outside_the_range_of_focus(tmp_path: Path, gold: Particle) -> None:
    focus = np.arange(30.0, 131, 10)
    source = write_focal(tmp_path / "s.mrc", counted(gold.sections(focus)), focus)
    line = refused(source, *LATTICE, "--no-align")
    assert "brightest outside the range of focus (30 to 130 Å)" in line and "--defocus-sign" in line


def test_another_zone_axis(quiet: Path) -> None:
    line = refused(quiet, *LATTICE, "--no-align", "--zone", "110")
    assert "check the structure, the zone axis and the pixel size" in line


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--lattice", "rocksalt:NaCl:5.64"), "several elements, Cl, Na"),
        (("--lattice", "fcc:4.08"), "names no element; give --element"),
        (("--zone", "000"), "is not a zone axis"),
        (("--widths", "wide"), "--widths"),
        (("--components", "3"), "--components is of a mixture with free means"),
        (("--library", "none"), "counting needs a library"),
        (("--average-sections", "0"), "--average-sections"),
        (("--threshold", "2"), "--threshold"),
    ],
)
def test_wrong_usage(quiet: Path, options: tuple[str, ...], line: str) -> None:
    assert line in refused(quiet, *LATTICE, "--no-align", *options, status=2)


def test_an_image_out_of_zone_axis(tmp_path: Path) -> None:
    gold = particle(4)
    places = np.random.default_rng(5).uniform(-6, 6, (12, 2))
    random = Particle(places, gold.count[:12], gold.depth_A[:12])
    source = write_focal(tmp_path / "s.mrc", counted(random.sections()))
    assert "whether the image is in zone axis" in refused(source, *LATTICE, "--no-align")


@pytest.mark.parametrize(
    ("defoci_um", "line"),
    [
        ([0, 0.1], "2 defoci for the 11 views"),
        ([0.01] * 11, "all sections have the same defocus, 0.01 µm"),
        ([*(-FOCUS_A[:10] / 1e4), 0], "have the same defocus, 0 µm"),
    ],
)
def test_wrong_defoci(quiet: Path, defoci_um: list[float], line: str) -> None:
    quiet.with_suffix(".defocus").write_text("\n".join(map(str, defoci_um)))
    assert line in refused(quiet, *LATTICE)


def test_defoci_in_nanometres_are_refused_at_once(quiet: Path) -> None:
    quiet.with_suffix(".defocus").write_text("\n".join(map(str, FOCUS_A / 10)))
    assert "check the defoci, which are in µm" in refused(quiet, *LATTICE, "--no-align", status=2)


def test_series_that_give_no_depths(tmp_path: Path, still: np.ndarray) -> None:
    source = write_focal(tmp_path / "s.mrc", still)
    assert "4 sections are too few for depths" in refused(source, *LATTICE, "--views", "3-6")
    line = refused(source, *LATTICE, defocus=False)
    assert "no defocus is known; give --defocus FILE" in line
    line = refused(source, *LATTICE, dose=None)
    assert "with the --dose of an image; or count with --count-method icl" in line
    one = ("--views", "6", "--stop-after", "count")
    assert "give --library FILE" in refused(source, *LATTICE, *one, to="o.csv", status=2)


@pytest.mark.filterwarnings("ignore:Data array contains NaN values")
def test_sections_without_an_image(tmp_path: Path, gold: Particle) -> None:
    clean = gold.sections()
    clean[3] = 0.25
    constant = write_focal(tmp_path / "constant.mrc", clean)
    assert "all pixels of section 4 have the same value; leave it out" in refused(constant, *LATTICE)
    clean[3, 5, 5] = np.nan
    damaged = write_focal(tmp_path / "damaged.mrc", clean)
    assert "NaN or infinite values in section 4" in refused(damaged, *LATTICE)
    empty = np.zeros((11, 48, 48), np.int16)
    empty[:, 0, 0] = 1
    source = write_focal(tmp_path / "empty.mrc", empty)
    assert "empty.mrc: no" in refused(source, *LATTICE, "--no-align")


def test_single_atoms_are_not_bounded_in_thick_columns(tmp_path: Path) -> None:
    gold = particle(3, least=8, most=9, seed=4)
    source = write_focal(tmp_path / "s.mrc", counted(gold.sections()))
    lines = warned(source, *LATTICE, "--no-align", "--crlb")
    assert any("the bounds of single atoms are not determined" in line for line in lines)
    assert "--crlb needs the --dose" in refused(
        write_focal(tmp_path / "f.mrc", gold.sections()), *LATTICE, "--crlb", dose=None, to="p.xyz", status=2
    )


def test_a_volume_is_read_as_sections(tmp_path: Path, still: np.ndarray) -> None:
    source = write_focal(tmp_path / "s.mrc", still)
    with mrcfile.open(source, "r+") as file:
        file.set_volume()
    numbers = section(source, "--no-align", "--stop-after", "columns", to="c.csv")
    assert numbers["columns"] == 9 and numbers["sections"] == 11
