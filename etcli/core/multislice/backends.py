"""Choice of the implementation of the multislice model: compiled loops around FFTW, or array operations."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.multislice import array_misfit
from etcli.core.multislice.array_misfit import ArrayMisfit
from etcli.core.multislice.device_model import DeviceModel
from etcli.core.multislice.fftw import fftw_is_there
from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.model import MultisliceModel, least_bytes, wave_geometry
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit, grouped_by_tilt
from etcli.core.multislice.wave_workspace import WaveGeometry
from etcli.core.projectors import Device
from etcli.core.projectors.slab import HOST

Doubles = NDArray[np.float64]


def make_misfit(
    images: NDArray[np.float32],
    tilt_deg: ArrayLike,
    defocus_A: ArrayLike,
    optics: PhaseContrastOptics,
    *,
    device: Device = HOST,
    **how: Any,
) -> PhaseContrastMisfit:
    """Create the misfit to images for a device.

    Parameters
    ----------
    images, tilt_deg, defocus_A, optics
        As for `PhaseContrastMisfit`.
    device : Device
        Memory of the volumes.
    **how
        As for `MultisliceMisfit`.

    Returns
    -------
    PhaseContrastMisfit
        That with compiled loops where it can be used: on the CPU, if FFTW is installed.
    """
    if _compiled(device):
        return MultisliceMisfit(images, tilt_deg, defocus_A, optics, **how)
    return ArrayMisfit(images, tilt_deg, defocus_A, optics, device=device, **how)


def make_model(
    geometry: WaveGeometry,
    shape: tuple[int, int, int],
    optics: PhaseContrastOptics,
    *,
    threads: int = 1,
    device: Device = HOST,
) -> MultisliceModel | DeviceModel:
    """Create the model of images of volumes on a device, each tilt once; see `MultisliceModel`."""
    if _compiled(device):
        # nothing is kept for a second use
        memory = least_bytes(geometry, threads=threads)
        return MultisliceModel(geometry, shape, optics, threads=threads, memory=memory)
    return DeviceModel(geometry, shape, optics, device=device, room=0)


def bytes_besides_volumes(
    tilt_deg: Doubles,
    defocus_A: Doubles,
    optics: PhaseContrastOptics,
    *,
    image: tuple[int, int],
    pixel_A: float,
    shape: tuple[int, int, int],
    binned_slices: int,
    threads: int,
    device: Device,
) -> int:
    """Compute the smallest memory that a misfit needs besides volumes and images.

    Parameters
    ----------
    tilt_deg, defocus_A, optics, pixel_A, shape, binned_slices, threads, device
        As for `make_misfit`.
    image : (int, int)
        Rows and columns of an image.

    Returns
    -------
    int
        Bytes of the device.
    """
    largest_A = float(np.abs(defocus_A).max())
    geometry = wave_geometry(shape, image, pixel_A, optics, binned_slices, largest_A)
    if _compiled(device):
        return least_bytes(geometry, threads=threads)
    n_images = [len(images) for images in grouped_by_tilt(tilt_deg)]
    return array_misfit.least_bytes(geometry, optics, n_images)


def implementation(device: Device) -> str:
    """Name the implementation for a device; results of different ones differ by rounding."""
    if _compiled(device):
        return "FFTW"
    return "arrays" if device is HOST else "GPU"


def _compiled(device: Device) -> bool:
    """Whether the compiled loops can be used."""
    return device is HOST and fftw_is_there()
