"""Options of ``etcli recon`` for phase-contrast images: microscope, propagation, scale of the intensities."""

import math

import click

from etcli.cli.lens_options import (
    aberration_options,
    aperture_option,
    binned_slices_option,
    voltage_option,
)
from etcli.cli.simulation_options import Option
from etcli.core.arguments import listed
from etcli.core.errors import UsageError
from etcli.core.solvers.methods import REFINED, methods_with

WORDS = ("mean", "mode", "none")
BY = listed(methods_with("kv"), "or")


def _refined(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Parse names separated by commas."""
    names = tuple(dict.fromkeys(filter(None, (value or "").replace(" ", "").split(","))))
    if value is not None and not names:
        raise UsageError(f"--refine '{value}' names nothing; give some of {', '.join(REFINED)}")
    for name in names:
        if name not in REFINED:
            raise UsageError(f"--refine '{name}' is not one of {', '.join(REFINED)}")
    return names


def _vacuum(ctx: click.Context, param: click.Parameter, value: str | None) -> float | str | None:
    """Parse a word or an intensity."""
    if value is None or value in WORDS:
        return value
    try:
        level = float(value)
    except ValueError:
        level = math.nan
    if not 0 < level < math.inf:
        raise UsageError(f"--vacuum '{value}' is not {', '.join(WORDS)} or an intensity above 0")
    return level


OPTICS_OPTIONS: tuple[Option, ...] = (
    voltage_option(BY, "that of the mdoc"),
    aperture_option(BY),
    *aberration_options(BY),
)
"""The microscope of phase-contrast images."""

MULTISLICE_OPTIONS: tuple[Option, ...] = (
    binned_slices_option(BY),
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help=f"{BY}: seed of the order in which the tilts are used.",
    ),
    click.option(
        "--refine",
        metavar="LIST",
        callback=_refined,
        help=f"{BY}: what to refine of every image during the reconstruction: {', '.join(REFINED)}, or "
        f"several of these, as in {','.join(REFINED[:2])}.",
    ),
    click.option(
        "--vacuum",
        metavar="|".join((*WORDS, "LEVEL")),
        callback=_vacuum,
        help=f"{BY}: intensity of the vacuum, by which the images are divided: the mean of the rim of each, "
        "its most frequent intensity, none (they are in units of it), or a level. Needed unless their mean "
        "is near 1.",
    ),
    click.option(
        "--hot-pixels",
        is_flag=True,
        help=f"{BY}: replace hot pixels by the median of their neighbours.",
    ),
)
"""How `multislice` works, and the scale of its images."""
