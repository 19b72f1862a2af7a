"""``etcli simulate hrtem``."""

from typing import TYPE_CHECKING, Any

import click

from etcli.cli.lens_options import defoci_option, displacements_option, lens_options
from etcli.cli.options import Settings, output_argument, pass_settings, subcommand
from etcli.cli.simulation_options import (
    ERRORS,
    crystal_options,
    order_option,
    pixel_option,
    range_option,
    simulation_options,
    size_option,
)
from etcli.cli.types import FILE
from etcli.core.lengths import Length

if TYPE_CHECKING:
    from etcli.pipeline.simulate import SeriesRequest


@subcommand(
    "hrtem",
    example="etcli simulate hrtem diamond:Si:5.431 --diameter 20A --size 80 --dose 50000 --seed 1 \\\n"
    "    --write-truth atoms.xyz --write-truth potential.mrc si.mrc\n"
    "etcli simulate hrtem glass.xyz --range -60 60 3 --defocus -0.05,0.05 \\\n"
    "    --debye-waller Si:0.5,O:0.8 glass.mrc",
    references=(
        "Ren, Ophus, Chen & Waller, Ultramicroscopy 208, 112860 (2020): series of this kind.",
        "Kirkland, Advanced Computing in Electron Microscopy (2010): multislice.",
        "Lobato & Van Dyck, Acta Cryst. A 70, 636 (2014): the scattering factors.",
    ),
)
@click.argument("specimen", metavar="MODEL|LATTICE", type=FILE)
@output_argument
@crystal_options
@defoci_option
@lens_options
@displacements_option
@click.option(
    "--dose",
    "total_dose_e_A2",
    type=click.FloatRange(0, min_open=True),
    help="Electrons per Å² in all images together.  [default: no noise]",
)
@size_option(96)
@pixel_option("0.5A")
@simulation_options(
    (range_option(-90.0, 87.0, 3.0), order_option),
    ERRORS,
    truth="the atoms (.xyz, .pdb, .cif), their potential in volts (.mrc)",
)
@pass_settings
def command(
    settings: Settings, /, output: str, size: int, pixel: Length, request: "SeriesRequest", **chosen: Any
) -> None:
    """Simulate the phase-contrast tilt series of a model or a crystal, at several defoci.

    The specimen is a file of atoms (xyz, pdb, cif), in Å from the rotation centre, or a ball of a lattice
    such as diamond:Si:5.431, turned as in simulate adf. At each tilt, a plane wave goes through it towards
    larger z, slice by slice. The images of a tilt follow one another, in the order of --defocus. Values are
    intensities, 1 in vacuum.

    Potentials are those of neutral atoms, blurred by --debye-waller. There are no frozen phonons, no
    inelastic scattering and no radiation damage. Pixels integrate the intensity; there is no modulation
    transfer function. Waves are computed on an area that is larger than the images by as much as the defocus
    spreads them.

    With --dose, electrons are counted, and divided by those that vacuum has on average, or written as they
    are with --mode 1. --drift moves every image; images of one tilt share its --tilt-error.
    """
    from etcli.pipeline.simulate_hrtem import HrtemSeriesRequest, simulate_hrtem_files

    asked = HrtemSeriesRequest(**chosen)
    simulate_hrtem_files(settings.session, output, asked, request, size=size, pixel=pixel)
