from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.depth.atom_columns import AtomColumns, atoms_of_columns, columns_of_atoms
from etcli.core.depth.focal_library import FocalLibrary, focal_library
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.simulate.focal import defocus_range, focal_series

few = settings(max_examples=25, deadline=None)


@cache
def library() -> FocalLibrary:
    return focal_library(
        ColumnKind("Au", 4.08, 0.63), FocalOptics(), most_atoms=2, focus_range_A=60.0, radius_A=4.0
    )


@st.composite
def columns(draw: st.DrawFn, most_atoms: int = 12) -> AtomColumns:
    n = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    position = 2.5 * rng.permutation(np.argwhere(np.ones((5, 5))))[:n] + rng.uniform(-0.5, 0.5, (n, 2))
    count = rng.integers(1, most_atoms + 1, n)
    spacing = np.where(count > 1, rng.uniform(1.5, 5, n), np.nan)
    return AtomColumns(position - 5, count, rng.uniform(-20, 20, n), spacing, rng.choice(["Au", "Pt"], n))


@few
@given(columns=columns(), seed=st.integers(0, 99))
def test_atoms_go_back_to_their_columns_in_any_order(columns: AtomColumns, seed: int) -> None:
    atoms = atoms_of_columns(
        columns.position_A, columns.count, columns.depth_A, columns.spacing_A, columns.element
    )
    shuffled = atoms.select(np.random.default_rng(seed).permutation(len(atoms)))
    found = columns_of_atoms(shuffled)
    _, first = np.unique(shuffled.columns["column"], return_index=True)
    order = np.argsort(np.argsort(first))
    for name in ("position_A", "count", "depth_A", "spacing_A"):
        np.testing.assert_allclose(getattr(found, name)[order], getattr(columns, name), atol=1e-9)
    assert found.element[order].tolist() == columns.element.tolist()


@few
@given(columns=columns(2), z_A=st.floats(-20, 20), seed=st.integers(0, 99), drift_px=st.floats(0, 2))
def test_moving_the_atoms_is_moving_the_focus(
    columns: AtomColumns, z_A: float, seed: int, drift_px: float
) -> None:
    moved = AtomColumns(
        columns.position_A, columns.count, columns.depth_A + z_A, columns.spacing_A, columns.element
    )
    series = [
        focal_series(
            given,
            [library()] * len(given),
            focus_A=focus,
            shape=(24, 26),
            pixel_A=0.5,
            drift_px=drift_px,
            dose_e_A2=None,
            rng=np.random.default_rng(seed),
        )[0]
        for given, focus in ((columns, np.array([-15.0, 0, 15])), (moved, np.array([-15.0, 0, 15]) + z_A))
    ]
    assert series[0].max() > 1e-3
    np.testing.assert_allclose(series[0], series[1], atol=1e-6)


@few
@given(
    first=st.integers(-50, 50), n=st.integers(1, 60), step=st.integers(1, 30), sign=st.sampled_from([-1, 1])
)
def test_a_defocus_range_holds_both_ends(first: int, n: int, step: int, sign: int) -> None:
    wanted = [(first + sign * step * k) / 1000 for k in range(n + 1)]
    found = defocus_range(wanted[0], wanted[-1], step / 1000)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
