"""``etcli fuse``: reconstruct elements together."""

from typing import Any

import click

from etcli.cli.options import (
    Settings,
    json_option,
    mode_option,
    output_argument,
    pass_settings,
    plot_option,
    subcommand,
)
from etcli.cli.types import FILE, LENGTH_A, THICKNESS
from etcli.core.lengths import Length


@subcommand(
    "fuse",
    example="etcli fuse --haadf haadf.mrc map_Ni.mrc map_Co.mrc volume.mrc\n"
    "etcli fuse --thickness auto --fractions --k-factors Ni=1.5,Co=1.45 map_Ni.mrc map_Co.mrc volume.mrc",
    references=(
        "Chambolle & Pock, J. Math. Imaging Vis. 40, 120 (2011): primal-dual method.",
        "Zhong et al., Ultramicroscopy 190, 11 (2018): total nuclear variation of elements and HAADF.",
        "Schwartz et al., Nat. Commun. 15, 3555 (2024): counts and HAADF in one reconstruction.",
        "Wright, The Tariff on Animal and Vegetable Oils (1928): instrumental variables.",
        "Cliff & Lorimer, J. Microsc. 103, 203 (1975): k-factors.",
    ),
)
@click.argument("inputs", metavar="MAP...", nargs=-1, required=True, type=FILE)
@output_argument
@click.option(
    "--haadf",
    type=FILE,
    metavar="FILE",
    help="HAADF series of the same area, aligned with the maps, at more tilts than these.",
)
@click.option(
    "--prior",
    type=click.Choice(["auto", "tv", "tnv"]),
    default="auto",
    show_default=True,
    help="tv: total variation of each element. tnv: total nuclear variation of all, which puts their edges "
    "at the same places; not for elements of less than 5 % of the counts. auto: what predicts better.",
)
@click.option(
    "--elements",
    metavar="LIST",
    callback=lambda ctx, param, value: tuple(value.split(",")) if value else (),
    help="Elements of the MAPs, as in Ni,Co.  [default: of the mdoc, else the ending of the "
    "name, as in map_Ni.mrc]",
)
@click.option("--fractions", is_flag=True, help="Also write atomic fractions, OUTPUT_Ni_fraction.")
@click.option(
    "--k-factors",
    metavar="Ni=K,...|FILE",
    help="Atoms per count of each element, up to a common factor, for the fractions: k-factors by weight "
    "over the atomic weight.  [default: one over the sensitivities in the mdocs]",
)
@click.option(
    "--thickness",
    type=THICKNESS,
    help="Extent along z, or auto: that of the specimen.  [default: the width of a view]",
)
@click.option("--width", type=LENGTH_A, help="Extent along x.  [default: the width of a view]")
@json_option
@plot_option
@mode_option
@pass_settings
def command(
    settings: Settings,
    /,
    prior: str,
    thickness: Length | str | None,
    width: Length | None,
    as_json: bool,
    **files: Any,
) -> None:
    """Reconstruct the volumes of several elements together, from maps of counts.

    The maps are aligned and hold counts as recorded or as decompose gives them: not smoothed, nothing
    subtracted. Each MAP gives a volume OUTPUT_Ni.mrc of counts a voxel; all of them appear, or none.

    Everything is chosen from the counts. A fifth of them is held out: weights, the joint prior and the tie to
    HAADF are kept only as far as they predict these counts better, by so many nats (1 nat: e times more
    probable). The gain of each view, from shadows and the beam, is found; so is the HAADF signal of each
    element, and with it whether HAADF shows something without a map, which is written as OUTPUT_rest.
    Parts of the maps that decompose writes beside them (map_Ni_train.mrc, map_Ni_test.mrc) are used.

    Elements of less than 5 % of the counts are uncertain and named. All slices are coupled, so there are no
    slabs to resume.
    """
    from etcli.pipeline.fuse import FusionFiles, fuse_files
    from etcli.pipeline.fusion_task import FusionRequest

    numbers = fuse_files(FusionFiles(**files), FusionRequest(prior, thickness, width), settings.session)
    if as_json:
        settings.console.data(numbers)
