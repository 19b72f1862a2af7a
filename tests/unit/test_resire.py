"""RESIRE against its formula written out with a matrix, and against blobs whose views have a closed form."""

from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.solvers.resire import extended_shape, middle, resire
from etcli.core.solvers.spectral_norm import squared_norm
from tests.blobs import SIGMA_PX, blob_near, blob_volume

Float = NDArray[np.float64]


def any_rotations(n_views: int, seed: int) -> Float:
    return rotation_matrices(np.random.default_rng(seed).uniform(-180, 180, (n_views, 3)))


TINY = OrientedProjector(any_rotations(5, 1), (4, 5, 6), (6, 7))
UNITS = np.eye(120, dtype=np.float32).reshape(-1, *TINY.domain_shape)
MATRIX = np.array([TINY.forward(unit).ravel() for unit in UNITS], float).T
VIEWS = np.random.default_rng(2).normal(1, 2, TINY.range_shape).astype(np.float32)
START = np.random.default_rng(3).normal(0.2, 0.3, TINY.domain_shape).astype(np.float32)
MASK = np.random.default_rng(4).random(TINY.domain_shape) < 0.6


def test_norm_is_the_largest_eigenvalue() -> None:
    expected = float(np.linalg.norm(MATRIX, 2) ** 2)
    assert expected < squared_norm(TINY) < 1.025 * expected


OPTIONS = [
    {},
    {"relaxation": 1.9},
    {"lower": -np.inf},
    {"lower": 0.1, "upper": 0.4, "relaxation": 0.5},
    {"mask": MASK},
    {"mask": MASK, "lower": 0.1},
    {"mask": MASK[..., :1], "initial": START},
    {"initial": START, "lower": -np.inf, "mask": MASK},
]


@pytest.mark.parametrize("options", OPTIONS, ids=[" ".join(option) for option in OPTIONS])
def test_every_iteration_is_the_formula(options) -> None:
    how = {"relaxation": 1.0, "lower": 0.0, "upper": np.inf, "mask": None, "initial": None} | options
    inside = np.ones(120) if how["mask"] is None else np.broadcast_to(how["mask"], START.shape).ravel()
    x = np.zeros(120) if how["initial"] is None else how["initial"].ravel() * inside
    step = how["relaxation"] / squared_norm(TINY)
    kept, norms = START.copy(), []
    for k in range(1, 6):
        residual = MATRIX @ x - VIEWS.ravel()
        norms.append(np.linalg.norm(residual))
        x = np.clip(x - step * (MATRIX.T @ residual), how["lower"], how["upper"]) * inside
        told: list[tuple[int, float]] = []
        found = resire(
            TINY, VIEWS, iterations=k, callback=lambda k, norm, _, to=told: to.append((k, norm)), **options
        )
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.ravel(), x, atol=2e-5 * np.abs(x).max())
        assert [number for number, _ in told] == list(range(k))
        np.testing.assert_allclose([norm for _, norm in told], norms, rtol=1e-5)
    np.testing.assert_array_equal(START, kept)


@pytest.mark.parametrize("relaxation", [1.0, 1.95])
@pytest.mark.parametrize("lower", [-np.inf, 0.0])
@pytest.mark.parametrize(
    "shape", [(12, 12, 12), (3, 30, 9), (30, 2, 5)], ids=["cube", "flat", "beam across or along"]
)
def test_residual_falls_with_every_iteration(shape, lower, relaxation) -> None:
    """Also where the extent along the beam is not that along z, as with most of these orientations."""
    projector = OrientedProjector(any_rotations(7, 5), shape, (20, 21))
    truth = np.random.default_rng(6).random(shape, np.float32)
    noise = np.random.default_rng(7).normal(0, 0.3, projector.range_shape).astype(np.float32)
    views, norms = projector.forward(truth) + noise, []
    found = resire(
        projector, views, iterations=30, relaxation=relaxation, lower=lower,
        callback=lambda k, norm, _: norms.append(norm),
    )  # fmt: skip
    norms.append(float(np.linalg.norm(views - projector.forward(found))))
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(norms))
    assert norms[-1] < 0.5 * norms[0]
    assert found.min() >= lower


PLACES = [(4.3, -6.1, 2.7), (-7.4, 3.2, 5.9), (1.8, 8.3, -4.6), (-3.1, -2.9, -8.2), (7.9, 2.2, -0.7)]
SHAPE, DETECTOR = (30, 29, 28), (30, 31)
TRUTH = blob_volume(PLACES, SHAPE)
AROUND = any_rotations(40, 8)


def views_of(places, rotation: Float, detector: tuple[int, int]) -> NDArray[np.float32]:
    """Views of blobs of height 1, in closed form."""
    v, u = (np.arange(n) - (n - 1) / 2 for n in detector)
    views = np.zeros((len(rotation), *detector))
    for place in places:
        seen = rotation @ place
        squared = (u - seen[:, :1, None]) ** 2 + (v[:, None] - seen[:, 1:2, None]) ** 2
        views += np.exp(-squared / (2 * SIGMA_PX**2))
    return (views * SIGMA_PX * np.sqrt(2 * np.pi)).astype(np.float32)


SEEN = views_of(PLACES, AROUND, DETECTOR)


