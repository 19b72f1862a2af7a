"""Diagnostic picture of a segmentation: outlines and labels on slices, and volume against threshold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from etcli.core.surfaces.label_colours import label_colours
from etcli.plotting.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    WIDTH_IN,
    PixelScale,
    contrast,
    show,
    styled,
)

Image = NDArray[Any]

COLOURS = (ORANGE, "#56B4E9", GREEN, "#F0E442", BLUE, RED, "#CC79A7")  # Okabe & Ito, as in style
OPACITY = 0.6
CURVE_IN, GAP_IN, MOST_POINTS = 2.4, 0.9, 400


@styled
def segmentation_picture(
    volume: Image,
    labels: Image,
    *,
    pixel_A: float | None = None,
    used: Sequence[float] = (),
    rules: Mapping[str, float] | None = None,
    below: bool = False,
) -> Figure:
    """Draw outlines and labels on three slices, and the volume as a function of the threshold.

    Parameters
    ----------
    volume, labels : ndarray of shape (nz, ny, nx)
    pixel_A : float, optional
        Voxel size in Å; without it lengths are in pixels.
    used : sequence of float
        The thresholds that were used.
    rules : mapping of str to float, optional
        Thresholds by the rules there are, to be marked on the curve.
    below : bool
        Whether labels are what lies below the threshold.

    Returns
    -------
    matplotlib.figure.Figure
    """
    nz, ny, nx = volume.shape
    at = _busiest(labels)
    scale = PixelScale.of(nx, pixel_A)
    limits = contrast(volume)
    height = (WIDTH_IN - 1.5) / (2 * nx + nz) * max(ny, nz) + GAP_IN
    figure = Figure(figsize=(WIDTH_IN, 2 * height + CURVE_IN), layout="constrained")
    grid = figure.add_gridspec(3, 3, width_ratios=[nx, nx, nz], height_ratios=[height, height, CURVE_IN])
    z, y, x = at
    titles = f"X–Y, z {z + 1}", f"X–Z, y {y + 1}", f"Z–Y, x {x + 1}"
    directions = ("x", "y"), ("x", "z"), ("z", "y")
    for column, (image, names, title, axes) in enumerate(
        zip(_slices(volume, at), _slices(labels, at), titles, directions, strict=True)
    ):
        upper, lower = (figure.add_subplot(grid[row, column]) for row in (0, 1))
        show(upper, image, scale, limits=limits, labels=axes)
        upper.add_collection(LineCollection(_outlines(names, scale), colors=ORANGE, linewidths=0.7))
        upper.set_title(title, loc="left")
        drawn = show(lower, image, scale, limits=limits)
        lower.imshow(_coloured(names), extent=drawn.get_extent())
    _draw_curve(figure.add_subplot(grid[2, :]), volume, scale, used, rules or {}, below)
    return figure


def _busiest(labels: Image) -> tuple[int, int, int]:
    """Return the slice along each axis that shows most of the labels."""
    solid = labels > 0
    z, y, x = (
        int(np.argmax(solid.sum(axis=tuple(other for other in range(3) if other != axis))))
        for axis in range(3)
    )
    return z, y, x


def _slices(volume: Image, at: tuple[int, int, int]) -> tuple[Image, Image, Image]:
    """Return the slices X–Y, X–Z and Z–Y through a point (z, y, x)."""
    z, y, x = at
    return np.asarray(volume[z]), np.asarray(volume[:, y]), np.asarray(volume[:, :, x].T)


def _outlines(names: Image, scale: PixelScale) -> list[list[tuple[float, float]]]:
    """Return the sides of pixels at which one label ends, in the coordinates of `show`."""
    ny, nx = names.shape
    (left, _), (bottom, _) = scale.extent(nx), scale.extent(ny)
    sides = []
    for i, j in np.argwhere(names[:, 1:] != names[:, :-1]):
        sides.append([(j + 1, i), (j + 1, i + 1)])
    for i, j in np.argwhere(names[1:] != names[:-1]):
        sides.append([(j, i + 1), (j + 1, i + 1)])
    return [[(left + u * scale.step, bottom + v * scale.step) for u, v in side] for side in sides]


def _coloured(names: Image) -> Image:
    """Return a picture of labels in colours, transparent where there is none."""
    colours = np.zeros((*names.shape, 4))
    colours[..., :3] = label_colours(names.astype(np.int64))
    colours[..., 3] = OPACITY * (names > 0)
    return colours


def _draw_curve(
    axes: Axes,
    volume: Image,
    scale: PixelScale,
    used: Sequence[float],
    rules: Mapping[str, float],
    below: bool,
) -> None:
    """Draw the volume on one side of a threshold against the threshold, with the marks of the rules."""
    values = np.sort(np.asarray(volume).ravel()[:: max(volume.size // 1_000_000, 1)])
    levels = np.linspace(values[0], values[-1], MOST_POINTS)
    share = np.searchsorted(values, levels, side="right") / len(values)
    share = share if below else 1 - share
    unit = f"{scale.unit}³"
    total = volume.size * scale.step**3
    axes.plot(levels, share * total, color="black")
    marks = dict(rules)
    for colour, (name, level) in zip(COLOURS, marks.items(), strict=False):
        axes.axvline(level, color=colour, linewidth=1, label=f"{name} {level:.4g}")
    for k, level in enumerate(used):
        axes.axvline(level, color=GREY, linestyle=":", linewidth=2, label=None if k else "used")
    axes.set(yscale="log", xlabel="threshold", ylabel=f"volume {'below' if below else 'above'} ({unit})")
    axes.set_ylim(bottom=max(total / len(values), float(np.min(share[share > 0], initial=1.0)) * total))
    axes.legend(loc="upper left" if below else "upper right")
