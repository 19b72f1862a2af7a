"""``etcli simulate focal``."""

from typing import TYPE_CHECKING, Any

import click

from etcli.cli.focal_options import optics_options
from etcli.cli.options import Settings, output_argument, pass_settings, subcommand
from etcli.cli.simulation_options import (
    crystal_options,
    dose_option,
    pixel_option,
    simulation_options,
    size_option,
)
from etcli.cli.types import FILE, LENGTH_PX
from etcli.core.lengths import Length

if TYPE_CHECKING:
    from etcli.pipeline.simulate import SeriesRequest

drift_option = click.option(
    "--drift",
    type=LENGTH_PX,
    default="0",
    help="Standard deviation of the drift from view to view, along x and along y: a random walk.",
)


@subcommand(
    "focal",
    example="etcli simulate focal fcc:Au:4.078 --diameter 3nm --beam 1 0 0 --dose 9612 --mode 1 ball.mrc\n"
    "etcli simulate focal rod.xyz --dose 9612 --drift 0.3px --seed 1 --mode 1 \\\n"
    "    --write-truth columns.csv --write-truth errors.json focal.mrc",
    references=(
        "Alania et al., Ultramicroscopy 177, 36 (2017): focal series of this kind.",
        "Lobato & Van Dyck, Acta Cryst. A 70, 636 (2014): the scattering factors.",
    ),
)
@click.argument("specimen", metavar="MODEL|LATTICE", type=FILE)
@output_argument
@crystal_options
@click.option(
    "--defocus",
    "defocus_um",
    nargs=3,
    type=float,
    default=(0.02, -0.02, 0.001),
    show_default=True,
    metavar="FIRST LAST STEP",
    help="Defoci in µm, negative for underfocus.",
)
@optics_options
@size_option(128)
@pixel_option("0.4A")
@simulation_options(
    (dose_option, drift_option), truth="the atoms as simulated (.xyz, .pdb, .cif), the columns (.csv)"
)
@pass_settings
def command(
    settings: Settings, /, output: str, size: int, pixel: Length, request: "SeriesRequest", **chosen: Any
) -> None:
    """Simulate the through-focal dark-field series of a crystal in zone axis.

    The specimen is a file of atoms (xyz, pdb, cif), in Å from the centre of the view, with a zone axis along
    z, or a ball of a lattice such as fcc:Au:4.078, turned by --beam as in simulate adf. The beam goes towards
    larger z. At the defocus d in µm, the probe is focused at z = -10000 d Å: an underfocused one deeper in
    the specimen.

    Atoms up to 0.3 Å apart in projection are a column. Each has atoms of one element at equal distances;
    vacancies are errors. Columns are simulated by multislice, each by itself, and added up: the probe
    channels along a column, and no electrons go over to its neighbours. The model of a column includes
    thermal diffuse scattering. There are no aberrations but defocus.

    Values are fractions of the beam. With --dose, electrons are counted: their mean is the fraction times
    dose and pixel area, and they are written as they are with --mode 1, else divided by dose and pixel area.

    Drift goes on from view to view, as a stage does; the middle view is in place. The table of columns has
    x_A and y_A from the centre of the view, col_px and row_px from its first pixel in the middle view, count,
    and z_A of the centre of each column.
    """
    from etcli.pipeline.simulate_focal import FocalSeriesRequest, simulate_focal_files

    asked = FocalSeriesRequest(**chosen)
    simulate_focal_files(settings.session, output, asked, request, size=size, pixel=pixel)
