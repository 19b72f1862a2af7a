"""Surfaces of any volume are closed after they have been written and read."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import etcli
from tests.surfaces import faces_at_edges, read_stl, size

KINDS = st.sampled_from(["smooth", "noise", "mask", "levels"])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=KINDS,
    smooth=st.integers(0, 12),
    reduce=st.one_of(st.none(), st.floats(0.01, 1)),
    quantile=st.floats(0.05, 0.95),
    pixel_A=st.floats(0.1, 1e4),
)
def test_every_edge_has_two_faces(
    seed: int, kind: str, smooth: int, reduce: float | None, quantile: float, pixel_A: float
) -> None:
    """Blobs, noise, masks and volumes with few levels, cut by the border, at any of their values."""
    generator = np.random.default_rng(seed)
    volume = generator.normal(size=generator.integers(3, 11, 3))
    if kind != "noise":
        volume = ndimage.gaussian_filter(volume, 1.0)
    if kind == "mask":
        volume = (volume > np.quantile(volume, 1 - quantile)).astype(np.float32)
    if kind == "levels":
        volume = np.round(4 * volume / volume.std())
    level = float(np.quantile(volume, quantile))
    if level >= volume.max() or kind == "mask":
        level = float(volume.min())
    mesh = etcli.mesh(
        etcli.Volume(volume.astype(np.float32), pixel_A=pixel_A), level=level, smooth=smooth, reduce=reduce
    )
    with tempfile.TemporaryDirectory() as folder:
        etcli.write(mesh, f"{folder}/surface.stl")
        _, corners, _ = read_stl(Path(folder, "surface.stl"))
    assert set(faces_at_edges(corners)) == {2}
    area, inside = size(corners)
    assert abs(area / mesh.area - 1) < 1e-3
    assert abs(inside - mesh.volume) < 1e-3 * area * pixel_A / 10
