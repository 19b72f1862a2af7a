"""Picture of the measures of labels: the labels on slices, sizes, sphericities and directions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from etcli.core.number_words import counted, with_sigma
from etcli.core.surfaces.label_colours import label_colours
from etcli.plotting.style import BLUE, GREY, ORANGE, WIDTH_IN, PixelScale, contrast, scale_bar, show, styled

Doubles = NDArray[np.float64]

ROW_IN = 3.5
OPAQUE = 0.5
MOST_BINS = 30
FEWEST, FEWEST_AXES = 2, 5
"""Numbers of bodies from which sizes and shapes, and directions, are worth a panel."""


@dataclass(frozen=True, eq=False)
class LabelSlice:
    """A slice of a volume with labels.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        Grey levels.
    labels : ndarray of shape (ny, nx), integer
        0 in the background, and where nothing was measured.
    region : ndarray of shape (ny, nx), bool, or None
        Where was measured; None for everywhere.
    title : str
        Which slice it is.
    """

    image: NDArray[Any]
    labels: NDArray[Any]
    region: NDArray[np.bool_] | None
    title: str


@dataclass(frozen=True, eq=False)
class LabelPicture:
    """What the picture of labels shows.

    Parameters
    ----------
    slices : (LabelSlice, LabelSlice)
        Across z and across y.
    pixel_A : float or None
        Size of a voxel.
    unit : str
        Unit of diameters.
    diameter, sigma, sphericity, angle_z_deg : ndarray of shape (n,), float64
        Of the whole bodies; NaN where unknown.
    mean, sigma_mean : float
        Mean diameter and its standard deviation.
    """

    slices: tuple[LabelSlice, LabelSlice]
    pixel_A: float | None
    unit: str
    diameter: Doubles
    sigma: Doubles
    sphericity: Doubles
    angle_z_deg: Doubles
    mean: float
    sigma_mean: float


@styled
def measurement_figure(shown: LabelPicture, *, title: str = "") -> Figure:
    """Draw labels on slices, the sizes of whole bodies, their sphericities and directions.

    Sizes, sphericities and directions are left out where there are few, and a second slice fills the page.

    Parameters
    ----------
    shown : LabelPicture
    title : str
        Name above all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    known = [
        int(np.isfinite(values).sum()) for values in (shown.diameter, shown.sphericity, shown.angle_z_deg)
    ]
    has_sizes, has_shapes, has_axes = known[0] >= FEWEST, known[1] >= FEWEST, known[2] >= FEWEST_AXES
    n_plots = has_sizes + has_shapes + has_axes
    slices = shown.slices[: 2 - n_plots % 2]
    rows = (n_plots + len(slices)) // 2
    figure = Figure(figsize=(WIDTH_IN, rows * ROW_IN), layout="constrained")
    if title:
        figure.suptitle(title, size=9)
    places = iter(range(1, 2 * rows + 1))
    for one in slices:
        _draw_slice(figure.add_subplot(rows, 2, next(places)), one, shown.pixel_A)
    if has_sizes:
        _draw_sizes(figure.add_subplot(rows, 2, next(places)), shown)
    if has_shapes:
        _draw_sphericity(figure.add_subplot(rows, 2, next(places)), shown)
    if has_axes:
        rose = figure.add_subplot(rows, 2, next(places), projection="polar")
        if isinstance(rose, PolarAxes):
            _draw_rose(rose, shown.angle_z_deg)
    return figure


def coloured(labels: NDArray[Any]) -> Doubles:
    """Return a colour (red, green, blue, opacity) for each label; the background is clear.

    Parameters
    ----------
    labels : ndarray of shape (ny, nx), integer

    Returns
    -------
    ndarray of shape (ny, nx, 4), float64
    """
    return np.concatenate([label_colours(labels), OPAQUE * (labels > 0)[..., np.newaxis]], axis=-1)


def _draw_slice(axes: Axes, one: LabelSlice, pixel_A: float | None) -> None:
    nx = one.image.shape[1]
    scale = PixelScale.of(nx, pixel_A)
    drawn = show(axes, one.image, scale, limits=contrast(one.image))
    extent = drawn.get_extent()
    axes.imshow(coloured(one.labels), extent=extent, interpolation="nearest")
    if one.region is not None and one.region.any() and not one.region.all():
        axes.contour(
            one.region, [0.5], colors="white", linewidths=0.8, linestyles="--", extent=extent, origin="lower"
        )
    scale_bar(axes, nx, scale)
    axes.set_title(one.title, loc="left")


def _draw_sizes(axes: Axes, shown: LabelPicture) -> None:
    """Draw the histogram of diameters, and the diameters with their errors above it."""
    known = shown.diameter[np.isfinite(shown.diameter)]
    axes.set(xlabel=f"diameter ({shown.unit})", ylabel="bodies")
    bins = min(MOST_BINS, max(1, round(2 * known.size**0.5)))
    axes.hist(known, bins=bins, color=BLUE, alpha=0.6)
    axes.axvline(shown.mean, color=ORANGE)
    if np.isfinite(shown.sigma_mean):
        axes.axvspan(shown.mean - shown.sigma_mean, shown.mean + shown.sigma_mean, color=ORANGE, alpha=0.35)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    mean = with_sigma(shown.mean, shown.sigma_mean)
    axes.set_title(f"{known.size} whole bodies, mean {mean} {shown.unit}", loc="left")


def _draw_sphericity(axes: Axes, shown: LabelPicture) -> None:
    sigma = np.nan_to_num(shown.sigma)
    axes.errorbar(shown.diameter, shown.sphericity, xerr=sigma, fmt="o", color=BLUE, elinewidth=0.6)
    axes.axhline(1, color=GREY, linewidth=0.6)
    axes.set(xlabel=f"diameter ({shown.unit})", ylabel="sphericity")
    n = int(np.isfinite(shown.sphericity).sum())
    axes.set_title(f"sphericity of {counted(n, 'large body', 'large bodies')}", loc="left")


def _draw_rose(axes: PolarAxes, angle_z_deg: Doubles) -> None:
    """Draw how many long axes are at each angle to z, beside random directions."""
    known = np.radians(angle_z_deg[np.isfinite(angle_z_deg)])
    edges = np.linspace(0, np.pi / 2, 10)
    counts, _ = np.histogram(known, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_thetalim(0, np.pi / 2)
    axes.bar(middle, counts, width=np.diff(edges), color=BLUE, alpha=0.6, edgecolor="white", linewidth=0.5)
    random = known.size * (np.cos(edges[:-1]) - np.cos(edges[1:]))
    axes.plot(middle, random, color=ORANGE, label="random")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_title(f"{known.size} long axes by angle to z (line: random)", loc="left")
