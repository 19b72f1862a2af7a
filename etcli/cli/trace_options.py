"""Options of ``etcli trace-atoms``."""

import re
from functools import wraps
from typing import Any

import click

from etcli.cli.options import Decorated, add_options, option_name
from etcli.cli.types import LENGTH_A, WordOrLengthType

AUTO = "auto"
MOST_SPECIES = 4
AUTO_LENGTH = WordOrLengthType("A", "auto")


def _species(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...] | int | None:
    """Parse symbols, a number of species, or auto."""
    from etcli.core.elements import NUMBERS

    if value == AUTO:
        return None
    if re.fullmatch(r"\d+", value):
        if not 1 <= int(value) <= MOST_SPECIES:
            raise click.UsageError(f"--species {value}: 1 to {MOST_SPECIES} species can be told apart")
        return int(value)
    symbols = tuple(word.strip().capitalize() for word in value.split(","))
    for symbol in symbols:
        if symbol not in NUMBERS:
            raise click.UsageError(f"--species {value}: {symbol!r} is no element; write symbols, as in Si,O")
    if len(set(symbols)) < len(symbols) or len(symbols) > MOST_SPECIES:
        raise click.UsageError(f"--species {value}: name 1 to {MOST_SPECIES} different elements")
    # in dark field the heavier is the brighter
    return tuple(sorted(symbols, key=NUMBERS.__getitem__))


def _range(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, float]:
    """Parse two numbers, below and above 1."""
    try:
        low, high = (float(word) for word in value.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 < low < 1 < high:
        raise click.UsageError(f"{param.opts[0]} {value}: write two numbers about 1, as in 0.5,1.6")
    return low, high


OPTIONS = (
    click.option(
        "--species",
        callback=_species,
        default=AUTO,
        show_default=True,
        help="Elements to distinguish, as in Si,O (the heavier is the brighter); or how many; auto: as many "
        "as the intensities show.",
    ),
    click.option(
        "--min-distance",
        type=AUTO_LENGTH,
        default=AUTO,
        show_default=True,
        help="Least distance of atoms, shorter than the shortest bond; auto: 1.6 Å, or three quarters of the "
        "shortest bond between elements named in --species (by covalent radii) if that is less.",
    ),
    click.option(
        "--threshold",
        type=float,
        help="Least score of an atom, in the units of the volume.  [default: from the histogram of scores]",
    ),
    click.option("--expected", type=click.IntRange(1), help="Number of atoms: those with highest scores."),
    click.option(
        "--fit",
        type=click.Choice([AUTO, "gaussian", "shared", "elliptical", "polynomial"]),
        default=AUTO,
        show_default=True,
        help="Gaussians whose width is free, the same for all, or not the same along all axes; or, for the "
        "positions, a polynomial of fourth order; auto: gaussian, or shared for atoms of a standard "
        "deviation below 0.9 voxels.",
    ),
    click.option(
        "--detect",
        type=click.Choice(["peaks", "dog"]),
        default="peaks",
        show_default=True,
        help="Look for maxima of the smoothed volume, or of a difference of Gaussians.",
    ),
    click.option(
        "--sigma",
        type=LENGTH_A,
        default="0.5",
        show_default=True,
        help="Approximate standard deviation of an atom; the exact one is measured.",
    ),
    click.option(
        "--smooth",
        type=AUTO_LENGTH,
        default=AUTO,
        show_default=True,
        help="Standard deviation of the smoothing before the fit; auto: from the noise.",
    ),
    click.option(
        "--merge-distance",
        type=LENGTH_A,
        default="1.1",
        show_default=True,
        help="Maxima that are closer become one.",
    ),
    click.option(
        "--min-intensity",
        type=click.FloatRange(0, 1),
        default=0.05,
        show_default=True,
        help="Maxima weaker than this fraction of strong atoms are discarded.",
    ),
    click.option(
        "--width-range",
        callback=_range,
        default="0.5,1.6",
        show_default=True,
        help="Least and largest width of an atom, relative to the usual one.",
    ),
    click.option(
        "--min-neighbours",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Atoms with fewer neighbours within 6 Å are discarded; 19 for a solid (Yang et al.).",
    ),
    click.option(
        "--local-intensity",
        type=click.FloatRange(0, 1),
        default=0.25,
        show_default=True,
        help="Atoms weaker than this fraction of the mean of their species within 10 Å are discarded.",
    ),
    click.option(
        "--hold",
        type=AUTO_LENGTH,
        default=AUTO,
        show_default=True,
        help="With --refine: restraint of atoms to their positions in the volume, as a standard deviation; "
        "auto: the one that predicts left-out views best.",
    ),
    click.option(
        "--correct-depth",
        is_flag=True,
        help="Correct a drift of scores with depth before species are distinguished.",
    ),
)


def trace_options(function: Decorated) -> Decorated:
    """Add the options of tracing; they are passed to the function as a `TraceRequest`."""

    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        from etcli.pipeline.trace_request import TraceRequest

        own = {name: given.pop(name) for name in map(option_name, OPTIONS)}
        return function(*args, request=TraceRequest(**own), **given)

    return add_options(command, OPTIONS)  # type: ignore[return-value]
