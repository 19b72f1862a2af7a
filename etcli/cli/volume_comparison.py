"""Volumes and series held against each other, in numbers."""

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.inputs import open_input, whole
from etcli.cli.options import Settings
from etcli.cli.pictures import announce_picture
from etcli.cli.shells import curve, resolutions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etcli.core.quality import FSC
    from etcli.io.stack import Stack

METRICS = ("nrmse", "psnr", "ssim", "fsc")
PIXEL_TOLERANCE = 0.01


def compare_volumes(
    settings: Settings,
    a: str,
    b: str,
    *,
    metrics: tuple[str, ...],
    fit_scale: bool,
    as_json: bool,
    plot: str | None,
) -> None:
    """Compare two files of images of one size and print what was found.

    Parameters
    ----------
    settings : Settings
    a, b : str
        A file and its reference.
    metrics : tuple of str
        Those of `METRICS` asked for; none for all that there are.
    fit_scale : bool
        Bring A to the scale and level of B first.
    as_json : bool
        Print JSON, not a table.
    plot : str or None
        Picture to draw.
    """
    import numpy as np

    from etcli.core import quality
    from etcli.core.errors import DataError

    first, second = open_input(settings, a), open_input(settings, b)
    if first.shape != second.shape:
        sizes = [" x ".join(map(str, stack.shape[::-1])) for stack in (first, second)]
        raise DataError(f"{a}: {sizes[0]} cannot be compared with the {sizes[1]} of {b}; bin or crop one")
    pixel_A = _common_pixel_A(settings, first, second)
    chosen = metrics or (METRICS if second.tilts is None else METRICS[:-1])
    copies = 5 if "fsc" in chosen else 2  # their transforms, and room to make one
    reference, image = (whole(settings, stack, copies=copies) for stack in (second, first))
    with settings.outputs() as outputs:
        write_picture = announce_picture(outputs, plot) if plot else None
        found: dict[str, Any] = {}
        if fit_scale:
            scale, level = quality.fit_scale(image, reference)
            image *= np.float32(scale)
            image += np.float32(level)
            found |= {"scale": scale, "level": level}
        numbers, shells = _compared(settings, image, reference, chosen, pixel_A, strict=bool(metrics))
        found |= numbers
        if write_picture:
            names = PurePath(a).name, PurePath(b).name
            only = shells if chosen == ("fsc",) else None
            write_picture(_picture(image, reference, only, names, pixel_A))
        if as_json:
            settings.console.data(found | ({} if shells is None else curve(shells)))
        else:
            click.echo(
                "\n".join(
                    f"{name:<20} {'-' if value is None else f'{value:.6g}'}" for name, value in found.items()
                )
            )


def _compared(
    settings: Settings,
    image: "NDArray[Any]",
    reference: "NDArray[Any]",
    chosen: tuple[str, ...],
    pixel_A: float | None,
    *,
    strict: bool,
) -> tuple[dict[str, Any], "FSC | None"]:
    """Compute the metrics; where not strict, leave out those that cannot be computed, but for nrmse."""
    from etcli.core import quality
    from etcli.core.errors import DataError

    simple: dict[str, Callable[[Any, Any], float]] = {
        "nrmse": quality.nrmse,
        "psnr": quality.psnr,
        "ssim": quality.ssim,
    }
    found: dict[str, Any] = {}
    shells = None
    for name in sorted(chosen, key=METRICS.index):
        try:
            if name in simple:
                found[name] = simple[name](image, reference)
            else:
                at = slice(None) if len(image) > 1 else 0  # one image has rings
                shells = quality.fourier_shell_correlation(image[at], reference[at], pixel_A=pixel_A or 1.0)
                found |= resolutions(shells, pixel_A or 1.0)
        except DataError as error:
            if strict or name == "nrmse":
                raise
            settings.console.report(f"no {name}: {error}")
    return found, shells


def _common_pixel_A(settings: Settings, first: "Stack", second: "Stack") -> float | None:
    """Return the pixel size of the reference, or of the other where nobody says."""
    a, b = first.pixel_A or second.pixel_A, second.pixel_A or first.pixel_A
    if a and b and abs(a - b) > PIXEL_TOLERANCE * b:
        settings.console.warn(f"pixels of {a:g} Å are compared with pixels of {b:g} Å one by one")
    return b


def _picture(
    image: "NDArray[Any]",
    reference: "NDArray[Any]",
    shells: "FSC | None",
    names: tuple[str, str],
    pixel_A: float | None,
) -> Any:
    """Draw the Fourier shell correlation where it was asked for alone, else the middle sections."""
    from etcli.plotting.curves import fsc_curve
    from etcli.plotting.slices import side_by_side

    if shells is not None:
        cycles = shells.frequency_per_A * (pixel_A or 1.0)
        return fsc_curve(cycles, {f"{names[0]} against {names[1]}": shells.correlation}, pixel_A=pixel_A)
    middle = len(reference) // 2
    return side_by_side(
        image[middle],
        reference[middle],
        titles=names,
        title=f"section {middle + 1} of {len(reference)}",
        pixel_A=pixel_A,
        difference=True,
    )
