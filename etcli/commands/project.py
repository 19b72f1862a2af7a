"""``etcli project``: reproject a volume."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.devices import slab_projector, use_gpu
from etcli.cli.inputs import open_input
from etcli.cli.options import (
    Settings,
    input_argument,
    mode_option,
    output_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray


@subcommand(
    "project",
    example="etcli project --range -70 70 2 volume.mrc series.mrc\n"
    "etcli project --tilts series.rawtlt volume.mrc reprojected.mrc",
    references=("Joseph, IEEE Trans. Med. Imaging 1, 192 (1982): linear projection kernel.",),
    on_gpu=True,
)
@input_argument
@output_argument
@click.option(
    "--tilts", type=FILE, metavar="FILE", help="Tilt angles, one a line, or a series that has them."
)
@click.option("--range", "angles", nargs=3, type=float, metavar="A B STEP", help="Tilt angles from A to B.")
@click.option(
    "--kernel",
    type=click.Choice(["linear", "strip"]),
    default="linear",
    show_default=True,
    help="Linear interpolation in each row of voxels, or overlap of areas.",
)
@mode_option
@pass_settings
def command(
    settings: Settings,
    input: str,
    output: str,
    tilts: str | None,
    angles: tuple[float, float, float] | None,
    kernel: str,
    mode: int,
) -> None:
    """Project a volume, its sections along z, at tilt angles about y.

    The view at angle θ shows the point (x, y, z) at (x cos θ + z sin θ, y), in density times voxels.
    """
    import numpy as np

    from etcli.core.errors import UsageError
    from etcli.core.geometry import SlabGeometry, tilt_range
    from etcli.core.plans import plan_projection
    from etcli.core.slabs import project
    from etcli.io.save import Step, series_writer
    from etcli.io.stack import Stack
    from etcli.io.tilts import Tilts

    if (tilts is None) == (angles is None):
        raise UsageError("give the tilt angles, with either --tilts FILE or --range A B STEP")
    volume = open_input(settings, input)
    tilt_deg = tilt_range(*angles) if angles else _tilts_of(Path(str(tilts)))
    nz, ny, nx = volume.shape
    geometry = SlabGeometry(tilt_deg, n_detector=nx, thickness=nz, width=nx)
    like = Stack(
        output,
        np.broadcast_to(np.float32(0), (len(tilt_deg), ny, nx)),
        volume.pixel_A,
        (*volume.origin_A[:2], 0.0),
        volume.labels,
        tilts=Tilts(tilt_deg, "project"),
        axis_deg=0.0,
    )
    rows = np.arange(ny)
    make = slab_projector(settings, gpu=use_gpu(settings), kernel=kernel)
    device = make(geometry, n_slices=16).device
    with (
        settings.outputs() as outputs,
        series_writer(
            outputs, output, like, step=Step("project", f"{len(tilt_deg)} views"), mode=mode
        ) as writer,
        settings.console.progress(ny, "projecting") as advance,
    ):
        project(
            lambda y0, y1: volume.rows(rows[y0:y1]),
            writer.write_rows,
            geometry,
            plan=plan_projection(
                ny, geometry, threads=settings.threads, memory=settings.memory, device=device
            ),
            make_projector=make,
            progress=advance,
        )


def _tilts_of(path: Path) -> "NDArray[Any]":
    """Return the tilt angles of a text file, of an mdoc or of a series."""
    from etcli.io.mdoc import read_mdoc
    from etcli.io.stack import open_stack
    from etcli.io.tilts import read_tilts

    with path.open("rb") as file:
        is_text = b"\0" not in file.read(1024)  # the header of any image file has some
    if not is_text:
        return open_stack(str(path)).tilt_deg
    return read_mdoc(path).tilt_deg if path.suffix == ".mdoc" else read_tilts(path)
