"""CGLS against scipy's LSQR on the explicit matrix, which has the same iterates, and against the solution."""

import numpy as np
import pytest
from scipy.sparse.linalg import lsqr

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.cgls import cgls

GEOMETRY = SliceGeometry(np.array([-68.0, -33.5, -9.0, 0.0, 14.0, 52.0, 90.0, 127.0]), 17, 6, 9, -0.6)
SLAB = SlabProjector(GEOMETRY, n_slices=16)
SHAPE = SLAB.domain_shape


def matrix():
    units = np.eye(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(-1, *SHAPE[:2], 1)
    return np.array([SLAB.forward(np.repeat(u, SHAPE[2], axis=2))[..., 0].ravel() for u in units], float).T


A = matrix()
VIEWS = np.random.default_rng(0).normal(3, 2, SLAB.range_shape).astype(np.float32)


@pytest.mark.parametrize("iterations", [1, 2, 4, 6])
def test_iterates_are_those_of_lsqr(iterations):
    found = cgls(SLAB, VIEWS, iterations=iterations)
    for k in (0, 7):
        y = VIEWS[..., k].ravel().astype(float)
        peer = lsqr(A, y, iter_lim=iterations, atol=0, btol=0, conlim=0)[0]
        np.testing.assert_allclose(found[..., k].ravel(), peer, atol=2e-3 * np.abs(peer).max())


def test_the_end_is_the_least_squares_solution():
    found = cgls(SLAB, VIEWS, iterations=150)
    peer = np.linalg.lstsq(A, VIEWS.reshape(-1, SHAPE[2]).astype(float))[0]
    least = np.linalg.norm(A @ peer - VIEWS.reshape(-1, SHAPE[2]))
    assert np.linalg.norm(SLAB.forward(found) - VIEWS) == pytest.approx(least, rel=1e-4)


def test_residuals_are_told_and_fall():
    told = []
    found = cgls(SLAB, VIEWS, iterations=6, callback=lambda k, norm, _: told.append((k, norm)))
    steps, norms = zip(*told, strict=True)
    assert steps == tuple(range(7))
    assert norms[0] == pytest.approx(np.linalg.norm(VIEWS), rel=1e-5)
    assert norms[-1] == pytest.approx(np.linalg.norm(SLAB.forward(found) - VIEWS), rel=1e-4)
    assert (np.diff(norms) < 0).all()


def test_a_slice_does_not_depend_on_its_neighbours():
    alone = np.zeros_like(VIEWS)
    alone[..., 3] = VIEWS[..., 3]
    wide = SlabProjector(GEOMETRY, n_slices=32)
    twice = np.concatenate([VIEWS, VIEWS], axis=2)
    expected = cgls(SLAB, VIEWS, iterations=9)
    found = cgls(SLAB, alone, iterations=9)
    np.testing.assert_array_equal(found[..., 3], expected[..., 3])
    assert not found[..., 4].any()
    np.testing.assert_array_equal(cgls(wide, twice, iterations=9)[..., 16:], expected)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(UsageError, match="at least one iteration, not 0"):
        cgls(SLAB, VIEWS, iterations=0)
    with pytest.raises(UsageError, match="the sinogram has the shape"):
        cgls(SLAB, VIEWS[1:], iterations=3)
