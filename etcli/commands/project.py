"""``etcli project``: project a volume."""

from typing import Any

import click

from etcli.cli.lens_options import aperture_option, binned_slices_option, cs_option, voltage_option
from etcli.cli.options import (
    Settings,
    input_argument,
    mode_option,
    output_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import DEFOCI, FILE


@subcommand(
    "project",
    example="etcli project --range -70 70 2 volume.mrc series.mrc\n"
    "etcli project --tilts series.rawtlt volume.mrc reprojected.mrc\n"
    "etcli project --model multislice --tilts hrtem.mrc potential.mrc reprojected.mrc",
    references=(
        "Joseph, IEEE Trans. Med. Imaging 1, 192 (1982): linear projection kernel.",
        "Ren, Ophus, Chen & Waller, Ultramicroscopy 208, 112860 (2020): multislice of a rotated volume.",
    ),
    on_gpu=True,
)
@input_argument
@output_argument
@click.option(
    "--tilts", type=FILE, metavar="FILE", help="Tilt angles, one per line, or a series that has them."
)
@click.option("--range", "angles", nargs=3, type=float, metavar="A B STEP", help="Tilt angles from A to B.")
@click.option(
    "--euler",
    type=FILE,
    metavar="FILE",
    help="Orientations instead, CSV of phi,theta,psi in degrees (theta is minus the tilt angle).",
)
@click.option(
    "--kernel",
    type=click.Choice(["linear", "strip"]),
    default="linear",
    show_default=True,
    help="Linear interpolation in each row of voxels, or overlap of areas.",
)
@click.option(
    "--model",
    type=click.Choice(["linear", "multislice"]),
    default="linear",
    show_default=True,
    help="Line integrals, or phase-contrast images of a potential in volts.",
)
@click.option(
    "--defocus",
    "defocus_um",
    type=DEFOCI,
    metavar="LIST",
    help="multislice: defoci at each tilt in µm, negative for underfocus.  [default: those of --tilts]",
)
@voltage_option("multislice", "that of --tilts")
@aperture_option("multislice")
@cs_option("multislice")
@binned_slices_option("multislice")
@mode_option
@pass_settings
def command(
    settings: Settings,
    /,
    input: str,
    output: str,
    **options: Any,
) -> None:
    """Project a volume, its sections along z, at tilt angles about y.

    The view at angle θ shows the point (x, y, z) at (x cos θ + z sin θ, y), in density times voxels. A volume
    of recon is projected about its rotation centre, whatever its order of axes, and as it was before
    --x-tilt. With --euler, the orientations are also written to OUTPUT.euler.csv.

    With --model multislice, a plane wave goes through the volume towards larger z, as recon --method
    multislice has it. Views are intensities, 1 in vacuum, at all defoci in turn at each tilt, or those of the
    series of --tilts.
    """
    from etcli.pipeline.project import project_files

    project_files(settings.session, input, output, **options)
