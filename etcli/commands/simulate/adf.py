"""``etcli simulate adf``."""

from typing import TYPE_CHECKING, Any

import click

from etcli.cli.options import Settings, output_argument, pass_settings, subcommand
from etcli.cli.simulation_options import (
    ERRORS,
    order_option,
    pixel_option,
    range_option,
    simulation_options,
    size_option,
    specimen_options,
)
from etcli.cli.types import FILE
from etcli.core.lengths import Length

if TYPE_CHECKING:
    from etcli.pipeline.simulate import SeriesRequest


@subcommand(
    "adf",
    example="etcli simulate adf diamond:Si:5.431 --diameter 50.6A --axis-direction 0 0 1 --beam 0 1 0 \\\n"
    "    --counts 860000 --seed 1 --write-truth atoms.xyz si.mrc",
    references=(
        "Collins et al., Phys. Rev. Lett. 119, 166101 (2017): series of this kind.",
        "Krivanek et al., Nature 464, 571 (2010): the signal of an atom, Z^1.64.",
    ),
)
@click.argument("specimen", metavar="MODEL|LATTICE", type=FILE)
@output_argument
@specimen_options
@click.option("--counts", type=float, metavar="N", help="Sum of the counts of a view.  [default: no noise]")
@click.option("--no-noise", "noise", flag_value=False, default=True, help="Write the expected counts.")
@size_option(140)
@pixel_option("0.405A")
@simulation_options((range_option(0.0, 177.0, 3.0), order_option), ERRORS, truth="the atoms (.xyz)")
@pass_settings
def command(
    settings: Settings, /, output: str, size: int, pixel: Length, request: "SeriesRequest", **chosen: Any
) -> None:
    """Simulate the dark-field series of a model or a crystal, atom by atom.

    The specimen is a file of atoms (xyz, pdb, cif), in Å from the rotation centre, or a lattice: structure,
    element or formula, and lattice constants in Å, as in fcc:Au, diamond:Si:5.431, rocksalt:NaCl:5.64 or
    hcp:Ti:2.95:4.68. There are sc, fcc, bcc, diamond, zincblende, rocksalt, cesiumchloride, fluorite, bct,
    hcp, rhombohedral and wurtzite.

    Directions are u, v and w of a lattice, or of the unit cell in a CIF; of other files x, y and z. Without
    them a model stands as it is: the tilt axis along y, the beam at 0° along z. The atoms of --write-truth
    are turned in this way, and so are those that trace-atoms finds in a reconstruction.

    The image of an atom is an Airy disc, integrated over each pixel. Its weight grows with the atomic number
    as Z^1.64 and is 1 on average; spheres and points all have the weight 1. Every view is scaled to the same
    sum: --counts, or the number of atoms. There is no channelling, which makes columns of a real crystal
    brighter along its zone axes.
    """
    from etcli.pipeline.simulate_atoms import AtomsSeriesRequest, simulate_atoms_files

    asked = AtomsSeriesRequest(**chosen)
    simulate_atoms_files(settings.session, output, asked, request, size=size, pixel=pixel)
