"""``etcli filter``: denoise, or bring out edges."""

from collections.abc import Iterable
from typing import Any

import click

from etcli.cli.inputs import open_input, whole
from etcli.cli.options import (
    Settings,
    check_options,
    input_argument,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import LENGTH_PX, Length
from etcli.core.errors import UsageError

# the methods that look at an option
BELONGS_TO = {
    "size": ("median", "median-sobel", "despike"),
    "sigma": ("gaussian",),
    "low": ("bandpass",),
    "high": ("bandpass",),
    "weight": ("tv", "nlm"),
    "threshold": ("despike",),
}
# arrays of the volume's size that the work takes at most, as measured
VOLUMES = {
    "median": 2,
    "gaussian": 2,
    "sobel": 4,
    "median-sobel": 5,
    "bandpass": 3,
    "tv": 8,
    "nlm": 9,
    "despike": 5,
}
WHOLE = 0.01  # pixels


@subcommand(
    "filter",
    example="etcli filter --method despike series.mrc clean.mrc\n"
    "etcli filter --method bandpass --low 60px --high 3px clean.mrc band.mrc",
    references=(
        "Rudin, Osher & Fatemi, Physica D 60, 259 (1992): total variation.",
        "Buades, Coll & Morel, CVPR 2, 60 (2005): non-local means.",
    ),
)
@input_argument
@output_or_stream_argument
@click.option(
    "--method",
    type=click.Choice(list(VOLUMES)),
    default="median",
    show_default=True,
    help="What to do.",
)
@click.option(
    "--size", type=LENGTH_PX, default="3", show_default=True, help="Kernel of median, median-sobel, despike."
)
@click.option(
    "--sigma", type=LENGTH_PX, default="1", show_default=True, help="Standard deviation of gaussian."
)
@click.option("--low", type=LENGTH_PX, help="Longest period that bandpass keeps.")
@click.option("--high", type=LENGTH_PX, help="Shortest period that bandpass keeps.")
@click.option(
    "--weight",
    type=click.FloatRange(0, min_open=True),
    help="Strength of tv and nlm in units of intensity.  [default: from the noise]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    default=8.0,
    show_default=True,
    help="Least deviation that despike replaces, in standard deviations.",
)
@click.option(
    "--dims", type=click.Choice(["2", "3"]), default="2", show_default=True, help="Each image, or a volume."
)
@mode_option
@pass_settings
def command(
    settings: Settings,
    input: str,
    output: str,
    method: str,
    size: Length,
    sigma: Length,
    low: Length | None,
    high: Length | None,
    weight: float | None,
    threshold: float,
    dims: str,
    mode: int,
) -> None:
    """Denoise images or a volume, or bring out edges.

    bandpass keeps the periods from --high to --low; one of them alone makes a low- or a high-pass.
    despike replaces single pixels that stand out of their surroundings, such as X-ray hits. INPUT or
    OUTPUT may be - for a stream.
    """
    from functools import partial

    from etcli.core.filters import apply_filter
    from etcli.core.parallel import ordered_map
    from etcli.io.save import Step, series_writer, volume_writer

    check_options(method, BELONGS_TO)
    stack = open_input(settings, input, stream=True)
    apply = partial(
        apply_filter,
        method=method,
        size=_kernel(size, stack.pixel_A),
        sigma_px=sigma.px(stack.pixel_A),
        low_px=low.px(stack.pixel_A) if low else None,
        high_px=high.px(stack.pixel_A) if high else None,
        weight=weight,
        threshold=threshold,
    )
    step = Step("filter", _summary(apply.keywords, dims))
    with settings.outputs() as outputs:
        if dims == "2":
            opened = series_writer(outputs, output, stack, step=step, mode=mode)
        else:
            opened = volume_writer(
                outputs,
                output,
                stack.shape,
                step=step,
                pixel_A=stack.pixel_A,
                labels=stack.labels,
                origin_A=stack.origin_A,
                mode=mode,
            )
        with opened as writer:
            if dims == "2":
                views = range(len(stack))
                images: Iterable[Any] = ordered_map(
                    lambda k: apply(stack.view(k)), views, threads=settings.threads
                )
            else:
                images = iter(apply(whole(settings, stack, copies=VOLUMES[method])))
            for k, image in enumerate(settings.console.track(images, len(stack), "filtering")):
                writer.write_section(k, image)


def _kernel(size: Length, pixel_A: float | None) -> int:
    """Return the width of a kernel in whole pixels."""
    px = size.px(pixel_A)
    if abs(px - round(px)) > WHOLE:
        raise UsageError(f"--size is {px:g} pixels; give a whole and odd number of them, such as 3px")
    return round(px)


def _summary(settings: dict[str, Any], dims: str) -> str:
    """Say what was done, with the settings that the method knows."""
    method = settings["method"]
    words = [f"{method} in {dims}-D"]
    if method in ("median", "median-sobel", "despike"):
        words.append(f"size {settings['size']} px")
    if method == "gaussian":
        words.append(f"sigma {settings['sigma_px']:.4g} px")
    if method == "bandpass":
        words += [
            f"{name} {settings[f'{name}_px']:.4g} px" for name in ("low", "high") if settings[f"{name}_px"]
        ]
    if method == "despike":
        words.append(f"threshold {settings['threshold']:.4g}")
    if settings["weight"]:
        words.append(f"weight {settings['weight']:.4g}")
    return ", ".join(words)
