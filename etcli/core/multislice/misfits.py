"""Choice of the implementation of the misfit to phase-contrast images."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.multislice.array_misfit import ArrayMisfit
from etcli.core.multislice.fftw import fftw_is_there
from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit
from etcli.core.projectors import Device
from etcli.core.projectors.slab import HOST


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
    if device is HOST and fftw_is_there():
        return MultisliceMisfit(images, tilt_deg, defocus_A, optics, **how)
    return ArrayMisfit(images, tilt_deg, defocus_A, optics, device=device, **how)
