"""Options of simulated element maps and spectrum images."""

from typing import Any

import click

from etcli.cli.options import Decorated, add_options
from etcli.cli.types import FILE, LENGTH_PX


def _elements(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Split a list of elements."""
    return None if value is None else tuple(word.strip() for word in value.split(","))


_SPECTRA: tuple[Any, ...] = (
    click.option(
        "--maps-range",
        "map_angles",
        nargs=3,
        type=float,
        metavar="A B STEP",
        help="Tilt angles of the maps, all of them of --range.  [default: every third, with the least]",
    ),
    click.option(
        "--maps",
        metavar="EL,...",
        callback=_elements,
        help="Elements whose maps are written.  [default: all]",
    ),
    click.option(
        "--spectra", type=FILE, metavar="FILE", help="Write spectrum images (.npz or .hspy) in place of maps."
    ),
    click.option(
        "--channels",
        type=click.IntRange(8, 16384),
        default=256,
        show_default=True,
        help="Channels of the X-ray detector.",
    ),
    click.option(
        "--channel-width",
        "channel_eV",
        type=click.FloatRange(1),
        default=40.0,
        show_default=True,
        help="Their width in eV.",
    ),
    click.option(
        "--margin",
        type=LENGTH_PX,
        default="0",
        help="What the views show beyond the volume, on each side: room for displacements.",
    ),
)
_DOSE: tuple[Any, ...] = (
    click.option(
        "--counts",
        type=click.FloatRange(0, min_open=True),
        default=0.2,
        show_default=True,
        help="X-ray counts of a voxel of the first element in each view, in all its lines.",
    ),
    click.option(
        "--haadf-counts",
        type=click.FloatRange(0, min_open=True),
        default=50.0,
        show_default=True,
        help="Its counts in dark field.",
    ),
    click.option(
        "--haadf-noise",
        type=click.FloatRange(0),
        default=5.0,
        show_default=True,
        help="Standard deviation of the noise of the dark-field detector, in counts.",
    ),
    click.option(
        "--stray",
        type=click.FloatRange(0),
        default=0.3,
        show_default=True,
        help="Counts of copper in every pixel of --spectra, relative to --counts.",
    ),
    click.option(
        "--shadow",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        help="Part of the X-rays that the holder hides at the lowest tilt, receding over 40°.",
    ),
    click.option(
        "--gain-spread",
        type=click.FloatRange(0),
        default=0.0,
        help="Relative standard deviation of beam current times live time, from map to map.",
    ),
    click.option("--no-noise", "noise", flag_value=False, default=True, help="Write the expected counts."),
)


def spectrum_options(function: Decorated) -> Decorated:
    """Add the options of what is recorded: maps or spectra, at which tilts, of which field."""
    return add_options(function, _SPECTRA)


def dose_options(function: Decorated) -> Decorated:
    """Add the options of the number of counts."""
    return add_options(function, _DOSE)
