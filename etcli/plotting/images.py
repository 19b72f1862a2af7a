"""Pictures of images: the maximum over a stack, a sinogram, two images side by side."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import UsageError
from etcli.plotting.look import GREY, Look
from etcli.plotting.style import (
    ORANGE,
    TALLEST_IN,
    USUAL,
    WIDTH_IN,
    Page,
    PixelScale,
    contrast,
    grey_levels,
    scale_bar,
    show,
    styled,
)
from etcli.plotting.ticks import fits, shortened, thin_ticks

Image = NDArray[Any]


def _figure(
    width: float,
    height: float,
    *,
    margins_in: tuple[float, float],
    pad_in: float = 0.04,
    page: Page = USUAL,
) -> Figure:
    """Create a figure for panels that together have the size ``width`` by ``height`` in any unit.

    The margins are the space for labels and colour bars, horizontally and vertically.
    """
    layout = ConstrainedLayoutEngine(compress=True, w_pad=pad_in, h_pad=pad_in, wspace=0, hspace=0)
    across, upwards = (page.text_scale * margin for margin in margins_in)
    width_in, tallest_in = page.width_in or WIDTH_IN, page.height_in or TALLEST_IN
    size = width_in, (width_in - across) * height / width + upwards
    if size[1] > tallest_in:
        size = (tallest_in - upwards) * width / height + across, tallest_in
    return page.figure(*size, layout=layout)


@styled
def maximum_projection(
    stack: Image,
    *,
    pixel_A: float | None = None,
    tilt_axis: tuple[float, float] | None = None,
    look: Look = GREY,
    page: Page = USUAL,
) -> Figure:
    """Draw the maximum over the sections of a stack.

    Parameters
    ----------
    stack : ndarray of shape (n, ny, nx)
        Views of a series, in which bright features leave their paths, or sections of a volume.
    pixel_A : float, optional
        Pixel size in Å; without it lengths are in pixels.
    tilt_axis : tuple of float, optional
        Angle from +y to the tilt axis, counter-clockwise in degrees, and its distance from the centre in
        pixels, to +x once the axis is vertical. It is drawn as a line.
    look : Look
        Colours and contrast.
    page : Page
        Size of the picture.

    Returns
    -------
    matplotlib.figure.Figure
        One image.
    """
    ny, nx = stack.shape[1:]
    scale = PixelScale.of(nx, pixel_A)
    image = np.max(stack, axis=0)
    figure = _figure(nx, ny, margins_in=(1.5, 0.65), page=page)
    axes = figure.add_subplot()
    drawn = show(
        axes, image, scale, limits=look.levels(image), labels=("x", "y"), cmap=look.colours, gamma=look.gamma
    )
    drawn.set_interpolation(look.interpolation)
    scale_bar(axes, nx, scale)
    if tilt_axis is not None:
        cos, sin = np.cos(np.deg2rad(tilt_axis[0])), np.sin(np.deg2rad(tilt_axis[0]))
        offset = tilt_axis[1] * scale.step
        axes.axline(
            (offset * cos, offset * sin),
            (offset * cos - sin, offset * sin + cos),
            color=ORANGE,
            linewidth=1,
            dashes=(6, 3),
            label="tilt axis",
        )
        axes.set_title(f"tilt axis at {tilt_axis[0]:.2f}°, {tilt_axis[1]:.2f} px off the centre")
    bar = figure.colorbar(drawn, ax=axes, label="maximum")
    thin_ticks(axes, bar.ax, page=page)
    return figure


@styled
def sinogram(
    row: Image,
    tilt_deg: ArrayLike,
    *,
    title: str = "",
    pixel_A: float | None = None,
    look: Look = GREY,
    page: Page = USUAL,
) -> Figure:
    """Draw one row of all views against the tilt angle.

    Parameters
    ----------
    row : ndarray of shape (n_views, nx)
        The same row of every view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees, any order and spacing; each view fills half the way to its neighbours.
    title : str
        Title, such as the number of the row.
    pixel_A : float, optional
        Pixel size in Å; without it lengths are in pixels.
    look : Look
        Colours and contrast.
    page : Page
        Size of the picture.

    Returns
    -------
    matplotlib.figure.Figure
        Position across the tilt axis to the right, tilt angle upwards.
    """
    angles = np.asarray(tilt_deg, np.float64)
    order = np.argsort(angles, kind="stable")
    angles = angles[order]
    steps = np.diff(angles) if angles.size > 1 else np.ones(1)
    edges = np.concatenate(
        [[angles[0] - steps[0] / 2], (angles[1:] + angles[:-1]) / 2, [angles[-1] + steps[-1] / 2]]
    )
    scale = PixelScale.of(row.shape[1], pixel_A)
    figure = page.figure(WIDTH_IN, 0.6 * (page.width_in or WIDTH_IN), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.pcolormesh(
        np.linspace(*scale.extent(row.shape[1]), row.shape[1] + 1),
        edges,
        row[order],
        cmap=look.cmap,
        rasterized=True,
        **grey_levels(look.levels(row), look.gamma),
    )
    axes.set(xlabel=f"x ({scale.unit})", ylabel="tilt angle (°)")
    axes.set_title(title, loc="left")
    bar = figure.colorbar(drawn, ax=axes, label="intensity")
    thin_ticks(axes, bar.ax, page=page)
    return figure


@styled
def side_by_side(
    first: Image,
    second: Image,
    *,
    titles: tuple[str, str] = ("before", "after"),
    title: str = "",
    pixel_A: float | None = None,
    difference: bool = False,
    cmap: str = "gray",
) -> Figure:
    """Draw two images of the same size side by side with the same contrast.

    Parameters
    ----------
    first, second : ndarray of shape (ny, nx)
        Images.
    titles : tuple of str
        Names of the images.
    title : str
        Title of both together.
    pixel_A : float, optional
        Pixel size in Å; without it lengths are in pixels.
    difference : bool
        Whether to draw the first minus the second as well.
    cmap : str
        Colour map of the images.

    Returns
    -------
    matplotlib.figure.Figure
        Two or three panels in a row.

    Raises
    ------
    UsageError
        When the shapes differ.
    """
    if first.shape != second.shape:
        raise UsageError(f"images of shapes {first.shape} and {second.shape} cannot be compared side by side")
    ny, nx = first.shape
    scale = PixelScale.of(nx, pixel_A)
    limits = contrast([first, second])
    n_panels = 3 if difference else 2
    figure = _figure(n_panels * nx, ny, margins_in=(0.8, 1.45 if title else 1.3))
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    panels = figure.subplots(1, n_panels, sharey=True)
    width_in = (figure.get_figwidth() - 0.8) / n_panels
    for index, (image, title) in enumerate(zip((first, second), titles, strict=True)):
        drawn = show(panels[index], image, scale, limits=limits, labels=("x", "y"), cmap=cmap)
        panels[index].set_title(shortened(title, width_in))
        panels[index].label_outer(remove_inner_ticks=True)
        scale_bar(panels[index], nx, scale)
    figure.colorbar(drawn, ax=panels[:2], orientation="horizontal", shrink=0.5, aspect=40, label="intensity")
    if difference:
        change = np.subtract(first, second, dtype=np.float64)
        limit = max(abs(level) for level in contrast(change))
        drawn = show(panels[2], change, scale, limits=(-limit, limit), labels=("x", "y"), cmap="RdBu_r")
        name = f"{titles[0]} − {titles[1]}"
        panels[2].set_title(name if fits(name, width_in) else "left − right")
        panels[2].label_outer(remove_inner_ticks=True)
        figure.colorbar(
            drawn, ax=panels[2], orientation="horizontal", shrink=0.9, aspect=36, label="difference"
        )
    return figure
