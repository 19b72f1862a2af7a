"""Options of ``etcli entropy``, apart for series and for plans."""

import click

from etcli.cli.options import (
    Decorated,
    add_options,
    background_option,
    mode_option,
    option_name,
    reject_options,
    tilts_option,
)
from etcli.cli.simulation_options import ATOMS, Option, pixel_option
from etcli.cli.types import FILE, TOTAL
from etcli.core.errors import UsageError

SERIES: tuple[Option, ...] = (
    click.option(
        "--by",
        type=click.Choice(["alone", "joint"]),
        default="alone",
        show_default=True,
        help="Entropy to rank by: that of the view, or that given its partner at 90°.",
    ),
    click.option(
        "--spread",
        "spread_deg",
        type=click.FloatRange(0, 90),
        default=0.0,
        metavar="DEGREES",
        help="Least difference of the tilt angles of two chosen views.",
    ),
    click.option("--drop", is_flag=True, help="Write the views that are not among those K."),
    click.option(
        "--as-counts",
        is_flag=True,
        help="Values are counts: subtract no background, and scale nothing.",
    ),
    click.option(
        "--gain",
        type=click.FloatRange(0, min_open=True),
        default=1.0,
        show_default=True,
        help="Value that one electron adds to a pixel.",
    ),
    click.option(
        "--total",
        type=TOTAL,
        default="median",
        show_default=True,
        help="Counts to which every view is scaled: median (that of all views), none, or a number.",
    ),
    click.option(
        "-b",
        "--bin",
        "factor",
        type=click.IntRange(1, 1 << 20),
        default=1,
        show_default=True,
        help="Sum the counts of so many pixels along each edge, as a coarser detector would.",
    ),
    click.option("--mask", type=FILE, metavar="FILE", help="Image that is zero where there is no specimen."),
    click.option(
        "--tolerance",
        "tolerance_deg",
        type=click.FloatRange(0, 45),
        default=1.5,
        show_default=True,
        metavar="DEGREES",
        help="Largest deviation of a partner from 90°.",
    ),
    click.option(
        "--interpolate",
        is_flag=True,
        help="Interpolate the partner to exactly 90° between the two views next to it.",
    ),
    click.option(
        "--row-maximum",
        "percentile",
        type=float,
        default=100.0,
        show_default=True,
        metavar="PERCENTILE",
        help="Percentile of a partner's row that counts as its maximum; below 100 for hot pixels.",
    ),
    click.option(
        "--bootstrap",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        metavar="N",
        help="Draw N images of each view with Poisson noise for the standard deviations.",
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap."
    ),
    background_option,
    tilts_option,
    mode_option,
)
"""Options that rank the views of a series."""
PLAN: tuple[Option, ...] = (
    click.option(
        "--range",
        "angles",
        nargs=2,
        type=float,
        default=(-70.0, 70.0),
        show_default=True,
        metavar="A B",
        help="Tilt angles that the holder reaches.",
    ),
    click.option(
        "--step",
        "step_deg",
        type=click.FloatRange(0, 30, min_open=True),
        default=1.0,
        show_default=True,
        metavar="DEGREES",
        help="Distance of the tilt angles to choose from.",
    ),
    *ATOMS,
    click.option(
        "--counts",
        type=click.FloatRange(0, min_open=True),
        default=1e6,
        show_default=True,
        help="Sum of the counts of a view.",
    ),
    pixel_option("0.405A"),
    click.option(
        "--size", type=click.IntRange(16), help="Pixels along each side of a view.  [default: as needed]"
    ),
)
"""Options that plan a series."""
OF_SERIES, OF_PLAN = ([option_name(option) for option in options] for options in (SERIES, PLAN))
"""Names of their parameters."""


def entropy_options(function: Decorated) -> Decorated:
    """Add the options for series, then those for plans."""
    return add_options(function, (*SERIES, *PLAN))


def check_kind(series: str | None, plan: str | None, select: int | None) -> None:
    """Check that a series or a plan is asked for, with options of its own; raise UsageError otherwise."""
    if (series is None) == (plan is None):
        raise UsageError("give a SERIES to rank its views, or --plan MODEL to plan one")
    reject_options(*((OF_SERIES, "a SERIES") if plan else (OF_PLAN, "--plan")))
    if select is None:
        reject_options(("spread_deg", "drop", "mode"), "the views of --select")
