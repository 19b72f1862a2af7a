"""``etcli simulate spectral``."""

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
)
from etcli.cli.spectral_options import dose_options, spectrum_options
from etcli.core.lengths import Length

if TYPE_CHECKING:
    from etcli.pipeline.simulate import SeriesRequest


@subcommand(
    "spectral",
    example="etcli simulate spectral particles --seed 1 --write-truth t.json --write-truth t.mrc a.mrc\n"
    "etcli simulate spectral needle --range -60 60 5 --spectra needle.hspy needle.mrc",
    references=(
        "Krivanek et al., Nature 464, 571 (2010): the dark-field signal of an atom.",
        "Elam, Ravel & Sieber, Radiat. Phys. Chem. 63, 121 (2002): lines and yields.",
        "Fiori & Newbury, Scanning Electron Microscopy I, 401 (1978): width of lines.",
    ),
)
@click.argument("specimen", type=click.Choice(["particles", "needle", "film", "alloys"]), metavar="SPECIMEN")
@output_argument
@spectrum_options
@dose_options
@size_option(72)
@pixel_option("1nm")
@simulation_options(
    (range_option(-75.0, 75.0, 2.5), order_option),
    ERRORS,
    truth="the density of each element (FILE.mrc: FILE_Ni.mrc and so on)",
)
@pass_settings
def command(
    settings: Settings, /, output: str, size: int, pixel: Length, request: "SeriesRequest", **chosen: Any
) -> None:
    """Simulate element maps or spectrum images, with the dark-field series of the same specimen.

    OUTPUT is the dark-field series. The maps of X-ray counts are OUTPUT_Ni.mrc and so on, of some of its
    tilts; --spectra writes spectrum images in their place. The map at a tilt is displaced as its view is.

    SPECIMEN is one of particles (Ni, Co, Pt and 0.3 % Cr: core and shell, alloy, void, boundaries that dark
    field does not show), needle (Ni, Co, Pt and Cr in SiO2), film (Pd and Au on Ti, which fills the field at
    every tilt) and alloys (Fe, Co, Cu, Ag, Au and a little Ti). --size is the width of its volume.

    Projections are exact line integrals. Densities of --write-truth, in volumes as wide and high as the
    views, are in atoms of the first element in its pure phase; the sensitivities in the maps are counts of
    a voxel of density 1. The dark-field signal grows with Z^1.7. Spectra have the lines of the elements and
    of copper from the holder, bremsstrahlung, and the width of lines of a silicon detector of 130 eV; there
    is no absorption.
    """
    from etcli.core.simulate.spectral import SpectralDose
    from etcli.pipeline.simulate_spectral import SpectralRequest, simulate_spectral_files

    own = {name: chosen.pop(name) for name in SpectralDose.__dataclass_fields__}
    asked = SpectralRequest(**chosen, dose=SpectralDose(**own))
    simulate_spectral_files(settings.session, output, asked, request, size=size, pixel=pixel)
