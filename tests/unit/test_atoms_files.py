"""Files of atoms: their formats, what ASE makes of them, and what is wrong with bad ones."""

import time
import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from etcli.core.atomic_model import Atoms
from etcli.core.elements import NUMBERS, SYMBOLS
from etcli.core.errors import DataError, UsageError
from etcli.io.atoms import Box, atoms_format, is_atoms_file, read_atoms, read_atoms_file, write_atoms

DIGITS_A = {".xyz": 5e-6, ".extxyz": 5e-6, ".plain.xyz": 5e-6, ".cif": 5e-6, ".pdb": 5e-4}
ENDINGS = tuple(DIGITS_A)
BOX = Box.of_volume((60, 70, 80), 0.35)


def some_atoms(n: int = 40) -> Atoms:
    rng = np.random.default_rng(4)
    columns = {
        "intensity": rng.uniform(1e3, 1e5, n),
        "sigma_A": rng.uniform(0.3, 0.6, n),
        "error_x_A": np.where(rng.uniform(size=n) < 0.2, np.nan, 0.1),
    }
    return Atoms(rng.uniform(-10, 10, (n, 3)), rng.choice(["Si", "O", "Ta", "X"], n), columns)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("box", [None, BOX])
def test_positions_are_from_the_centre_in_every_format(tmp_path: Path, ending: str, box: Box | None) -> None:
    atoms = some_atoms()
    path = tmp_path / f"a{ending}"
    write_atoms(path, atoms, box=box, history=["etcli trace-atoms 1.0: a test"])
    found = read_atoms_file(path)
    np.testing.assert_allclose(
        found.atoms.position_A, atoms.position_A, rtol=0, atol=DIGITS_A[ending] * 1.001
    )
    assert found.atoms.species.tolist() == atoms.species.tolist()
    if box is not None and ending != ".plain.xyz":
        np.testing.assert_allclose(found.box.lattice_A, box.lattice_A, atol=1e-3)
        np.testing.assert_allclose(found.box.origin_A, box.origin_A, atol=1e-3)


@pytest.mark.parametrize("ending", ENDINGS)
def test_bytes_repeat(tmp_path: Path, ending: str) -> None:
    written = []
    for name in ("a", "b"):
        write_atoms(tmp_path / f"{name}{ending}", some_atoms(), box=BOX, history=["one", "two"])
        written.append((tmp_path / f"{name}{ending}").read_bytes())
        time.sleep(0.01)
    assert written[0] == written[1] and written[0].endswith(b"\n")


def test_extended_xyz_holds_all_and_is_read_by_ase(tmp_path: Path) -> None:
    atoms, history = some_atoms(), ('etcli recon 1.0: "SIRT" 30 \\ x=1', "etcli trace-atoms 1.0: Si")
    path = tmp_path / "a.xyz"
    write_atoms(path, atoms, box=BOX, history=history, notes={"dose": "8e3 e/A2"})
    found = read_atoms_file(path)
    assert found.history == history and dict(found.notes) == {"dose": "8e3 e/A2"}
    assert list(found.atoms.columns) == list(atoms.columns)
    theirs = ase.io.read(path)
    np.testing.assert_allclose(theirs.positions, atoms.position_A, rtol=0, atol=5.001e-6)
    assert theirs.get_chemical_symbols() == atoms.species.tolist()
    assert not theirs.pbc.any()
    np.testing.assert_allclose(theirs.cell, BOX.lattice_A)
    np.testing.assert_allclose(theirs.info["Origin"], BOX.origin_A)
    assert theirs.info["history_1"] == history[0]
    for name, values in atoms.columns.items():
        np.testing.assert_allclose(found.atoms.columns[name], values, rtol=1e-6)
        np.testing.assert_allclose(theirs.arrays[name], values, rtol=1e-6)


def test_ase_writes_what_is_read(tmp_path: Path) -> None:
    theirs = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    theirs.set_array("force", np.arange(24.0).reshape(8, 3))
    theirs.set_array("name", np.array(["n"] * 8))
    theirs.set_array("fixed", np.array([True, False] * 4))
    ase.io.write(tmp_path / "a.xyz", theirs, columns=["symbols", "positions", "force", "name", "fixed"])
    found = read_atoms_file(tmp_path / "a.xyz")
    np.testing.assert_allclose(found.atoms.position_A, theirs.positions, atol=1e-6)
    assert list(found.atoms.columns) == ["force_1", "force_2", "force_3", "fixed"]
    np.testing.assert_array_equal(found.atoms.columns["force_2"], theirs.arrays["force"][:, 1])
    assert found.atoms.columns["fixed"].tolist() == [1, 0] * 4
    np.testing.assert_array_equal(found.box.origin_A, 0)


