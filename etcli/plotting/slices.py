"""Pictures of images: slices of a volume, views of a series."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import UsageError
from etcli.plotting.style import ORANGE, WIDTH_IN, PixelScale, contrast, outlined, scale_bar, show, styled

Image = NDArray[Any]
Box = tuple[float, float, float, float]

TALLEST_IN = 14.0
DENSITY, POTENTIAL = "density", "potential (V)"
"""What the values of a volume are."""


def _figure(width: float, height: float, *, margins_in: tuple[float, float], pad_in: float = 0.04) -> Figure:
    """Create a figure for panels that together have the size ``width`` by ``height`` in any unit.

    The margins are the space for labels and colour bars, horizontally and vertically.
    """
    layout = ConstrainedLayoutEngine(compress=True, w_pad=pad_in, h_pad=pad_in, wspace=0, hspace=0)
    across, upwards = margins_in
    size = WIDTH_IN, (WIDTH_IN - across) * height / width + upwards
    if size[1] > TALLEST_IN:
        size = (TALLEST_IN - upwards) * width / height + across, TALLEST_IN
    return Figure(figsize=size, layout=layout)


@styled
def orthoslices(
    volume: Image, *, pixel_A: float | None = None, at: tuple[int, int, int] | None = None, cmap: str = "gray"
) -> Figure:
    """Draw the three slices through a point of a volume, placed so that their common axes match.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Density.
    pixel_A : float, optional
        Voxel size in Å; without it lengths are in pixels.
    at : tuple of int, optional
        Indices (z, y, x) of the point; by default the middle.
    cmap : str
        Colour map.

    Returns
    -------
    matplotlib.figure.Figure
        X–Y with Z–Y on its right and X–Z below, with the same contrast.

    Raises
    ------
    UsageError
        When the point is outside the volume.
    """
    nz, ny, nx = volume.shape
    z, y, x = at or (nz // 2, ny // 2, nx // 2)
    if not (0 <= z < nz and 0 <= y < ny and 0 <= x < nx):
        raise UsageError(
            f"--at {x + 1} {y + 1} {z + 1} is outside; x, y and z go from 1 to {nx}, {ny} and {nz}"
        )
    slices = volume[z], volume[:, :, x].T, volume[:, y]
    return _draw_joined(slices, volume.shape, (z, y, x), pixel_A=pixel_A, cmap=cmap)


class MiddleSlices:
    """The three slices through the middle of a volume, collected from its pieces as they are computed.

    Parameters
    ----------
    shape : tuple of int
        (nz, ny, nx) of the volume.
    quantity : str
        What its values are, for the colour bar.
    """

    def __init__(self, shape: tuple[int, int, int], quantity: str = DENSITY) -> None:
        self.shape, self._quantity = shape, quantity
        nz, ny, nx = shape
        self.slices = tuple(np.zeros(size, np.float32) for size in ((ny, nx), (ny, nz), (nz, nx)))

    def add(self, y0: int, block: Image, *, z0: int = 0) -> None:
        """Add the rows from ``y0`` on of the sections from ``z0`` on, an array (sections, rows, nx)."""
        nz, ny, nx = self.shape
        (xy, zy, xz), y1, z1 = self.slices, y0 + block.shape[1], z0 + len(block)
        if z0 <= nz // 2 < z1:
            xy[y0:y1] = block[nz // 2 - z0]
        zy[y0:y1, z0:z1] = block[:, :, nx // 2].T
        if y0 <= ny // 2 < y1:
            xz[z0:z1] = block[:, ny // 2 - y0]

    @styled
    def draw(self, *, pixel_A: float | None = None, cmap: str = "gray") -> Figure:
        """Draw the slices as `orthoslices` does."""
        middle = (self.shape[0] // 2, self.shape[1] // 2, self.shape[2] // 2)
        return _draw_joined(
            self.slices, self.shape, middle, pixel_A=pixel_A, cmap=cmap, quantity=self._quantity
        )


def _draw_joined(
    slices: tuple[Image, ...],
    shape: tuple[int, ...],
    at: tuple[int, int, int],
    *,
    pixel_A: float | None,
    cmap: str,
    quantity: str = DENSITY,
) -> Figure:
    """Draw X–Y with Z–Y on its right and X–Z below, with the same contrast."""
    (nz, ny, nx), (z, y, x) = shape, at
    scale = PixelScale.of(nx, pixel_A)
    limits = contrast(np.concatenate([image.ravel() for image in slices]))
    figure, boxes, colour_bar_box = _joined_layout(nx, ny, nz)
    titles = (f"X–Y, z {z + 1} of {nz}", f"Z–Y, x {x + 1} of {nx}", f"X–Z, y {y + 1} of {ny}")
    names = (("x", "y"), ("z", "y"), ("x", "z"))
    for box, image, title, labels, (column, row) in zip(
        boxes, slices, titles, names, ((x, y), (z, y), (x, z)), strict=True
    ):
        axes = figure.add_axes(box)
        drawn = show(axes, image, scale, limits=limits, labels=labels, cmap=cmap)
        axes.set_title(title, loc="right" if box is boxes[1] else "left")
        n_ticks = max(1, round(box[2] * figure.get_figwidth() / 0.6))
        axes.locator_params(axis="x", nbins=n_ticks, min_n_ticks=1)
        left, bottom = scale.extent(image.shape[1])[0], scale.extent(image.shape[0])[0]
        axes.axvline(left + (column + 0.5) * scale.step, color=ORANGE, linewidth=0.5, alpha=0.7)
        axes.axhline(bottom + (row + 0.5) * scale.step, color=ORANGE, linewidth=0.5, alpha=0.7)
        if box is boxes[0]:
            scale_bar(axes, nx, scale)
        if box is boxes[1]:
            axes.set(ylabel="", yticks=[])
    if colour_bar_box is not None:
        bar = figure.add_axes(colour_bar_box)
        figure.colorbar(drawn, cax=bar, orientation="horizontal", label=quantity)
    return figure


def _joined_layout(nx: int, ny: int, nz: int) -> tuple[Figure, list[Box], Box | None]:
    """Create a figure; return it with the boxes of X–Y, Z–Y and X–Z, and that of a colour bar if it fits."""
    left, bottom, gap, below, right, top = 0.6, 0.5, 0.12, 0.75, 0.1, 0.3
    inch = min((WIDTH_IN - left - gap - right) / (nx + nz), (TALLEST_IN - bottom - below - top) / (ny + nz))
    x_in, y_in, z_in = nx * inch, ny * inch, nz * inch
    size = left + x_in + gap + z_in + right, bottom + z_in + below + y_in + top
    figure = Figure(figsize=size)

    def box(x: float, y: float, width: float, height: float) -> Box:
        return x / size[0], y / size[1], width / size[0], height / size[1]

    across, upper = left + x_in + gap, bottom + z_in + below
    boxes = [box(left, upper, x_in, y_in), box(across, upper, z_in, y_in), box(left, bottom, x_in, z_in)]
    has_space = z_in >= 1
    return figure, boxes, box(across + 0.15, bottom + z_in / 2, z_in - 0.3, 0.12) if has_space else None


@styled
def montage(
    stack: Image,
    *,
    indices: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    pixel_A: float | None = None,
    cmap: str = "gray",
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
    cmap : str
        Colour map.

    Returns
    -------
    matplotlib.figure.Figure
        Panels row by row from the top.

    Raises
    ------
    UsageError
        When there is nothing to draw, or the number of labels differs.
    """
    if indices is None:
        indices = np.unique(np.linspace(0, len(stack) - 1, min(20, len(stack))).round().astype(int)).tolist()
    labels = [str(index + 1) for index in indices] if labels is None else labels
    if not indices or len(labels) != len(indices):
        raise UsageError(f"a montage of {len(indices)} sections cannot have {len(labels)} labels")
    ny, nx = stack.shape[1:]
    n_columns = min(len(indices), max(1, round(np.sqrt(len(indices) * 1.4 * ny / nx))))
    n_rows = -(-len(indices) // n_columns)
    scale = PixelScale.of(nx, pixel_A)
    step = max(1, len(indices) * ny * nx // 1_000_000)
    limits = contrast([stack[index].reshape(-1)[::step] for index in indices])
    figure = _figure(n_columns * nx, n_rows * ny, margins_in=(0, 0), pad_in=0.015)
    for place, (index, label) in enumerate(zip(indices, labels, strict=True)):
        axes = figure.add_subplot(n_rows, n_columns, place + 1)
        show(axes, stack[index], scale, limits=limits, cmap=cmap)
        axes.text(
            0.03, 0.97, label, transform=axes.transAxes, color="white", va="top", path_effects=outlined()
        )
        if place == 0:
            scale_bar(axes, nx, scale)
    return figure


@styled
def maximum_projection(
    stack: Image,
    *,
    pixel_A: float | None = None,
    tilt_axis: tuple[float, float] | None = None,
    cmap: str = "gray",
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
    cmap : str
        Colour map.

    Returns
    -------
    matplotlib.figure.Figure
        One image.
    """
    ny, nx = stack.shape[1:]
    scale = PixelScale.of(nx, pixel_A)
    image = np.max(stack, axis=0)
    figure = _figure(nx, ny, margins_in=(1.5, 0.65))
    axes = figure.add_subplot()
    drawn = show(axes, image, scale, limits=contrast(image), labels=("x", "y"), cmap=cmap)
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
    figure.colorbar(drawn, ax=axes, label="maximum")
    return figure


@styled
def sinogram(
    row: Image, tilt_deg: ArrayLike, *, title: str = "", pixel_A: float | None = None, cmap: str = "gray"
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
    cmap : str
        Colour map.

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
    black, white = contrast(row)
    figure = Figure(figsize=(WIDTH_IN, 4.8), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.pcolormesh(
        np.linspace(*scale.extent(row.shape[1]), row.shape[1] + 1),
        edges,
        row[order],
        cmap=cmap,
        vmin=black,
        vmax=white,
        rasterized=True,
    )
    axes.set(xlabel=f"x ({scale.unit})", ylabel="tilt angle (°)")
    axes.set_title(title, loc="left")
    figure.colorbar(drawn, ax=axes, label="intensity")
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
    for index, (image, title) in enumerate(zip((first, second), titles, strict=True)):
        drawn = show(panels[index], image, scale, limits=limits, labels=("x", "y"), cmap=cmap)
        panels[index].set_title(title)
        panels[index].label_outer(remove_inner_ticks=True)
        scale_bar(panels[index], nx, scale)
    figure.colorbar(drawn, ax=panels[:2], orientation="horizontal", shrink=0.5, aspect=40, label="intensity")
    if difference:
        change = np.subtract(first, second, dtype=np.float64)
        limit = max(abs(level) for level in contrast(change))
        drawn = show(panels[2], change, scale, limits=(-limit, limit), labels=("x", "y"), cmap="RdBu_r")
        panels[2].set_title(f"{titles[0]} − {titles[1]}")
        panels[2].label_outer(remove_inner_ticks=True)
        figure.colorbar(drawn, ax=panels[2], orientation="horizontal", shrink=0.9, label="difference")
    return figure
