"""Panels of depth sectioning that show places: columns on the image, maps of counts and depths, the model."""

from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.spatial import KDTree

from etcli.core.atomic_model import Atoms
from etcli.core.depth.sectioning_result import Sectioning
from etcli.plotting.style import BLUE, GREY, ORANGE, RED, PixelScale, contrast, show

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

FWHM = 2.3548
"""Full width at half maximum of a Gaussian, relative to its standard deviation."""
RING = 1.5
"""Diameter of a ring around a column, relative to the width of the column."""
LIGHT_BLUE = "#A6CEE3"
MOST_TICKS = 10
LOWEST_BAR = 0.7
"""Least height of a colour bar, relative to the width of its map."""
LETTERS = 36
"""Longest line in the name of a panel."""
ATOM_OF_BOND = 0.45
"""Diameter of a drawn atom relative to the distance of nearest neighbours."""
SAME_PLACE = 0.1
"""Distance of atoms in a projection, relative to their diameter, at which one of them is drawn."""
OUTLINE = 20.0
"""Width in points of the outline of atoms as high as the panel; that of small ones must not hide them."""
MARGIN_A = 2.0


def column_places(found: Sectioning) -> Doubles:
    """Compute the places of columns in Å from the centre of the image.

    Parameters
    ----------
    found : Sectioning

    Returns
    -------
    ndarray of shape (n_columns, 2), float64
    """
    return np.asarray((found.columns_px - found.images.centre_px) * found.images.pixel_A)


def draw_columns(axes: Axes, found: Sectioning, flagged: Mask) -> None:
    """Draw the columns on the mean image, in the colour of their counts where these are known.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    found : Sectioning
    flagged : ndarray of shape (n_columns,), bool
        Doubtful columns, which are crossed.
    """
    image = found.average
    labels, scale = ("x", "y"), PixelScale(found.images.pixel_A, "Å")
    show(axes, image, scale, limits=contrast(image), labels=labels)
    place = column_places(found)
    colour: Any = ORANGE
    if found.count is not None:
        colour = _count_colours(found.count)(_count_limits(found.count)(found.count))
    _discs(axes, place, RING * _diameter(found), facecolors="none", edgecolors=colour, linewidths=0.9)
    if flagged.any():
        axes.plot(*place[flagged].T, "x", color=RED, ms=4, mew=1.0, label=f"{flagged.sum()} flagged")
    images = f"the mean of {len(found.chosen)} sections" if len(found.chosen) > 1 else "the image"
    name = f"{len(found.fit)} columns on {images}"
    head(axes, name if found.count is None else f"{name}, coloured by count")


def draw_count_map(axes: Axes, found: Sectioning, flagged: Mask) -> None:
    """Draw the atom counts of all columns as a map.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    found : Sectioning
        With counts.
    flagged : ndarray of shape (n_columns,), bool
        Doubtful columns, which are drawn hollow.
    """
    count = found.count
    if count is None:
        raise ValueError("a map of counts needs counts")
    colours, limits = _count_colours(count), _count_limits(count)
    _map(axes, found, count.astype(float), flagged, colours, limits)
    low, high = int(count.min()), int(count.max())
    step = -(-(high - low + 1) // MOST_TICKS)
    bar = _colour_bar(axes, matplotlib.cm.ScalarMappable(limits, colours), "atoms of a column")
    bar.set_ticks(list(range(low, high + 1, step)))
    bar.ax.minorticks_off()
    head(axes, f"counts: {int(count.sum())} atoms")


def draw_depth_map(axes: Axes, found: Sectioning, flagged: Mask) -> None:
    """Draw the measured depths of the columns' centres as a map.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    found : Sectioning
        With depths.
    flagged : ndarray of shape (n_columns,), bool
        Doubtful columns, which are drawn hollow and do not count for the limits of the colours.
    """
    if found.depths is None:
        raise ValueError("a map of depths needs depths")
    depth = found.depths.fit.depth_A
    sure = depth[np.isfinite(depth) & ~flagged]
    if not sure.size:
        sure = depth[np.isfinite(depth)]
    low, high = (float(sure.min()), float(sure.max())) if sure.size else (0.0, 1.0)
    high = high if high > low else low + 1
    limits, colours = Normalize(low, high), matplotlib.colormaps["cividis"]
    _map(axes, found, depth, flagged, colours, limits)
    _colour_bar(
        axes,
        matplotlib.cm.ScalarMappable(limits, colours),
        "depth z of the centre (Å)",
        extend=_beyond(depth, low, high),
    )
    head(axes, "measured depths")


def draw_model(axes: tuple[Axes, Axes, Axes], atoms: Atoms) -> None:
    """Draw the model along z, y and x, at one scale.

    Atoms inside the crystal are drawn over those at its surface: a dark spot is a column, or a row, that
    holds an atom with all its neighbours.

    Parameters
    ----------
    axes : tuple of matplotlib.axes.Axes
        Three axes, with widths in proportion to those of `model_widths`.
    atoms : Atoms
        With the column ``surface``, if it is known which atoms are there.
    """
    place = atoms.position_A
    surface = atoms.columns.get("surface", np.zeros(len(atoms))) > 0
    bond = float(np.median(KDTree(place).query(place, k=2)[0][:, 1])) if len(atoms) > 1 else FWHM
    low, high = place.min(axis=0) - MARGIN_A, place.max(axis=0) + MARGIN_A
    tallest, diameter = float((high - low)[1:].max()), ATOM_OF_BOND * bond
    for panel, (across, up) in zip(axes, ((0, 1), (0, 2), (1, 2)), strict=True):
        shown = _seen(place[:, [across, up]], surface, SAME_PLACE * diameter)
        _discs(
            panel,
            place[shown][:, [across, up]],
            diameter,
            facecolors=np.where(surface[shown], LIGHT_BLUE, BLUE),
            edgecolors="white",
            linewidths=min(0.3, OUTLINE * diameter / tallest),
            rasterized=True,
        )
        middle = (low[up] + high[up]) / 2
        # one height of all panels, so that one scale fits them whatever limits it
        panel.set(
            xlim=(low[across], high[across]),
            ylim=(middle - tallest / 2, middle + tallest / 2),
            aspect="equal",
            xlabel=f"{'xyz'[across]} (Å)",
            ylabel=f"{'xyz'[up]} (Å)",
        )
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))


