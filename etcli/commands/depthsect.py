"""``etcli depthsect``: three dimensions from one focal series."""

from dataclasses import fields
from typing import Any

import click

from etcli.cli.depth_options import depth_options
from etcli.cli.options import (
    Settings,
    json_option,
    output_argument,
    pass_settings,
    plot_option,
    subcommand,
)
from etcli.cli.types import FILE


@subcommand(
    "depthsect",
    example="etcli depthsect --dose 9612 --lattice fcc:Au:4.078 --zone 100 --csv columns.csv \\\n"
    "    --plot depth.png focal.mrc rod.xyz\n"
    "etcli depthsect --stop-after count --library scs.csv image.mrc columns.csv",
    references=(
        "Alania et al., Ultramicroscopy 177, 36 (2017): depth sectioning with atom counting.",
        "De Backer et al., Ultramicroscopy 171, 104 (2016): fit of columns and counting (StatSTEM).",
        "De wael et al., Ultramicroscopy 177, 69 (2017): hybrid counting.",
    ),
)
@click.argument("input", metavar="SERIES", type=FILE)
@output_argument
@depth_options
@click.option(
    "--stop-after",
    type=click.Choice(["align", "columns", "count", "depth", "build"]),
    default="build",
    show_default=True,
    help="Last stage. OUTPUT is the aligned series of align (.mrc), the table of columns, count and depth "
    "(.csv), or the atoms of build (.xyz).",
)
@click.option("--csv", type=FILE, metavar="FILE", help="The table: a row for each atomic column.")
@json_option
@plot_option
@pass_settings
def command(
    settings: Settings, /, input: str, output: str, library: str, as_json: bool, **given: Any
) -> None:
    """Find atomic columns, atom counts and depths in one focal series, and build a 3-D model.

    The series is of a crystal in zone axis: HAADF images of one area at many defoci, such as 41 from -20 to
    20 nm. Its stages: align corrects the drift; columns finds the columns in the mean of the sharpest
    sections and fits Gaussians; count compares their cross-sections with a library; depth fits the brightness
    of each column through focus; build places the atoms, on a lattice where one is given. Counts need values
    that are fractions of the beam: counted electrons with their --dose.

    The library is simulated by multislice of isolated columns, for the microscope that is given. With the
    --lattice, heights of the lattice help to count. A single image can be counted with --stop-after count
    and a --library of another program.

    In the table, x_A and y_A are from the centre of the image, z is positive away from the source, and scs is
    the scattering cross-section in Å². A flag names what makes a column doubtful: edge, saturated,
    peak_outside, low_contrast, ambiguous_count (probability below 0.9), ambiguous_height (snap_prob, that of
    its level on the lattice, below 0.9), no_fit, no_atoms, off_lattice. Such columns stay in the table; those
    without a fit, with a peak outside the range of focus or without atoms are left out of the model.
    """
    from etcli.pipeline.depth_section_files import DepthSectionFiles, depth_section_files
    from etcli.pipeline.depth_section_request import DepthSectionRequest

    files = {field.name: given.pop(field.name) for field in fields(DepthSectionFiles) if field.name in given}
    file = None if library in ("simulate", "none") else library
    result = depth_section_files(
        DepthSectionFiles(input, output, library=file, **files),
        DepthSectionRequest(simulate=library != "none", **given),
        settings.session,
    )
    if as_json:
        settings.console.data(result.numbers)
