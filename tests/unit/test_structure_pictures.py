"""Pictures of atoms say what the numbers do, and files beside them hold the numbers."""

from pathlib import Path

import numpy as np
import pytest

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.agreement import measure_agreement
from etcli.core.atoms.structure import measure_structure
from etcli.core.errors import UsageError
from etcli.io.outputs import Outputs
from etcli.io.tables import write_table
from etcli.plotting.atom_errors import position_errors
from etcli.plotting.structure import bonds, pair_distributions
from tests.solids import lattice


def alloy() -> Atoms:
    atoms = lattice("fcc", size_A=10, jitter_A=0.05)
    return Atoms(atoms.position_A, np.random.default_rng(1).choice(["Pt", "Co"], len(atoms)))


def test_errors_are_counted_in_the_picture() -> None:
    reference = alloy()
    error = np.random.default_rng(2).normal(size=reference.position_A.shape) * 0.1
    result = measure_agreement(Atoms(reference.position_A + error, reference.species), reference)
    figure = position_errors(result, reference, cutoff_A=0.75, title="a against b")
    lengths, axes = figure.axes
    heights = sum(patch.get_height() for patch in lengths.patches)
    assert heights == len(reference)
    labels = [text.get_text() for text in lengths.get_legend().get_texts()]
    assert labels[-2:] == [f"RMSD {100 * result.total.errors.rmsd_A:.1f} pm",
                           f"mean {100 * result.total.errors.mean_A:.1f} pm"]  # fmt: skip
    assert set(labels[:-2]) == {"Co", "Pt"}
    assert len(axes.get_legend().get_texts()) == 3
    assert f"{len(reference)} of {len(reference)} found" in figure.get_suptitle()


def test_nothing_found_can_be_drawn() -> None:
    reference = alloy()
    result = measure_agreement(Atoms(reference.position_A + 50, reference.species), reference)
    assert position_errors(result, reference, cutoff_A=0.75, title="a").axes


def test_a_panel_for_all_and_one_for_each_pair() -> None:
    found = measure_structure(alloy())
    figure = pair_distributions({"a": found})
    assert [axes.get_title(loc="right") for axes in figure.axes] == ["", "Co–Co", "Co–Pt", "Pt–Pt"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), found.distribution.g)
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_ydata(), found.distribution.partial["Co", "Pt"])
    both = pair_distributions({"a": found, "b": measure_structure(lattice("fcc"))})
    assert len(both.axes) == 4 and len(both.axes[0].get_legend().get_texts()) == 2
    assert len(pair_distributions({"b": measure_structure(lattice("fcc"))}).axes) == 1


def test_bonds_of_one_model_are_told_apart_by_element() -> None:
    found = measure_structure(alloy())
    lengths, angles, numbers, _ = bonds({"a": found}).axes
    assert [text.get_text() for text in lengths.get_legend().get_texts()] == [
        "all",
        "Co–Co",
        "Co–Pt",
        "Pt–Pt",
    ]
    assert [text.get_text() for text in angles.get_legend().get_texts()] == ["all", "Co", "Pt"]
    shares = [patch.get_height() for patch in numbers.patches]
    assert sum(shares) == pytest.approx(200)
    two = bonds({"a": found, "b": measure_structure(lattice("fcc"))}).axes
    assert [text.get_text() for text in two[0].get_legend().get_texts()] == ["a", "b"]


def test_atoms_without_angles_can_be_drawn() -> None:
    pair = measure_structure(Atoms(np.array([[0.0, 0, 0], [2.4, 0, 0]]), np.array(["Si", "Si"])))
    assert bonds({"a": pair}).axes and pair_distributions({"a": pair}).axes


def test_tables_have_nine_digits_and_gaps(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", {"a_A": np.array([1 / 3, -0.0]), "b": [1, np.nan], "c": ["x", 'y,"z"']})
    assert (tmp_path / "t.csv").read_text() == 'a_A,b,c\n0.333333333,1,x\n0,,"y,""z"""\n'


def test_a_folder_that_was_made_goes_with_its_files(tmp_path: Path) -> None:
    new = tmp_path / "new"
    with pytest.raises(RuntimeError), Outputs() as outputs:
        outputs.path(outputs.folder(new) / "a.csv").write_text("x")
        raise RuntimeError
    assert not new.exists()
    with Outputs() as outputs:
        outputs.path(outputs.folder(new) / "a.csv").write_text("x")
    assert [path.name for path in new.iterdir()] == ["a.csv"]
    with pytest.raises(RuntimeError), Outputs() as outputs:
        outputs.path(outputs.folder(new) / "b.csv").write_text("x")
        raise RuntimeError
    assert [path.name for path in new.iterdir()] == ["a.csv"]
    with pytest.raises(UsageError, match="not a folder"), Outputs() as outputs:
        outputs.folder(new / "a.csv")
