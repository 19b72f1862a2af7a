"""Phase-contrast images of a volume of electrostatic potential, by the model of the reconstruction."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import fft2

from etcli.core.errors import DataError
from etcli.core.multislice.misfit import wave_geometry
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.propagation import exit_wave, image
from etcli.core.multislice.rotation import SlabRotation
from etcli.core.multislice.wave_workspace import WaveGeometry, transfer_of
from etcli.core.parallel import ordered_map

Array = NDArray[np.float32]


def phase_contrast_images(
    volume: Array,
    tilt_deg: ArrayLike,
    defocus_A: ArrayLike,
    optics: PhaseContrastOptics,
    *,
    pixel_A: float,
    binned_slices: int = 8,
    threads: int = 1,
    progress: Callable[[int], None] = lambda steps: None,
) -> Array:
    """Compute the phase-contrast images of a volume by multislice.

    The model is that of `MultisliceMisfit`: the volume is turned by Lanczos interpolation, its slices are
    added up in slabs, and images are sampled at the centres of the pixels.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Potential in volts, with the tilt axis in its middle.
    tilt_deg, defocus_A : array_like of shape (n_images,)
        Tilt angle in degrees and defocus in Å, positive for overfocus, of each image.
    optics : PhaseContrastOptics
    pixel_A : float
        Size of voxels and pixels in Å.
    binned_slices : int
        Number of slices in a slab.
    threads : int
        Tilts computed at the same time; the result does not depend on it.
    progress : callable
        ``progress(n)`` is called with the number of images just computed.

    Returns
    -------
    ndarray of shape (n_images, ny, nx), float32
        Intensities, 1 in vacuum.

    Raises
    ------
    DataError
        If there are not as many defoci as tilt angles.
    """
    tilts, defoci = (np.atleast_1d(np.asarray(a, np.float64)) for a in (tilt_deg, defocus_A))
    if len(tilts) != len(defoci):
        raise DataError(f"{len(tilts)} tilt angles need as many defoci, not {len(defoci)}")
    nz, ny, nx = volume.shape
    geometry = wave_geometry(
        (nz, nx, ny), (ny, nx), pixel_A, optics, binned_slices, float(np.abs(defoci).max())
    )
    rotation = SlabRotation((nz, nx), geometry.volume[0], geometry.n_slabs, binned_slices)
    turned = np.ascontiguousarray(np.swapaxes(volume, 1, 2), np.float32)
    used = slice(0, geometry.wave[1])  # rows of spectra are padded
    transfers = {d: transfer_of(geometry, optics, d)[:, used] for d in np.unique(defoci).tolist()}
    groups = [np.flatnonzero(tilts == tilt) for tilt in np.unique(tilts)]
    (x0, y0), (width, height) = geometry.image_at, geometry.image

    def of_tilt(group: NDArray[np.intp]) -> list[Array]:
        slabs = _slabs(turned, float(tilts[group[0]]), rotation, geometry)
        spectrum = fft2(exit_wave(slabs, geometry.slab_A, optics, geometry.grid), overwrite_x=True)
        seen = (image(spectrum, transfers[defoci[k]]) for k in group)
        return [intensity[x0 : x0 + width, y0 : y0 + height].T for intensity in seen]

    images = np.empty((len(tilts), ny, nx), np.float32)
    for group, seen in zip(groups, ordered_map(of_tilt, groups, threads=threads), strict=True):
        images[group] = seen
        progress(len(group))
    return images


def _slabs(volume: Array, tilt_deg: float, rotation: SlabRotation, geometry: WaveGeometry) -> Iterator[Array]:
    """Turn a volume (nz, nx, ny) and yield the projected potentials of its slabs in V Å, as [x, y]."""
    sums = np.empty((geometry.n_slabs, *geometry.volume), np.float32)
    rotation.slabs(volume, rotation.matrix(tilt_deg), sums, scale=geometry.pixel_A)
    x0, y0 = geometry.volume_at
    for values in sums:
        slab = np.zeros(geometry.wave, np.float32)
        slab[x0 : x0 + values.shape[0], y0 : y0 + values.shape[1]] = values
        yield slab
