"""Key beside the slices of a volume: how large it is, how often its values occur, and their greys."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from etcli.plotting.look import Look
from etcli.plotting.style import GREY
from etcli.plotting.ticks import fits, set_ticks_inside

BAR_IN, GAP_IN, INSET_IN = 0.12, 0.05, 0.15
LINE = 1.45
"""Distance of two lines of text relative to its size."""
LEAST_HISTOGRAM_IN = 0.35
MOST_SIDE_IN = 3.0
BINS = 128


def draw_key(
    figure: Figure,
    corner_in: tuple[float, float],
    side_in: float,
    *,
    drawn: Any,
    images: Sequence[NDArray[Any]],
    look: Look,
    limits: tuple[float, float],
    quantity: str,
    lines: Sequence[str],
) -> None:
    """Draw lines of text, the histogram of the values shown, and below it the colour bar, in a square.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    corner_in : (float, float)
        Lower left corner of the square in inches; labels of the colour bar are below it.
    side_in : float
        Side of the square in inches; at most 3 inches of it are used.
    drawn : matplotlib.image.AxesImage
        One of the images.
    images : sequence of ndarray
        Values shown.
    look : Look
        Colours.
    limits : (float, float)
        Values shown as black and white.
    quantity : str
        What the values are.
    lines : sequence of str
        Text; lines that are too wide are left out.
    """
    side_in = min(side_in, MOST_SIDE_IN)
    size, width_in = figure.get_size_inches(), side_in - 2 * INSET_IN
    left, bottom = corner_in[0] + INSET_IN, corner_in[1]

    def box(up_in: float, height_in: float) -> tuple[float, float, float, float]:
        return left / size[0], (bottom + up_in) / size[1], width_in / size[0], height_in / size[1]

    bar = figure.add_axes(box(0, BAR_IN))
    figure.colorbar(drawn, cax=bar, orientation="horizontal", label=quantity)
    set_ticks_inside(bar, "x", width_in, gamma=look.gamma)
    line_in = LINE * float(rcParams["axes.titlesize"]) / 72
    shown = [line for line in lines if fits(line, width_in)]
    if BAR_IN + GAP_IN + len(shown) * line_in > side_in:
        shown = []
    words = figure.add_axes(box(0, side_in), frame_on=False, xticks=[], yticks=[])
    for k, line in enumerate(shown):
        words.text(0, 1 - k * line_in / side_in, line, va="top", transform=words.transAxes)
    height_in = side_in - BAR_IN - GAP_IN - (len(shown) + 1) * line_in
    if height_in < LEAST_HISTOGRAM_IN:
        return
    _draw_histogram(figure.add_axes(box(BAR_IN + GAP_IN, height_in)), images, limits, look.gamma)


def _draw_histogram(
    axes: Axes, images: Sequence[NDArray[Any]], limits: tuple[float, float], gamma: float
) -> None:
    """Draw how often each grey occurs, on a logarithmic scale without numbers, above its place in the bar."""
    values = np.concatenate([image[np.isfinite(image)].ravel() for image in images])
    level = ((values - limits[0]) / (limits[1] - limits[0])).clip(0, 1) ** gamma
    counts, edges = np.histogram(level, BINS, (0, 1))
    axes.stairs(counts, edges, fill=True, color=GREY, alpha=0.6)
    rarest = counts[counts > 0].min(initial=counts.max(initial=1))
    axes.set(xlim=(0, 1), yscale="log", ylim=(rarest / 2, 1.5 * counts.max(initial=1)))
    axes.set(xticks=[], yticks=[])
    axes.minorticks_off()
    axes.spines[:].set_visible(False)
