"""``etcli project``: reproject a volume."""

from functools import partial
from pathlib import Path

import click

from etcli.cli.inputs import open_input
from etcli.cli.options import (
    Settings,
    input_argument,
    mode_option,
    output_argument,
    pass_settings,
    subcommand,
)


@subcommand(
    "project",
    example="etcli project --range -70 70 2 volume.mrc series.mrc\n"
    "etcli project --tilts series.rawtlt volume.mrc reprojected.mrc",
    references=("Joseph, IEEE Trans. Med. Imaging 1, 192 (1982): linear projection kernel.",),
)
@input_argument
@output_argument
@click.option("--tilts", metavar="FILE", help="Tilt angles, one a line, or a series that has them.")
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
    from etcli.core.projectors.slab import SlabProjector
    from etcli.core.slabs import plan_projection, project
    from etcli.io.save import Step, series_writer
    from etcli.io.stack import Stack, open_stack
    from etcli.io.tilts import Tilts, read_tilts

    if (tilts is None) == (angles is None):
        raise UsageError("give the tilt angles, with either --tilts FILE or --range A B STEP")
    volume = open_input(settings, input)
    if angles is not None:
        tilt_deg = tilt_range(*angles)
    else:
        text = tilts is not None and Path(tilts).suffix in (".tlt", ".rawtlt", ".txt")
        tilt_deg = read_tilts(Path(str(tilts))) if text else open_stack(str(tilts)).tilt_deg
    nz, ny, nx = volume.shape
    geometry = SlabGeometry(tilt_deg, n_detector=nx, thickness=nz, width=nx)
    like = Stack(
        output,
        np.broadcast_to(np.float32(0), (len(tilt_deg), ny, nx)),
        volume.pixel_A,
        volume.origin_A,
        volume.labels,
        tilts=Tilts(tilt_deg, "project"),
    )
    rows = np.arange(ny)
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
            plan=plan_projection(ny, geometry, threads=settings.threads, memory=settings.memory),
            make_projector=partial(SlabProjector, kernel=kernel),
            progress=advance,
        )
