"""Writing a volume that comes slab by slab, in the order of axes asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from etcli.core.bands import WriteBand
    from etcli.core.geometry import SlabGeometry
    from etcli.io.outputs import Outputs
    from etcli.io.save import Step
    from etcli.io.stack import Stack


@contextmanager
def volume_output(
    outputs: "Outputs",
    target: str,
    series: "Stack",
    geometry: "SlabGeometry",
    *,
    rows: tuple[int, int],
    step: "Step",
    orient: str,
    x_tilt_deg: float,
    mode: int,
) -> "Iterator[WriteBand]":
    """Open the volume of a series.

    Parameters
    ----------
    outputs : Outputs
        Where the file is announced.
    target : str
        The file.
    series : Stack
        What it is made of.
    geometry : SlabGeometry
        The slices.
    rows : (int, int)
        First row of the views, counted from 0, and how many.
    step : Step
        What is done.
    orient : {"zyx", "imod"}
        Sections along z, or along y with z downwards.
    x_tilt_deg : float
        What the volume is turned by about x.
    mode : int
        MRC mode.

    Yields
    ------
    callable
        Takes slices (sections, rows, x) from a row, and from a section, on, counted from 0 in the volume.
    """
    from etcli.io.frame import Frame
    from etcli.io.mrc import add_label
    from etcli.io.save import volume_writer

    nz, ny, nx = geometry.thickness, rows[1], geometry.width
    pixel_A = series.pixel_A or 0.0
    (x, y, z), (cx, cy, cz) = _corner_A(series, geometry, rows[0]), _centre_A(series, geometry)
    upright = orient == "zyx"
    top = 2 * cz - (z + nz * pixel_A)  # where z is counted downwards
    frame = Frame((cx, cy, cz) if upright else (cx, cz, cy), pixel_A, x_tilt_deg, along_y=not upright)
    with volume_writer(
        outputs,
        target,
        (nz, ny, nx) if upright else (ny, nz, nx),
        step=step,
        pixel_A=series.pixel_A,
        labels=add_label(series.labels, frame.label()) if series.pixel_A else series.labels,
        origin_A=(x, y, z) if upright else (x, top, y),
        mode=mode,
    ) as writer:

        def write_turned(y0: int, block: "NDArray[np.float32]", *, z0: int = 0) -> None:
            writer.write_rows(nz - z0 - len(block), block.swapaxes(0, 1)[:, ::-1], z0=y0)

        yield writer.write_rows if upright else write_turned


def _corner_A(series: "Stack", geometry: "SlabGeometry", first_row: int) -> tuple[float, float, float]:
    """Return the place (x, y, z) of the first voxel in the volume as wide and thick as a view.

    The volume has the tilt axis in its middle, wherever that lies in the views.
    """
    nx, pixel_A = geometry.n_detector, series.pixel_A or 0.0
    x, z = ((nx - n) / 2 for n in (geometry.width, geometry.thickness))
    x += geometry.axis_offset_px
    z += geometry.z_offset_px
    return series.origin_A[0] + pixel_A * x, series.origin_A[1] + pixel_A * first_row, pixel_A * z


def _centre_A(series: "Stack", geometry: "SlabGeometry") -> tuple[float, float, float]:
    """Return the place (x, y, z) of the rotation centre: on the tilt axis, half way up the views."""
    pixel_A = series.pixel_A or 0.0
    middle = geometry.n_detector / 2
    x, y = middle + geometry.axis_offset_px, series.shape[1] / 2
    return series.origin_A[0] + pixel_A * x, series.origin_A[1] + pixel_A * y, pixel_A * middle
