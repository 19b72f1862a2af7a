"""What is written is what is read, by us and by mrcfile."""

import tempfile
from pathlib import Path

import mrcfile
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from etcli.io.mrc import LABEL_LENGTH, add_label, open_mrc
from etcli.io.mrc_writer import MODES, MrcLayout, MrcWriter

SHAPES = array_shapes(min_dims=3, max_dims=3, max_side=6)


@st.composite
def data_of_a_mode(draw) -> tuple[int, np.ndarray]:
    mode = draw(st.sampled_from([0, 1, 2, 6, 12]))
    finite = {"allow_nan": False, "allow_infinity": False} if mode in (2, 12) else {}
    kind = np.dtype(MODES[mode])
    elements = None if not finite else st.floats(**finite, width=8 * kind.itemsize)
    return mode, draw(arrays(kind, SHAPES, elements=elements))


@settings(max_examples=60, deadline=None)
@given(
    case=data_of_a_mode(),
    volume=st.booleans(),
    pixel_A=st.floats(0.01, 1e4).map(lambda size: float(f"{size:.6g}")),
    extended=st.binary(max_size=40),
    labels=st.lists(
        st.text(st.characters(codec="latin-1", categories=("L", "N", "P")), max_size=20), max_size=10
    ),
    seed=st.integers(0, 999),
)
def test_round_trip(case, volume, pixel_A, extended, labels, seed) -> None:
    """Sections and blocks of rows in any order."""
    mode, data = case
    rng = np.random.default_rng(seed)
    layout = MrcLayout(
        data.shape,
        mode,
        (pixel_A,) * 3,
        (1.5, -2, 0),
        labels,
        volume,
        extended=extended,
        extended_counts=(3, 7),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mrc"
        writer = MrcWriter(path, layout)
        for z in rng.permutation(len(data)):
            cut = rng.integers(0, data.shape[1])
            for rows in rng.permutation([[0, cut], [cut, data.shape[1]]]):
                if rows[0] < rows[1]:
                    writer.write_rows(rows[0], data[z : z + 1, slice(*rows)], z0=z)
        writer.close()
        header, found = open_mrc(path)
        np.testing.assert_array_equal(found, data)
        assert found.dtype == np.dtype(MODES[mode])
        assert (header.size, header.mode) == (data.shape[::-1], mode)
        assert (header.pixel_A, header.origin_A) == ((pixel_A,) * 3, (1.5, -2, 0))
        assert header.labels == tuple(labels)
        assert (header.extended, header.extended_counts) == (extended, (3, 7))
        assert header.warnings == ()
        with mrcfile.open(path) as mrc:
            np.testing.assert_array_equal(mrc.data.reshape(data.shape), data)
            wide = data.astype(np.float64)
            stated = [mrc.header[name] for name in ("dmin", "dmax", "dmean", "rms")]
        spread = max(np.ptp(wide), abs(wide).max() * 1e-7, 1e-30)
        truth = [wide.min(), wide.max(), wide.mean(), wide.std()]
        np.testing.assert_allclose(np.array(stated, np.float64) / spread, np.array(truth) / spread, atol=1e-6)


@given(st.lists(st.text(max_size=100), max_size=30))
def test_labels_keep_the_first_and_the_newest(steps) -> None:
    labels: tuple[str, ...] = ()
    for step in steps:
        labels = add_label(labels, step)
    cut = [step[:LABEL_LENGTH] for step in steps]
    assert list(labels) == (cut if len(cut) <= 10 else [cut[0], *cut[-9:]])
