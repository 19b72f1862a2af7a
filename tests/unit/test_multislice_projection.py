"""Phase-contrast images of a volume, against the misfit of the reconstruction and against its atoms."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import fft2

from etcli.core.atomic_model import Atoms
from etcli.core.errors import DataError
from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.model import wave_geometry
from etcli.core.multislice.optics import PhaseContrastOptics, WaveGrid
from etcli.core.multislice.potential import mean_potential
from etcli.core.multislice.projection import phase_contrast_images
from etcli.core.multislice.propagation import exit_wave, image
from etcli.core.multislice.rotation import SlabRotation
from etcli.core.simulate.acquisition import AcquisitionErrors
from etcli.core.simulate.hrtem import hrtem_series

ATOMS = Atoms(
    np.array([[3.0, 4.0, -4.0], [-4.0, 2.0, 1.0], [1.0, -3.5, 3.0], [-1.0, 0.0, -5.0]]),
    np.array(["Ti", "Si", "O", "Si"]),
)
OPTICS = PhaseContrastOptics(
    300, aperture_mrad=1e3 * PhaseContrastOptics(300).wavelength_A, astigmatism_A=40.0, astigmatism_deg=20.0
)
TILTS, DEFOCI = np.array([-35.0, 10.0, 10.0, 70.0]), np.array([150.0, 300.0, -60.0, 150.0])
SHAPE = (33, 40, 36)


@pytest.fixture(scope="module")
def volume() -> NDArray[np.float32]:
    return mean_potential(ATOMS, SHAPE, 0.5, debye_waller_A2=0.8)


@pytest.mark.parametrize("binned", [1, 5])
def test_multislice_as_it_is_written(volume: NDArray[np.float32], binned: int) -> None:
    """The fused kernels of the model against plain transmission and propagation, in double precision."""
    images = phase_contrast_images(volume, TILTS, DEFOCI, OPTICS, pixel_A=0.5, binned_slices=binned)
    nz, ny, nx = SHAPE
    geometry = wave_geometry((nz, nx, ny), (ny, nx), 0.5, OPTICS, binned, 300.0)
    n_across, n_slabs = geometry.volume[0], geometry.n_slabs
    rotation = SlabRotation((nz, nx), n_across, n_slabs, binned)
    wave_shape = geometry.wave[::-1]
    grid, slabs = WaveGrid(wave_shape, 0.5), np.zeros((n_slabs, *wave_shape))
    rows, columns = (slice((m - n) // 2, (m - n) // 2 + n) for m, n in zip(wave_shape, (ny, nx), strict=True))
    across = slice(geometry.volume_at[0], geometry.volume_at[0] + n_across)
    for tilt, defocus, found in zip(TILTS, DEFOCI, images, strict=True):
        sums = np.empty((n_slabs, n_across, ny), np.float32)
        rotation.slabs(np.ascontiguousarray(volume.swapaxes(1, 2)), rotation.matrix(tilt), sums, scale=0.5)
        slabs[:, rows, across] = sums.swapaxes(1, 2)
        wave = exit_wave(slabs, 0.5 * binned, OPTICS, grid)
        back = OPTICS.propagator(grid, -(n_slabs - 1) / 2 * 0.5 * binned)
        wanted = image(fft2(wave) * back, OPTICS.transfer(grid, defocus))[rows, columns]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert images.shape == (4, ny, nx) and images.std() > 0.01


def test_the_model_is_that_of_the_misfit(volume: NDArray[np.float32]) -> None:
    images = phase_contrast_images(volume, TILTS, DEFOCI, OPTICS, pixel_A=0.5, binned_slices=5)
    nz, ny, nx = SHAPE
    misfit = MultisliceMisfit(images, TILTS, DEFOCI, OPTICS, pixel_A=0.5, shape=(nz, nx, ny), binned_slices=5)
    turned = np.ascontiguousarray(volume.swapaxes(1, 2))
    assert misfit.residual(turned) < 2e-4 * misfit.size
    assert misfit.residual(0.9 * turned) > 0.05 * misfit.size


def test_the_images_are_those_of_the_atoms(volume: NDArray[np.float32]) -> None:
    """Sampled at the centres of pixels, and with the potential in voxels: to a quarter of the contrast."""
    found = phase_contrast_images(volume, TILTS, DEFOCI, OPTICS, pixel_A=0.5, binned_slices=2, threads=2)
    for k, (tilt, defocus) in enumerate(zip(TILTS, DEFOCI, strict=True)):
        wanted, _ = hrtem_series(
            ATOMS,
            np.array([tilt]),
            [defocus],
            OPTICS,
            shape=(40, 36),
            pixel_A=0.5,
            errors=AcquisitionErrors(),
            rng=np.random.default_rng(0),
            debye_waller_A2=0.8,
        )
        assert np.corrcoef(found[k].ravel(), wanted.ravel())[0, 1] > 0.97
        assert (found[k] - wanted).std() < 0.25 * wanted.std()


def test_as_many_defoci_as_tilts(volume: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match="4 tilt angles need as many defoci, not 3"):
        phase_contrast_images(volume, TILTS, DEFOCI[:3], OPTICS, pixel_A=0.5)
