"""Picture of the measures of labels: the labels on a slice, sizes, sphericities and directions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from etcli.plotting.style import BLUE, GREY, ORANGE, WIDTH_IN, PixelScale, contrast, scale_bar, show, styled

Doubles = NDArray[np.float64]

HEIGHT_IN = 7.0
GOLDEN = 0.618034
"""Step of the hue from one label to the next, by which near numbers have unlike colours."""
OPAQUE = 0.45
MOST_BINS = 30


@dataclass(frozen=True, eq=False)
class LabelPicture:
    """What the picture of labels shows.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        Slice of the volume.
    labels : ndarray of shape (ny, nx), integer
        Labels in it, 0 the background.
    z : int
        Section that the slice is, counted from 1.
    pixel_A : float or None
        Size of a voxel.
    unit : str
        Unit of diameters.
    diameter, sigma, sphericity, angle_z_deg : ndarray of shape (n,), float64
        Of the whole bodies; NaN where unknown.
    mean, sigma_mean : float
        Mean diameter and its standard deviation.
    """

    image: NDArray[Any]
    labels: NDArray[Any]
    z: int
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
    """Draw labels on a slice, the sizes of whole bodies, their sphericities and directions.

    Parameters
    ----------
    shown : LabelPicture
    title : str
        Name above all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    if title:
        figure.suptitle(title, size=9)
    _draw_slice(figure.add_subplot(2, 2, 1), shown)
    _draw_sizes(figure.add_subplot(2, 2, 2), shown)
    _draw_sphericity(figure.add_subplot(2, 2, 3), shown)
    rose = figure.add_subplot(2, 2, 4, projection="polar")
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
    hue = (labels * GOLDEN) % 1.0
    rgb = hsv_to_rgb(np.stack([hue, np.full(labels.shape, 0.85), np.ones(labels.shape)], axis=-1))
    return np.concatenate([rgb, OPAQUE * (labels > 0)[..., np.newaxis]], axis=-1)


def _draw_slice(axes: Axes, shown: LabelPicture) -> None:
    scale = PixelScale.of(shown.image.shape[1], shown.pixel_A)
    drawn = show(axes, shown.image, scale, limits=contrast(shown.image))
    axes.imshow(coloured(shown.labels), extent=drawn.get_extent(), interpolation="nearest")
    scale_bar(axes, shown.image.shape[1], scale)
    axes.set_title(f"labels on section {shown.z}", loc="left")


def _draw_sizes(axes: Axes, shown: LabelPicture) -> None:
    """Draw the histogram of diameters, and the diameters with their errors above it."""
    known = shown.diameter[np.isfinite(shown.diameter)]
    axes.set(xlabel=f"diameter ({shown.unit})", ylabel="bodies")
    if not known.size:
        axes.set_title("no whole body", loc="left")
        return
    bins = min(MOST_BINS, max(1, round(2 * known.size**0.5)))
    axes.hist(known, bins=bins, color=BLUE, alpha=0.6)
    axes.axvline(shown.mean, color=ORANGE)
    error = ""
    if np.isfinite(shown.sigma_mean):
        error = f" ± {shown.sigma_mean:.2g}"
        axes.axvspan(shown.mean - shown.sigma_mean, shown.mean + shown.sigma_mean, color=ORANGE, alpha=0.35)
    axes.set_title(f"{known.size} whole bodies, mean {shown.mean:.4g}{error} {shown.unit}", loc="left")


def _draw_sphericity(axes: Axes, shown: LabelPicture) -> None:
    sigma = np.nan_to_num(shown.sigma)
    axes.errorbar(shown.diameter, shown.sphericity, xerr=sigma, fmt="o", color=BLUE, elinewidth=0.6)
    axes.axhline(1, color=GREY, linewidth=0.6)
    axes.set(xlabel=f"diameter ({shown.unit})", ylabel="sphericity")
    axes.set_title(f"sphericity of {int(np.isfinite(shown.sphericity).sum())} large bodies", loc="left")


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