@pytest.mark.parametrize("ending", [".plain.xyz", ".pdb"])
def test_ase_reads_plain_xyz_and_pdb(tmp_path: Path, ending: str) -> None:
    atoms = some_atoms()
    write_atoms(tmp_path / f"a{ending}", atoms, box=BOX)
    theirs = ase.io.read(tmp_path / f"a{ending}")
    np.testing.assert_allclose(theirs.positions, atoms.position_A, atol=DIGITS_A[ending] * 1.001)
    assert theirs.get_chemical_symbols() == atoms.species.tolist()


def test_cif_is_one_cell_that_holds_all_atoms(tmp_path: Path) -> None:
    atoms = some_atoms()
    for box in (None, BOX, Box.of_volume((8, 70, 80), 0.35, centre_A=(1, 2, 3))):
        write_atoms(tmp_path / "a.cif", atoms, box=box)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = ase.io.read(tmp_path / "a.cif")
        assert len(theirs) == len(atoms)
        fractions = theirs.get_scaled_positions(wrap=False)
        assert fractions.min() >= 0 and fractions.max() < 1
        np.testing.assert_allclose(
            theirs.positions - theirs.positions[0], atoms.position_A - atoms.position_A[0], atol=1e-5
        )


def test_a_crystal_is_the_cell_that_its_symmetry_makes(tmp_path: Path) -> None:
    (tmp_path / "au.cif").write_text(
        "data_au\n_cell_length_a 4.078\n_cell_length_b 4.078\n_cell_length_c 4.078\n_cell_angle_alpha 90\n"
        "_cell_angle_beta 90\n_cell_angle_gamma 90\n_space_group_name_H-M_alt 'F m -3 m'\n"
        "_space_group_IT_number 225\nloop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n"
        "_atom_site_fract_y\n_atom_site_fract_z\nAu1 Au 0 0 0\n"
    )
    found = read_atoms(tmp_path / "au.cif")
    expected = bulk("Au", cubic=True, a=4.078).positions
    np.testing.assert_allclose(sorted(found.position_A.tolist()), sorted(expected.tolist()), atol=1e-6)


def test_the_ending_tells_the_format() -> None:
    named = {"a.xyz": "extxyz", "A.EXTXYZ": "extxyz", "b/a.plain.xyz": "xyz", "a.cif": "cif", "a.PDB": "pdb"}
    assert {name: atoms_format(name) for name in named} == named
    assert is_atoms_file("a.XYZ") and not is_atoms_file("a.mrc") and not is_atoms_file("xyz")
    with pytest.raises(UsageError, match=r"a\.txt: .* end its name in \.xyz"):
        atoms_format("a.txt")


