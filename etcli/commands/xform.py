"""``etcli xform``: apply transforms found elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcli.cli.inputs import open_input, open_transforms
from etcli.cli.options import (
    Settings,
    input_argument,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.resampling import write_resampled
from etcli.cli.types import FILE, LENGTH_A, Length

if TYPE_CHECKING:
    from etcli.core.registration.transforms import Transforms
    from etcli.io.stack import Stack


@subcommand("xform", example="etcli xform --xf haadf.xf eds_iron.mrc eds_iron_aligned.mrc")
@input_argument
@output_or_stream_argument
@click.option("--xf", type=FILE, required=True, metavar="FILE", help="Transforms as IMOD's, one line a view.")
@click.option("--xf-pixel", type=LENGTH_A, help="Pixel size of the images on which they were found.")
@mode_option
@pass_settings
def command(settings: Settings, input: str, output: str, xf: str, xf_pixel: Length | None, mode: int) -> None:
    """Apply transforms found elsewhere to a series.

    The transforms are those of register and tiltalign --write-xf, or IMOD's: A11 A12 A21 A22 DX DY about
    the centre of the image. One cubic spline interpolation a view applies them. Found on one detector's
    series, they align another's; found on binned images, they are rescaled with --xf-pixel. What lies
    beyond a view is filled with the median of its rim. INPUT or OUTPUT may be - for a stream.
    """
    from etcli.core.errors import UsageError
    from etcli.io.save import Step, series_writer

    stack = open_input(settings, input, stream=True)
    transforms = open_transforms(settings, xf, stack)
    if xf_pixel:
        if stack.pixel_A is None:
            raise UsageError(f"{stack.name}: pixel size unknown, so --xf-pixel cannot be used")
        transforms = transforms.scaled(xf_pixel.angstrom(1.0) / stack.pixel_A)
    with settings.outputs() as outputs:
        step = Step("xform", Path(xf).name)
        axis_deg = _turned_axis(stack, transforms)
        with series_writer(outputs, output, stack, step=step, axis_deg=axis_deg, mode=mode) as writer:
            write_resampled(settings, writer, stack, transforms, what="transforming")


def _turned_axis(stack: "Stack", transforms: "Transforms") -> float | None:
    """Return the angle of the tilt axis after the transforms, None where it is unknown or not turned."""
    import numpy as np

    axis_deg = stack.tilt_axis_deg
    matrix = transforms.matrix.mean(axis=0)
    if axis_deg is None or np.allclose(matrix, np.eye(2), rtol=0, atol=1e-6):
        return None
    x, y = matrix @ (-np.sin(np.deg2rad(axis_deg)), np.cos(np.deg2rad(axis_deg)))
    return float(np.rad2deg(np.arctan2(-x, y)))