def reconstructed(rotation: Float, iterations: int = 40) -> tuple[NDArray[np.float32], float]:
    """Volume, and its relative residual."""
    projector = OrientedProjector(rotation, SHAPE, DETECTOR)
    found = resire(projector, SEEN, iterations=iterations, relaxation=1.9)
    return found, float(np.linalg.norm(projector.forward(found) - SEEN) / np.linalg.norm(SEEN))


def error(found, truth) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def test_blobs_come_back_from_views_all_around() -> None:
    found, residual = reconstructed(AROUND, iterations=100)
    print(f"\nerror {error(found, TRUTH):.4f}, residual {residual:.4f}")
    assert residual < 0.02
    assert error(found, TRUTH) < 0.07
    for place in PLACES:
        np.testing.assert_allclose(blob_near(found, place), place, atol=0.05)


def test_handedness_of_the_orientations_is_that_of_the_volume() -> None:
    mirrored, residual = reconstructed(AROUND * [1, 1, -1])
    assert residual < 0.02
    assert error(mirrored, TRUTH[::-1]) < 0.07
    assert error(mirrored, TRUTH) > 0.5
    for wrong in (AROUND.transpose(0, 2, 1), AROUND * [[1], [-1], [1]], AROUND[:, [1, 0, 2]]):
        found, residual = reconstructed(wrong, iterations=15)
        assert residual > 0.3
        assert error(found, TRUTH) > 0.5


def test_a_film_needs_a_place_for_what_lies_beside_the_views() -> None:
    rng = np.random.default_rng(9)
    places = list(zip(*(rng.uniform(-reach, reach, 300) for reach in (50, 25, 6)), strict=True))
    rotation = rotation_matrices(rng.uniform(-1, 1, (25, 3)) + tilts_as_euler(np.linspace(-60, 60, 25)))
    shape = (18, 20, 24)
    truth, views = blob_volume(places, shape), views_of(places, rotation, shape[1:])
    errors = []
    for larger in (extended_shape(rotation, shape), shape):
        found = resire(OrientedProjector(rotation, larger, shape[1:]), views, iterations=60, relaxation=1.9)
        errors.append(error(middle(found, shape), truth))
    print(f"\nerror {errors[0]:.3f} in the extended volume, {errors[1]:.3f} in that of the views")
    assert errors[0] < 0.3
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize(
    ("shape", "detector"),
    [((9, 20, 30), None), ((40, 7, 6), (12, 5)), ((1, 8, 8), (8, 8)), ((6, 90, 90), (9, 8))],
)
def test_extended_volume_is_the_smallest_that_holds_all_rays(shape, detector) -> None:
    rotation = rotation_matrices(np.random.default_rng(10).uniform(-60, 60, (12, 3)) * [3, 1, 0.3])
    found = extended_shape(rotation, shape, detector)
    n_v, n_u = detector or shape[1:]
    far = np.zeros(2)
    for matrix in rotation:
        for u, v, z in product((-(n_u - 1) / 2, (n_u - 1) / 2), (-(n_v - 1) / 2, (n_v - 1) / 2), (-1, 1)):
            ray = np.linalg.solve(np.vstack([matrix[:2], [0, 0, 1]]), [u, v, z * (shape[0] - 1) / 2])
            far = np.maximum(far, abs(ray[:2]))
    assert found[0] == shape[0]
    for n, asked, reach in zip(found[:0:-1], shape[:0:-1], far, strict=True):
        assert n >= asked
        assert (n - asked) % 2 == 0
        assert (n - 1) / 2 >= reach - 1e-5
        assert n == asked or (n - 3) / 2 < reach


def test_extended_volume_of_a_tilted_film() -> None:
    rotation = rotation_matrices(tilts_as_euler([-45.0, 0, 45]))
    # the ray at u meets the surface z at x = (u - z sin θ) / cos θ: 10 √2 + 5
    assert extended_shape(rotation, (11, 7, 21)) == (11, 7, 2 * 20 + 1)


def test_middle_is_where_the_centre_is() -> None:
    volume = np.arange(4 * 7 * 6, dtype=np.float32).reshape(4, 7, 6)
    np.testing.assert_array_equal(middle(volume, (4, 3, 2)), volume[:, 2:5, 2:4])
    for shape in ((4, 4, 2), (6, 3, 2)):
        with pytest.raises(UsageError, match="nothing of shape"):
            middle(volume, shape)


def test_what_cannot_be_meant_is_refused() -> None:
    for words, how in {
        "RESIRE needs at least one iteration, not 0": {"iterations": 0},
        "RESIRE diverges with a relaxation of 2": {"iterations": 1, "relaxation": 2.0},
        "no density lies between": {"iterations": 1, "upper": -1.0},
        r"the mask has the shape \(4, 5\)": {"iterations": 1, "mask": MASK[..., 0]},
        r"the volume has the shape \(4, 5\)": {"iterations": 1, "initial": START[..., 0]},
    }.items():
        with pytest.raises(UsageError, match=words):
            resire(TINY, VIEWS, **how)
    with pytest.raises(UsageError, match="the sinogram has the shape"):
        resire(TINY, VIEWS[1:], iterations=3)
    aside = OrientedProjector(np.eye(3)[None], (4, 5, 6), (6, 7), centre_px=[(99, 0)])
    with pytest.raises(DataError, match="no ray meets the volume"):
        resire(aside, VIEWS[:1], iterations=3)
    with pytest.raises(UsageError, match="view 2 looks along the layer"):
        extended_shape(rotation_matrices(tilts_as_euler([0.0, 90])), (4, 5, 6))