def test_a_hidden_name_takes_the_format_given(tmp_path: Path) -> None:
    path = tmp_path / ".a.xyz.abc.part"
    write_atoms(path, some_atoms(), form="xyz")
    assert path.read_text().splitlines()[1] == ""
    assert len(path.read_text().splitlines()) == 42


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the number of atoms, but it is empty"),
        ("Si 0 0 0\n", "line 1: expected the number of atoms, not 'Si 0 0 0'"),
        ("0\n\n", "no atoms"),
        ("2\n\nSi 0 0 0\n", "line 1 promises 2 atoms but 1 follow"),
        ("1\n\nSi 0 0 0\nSi 1 1 1\n", "line 4: more than the 1 atoms"),
        ("2\n\nSi 0 0 0\nSi 1 1\n", "line 4: 3 words where 4 are expected"),
        ("2\n\nSi 0 0 0\nSi 1 nan 1\n", "line 4: the position 1 nan 1 is not finite"),
        ("2\n\nSi 0 0 0\nSi 1 inf 1\n", "line 4: the position 1 inf 1 is not finite"),
        ("2\n\nSi 0 0 0\nSi 1 x 1\n", "line 4: expected a number for pos, not 'x'"),
        ("3\n\nSi 0 0 0\nQq 1 1 1\nQq 2 2 2\n", "line 4: 'Qq' is no element"),
        ("1\n\n140 0 0 0\n", "line 3: '140' is no element"),
        ("1\nProperties=pos:R:3\n0 0 0\n", "line 2: cannot use Properties=pos:R:3"),
        ("1\nProperties=species:S:1:pos:R:2\nSi 0 0\n", "line 2: cannot use Properties"),
        ("1\nProperties=species:S:1:pos:R:3:a:R\nSi 0 0 0 1\n", "line 2: cannot use Properties"),
        ("1\nProperties=Z:I:1:pos:R:3\n200 0 0 0\n", "line 3: 200 is the number of no element"),
        ('1\nLattice="1 2 3"\nSi 0 0 0\n', "line 2: Lattice needs 9 numbers"),
        ('1\nLattice="1 0 0 0 1 0 0 0 0"\nSi 0 0 0\n', "line 2: the Lattice has no volume"),
    ],
)
def test_what_is_wrong_with_an_xyz_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_atoms(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and message in line and "\n" not in line
    assert ";" in line  # what to do


@pytest.mark.parametrize(
    ("ending", "text", "message"),
    [
        (".pdb", "", "no atoms"),
        (".pdb", "REMARK\nATOM      1  CA\n", "line 2: expected a finite number"),
        (
            ".pdb",
            f"{'ATOM      1 SI   MOL A   1':30}   0.000     nan   0.000{'':22}SI\n",
            "line 1: expected a fin",
        ),
        (
            ".pdb",
            f"{'ATOM      1 SI   MOL A   1':30}   0.000   1.000   0.000{'':22}QQ\n",
            "'QQ' is no element",
        ),
        (".cif", "", "the file is empty"),
        (".cif", "data_a\n_cell_length_a 3\n", "no atom sites"),
        (".cif", "rubbish", "is it"),
    ],
)
def test_what_is_wrong_with_others(tmp_path: Path, ending: str, text: str, message: str) -> None:
    path = tmp_path / f"bad{ending}"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_atoms(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".xyz", ".cif", ".pdb"])
def test_a_file_cut_off_is_no_shorter_model(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_atoms(path, some_atoms(), box=BOX)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=str(path)):
        read_atoms(path)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    none = Atoms(np.empty((0, 3)), np.empty(0, np.str_))
    with pytest.raises(DataError, match="no atoms to write"):
        write_atoms(tmp_path / "a.xyz", none)
    with pytest.raises(DataError, match="cannot name a column"):
        write_atoms(tmp_path / "a.xyz", some_atoms().with_columns(**{"a b": np.zeros(40)}))
    far = Atoms(np.array([[0, 0, -2000.0]]), np.array(["Si"]))
    with pytest.raises(DataError, match="write extended XYZ"):
        write_atoms(tmp_path / "a.pdb", far)


def test_old_files_without_an_element_column_tell_it_by_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    rows = [
        f"ATOM  {k:5d} {name:4} MOL A   1       0.000   0.000{k:8.3f}"
        for k, name in enumerate((" CA ", "SI1 "))
    ]
    path.write_text("\n".join([*rows, "END"]))
    assert read_atoms(path).species.tolist() == ["C", "Si"]


def test_symbols_are_numbered() -> None:
    assert (NUMBERS["X"], NUMBERS["H"], NUMBERS["Ta"], NUMBERS["Og"]) == (0, 1, 73, 118)
    assert len(set(SYMBOLS)) == 119
    from ase.data import chemical_symbols

    assert list(SYMBOLS) == chemical_symbols


def test_the_box_of_a_volume_is_about_its_centre() -> None:
    box = Box.of_volume((10, 20, 30), 0.5)
    np.testing.assert_array_equal(box.origin_A, [-7.5, -5, -2.5])
    np.testing.assert_array_equal(np.diag(box.lattice_A), [15, 10, 5])
    moved = Box.of_volume((10, 20, 30), 0.5, centre_A=(1, 0, -1))
    np.testing.assert_array_equal(moved.origin_A, [-6.5, -5, -3.5])


def test_many_atoms_are_written_and_read_in_little_time(tmp_path: Path) -> None:
    atoms = some_atoms(100_000)
    start = time.process_time()
    write_atoms(tmp_path / "a.xyz", atoms, box=BOX)
    written = time.process_time()
    assert written - start < 2
    assert len(read_atoms(tmp_path / "a.xyz")) == 100_000
    assert time.process_time() - written < 6
