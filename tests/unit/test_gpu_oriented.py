"""The code path of GPUs against that of the CPU, on views of any orientation."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from etcli.core.errors import UsageError
from etcli.core.gpu import GPU
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.projectors.oriented_gpu import GpuOrientedProjector
from etcli.core.projectors.slab import HOST
from etcli.core.reconstruction.whole_volume import reconstruct_whole
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import OrientedMisfit
from tests.gpu import inner, relative

SIZES = st.tuples(*[st.integers(1, 20)] * 3)
PROJECTORS = (OrientedProjector, GpuOrientedProjector)


def noise(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=SIZES,
    detector=SIZES,
    exact=st.lists(st.sampled_from([0.0, 45.0, 90.0, -90.0, 135.0, 180.0]), min_size=3, max_size=3),
    shift=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
)
def test_projections_are_those_of_the_cpu(gpu, seed, shape, detector, exact, shift) -> None:
    rotation = Rotation.concatenate(
        [
            Rotation.random(4, rng=np.random.default_rng(seed)),
            Rotation.from_euler("zyx", [exact], degrees=True),
        ]
    ).as_matrix()
    centre = np.tile(shift, (5, 1))
    here, there = (make(rotation, shape, detector[1:], centre_px=centre) for make in PROJECTORS)
    x, y = noise(here.domain_shape, seed), noise(here.range_shape, seed + 1)
    projected, back = GPU.get(there.forward(GPU.put(x))), GPU.get(there.adjoint(GPU.put(y)))
    np.testing.assert_allclose(projected, here.forward(x), atol=5e-5)
    np.testing.assert_allclose(back, here.adjoint(y), atol=5e-5)
    size = np.sqrt(inner(projected, projected) * inner(y, y))
    assert abs(inner(projected, y) - inner(x, back)) <= 2e-6 * size


@pytest.mark.parametrize("name", ["resire", "sirt", "mlem", "fista"])
def test_methods_give_what_they_give_on_the_cpu(gpu, name) -> None:
    rotation = Rotation.random(9, rng=np.random.default_rng(1)).as_matrix()
    truth = np.zeros((14, 17, 19), np.float32)
    truth[4:9, 5:12, 3:9] = 1
    found = []
    for make, device in zip(PROJECTORS, (HOST, GPU), strict=True):
        projector = make(rotation, truth.shape, (16, 18))
        views = OrientedProjector(rotation, truth.shape, (16, 18)).forward(truth)
        series = OrientedMisfit(projector, device.put(views))
        recipe = MethodParameters(name, iterations=6, weight=0.05, lower=0.0)
        found.append(reconstruct_whole(series, recipe, zeros=device.zeros))
    assert relative(found[1][0], found[0][0]) < 2e-5
    np.testing.assert_allclose(found[1][1].residual, found[0][1].residual, rtol=1e-4)


def test_arrays_that_kernels_would_misread_are_refused(gpu) -> None:
    projector = GpuOrientedProjector(np.eye(3)[None], (4, 5, 6)).of_views(np.array([0]))
    with pytest.raises(UsageError, match="sinogram: expected contiguous float32 of shape"):
        projector.adjoint(GPU.zeros((1, 6, 5)))
