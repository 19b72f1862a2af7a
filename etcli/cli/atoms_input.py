"""What tracing reads: the volume, half volumes, and the views to refine against."""

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from etcli.cli.background import background_level
from etcli.cli.inputs import open_input, open_orientations, whole
from etcli.cli.options import Settings
from etcli.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from etcli.core.atoms.views import Views
    from etcli.io.frame import Frame
    from etcli.io.stack import Stack

COPIES = 4
"""Arrays of the size of the volume that tracing takes."""
VIEW_COPIES = 24
"""Arrays of the size of the series, in single precision, that refining takes."""
LEAST_SHIFT = 0.05
"""Of a voxel: what is less comes from rounding."""
CUBE = 0.01
"""Relative difference of the sides of voxels that is taken for rounding."""
NOT_A_SERIES = "is a tilt series, where a volume is needed; reconstruct it with recon"


@dataclass(frozen=True, eq=False)
class SeriesViews:
    """Views to refine against.

    Parameters
    ----------
    stack : Stack
        Where they come from.
    views : Views
    level : float
        Level below the specimen, 0 where the views have no empty rim.
    middle_A : ndarray of shape (3,), float64
        x, y and z of their middle from the rotation centre.
    """

    stack: "Stack"
    views: "Views"
    level: float
    middle_A: "NDArray[np.float64]"


def open_volume(settings: Settings, name: str) -> "tuple[NDArray[np.float32], Stack, float]":
    """Read a volume of cubic voxels of known size; return it, what is said of it, and the size in Å."""
    stack = open_input(settings, name)
    if stack.tilts is not None and not stack.is_volume:
        raise DataError(f"{name}: {NOT_A_SERIES}")
    if stack.pixel_A is None:
        raise DataError(
            f"{name}: does not say how large its voxels are; reconstruct it from a series that does"
        )
    voxel_A = stack.voxel_A or (stack.pixel_A,) * 3
    if max(voxel_A) > (1 + CUBE) * min(voxel_A):
        sides = " x ".join(f"{side:g}" for side in voxel_A)
        raise DataError(
            f"{name}: voxels of {sides} Å are no cubes, which atoms are looked for in; resample it"
        )
    if min(stack.shape) < 3:
        nz, ny, nx = stack.shape
        raise DataError(f"{name}: {nx} x {ny} x {nz} voxels are too flat to hold atoms; is it a volume?")
    return whole(settings, stack, copies=COPIES), stack, stack.pixel_A


