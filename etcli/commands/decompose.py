"""``etcli decompose``: maps of elements or components from spectrum images of a tilt series."""

from typing import Any

import click

from etcli.cli.options import (
    Settings,
    json_option,
    output_argument,
    pass_settings,
    plot_option,
    subcommand,
    tilts_option,
)
from etcli.cli.types import FILE, AutoType


class ElementsType(click.ParamType[tuple[str, ...]]):
    """Elements such as ``Ni,Co``."""

    name = "elements"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split at commas."""
        return value if isinstance(value, tuple) else tuple(filter(None, str(value).split(",")))


ELEMENTS = ElementsType()


@subcommand(
    "decompose",
    example="etcli decompose --elements Ni,Co,Pt --plot spectra.png si.hspy maps.mrc\n"
    "etcli decompose --components auto --tilts angles.rawtlt si_*.emd maps.mrc",
    references=(
        "Elam, Ravel & Sieber, Radiat. Phys. Chem. 63, 121 (2002): X-ray lines.",
        "Silverman et al., J. R. Stat. Soc. B 52, 271 (1990): fit with smoothing (EMS).",
        "Keenan & Kotula, Surf. Interface Anal. 36, 203 (2004): scaling for a factorisation.",
    ),
)
@click.argument("inputs", metavar="SI...", type=FILE, nargs=-1, required=True)
@output_argument
@click.option(
    "--elements",
    type=ELEMENTS,
    metavar="Ni,Co,...",
    help="Elements to map; Ni_K for one family of lines.  [default: those that the sum of all spectra shows]",
)
@click.option(
    "--components",
    type=AutoType(int),
    metavar="auto|N",
    help="Find N components instead, or as many as predict held-out counts best.",
)
@click.option(
    "--method",
    type=click.Choice(["fit", "windows", "nmf", "nmf-scaled", "power-law"]),
    help="fit: known spectra. windows: lines minus windows beside them. nmf, nmf-scaled: factorisation. "
    "power-law: edges of energy losses.  [default: fit; nmf with --components; power-law for EELS]",
)
@click.option(
    "--strays",
    type=ELEMENTS,
    metavar="Cu,...",
    help="Other elements in the spectra, fitted but not written: these and no others.  "
    "[default: those that the sum shows]",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=True,
    show_default=True,
    help="Fit offset and gain of the energy axis and the width of lines to the sum.",
)
@click.option(
    "--energy-axis",
    "energy_keV",
    type=float,
    nargs=2,
    metavar="OFFSET STEP",
    help="Energy of channel 0 and width of a channel in keV, instead of those of the file.",
)
@click.option(
    "--kv", "beam_kV", type=float, metavar="KV", help="Accelerating voltage.  [default: the file's, else 200]"
)
@click.option(
    "--fwhm",
    "fwhm_eV",
    type=float,
    metavar="EV",
    help="Resolution at Mn Kα.  [default: the file's, else 130]",
)
@click.option(
    "--training",
    type=float,
    default=0.8,
    show_default=True,
    help="Share of the counts in the training part; the test part has the others.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of that choice.")
@tilts_option
@json_option
@plot_option
@pass_settings
def command(
    settings: Settings,
    /,
    inputs: tuple[str, ...],
    output: str,
    tilts: str | None,
    energy_keV: tuple[float, float] | None,
    plot: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Make maps of elements or components from spectrum images of a tilt series.

    SI is one file for all tilts, or one for each: hspy, EMD, DM3, DM4, or NPZ with counts (tilt, y, x,
    channel), energy_keV and tilt_deg. For OUT.mrc and elements Ni and Co the outputs are OUT_Ni.mrc and
    OUT_Co.mrc, OUT_sum.mrc with all counts, OUT_spectra.csv with the spectra, and of each map two parts,
    OUT_Ni_train.mrc and OUT_Ni_test.mrc: every count is in one of them at random, so that what a
    reconstruction of the one predicts can be compared with the other, as fuse does.

    The sum of all spectra is fitted first: energy axis, width of lines, the ratio of the families of an
    element, background, escape and sum peaks, and elements that nobody named. Then each pixel's counts are
    shared out among the spectra found. Values are expected counts, which may be fractional; the maps of a
    pixel, with the background, add up to its counts. The Sensitivity in the mdoc is the number of counts of
    an atom relative to the most visible element, from tables: good to a factor of 2 without k-factors.
    """
    from etcli.cli.map_table import map_table
    from etcli.pipeline.decompose_files import DecomposeFiles, decompose_files
    from etcli.pipeline.decompose_request import DecomposeRequest

    result = decompose_files(
        DecomposeFiles(inputs, output, tilts, energy_keV, plot), DecomposeRequest(**options), settings.session
    )
    if as_json:
        settings.console.data(result.numbers)
    else:
        settings.console.text("\n".join(map_table(result)))
