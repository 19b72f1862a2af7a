"""ASTRA's projectors and ours see the same geometry."""

import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.astra import AstraProjector, astra_available, astra_fbp, astra_sirt
from etcli.core.projectors.slab import KERNELS, SlabProjector

astra = pytest.importorskip("astra")


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("offset", [0.0, -2.7])
@pytest.mark.parametrize(
    "tilt_deg", [np.linspace(-90, 90, 37), np.array([45.0, -45.0, 135.0, 180.0, -170.0, 91.0])]
)
def test_both_backends_agree(kernel, offset, tilt_deg) -> None:
    assert astra_available()
    geometry = SliceGeometry(tilt_deg, 47, 30, 41, offset, 2 * offset)
    ours = SlabProjector(geometry, n_slices=16, kernel=kernel)
    theirs = AstraProjector(geometry, n_slices=16, kernel=kernel)
    assert (ours.domain_shape, ours.range_shape) == (theirs.domain_shape, theirs.range_shape)
    rng = np.random.default_rng(0)
    volume = rng.random(ours.domain_shape, dtype=np.float32)
    sinogram = rng.random(ours.range_shape, dtype=np.float32)
    assert relative(ours.forward(volume), theirs.forward(volume)) < 1e-4
    assert relative(ours.adjoint(sinogram), theirs.adjoint(sinogram)) < 1e-4
    out = np.empty(ours.range_shape, np.float32)
    assert theirs.forward(volume, out=out) is out


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_astra_sirt_puts_an_object_where_it_was(offset) -> None:
    geometry = SliceGeometry(np.linspace(-90, 85, 36), 40, 24, 30, offset)
    truth = np.zeros((24, 30, 16), np.float32)
    truth[3:12, 15:26, 0] = 1
    sinogram = SlabProjector(geometry, n_slices=16).forward(truth)[..., 0]
    found = astra_sirt(np.ascontiguousarray(sinogram), geometry, iterations=200)
    assert found.shape == (24, 30)
    assert relative(found, truth[..., 0]) < 0.1


def test_astra_fbp_puts_an_object_where_it_was() -> None:
    geometry = SliceGeometry(np.linspace(-90, 88, 90), 48, 32, 40)
    truth = np.zeros((32, 40, 16), np.float32)
    truth[4:9, 24:33, 0] = 1
    sinogram = SlabProjector(geometry, n_slices=16).forward(truth)[..., 0]
    assert relative(astra_fbp(np.ascontiguousarray(sinogram), geometry), truth[..., 0]) < 0.2


def test_nothing_stays_allocated(capfd) -> None:
    def listing() -> str:
        for module in (astra.data2d, astra.projector, astra.algorithm):
            module.info()
        return capfd.readouterr().out

    before = listing()
    held = astra.data2d.create("-vol", astra.create_vol_geom(4, 4), 0)
    assert listing() != before
    astra.data2d.delete(held)
    geometry = SliceGeometry(np.array([0.0, 30.0]), 8, 5, 6)
    AstraProjector(geometry, n_slices=2).forward(np.ones((5, 6, 2), np.float32))
    with pytest.raises(ValueError, match="dimensions"):
        astra_sirt(np.ones((3, 8), np.float32), geometry, iterations=1)
    assert listing() == before


def test_unknown_kernel_is_refused() -> None:
    with pytest.raises(UsageError, match="'cubic'"):
        AstraProjector(SliceGeometry(np.array([0.0]), 4, 4, 4), n_slices=1, kernel="cubic")