def half_volumes(
    settings: Settings, names: tuple[str, str], like: "Stack"
) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Read the two volumes of half of the views each."""
    import numpy as np

    found = []
    for name in names:
        stack = open_input(settings, name)
        if stack.shape != like.shape:
            sizes = [" x ".join(map(str, one.shape[::-1])) for one in (stack, like)]
            raise DataError(
                f"{name}: {sizes[0]} voxels, but {like.name} has {sizes[1]}; reconstruct both alike"
            )
        if stack.pixel_A and like.pixel_A and abs(stack.pixel_A / like.pixel_A - 1) > CUBE:
            raise DataError(
                f"{name}: voxels of {stack.pixel_A:g} Å, but {like.name} has {like.pixel_A:g} Å; "
                "reconstruct both alike"
            )
        found.append(whole(settings, stack, copies=COPIES + 2))
    if np.array_equal(found[0], found[1]):
        raise DataError(
            f"{names[1]}: is the same as {names[0]}; give the halves that recon --half-sets makes"
        )
    return found[0], found[1]


def frame_of_volume(settings: Settings, volume: "Stack") -> "Frame | None":
    """Return where a volume lies, None where that is not known; a user whom that concerns is told."""
    from etcli.io.frame import SAME, frame_of

    frame, voxel_A = frame_of(volume.labels), volume.pixel_A or 0.0
    made = any(label.startswith("etcli recon") for label in volume.labels)
    from_middle = "positions are counted from its middle"
    if made and frame is None:
        settings.console.warn(
            f"{volume.name}: was cut or changed since it was reconstructed, so its rotation centre is not "
            f"known; {from_middle}"
        )
    elif frame and abs(voxel_A / frame.voxel_A - 1) > SAME:
        settings.console.warn(
            f"{volume.name}: has voxels of {voxel_A:g} Å, but was reconstructed with {frame.voxel_A:g} Å; "
            f"{from_middle}"
        )
        frame = None
    return frame


def oriented_views(
    settings: Settings, name: str, euler: str | None, volume: "Stack", frame: "Frame | None"
) -> SeriesViews:
    """Read the views that a volume was made of, oriented as it is."""
    import numpy as np

    from etcli.cli.selection import orientation
    from etcli.core.atoms.against_views import DIFFUSE_A
    from etcli.core.atoms.views import Views
    from etcli.core.orientation import rotation_matrices, tilts_as_euler
    from etcli.io.frame import views_used

    if frame and frame.along_y:
        raise UsageError(
            f"{volume.name}: has its sections along y, which --refine does not know; leave --orient imod out "
            "of recon"
        )
    stack = open_input(settings, name)
    pixel_A = stack.pixel_A
    if pixel_A is None:
        raise DataError(f"{name}: does not say how large its pixels are; so atoms cannot be placed in it")
    angles: NDArray[Any] | None = None
    if euler:
        stack, angles = open_orientations(settings, euler, stack)
    elif stack.tilts is None:
        beside = f"{PurePath(name).stem}.tlt"
        raise DataError(f"{name}: no tilt angles beside it or in it; put them into {beside}, or give --euler")
    used = views_used(volume.labels)
    if used is not None and used != len(stack):
        settings.console.warn(
            f"{volume.name} was made of {used} views, {name} has {len(stack)}, and atoms are refined against "
            "all of them; etcli stack --exclude leaves bad ones out"
        )
    data = whole(settings, stack, copies=VIEW_COPIES)
    level = background_level(settings, stack, "auto")
    rotation = orientation(stack.tilt_deg, angles, frame.x_tilt_deg if frame else 0.0)
    inclined = rotation is not None
    if frame and not inclined:
        rows = _rows_of_volume(stack, volume)  # what the others show, no atom of the volume is to explain
        data = data[:, rows]
        if not data.size:
            raise _beside(volume, stack)
        x, y, z = stack.origin_A
        stack = replace(stack, data=data, order=None, origin_A=(x, y + rows.start * pixel_A, z))
    if rotation is None:
        rotation = rotation_matrices(tilts_as_euler(stack.tilt_deg))
    middle_A = _middle_of_views(stack, volume, frame, inclined=inclined) if frame else np.zeros(3)
    diffuse_A = DIFFUSE_A if level is None else 0.0
    views = Views(
        np.array(data, np.float64, order="C"),
        rotation,
        pixel_A,
        diffuse_A=diffuse_A,
        threads=settings.threads,
    )
    return SeriesViews(stack, views, level or 0.0, middle_A)


def centre_of_volume(volume: "Stack", frame: "Frame | None") -> "NDArray[np.float64]":
    """Return x, y and z of the middle of a volume from the rotation centre, in Å.

    Where nobody knows where that is, it is the middle.
    """
    import numpy as np

    if frame is None:
        return np.zeros(3)
    voxel_A = volume.pixel_A or 0.0
    middle = np.array(volume.origin_A) + np.array(volume.shape[::-1]) * voxel_A / 2 - frame.centre_A
    # what binning and the digits of a label round off is no shift
    return np.where(np.abs(middle) < LEAST_SHIFT * voxel_A, 0.0, middle)


def _rows_of_volume(series: "Stack", volume: "Stack") -> slice:
    """Return the rows of views that are tilted about y in which the volume lies."""
    pixel_A = series.pixel_A or 1.0
    first = (volume.origin_A[1] - series.origin_A[1]) / pixel_A
    last = first + volume.shape[1] * (volume.pixel_A or 0.0) / pixel_A
    return slice(max(round(first), 0), max(round(last), 0))


def _middle_of_views(
    views: "Stack", volume: "Stack", frame: "Frame", *, inclined: bool
) -> "NDArray[np.float64]":
    """Return x, y and z of the middle of the views from the rotation centre, which has to be there."""
    import numpy as np

    size_A = np.array(views.shape[:0:-1]) * (views.pixel_A or 0.0)
    away = np.array(views.origin_A[:2]) + size_A / 2 - frame.centre_A[:2]
    # along y it may be anywhere, unless views are turned in their plane as well
    for k, axis in enumerate("xy"[: 2 if inclined else 1]):
        if abs(away[k]) > size_A[k] / 2:
            raise _beside(volume, views)
        if abs(away[k]) > (volume.pixel_A or 0.0) / 2:
            raise UsageError(
                f"{volume.name}: its rotation centre is {-away[k]:.3g} Å along {axis} from the middle of "
                f"the views of {views.name}, where it has to be; refine against the whole series that "
                "was reconstructed, aligned by tiltalign instead of --axis-offset"
            )
    return np.append(away, 0.0)


def _beside(volume: "Stack", views: "Stack") -> UsageError:
    return UsageError(
        f"{volume.name}: lies beside the views of {views.name}; is it the series that was reconstructed?"
    )
