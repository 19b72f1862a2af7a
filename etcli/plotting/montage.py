"""Montage of views or sections."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.plotting.look import GREY, Look
from etcli.plotting.style import (
    TALLEST_IN,
    USUAL,
    WIDTH_IN,
    Page,
    PixelScale,
    outlined,
    scale_bar,
    show,
    styled,
)

PANELS, NARROW_PANELS = (12, 20), (6, 12)
"""Least and largest number of panels that are chosen out of many, and those on a narrow page."""
GAP_IN = 0.03
TEXT, SMALLEST_PT = 0.11, 4.5
"""Largest text relative to the width of a panel, and the smallest in points."""
ASPECT, EMPTY = 1.4, 4.0
"""Ratio of width and height that a montage should have, and the cost of the share of places left empty."""


def thinned(n: int, aspect: float, page: Page = USUAL) -> list[int]:
    """Choose evenly spaced panels, the first and the last among them, that fill a grid.

    Parameters
    ----------
    n : int
        Number of images; up to 20 are all shown, 12 on a narrow page.
    aspect : float
        Width of an image divided by its height.
    page : Page
        Size of the picture.

    Returns
    -------
    list of int
        Indices, counted from 0, rising.
    """
    least, most = NARROW_PANELS if page.is_narrow else PANELS
    if n <= most:
        return list(range(n))

    def cost(count: int) -> float:
        columns, rows = _grid(count, aspect)
        uneven = (n - 1) % (count - 1) > 0
        return 9 * (columns * rows - count) + _elongation(columns, rows, aspect) - 0.07 * count + 0.2 * uneven

    count = min(range(least, most + 1), key=cost)
    chosen: list[int] = np.linspace(0, n - 1, count).round().astype(int).tolist()
    return chosen


@styled
def montage(
    stack: NDArray[Any],
    *,
    indices: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    pixel_A: float | None = None,
    look: Look = GREY,
    page: Page = USUAL,
) -> Figure:
    """Draw several sections of a stack with the same contrast.

    Parameters
    ----------
    stack : ndarray of shape (n, ny, nx)
        Views of a series or sections of a volume.
    indices : sequence of int, optional
        Sections to draw; by default up to 20, evenly spaced.
    labels : sequence of str, optional
        Text in each panel; by default the number of the section, from 1.
    pixel_A : float, optional
        Pixel size in Å, for a scale bar.
    look : Look
        Colours and contrast.
    page : Page
        Size of the picture.

    Returns
    -------
    matplotlib.figure.Figure
        Panels row by row from the top. Places of the grid that stay empty have the colour of black.

    Raises
    ------
    UsageError
        When there is nothing to draw, or the number of labels differs.
    """
    ny, nx = stack.shape[1:]
    indices = thinned(len(stack), nx / ny, page) if indices is None else indices
    labels = [str(index + 1) for index in indices] if labels is None else labels
    if not indices or len(labels) != len(indices):
        raise UsageError(f"a montage of {len(indices)} sections cannot have {len(labels)} labels")
    scale = PixelScale.of(nx, pixel_A)
    step = max(1, len(indices) * ny * nx // 1_000_000)
    limits = look.levels([stack[index].reshape(-1)[::step] for index in indices])
    columns, rows = _grid(len(indices), nx / ny)
    figure, boxes = _panels(columns, rows, ny / nx, page)
    text_in = boxes[0][2] * figure.get_figwidth() * TEXT
    size_pt = float(np.clip(72 * text_in, SMALLEST_PT, rcParams["font.size"]))
    for place, box in enumerate(boxes):
        axes = figure.add_axes(box)
        if place >= len(indices):
            axes.set(xticks=[], yticks=[], facecolor=look.colours(0.0))
            axes.spines[:].set_visible(False)
            continue
        drawn = show(axes, stack[indices[place]], scale, limits=limits, cmap=look.colours, gamma=look.gamma)
        drawn.set_interpolation(look.interpolation)
        label = labels[place]
        axes.text(
            0.03,
            0.97,
            label,
            transform=axes.transAxes,
            color="white",
            va="top",
            path_effects=outlined(),
            size=size_pt,
        )
        if place == 0:
            scale_bar(axes, nx, scale, size_pt=size_pt)
    return figure


def _elongation(columns: int, rows: int, aspect: float) -> float:
    """Return how far the aspect of a grid is from the desired one: the absolute logarithm of their ratio."""
    return float(abs(np.log(columns * aspect / rows / ASPECT)))


def _grid(n: int, aspect: float) -> tuple[int, int]:
    """Return the numbers of columns and rows for ``n`` panels, with few empty places and a good aspect."""

    def cost(columns: int) -> float:
        rows = -(-n // columns)
        return _elongation(columns, rows, aspect) + EMPTY * (columns * rows - n) / n

    columns = min(range(1, n + 1), key=cost)
    return columns, -(-n // columns)


def _panels(
    columns: int, rows: int, height_to_width: float, page: Page
) -> tuple[Figure, list[tuple[float, float, float, float]]]:
    """Create the figure; return it with the boxes of the panels, row by row from the top."""
    width_in, tallest_in = page.width_in or WIDTH_IN, page.height_in or TALLEST_IN
    across = min(
        (width_in - GAP_IN * (columns - 1)) / columns,
        (tallest_in - GAP_IN * (rows - 1)) / rows / height_to_width,
    )
    up = across * height_to_width
    content_in = columns * (across + GAP_IN) - GAP_IN, rows * (up + GAP_IN) - GAP_IN
    figure = page.figure(*content_in)
    total_in = figure.get_size_inches()
    left, top = (total_in[0] - content_in[0]) / 2, (total_in[1] + content_in[1]) / 2
    boxes = [
        (
            (left + column * (across + GAP_IN)) / total_in[0],
            (top - up - row * (up + GAP_IN)) / total_in[1],
            across / total_in[0],
            up / total_in[1],
        )
        for row in range(rows)
        for column in range(columns)
    ]
    return figure, boxes
