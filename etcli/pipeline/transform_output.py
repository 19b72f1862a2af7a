"""Output of transforms, with a file beside them for tilt axis, pixel size, tilt angles and history."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.registration.image_place import ImagePlace
from etcli.core.registration.tilt_axis import TiltAxis
from etcli.core.registration.transforms import Transforms
from etcli.io.outputs import Outputs
from etcli.io.transforms import axis_file, place_text, read_steps, write_axis, write_xf
from etcli.io.writers import ProcessingStep


def transform_files(xf: str | None) -> tuple[str, ...]:
    """Names of the files that `write_transforms` may write."""
    return (xf, str(axis_file(xf))) if xf else ()


def write_transforms(
    outputs: Outputs,
    xf: str,
    transforms: Transforms,
    *,
    step: ProcessingStep,
    pixel_A: float | None,
    tilt_deg: NDArray[np.float64] | None = None,
    axis: TiltAxis | None = None,
    first: str | None = None,
    path: Path | None = None,
    place: ImagePlace | None = None,
) -> None:
    """Write an ``.xf`` file, and beside it what it cannot hold.

    Parameters
    ----------
    outputs : Outputs
    xf : str
        File to write.
    transforms : Transforms
    step : ProcessingStep
        The step that found them.
    pixel_A : float or None
        Size of the pixels that their shifts are in.
    tilt_deg : ndarray of shape (n_views,), optional
        Tilt angles of the views that they were found for.
    axis : TiltAxis, optional
        Tilt axis of the views that they align.
    first : str, optional
        File of the transforms that they include, whose history goes before the step.
    path : Path, optional
        Temporary name of the file, where it has one already.
    place : ImagePlace, optional
        Size of the views that they are for, and the rotation centre in these.
    """
    path = path or outputs.path(xf)
    write_xf(path, transforms)
    beside = outputs.path(str(axis_file(xf)))
    about = [place_text(place)] if place else []
    steps = [*(read_steps(first) if first else []), outputs.run.record(step), *about]
    write_axis(beside, axis, path, pixel_A=pixel_A, steps=steps, tilt_deg=tilt_deg)
