"""Matching and files of atoms under changes that must not matter."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.agreement import measure_agreement
from etcli.core.atoms.match import RULES, match_atoms
from etcli.core.elements import SYMBOLS
from etcli.io.atoms import Box, read_atoms_file, write_atoms

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(0, 60)
cutoffs = st.sampled_from([0.3, 0.75, 1.5, 3.0])


def two(seed: int, n: int, m: int) -> tuple[np.random.Generator, Atoms, Atoms]:
    """Return two models, dense enough for atoms to compete."""
    rng = np.random.default_rng(seed)
    return rng, *(
        Atoms(rng.uniform(-3, 3, (count, 3)), rng.choice(["Si", "O", "X"], count)) for count in (n, m)
    )


@given(seeds, sizes, sizes, cutoffs, st.sampled_from(RULES))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_atoms_does_not_matter(seed: int, n: int, m: int, cutoff: float, rule: str) -> None:
    rng, model, reference = two(seed, n, m)
    orders = rng.permutation(n), rng.permutation(m)
    one = measure_agreement(model, reference, cutoff_A=cutoff, rule=rule)
    other = measure_agreement(
        model.select(orders[0]), reference.select(orders[1]), cutoff_A=cutoff, rule=rule
    )
    np.testing.assert_array_equal(one.difference_A, other.difference_A)
    np.testing.assert_array_equal(one.confusion, other.confusion)
    np.testing.assert_array_equal(one.pairs.found, orders[0][other.pairs.found])
    np.testing.assert_array_equal(one.pairs.missing[orders[1]], other.pairs.missing)
    np.testing.assert_equal(one.total.errors.rmsd_A, other.total.errors.rmsd_A)


@given(seeds, sizes, sizes, cutoffs)
@settings(max_examples=60, deadline=None)
def test_a_motion_of_both_does_not_matter(seed: int, n: int, m: int, cutoff: float) -> None:
    rng, model, reference = two(seed, n, m)
    turn, shift = Rotation.random(rng=rng), rng.uniform(-50, 50, 3)
    one = match_atoms(model.position_A, reference.position_A, cutoff_A=cutoff)
    moved = [turn.apply(atoms.position_A.reshape(-1, 3)) + shift if len(atoms) else atoms.position_A
             for atoms in (model, reference)]  # fmt: skip
    other = match_atoms(*moved, cutoff_A=cutoff)
    assert set(zip(one.found, one.reference, strict=True)) == set(
        zip(other.found, other.reference, strict=True)
    )


@given(seeds, sizes, sizes, cutoffs)
@settings(max_examples=60, deadline=None)
def test_an_exchange_turns_false_into_missing(seed: int, n: int, m: int, cutoff: float) -> None:
    _, model, reference = two(seed, n, m)
    one, other = (
        match_atoms(a.position_A, b.position_A, cutoff_A=cutoff)
        for a, b in ((model, reference), (reference, model))
    )
    assert set(zip(one.found, one.reference, strict=True)) == set(
        zip(other.reference, other.found, strict=True)
    )
    np.testing.assert_array_equal(one.extra, other.missing)
    np.testing.assert_array_equal(one.missing, other.extra)


@given(seeds, st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_a_larger_cutoff_never_finds_less(seed: int, n: int, m: int) -> None:
    _, model, reference = two(seed, n, m)
    counts = [
        len(match_atoms(model.position_A, reference.position_A, cutoff_A=cutoff))
        for cutoff in (0.2, 0.5, 1.0, 2.0, 20.0)
    ]
    assert counts == sorted(counts) and counts[-1] == min(n, m)


@given(
    seeds,
    st.integers(1, 30),
    st.sampled_from([".xyz", ".extxyz", ".plain.xyz", ".pdb", ".cif"]),
    st.sampled_from([1.0, 30.0, 400.0]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_files_give_back_what_was_written(seed: int, n: int, ending: str, size: float, boxed: bool) -> None:
    rng = np.random.default_rng(seed)
    atoms = Atoms(rng.uniform(-size, size, (n, 3)), rng.choice(SYMBOLS, n), {"score": rng.normal(size=n)})
    box = Box.of_volume((80, 60, 70), size / 30, centre_A=rng.uniform(-size, size, 3)) if boxed else None
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        write_atoms(path, atoms, box=box)
        found = read_atoms_file(path).atoms
    assert found.species.tolist() == atoms.species.tolist()
    digits = 5.01e-4 if ending == ".pdb" else 5.01e-6
    np.testing.assert_allclose(found.position_A, atoms.position_A, rtol=0, atol=digits)
    if ending in (".xyz", ".extxyz"):
        assert found.columns["score"] == pytest.approx(atoms.columns["score"], rel=1e-6)
