"""``etcli xform``: apply transforms found elsewhere."""

from pathlib import Path

import click

from etcli.cli.inputs import open_input
from etcli.cli.options import (
    Settings,
    input_argument,
    mode_option,
    output_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import LENGTH_A, Length


@subcommand("xform", example="etcli xform --xf haadf.xf eds_iron.mrc eds_iron_aligned.mrc")
@input_argument
@output_argument
@click.option("--xf", required=True, metavar="FILE", help="Transforms in IMOD's form, one line a view.")
@click.option("--xf-pixel", type=LENGTH_A, help="Pixel size of the images on which they were found.")
@mode_option
@pass_settings
def command(settings: Settings, input: str, output: str, xf: str, xf_pixel: Length | None, mode: int) -> None:
    """Apply transforms to a series, by one cubic spline interpolation a view.

    The transforms are those of register and tiltalign --write-xf, or IMOD's: A11 A12 A21 A22 DX DY about
    the centre of the image. Found on one detector's series, they align another's; found on binned images,
    they are rescaled with --xf-pixel. What lies beyond a view is filled with the mean of its rim. INPUT or
    OUTPUT may be - for a stream.
    """
    from etcli.core.errors import DataError, UsageError
    from etcli.core.registration.transforms import resample_stack
    from etcli.io.save import Step, series_writer
    from etcli.io.transforms import read_xf

    stack = open_input(settings, input, stream=True)
    transforms = read_xf(Path(xf))
    if transforms.n_views != len(stack):
        raise DataError(f"{xf}: {transforms.n_views} transforms for the {len(stack)} views of {stack.name}")
    if xf_pixel:
        if stack.pixel_A is None:
            raise UsageError(f"{stack.name}: pixel size unknown, so --xf-pixel cannot be used")
        transforms = transforms.scaled(xf_pixel.angstrom(1.0) / stack.pixel_A)
    views = (stack.view(k) for k in range(len(stack)))
    moved = resample_stack(views, transforms, threads=settings.threads)
    with settings.outputs() as outputs:
        step = Step("xform", Path(xf).name)
        with series_writer(outputs, output, stack, step=step, mode=mode) as writer:
            for k, view in enumerate(settings.console.track(moved, len(stack), "transforming")):
                writer.write_section(k, view)
