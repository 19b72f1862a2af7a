"""Phase-contrast images of a volume of electrostatic potential, by the model of the reconstruction."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError
from etcli.core.multislice.backends import make_model
from etcli.core.multislice.model import wave_geometry
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.parallel import ordered_map
from etcli.core.projectors import Device
from etcli.core.projectors.slab import HOST

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
    device: Device = HOST,
    progress: Callable[[int], None] = lambda steps: None,
) -> Array:
    """Compute the phase-contrast images of a volume by multislice.

    The volume is turned by Lanczos interpolation, its slices are added up in slabs, and images are sampled at
    the centres of the pixels: see `MultisliceModel`.

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
    device : Device
        Device of the computation.
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
    largest_A = float(np.abs(defoci).max())
    geometry = wave_geometry((nz, nx, ny), (ny, nx), pixel_A, optics, binned_slices, largest_A)
    model = make_model(geometry, (nz, nx, ny), optics, threads=threads, device=device)
    turned = device.put(np.ascontiguousarray(np.swapaxes(volume, 1, 2), np.float32))
    groups = [np.flatnonzero(tilts == tilt) for tilt in np.unique(tilts)]

    def of_tilt(group: NDArray[np.intp]) -> list[Array]:
        with model.tilt_waves(turned, float(tilts[group[0]])) as leaving:
            waves = [leaving.in_image(leaving.spectrum(float(defoci[k]))) for k in group]
        return [np.asarray((wave.real**2 + wave.imag**2).T) for wave in waves]

    images = np.empty((len(tilts), ny, nx), np.float32)
    for group, seen in zip(
        groups, ordered_map(of_tilt, groups, threads=threads if device is HOST else 1), strict=True
    ):
        images[group] = seen
        progress(len(group))
    return images