def model_widths(atoms: Atoms) -> tuple[list[float], float]:
    """Compute the sizes of the three projections of a model.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    widths : list of float
        Of the projections along z, y and x, in Å.
    height : float
        Of all of them, in Å.
    """
    x, y, z = np.ptp(atoms.position_A, axis=0) + 2 * MARGIN_A
    return [float(x), float(x), float(y)], float(max(y, z))


def head(axes: Axes, title: str, *, ncols: int = 3) -> None:
    """Write the name of a panel above it and, between them, the legend if there is one.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    title : str
    ncols : int
        Columns of the legend.
    """
    title = fill(title, LETTERS)
    if not axes.get_legend_handles_labels()[0]:
        axes.set_title(title, loc="left")
        return
    axes.legend(
        title=title,
        alignment="left",
        title_fontsize=9,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=ncols,
        borderaxespad=0.3,
        borderpad=0,
        handlelength=1.5,
        columnspacing=1.2,
    )


def _diameter(found: Sectioning) -> float:
    """Return the diameter of drawn columns in Å: their width at half height."""
    return FWHM * float(np.median(found.fit.width_px)) * found.images.pixel_A


def _discs(axes: Axes, place_A: Doubles, diameter_A: float, **style: Any) -> EllipseCollection:
    """Draw discs with a diameter in Å."""
    width = np.full(len(place_A), diameter_A)
    discs = EllipseCollection(
        width, width, np.zeros(len(place_A)), units="xy", offsets=place_A, offset_transform=axes.transData,
        **style,
    )  # fmt: skip
    axes.add_collection(discs)
    return discs


def _seen(flat_A: Doubles, surface: Mask, step_A: float) -> NDArray[np.intp]:
    """Return one atom of each place of a projection, inside the crystal if there is one; these come last."""
    order = np.argsort(surface, kind="stable")
    _, first = np.unique(np.rint(flat_A[order] / step_A), axis=0, return_index=True)
    shown = order[first]
    return np.asarray(shown[np.argsort(~surface[shown], kind="stable")])


def _map(
    axes: Axes, found: Sectioning, values: Doubles, flagged: Mask, colours: Colormap, limits: Normalize
) -> None:
    """Draw discs in the colours of values: hollow for doubtful columns, grey where the value is not known."""
    known = np.isfinite(values)
    edge = colours(limits(np.where(known, values, 0)))
    edge[~known] = matplotlib.colors.to_rgba(GREY)
    face = edge.copy()
    face[flagged | ~known] = 0
    _discs(axes, column_places(found), _diameter(found), facecolors=face, edgecolors=edge, linewidths=0.9)
    ny, nx = found.images.shape
    scale = PixelScale(found.images.pixel_A, "Å")
    axes.set(xlim=scale.extent(nx), ylim=scale.extent(ny), aspect="equal", xlabel="x (Å)", ylabel="y (Å)")
    if flagged.any():
        axes.plot([], [], "o", color=GREY, ms=5, fillstyle="none", label="flagged")
    if not known.all():
        axes.plot([], [], "o", color=GREY, ms=5, fillstyle="none", mew=1.5, label="not known")


def _colour_bar(axes: Axes, mappable: Any, label: str, *, extend: str = "neither") -> Any:
    """Draw a colour bar as high as the axes or, beside low ones, high enough for its label."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    height = max(1.0, LOWEST_BAR * (right - left) / (top - bottom))
    beside = axes.inset_axes((1.04, (1 - height) / 2, 0.045, height))
    bar = axes.figure.colorbar(mappable, cax=beside, label=label, extend=extend)
    return bar


def _count_colours(count: NDArray[np.int64]) -> Colormap:
    # the darkest colours would not be seen on the dark background of an image
    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.2, 1, int(np.ptp(count)) + 1)))


def _count_limits(count: NDArray[np.int64]) -> Normalize:
    return Normalize(count.min() - 0.5, count.max() + 0.5)


def _beyond(values: Doubles, low: float, high: float) -> str:
    """Return at which ends of a colour bar values lie beyond it."""
    below, above = (values < low).any(), (values > high).any()
    return ("both" if above else "min") if below else ("max" if above else "neither")
