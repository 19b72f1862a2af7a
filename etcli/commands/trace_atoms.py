"""``etcli trace-atoms``: find the atoms of a volume, with their species and errors."""

from typing import TYPE_CHECKING, Any

import click

from etcli.cli.options import (
    Settings,
    input_argument,
    json_option,
    output_argument,
    pass_settings,
    plot_option,
    subcommand,
)
from etcli.cli.trace_options import trace_options
from etcli.cli.types import FILE

if TYPE_CHECKING:
    from etcli.pipeline.trace_request import TraceRequest


@subcommand(
    "trace-atoms",
    example="etcli trace-atoms --species Si,O --plot atoms.png volume.mrc atoms.xyz\n"
    "etcli trace-atoms --species Si --refine views.mrc --report structure volume.mrc atoms.xyz",
    references=(
        "Ren, Ophus, Chen & Waller, Ultramicroscopy 208, 112860 (2020): Gaussians, neighbours subtracted.",
        "Yang et al., Nature 542, 75 (2017): classification and refinement of atoms.",
        "Yang et al., Nature 592, 60 (2021): atomic electron tomography of amorphous solids.",
    ),
)
@input_argument
@output_argument
@trace_options
@click.option(
    "--refine",
    type=FILE,
    metavar="SERIES",
    help="Refine against the views that the volume was reconstructed from.",
)
@click.option(
    "--euler",
    type=FILE,
    metavar="FILE",
    help="With --refine: orientations of the views, CSV of phi,theta,psi in degrees.",
)
@click.option(
    "--halves",
    nargs=2,
    type=FILE,
    metavar="ODD EVEN",
    help="Volumes of half of the views each (recon --half-sets): errors of positions from their differences.",
)
@click.option(
    "--report", type=FILE, metavar="FOLDER", help="Write distances, bonds, angles and coordination there."
)
@json_option
@plot_option
@pass_settings
def command(settings: Settings, /, request: "TraceRequest", as_json: bool, **files: Any) -> None:
    """Find, fit and classify the atoms of a volume at atomic resolution.

    Maxima of the volume are fitted with Gaussians, each with its neighbours subtracted; the histogram of
    their intensities separates atoms from noise, and the species from each other. With --refine, positions,
    amplitudes and widths are then refined against the views, as far as this improves the prediction of
    left-out views; atoms that only the views show are added, those that they do not show are removed. Voxels
    of 0.3 to 0.5 Å are best.

    OUTPUT ends in .xyz (extended XYZ, which OVITO and ASE open), .plain.xyz, .cif or .pdb; positions are in Å
    from the rotation centre if the history of the volume gives it, else from the middle of the volume. A bare
    length is in Å.
    """
    from etcli.pipeline.trace import TraceFiles, trace_files

    numbers = trace_files(TraceFiles(**files), request, settings.session)
    if as_json:
        settings.console.data(numbers)
