"""``etcli entropy``: rank the views of a tilt series by the entropy of their projections."""

from typing import Any

import click

from etcli.cli.options import (
    Settings,
    background_option,
    json_option,
    mode_option,
    pass_settings,
    plot_option,
    subcommand,
    tilts_option,
)
from etcli.cli.types import FILE, TOTAL


@subcommand(
    "entropy",
    example="etcli entropy --csv entropy.csv --plot entropy.png aligned.mrc\n"
    "etcli entropy --gain 12.5 --select 12 --spread 5 --output best.mrc aligned.mrc",
    references=("Collins et al., Phys. Rev. Lett. 119, 166101 (2017).",),
)
@click.argument("input", metavar="SERIES", type=FILE)
@click.option(
    "--by",
    type=click.Choice(["alone", "joint"]),
    default="alone",
    show_default=True,
    help="Entropy to rank by: that of the view, or that given its partner at 90°.",
)
@click.option("--select", type=click.IntRange(1), metavar="K", help="Choose the K views of lowest entropy.")
@click.option(
    "--spread",
    "spread_deg",
    type=click.FloatRange(0, 90),
    default=0.0,
    metavar="DEGREES",
    help="Least difference of the tilt angles of two chosen views.",
)
@click.option("--drop", is_flag=True, help="Write the views that are not among those K.")
@click.option("--output", type=FILE, metavar="FILE", help="The chosen views as a new series with its mdoc.")
@click.option("--csv", type=FILE, metavar="FILE", help="The table: entropies in nats, one row per view.")
@click.option(
    "--form",
    type=click.Choice(["gamma", "stirling"]),
    default="gamma",
    show_default=True,
    help="gamma: the exact number of arrangements. stirling: equation (1) of the paper.",
)
@click.option(
    "--as-counts",
    is_flag=True,
    help="Values are counts: subtract no background, and scale nothing.",
)
@click.option(
    "--gain",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Value that one electron adds to a pixel.",
)
@click.option(
    "--total",
    type=TOTAL,
    default="median",
    show_default=True,
    help="Counts to which every view is scaled: median (that of all views), none, or a number.",
)
@click.option(
    "-b",
    "--bin",
    "factor",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Sum the counts of so many pixels along each edge, as a coarser detector would.",
)
@click.option(
    "--voxels", "n_voxels", type=click.IntRange(2), help="Voxels along a ray.  [default: columns of a view]"
)
@click.option("--mask", type=FILE, metavar="FILE", help="Image that is zero where there is no specimen.")
@click.option(
    "--tolerance",
    "tolerance_deg",
    type=click.FloatRange(0, 45),
    default=1.5,
    show_default=True,
    metavar="DEGREES",
    help="Largest deviation of a partner from 90°.",
)
@click.option(
    "--interpolate",
    is_flag=True,
    help="Interpolate the partner to exactly 90° between the two views next to it.",
)
@click.option(
    "--row-maximum",
    "percentile",
    type=float,
    default=100.0,
    show_default=True,
    metavar="PERCENTILE",
    help="Percentile of a partner's row that counts as its maximum; below 100 for hot pixels.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Draw N images of each view with Poisson noise for the standard deviations.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@background_option
@tilts_option
@json_option
@plot_option
@mode_option
@pass_settings
def command(
    settings: Settings,
    /,
    select: int | None,
    spread_deg: float,
    drop: bool,
    as_json: bool,
    input: str,
    output: str | None,
    tilts: str | None,
    mask: str | None,
    csv: str | None,
    plot: str | None,
    mode: int,
    **options: Any,
) -> None:
    """Rank the views of a tilt series by the entropy of their projections.

    The entropy is the logarithm of the number of ways to spread the counts of an image along its rays; a
    view of low entropy says much about the specimen. It finds zone axes where atomic columns are resolved:
    at 0.2 nm only the densest ones stand out, and the joint entropy is a little clearer. Entropies depend on
    counts, pixel size and voxels along a ray, so compare them within one series only, unless all of these
    are equal.
    """
    from etcli.cli.entropy_table import entropy_table
    from etcli.pipeline.entropy import EntropyFiles, EntropyRequest, ViewChoice, entropy_files

    ranking = entropy_files(
        EntropyFiles(input, output, tilts, mask, csv, plot, mode),
        EntropyRequest(**options),
        settings.session,
        choice=ViewChoice(select, spread_deg, drop) if select else None,
    )
    if as_json:
        settings.console.data(ranking.numbers)
    else:
        settings.console.text("\n".join(entropy_table(ranking)))
