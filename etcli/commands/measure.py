"""``etcli measure``: numbers of the labels of a volume, with errors."""

from typing import Any

import click

from etcli.cli.options import (
    Settings,
    json_option,
    pass_settings,
    plot_option,
    subcommand,
    tilts_option,
)
from etcli.cli.pore_options import pore_options
from etcli.cli.types import FILE


@subcommand(
    "measure",
    example="etcli measure volume.mrc labels.mrc --csv particles.csv\n"
    "etcli measure --halves volume_odd.mrc volume_even.mrc --series aligned.mrc --csv particles.csv \\\n"
    "    --plot particles.png volume.mrc labels.mrc\n"
    "etcli measure --pores --envelope 12nm --thickness --csv solid.csv volume.mrc labels.mrc",
    references=(
        "Crofton, Phil. Trans. R. Soc. 158, 181 (1868): surfaces by counting of crossings.",
        "Lewiner et al., J. Graph. Tools 8, 1 (2003): marching cubes.",
        "Hildebrand and Rüegsegger, J. Microsc. 185, 67 (1997): local thickness.",
        "Cooper et al., SoftwareX 5, 203 (2016): tortuosity factor.",
        "Miles, in Stochastic Geometry, Wiley (1974) 202: bodies cut by the border.",
    ),
)
@click.argument("input", metavar="IN", type=FILE)
@click.argument("labels", metavar="LABELS", type=FILE)
@click.option("--csv", type=FILE, metavar="FILE", help="The table: a row for each label.")
@click.option(
    "--halves",
    type=FILE,
    nargs=2,
    metavar="ODD EVEN",
    help="The volumes of the odd and of the even views, as recon --half-sets writes them: the part of noise "
    "in the errors.",
)
@click.option(
    "--series",
    type=FILE,
    metavar="FILE",
    help="The views of the volume: densities by least squares of the projected labels.",
)
@tilts_option
@click.option("--roi", type=FILE, metavar="FILE", help="Mask: measure only what is above 0 in it.")
@pore_options
@json_option
@plot_option
@pass_settings
def command(
    settings: Settings,
    input: str,
    labels: str,
    csv: str | None,
    halves: tuple[str, str] | None,
    series: str | None,
    tilts: str | None,
    roi: str | None,
    as_json: bool,
    plot: str | None,
    pores: dict[str, Any],
) -> None:
    """Measure the labels of a volume: volumes, surfaces, axes, densities, distances, errors.

    LABELS has a whole number for each voxel, 0 for the background: what segment writes, or labels of another
    program. Numbers without a voxel are skipped. Positions are from the rotation centre; lengths are in nm,
    or in px where the pixel size is unknown.

    volume counts voxels. surface is that of the grey levels at the threshold of the label, with its
    neighbours set to the background; surface_crofton counts crossings of voxels. The flag is rough where they
    differ by more than 5 %, and threshold where the label does not end at its threshold, so that errors do
    not hold for it. sphericity is left out below 500 voxels, and the direction axis1_x to _z where the body
    is not elongated. density_core is the median in the core, by SIRT 14 to 25 % too low; density_lsq explains
    the views, to ± 5 % by SIRT and 7 % too high with total variation. Labels cut by the border or by the mask
    are marked with 1 in border and left out of means; their cut faces are no surface.

    sigma_volume is √(σ_half² + (S δ)²): half the difference of the half-sets, and a surface S that is wrong
    by δ = 0.08 voxels and 0.15 of the residual of register. δ was found in simulations of SIRT and FISTA; in
    sums it is common to all labels. Where a label does not end at half of its own contrast, as light and
    dense bodies with one threshold do, its error is widened by the difference. Volumes of SIRT that is tilted
    to less than 60° can be half too large, so their errors are left out.

    Of the other columns, eq_diameter is the diameter of the ball of equal volume; axis1 to axis3 are the full
    axes of the ellipsoid of equal second moments, and angle_z is that of the longest to z; threshold is the
    grey level at the surface; contacts are labels that touch it, nearest is the distance to the nearest
    centre and gap that to the nearest surface. Surfaces have no column of errors: 3 % with total variation, 6
    % without, and edges are rounded. --json has totals, then the columns as table and pore_table.

    Closed pores are joined to the outside by no path through voxel faces; each ends half way between its own
    grey level and that of the solid around it. Thickness is the diameter of the largest ball that fits. In
    the table of pores, kind is closed or open, and kind_changes is 1 where a threshold changed by 5 % of the
    contrast makes it the other. The porosity of open pores has no error without total variation, as
    the missing wedge makes such pores; pores have no tortuosity without --envelope or --roi.
    """
    from etcli.pipeline.measure_files import MeasureFiles, measure_files
    from etcli.pipeline.measure_words import in_words
    from etcli.pipeline.pore_request import PoreRequest

    thickness_out = pores.pop("thickness_out")
    files = MeasureFiles(input, labels, csv, halves, series, tilts, roi, plot, thickness_out)
    result = measure_files(settings.session, files, PoreRequest(**pores))
    if as_json:
        pores_too = {} if result.pore_columns is None else {"pore_table": result.pore_columns}
        settings.console.data(result.totals | {"table": result.columns} | pores_too)
    else:
        settings.console.text("\n".join(in_words(result)))
