"""How large a volume is, and where it lies."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from etcli.cli.inputs import naming
from etcli.cli.options import Settings
from etcli.cli.types import Length

if TYPE_CHECKING:
    from etcli.core.geometry import SlabGeometry
    from etcli.io.line_integrals import LineIntegrals
    from etcli.io.stack import Stack

UPRIGHT_DEG = 2.0
SPREAD_ROWS = 16  # that tell the thickness
FEWEST_PX = 4  # whoever asks for less in Å has meant another unit


def slab_geometry(
    settings: Settings,
    stack: "Stack",
    thickness: Length | str | None,
    width: Length | None,
    axis_offset: Length,
    z_offset: Length,
) -> "SlabGeometry":
    """Return the geometry of the slices, and warn where the series is not ready for it."""
    from etcli.core.geometry import SlabGeometry

    if abs(stack.tilt_axis_deg or 0.0) > UPRIGHT_DEG:
        settings.console.warn(
            f"{stack.name}: the tilt axis is at {stack.tilt_axis_deg:g}° by its description, not vertical; "
            "use tiltalign first"
        )
    nx = stack.shape[2]
    return SlabGeometry(
        stack.tilt_deg,
        n_detector=nx,
        thickness=nx if isinstance(thickness, str) else _pixels(thickness, stack.pixel_A, nx, "--thickness"),
        width=_pixels(width, stack.pixel_A, nx, "--width"),
        axis_offset_px=axis_offset.px(stack.pixel_A),
        z_offset_px=z_offset.px(stack.pixel_A),
    )


def as_thick_as_needed(
    settings: Settings, integrals: "LineIntegrals", geometry: "SlabGeometry"
) -> "SlabGeometry":
    """Return the geometry with the thickness of the specimen."""
    from etcli.core.thickness import find_thickness

    with naming(integrals.stack):
        found = find_thickness(integrals.spread(SPREAD_ROWS), geometry)
    pixel_A = integrals.stack.pixel_A
    length = f" ({found * pixel_A:.4g} Å)" if pixel_A else ""
    settings.console.report(f"the specimen is within {found} px{length} along z")
    return replace(geometry, thickness=found)


def _pixels(length: Length | None, pixel_A: float | None, default: int, name: str) -> int:
    """Return an extent in whole pixels."""
    if length is None:
        return default
    n = round(length.px(pixel_A))
    if n < 1:
        raise click.UsageError(f"{name} {length.value:g}{length.unit} is less than a pixel; give more")
    if length.unit == "A" and n < FEWEST_PX:
        raise click.UsageError(
            f"{name} {length.value:g} Å is only {n} px; a bare number is Å, so write 80px or 80nm"
        )
    return n
