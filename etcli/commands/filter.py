"""``etcli filter``: denoise, or bring out edges."""

from typing import Any

import click

from etcli.cli.inputs import open_input
from etcli.cli.options import (
    Settings,
    input_argument,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import LENGTH_PX, Length


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
    type=click.Choice(["median", "gaussian", "sobel", "median-sobel", "bandpass", "tv", "nlm", "despike"]),
    default="median",
    show_default=True,
    help="What to do.",
)
@click.option("--size", type=LENGTH_PX, default="3", show_default=True, help="Kernel of median and despike.")
@click.option(
    "--sigma", type=LENGTH_PX, default="1", show_default=True, help="Standard deviation of gaussian."
)
@click.option("--low", type=LENGTH_PX, help="Longest period that bandpass keeps.")
@click.option("--high", type=LENGTH_PX, help="Shortest period that bandpass keeps.")
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
    dims: str,
    mode: int,
) -> None:
    """Denoise images or a volume, or bring out edges.

    bandpass keeps the periods from --high to --low; one of them alone makes a low- or a high-pass.
    despike replaces single pixels that stand out of their surroundings, such as X-ray hits. INPUT or
    OUTPUT may be - for a stream.
    """
    from functools import partial

    import numpy as np

    from etcli.core.filters import apply_filter
    from etcli.core.parallel import ordered_map
    from etcli.io.save import Step, series_writer, volume_writer

    stack = open_input(settings, input, stream=True)
    apply = partial(
        apply_filter,
        method=method,
        size=round(size.px(stack.pixel_A)),
        sigma_px=sigma.px(stack.pixel_A),
        low_px=low.px(stack.pixel_A) if low else None,
        high_px=high.px(stack.pixel_A) if high else None,
    )
    step = Step("filter", _summary(apply.keywords, dims))
    with settings.outputs() as outputs:
        if dims == "2":
            opened = series_writer(outputs, output, stack, step=step, mode=mode)
            images = ordered_map(lambda k: apply(stack.view(k)), range(len(stack)), threads=settings.threads)
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
            volume = np.stack([stack.view(z) for z in range(len(stack))])
            images = iter(apply(volume))
        with opened as writer:
            for k, image in enumerate(settings.console.track(images, len(stack), "filtering")):
                writer.write_section(k, image)


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
    return ", ".join(words)
