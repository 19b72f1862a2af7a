"""The three slices through a point of a volume."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.plotting.look import GREY, Look
from etcli.plotting.slices_key import draw_key
from etcli.plotting.style import (
    ORANGE,
    TALLEST_IN,
    USUAL,
    WIDTH_IN,
    Page,
    PixelScale,
    grey_levels,
    scale_bar,
    styled,
)
from etcli.plotting.ticks import fits, set_ticks_inside

Image = NDArray[Any]
Box = tuple[float, float, float, float]

DENSITY, POTENTIAL, INTENSITY, LABEL = "density", "potential (V)", "intensity", "label"
"""What the values of a volume are, and those of views."""
SPECIMEN = "the specimen's centre"
LABEL_IN = 0.6
"""Width of the label of z, which may be wider than the panel of a thin volume."""


class Stacking(NamedTuple):
    """Coordinates of a volume: its middle (x, y, z) in Å from the rotation centre, and what z is.

    Without a middle lengths are from there. The third direction of a series is the number of the view, from
    1, and no length.
    """

    middle_A: tuple[float, float, float] | None = None
    of_views: bool = False


CENTRED = Stacking()


@styled
def orthoslices(
    volume: Image,
    *,
    pixel_A: float | None = None,
    at: tuple[int, int, int] | None = None,
    look: Look = GREY,
    crosshair: bool = True,
    stacking: Stacking = CENTRED,
    quantity: str = "",
    point: str = "",
    page: Page = USUAL,
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
    look : Look
        Colours and contrast.
    crosshair : bool
        Whether to draw lines through the point.
    stacking : Stacking
        Coordinates; by default zero is the middle of the volume.
    quantity : str
        What the values are.
    point : str
        What the point is.
    page : Page
        Size of the picture.

    Returns
    -------
    matplotlib.figure.Figure
        X–Y with Z–Y on its right and X–Z below, with the same contrast. At the lower right are the size, the
        histogram of the values shown and their greys, if there is space.

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
    scale = PixelScale.of(nx, pixel_A)
    directions = _directions(volume.shape, (z, y, x), scale, pixel_A, stacking)
    slices = volume[z], volume[:, :, x].T, volume[:, y]
    limits = look.levels(np.concatenate([image.ravel() for image in slices]))
    figure, boxes, key_in = _joined_layout(nx, ny, nz, page)
    upper_in = (boxes[1][0] + boxes[1][2] - boxes[0][0]) * figure.get_figwidth()
    for box, image, names in zip(boxes, slices, ("xyz", "zyx", "xzy"), strict=True):
        across, up, along = (directions[name] for name in names)
        axes = figure.add_axes(box)
        drawn = _draw_slice(axes, image, across, up, crosshair=crosshair, look=look, limits=limits)
        axes.set_title(_title(across, up, along, 0.45 * upper_in), loc="right" if box is boxes[1] else "left")
        set_ticks_inside(axes, "x", box[2] * figure.get_figwidth())
        set_ticks_inside(axes, "y", box[3] * figure.get_figheight())
        if box is boxes[0]:
            scale_bar(axes, nx, scale)
        if box is boxes[1]:
            axes.set(ylabel="", yticks=[])
    if key_in is not None:
        draw_key(
            figure,
            key_in[:2],
            key_in[2],
            drawn=drawn,
            images=slices,
            look=look,
            limits=limits,
            quantity=quantity or (INTENSITY if stacking.of_views else DENSITY),
            lines=_lines(volume.shape, pixel_A, stacking, point),
        )
    return figure


def _draw_slice(
    axes: Axes,
    image: Image,
    across: "_Direction",
    up: "_Direction",
    *,
    crosshair: bool,
    look: Look,
    limits: tuple[float, float],
) -> Any:
    """Draw a slice with its coordinates, and lines through the point; return the drawn image."""
    drawn = axes.imshow(
        image,
        cmap=look.colours,
        interpolation=look.interpolation,
        extent=(*across.extent, *up.extent),
        aspect="auto",
        interpolation_stage="data",
        **grey_levels(limits, look.gamma),
    )
    axes.spines[:].set_visible(False)
    axes.set(xlabel=across.label, ylabel=up.label)
    if crosshair:
        axes.axvline(across.place, color=ORANGE, linewidth=0.5, alpha=0.7)
        axes.axhline(up.place, color=ORANGE, linewidth=0.5, alpha=0.7)
    return drawn


def _lines(shape: tuple[int, ...], pixel_A: float | None, stacking: Stacking, point: str) -> list[str]:
    """Return what the key says of the volume."""
    nz, ny, nx = shape
    size = f"{nz} views of {nx} × {ny} px" if stacking.of_views else f"{nx} × {ny} × {nz} voxels"
    side = PixelScale.of(1, pixel_A)
    lines = [size if side.unit == "px" else f"{size} of {side.step:.4g} {side.unit}"]
    if not stacking.of_views:
        lines.append(f"lengths from the {'middle' if stacking.middle_A is None else 'rotation centre'}")
    return [*lines, *([f"through {point}"] if point else [])]


def _title(across: "_Direction", up: "_Direction", along: "_Direction", width_in: float) -> str:
    """Return the longest title of a slice that is not wider than this."""
    plane = "–".join(name.upper() if len(name) == 1 else name for name in (across.name, up.name))
    slice_name = f"{along.name} {along.nth + 1}"
    titles = [f"{plane}, {slice_name} of {along.n}", f"{plane}, {slice_name}", slice_name]
    if along.unit not in ("", "px"):
        place = f"{along.place:.3g}".replace("-", "\N{MINUS SIGN}")
        titles = [
            f"{titles[0]}, at {place} {along.unit}",
            f"{plane}, {slice_name} at {place} {along.unit}",
            *titles,
        ]
    return next((title for title in titles if fits(title, width_in)), slice_name)


class _Direction(NamedTuple):
    """One of the three directions of a volume, with the slice that is drawn across it."""

    name: str
    unit: str
    n: int
    nth: int
    extent: tuple[float, float]

    @property
    def label(self) -> str:
        """Label of an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def place(self) -> float:
        """Coordinate of the slice."""
        low, high = self.extent
        return low + (self.nth + 0.5) / self.n * (high - low)


def _directions(
    shape: tuple[int, ...],
    at: tuple[int, int, int],
    scale: PixelScale,
    pixel_A: float | None,
    where: Stacking,
) -> dict[str, _Direction]:
    """Return the three directions by their names in a volume."""
    found = {}
    middles_A = where.middle_A or (0.0, 0.0, 0.0)
    for name, n, index, middle_A in zip("zyx", shape, at, middles_A[::-1], strict=True):
        middle = middle_A * scale.step / pixel_A if pixel_A else 0.0
        found[name] = _Direction(name, scale.unit, n, index, scale.extent(n, middle))
    if where.of_views:
        found["z"] = _Direction("view", "", shape[0], at[0], (0.5, shape[0] + 0.5))
    return found


def _joined_layout(
    nx: int, ny: int, nz: int, page: Page
) -> tuple[Figure, list[Box], tuple[float, float, float] | None]:
    """Create a figure; return it with the boxes of X–Y, Z–Y and X–Z, and the square in inches of the key.

    The square, its left, bottom and side, is None where a key does not fit.
    """
    left, bottom, gap, below, right, top = (
        page.text_scale * margin for margin in (0.72, 0.5, 0.15, 0.75, 0.1, 0.3)
    )
    thin_in = (page.width_in or WIDTH_IN) * nz / (nx + nz)
    right = max(right, (LABEL_IN * page.text_scale - thin_in) / 2)
    inch = min(
        ((page.width_in or WIDTH_IN) - left - gap - right) / (nx + nz),
        ((page.height_in or TALLEST_IN) - bottom - below - top) / (ny + nz),
    )
    x_in, y_in, z_in = nx * inch, ny * inch, nz * inch
    content = left + x_in + gap + z_in + right, bottom + z_in + below + y_in + top
    figure = page.figure(*content)
    size = figure.get_size_inches()
    left, bottom = left + (size[0] - content[0]) / 2, bottom + (size[1] - content[1]) / 2

    def box(x: float, y: float, width: float, height: float) -> Box:
        return x / size[0], y / size[1], width / size[0], height / size[1]

    across, upper = left + x_in + gap, bottom + z_in + below
    boxes = [box(left, upper, x_in, y_in), box(across, upper, z_in, y_in), box(left, bottom, x_in, z_in)]
    has_space = z_in >= page.text_scale
    return figure, boxes, (across, bottom, z_in) if has_space else None
