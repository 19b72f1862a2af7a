"""Pictures of Fourier shell correlations."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from etcli.plotting.style import GREY, WIDTH_IN, styled

HEIGHT_IN = 4.5
CUTOFFS = (0.5, 0.143)
LEFT_PART = 0.2
"""Part of the axis at the left where the text of a crossing has no space on its left."""


@styled
def fsc_curve(
    frequency: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    pixel_A: float | None = None,
    cutoffs: tuple[float, ...] = CUTOFFS,
) -> Figure:
    """Draw Fourier shell correlations and the resolutions at which they fall below the cut-offs.

    Parameters
    ----------
    frequency : array_like of shape (n,)
        Middles of the shells in cycles per pixel, rising.
    curves : mapping of name to array_like of shape (n,)
        Correlations.
    pixel_A : float, optional
        Voxel size in Å; without it lengths are in pixels.
    cutoffs : tuple of float
        Thresholds, drawn as lines; the legend gives the period at which a curve first falls below each.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    cycles = np.asarray(frequency, np.float64)
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, correlation) in enumerate(curves.items()):
        values = np.asarray(correlation, np.float64)
        draw_correlation(
            axes, cycles, values, pixel_A=pixel_A, cutoffs=cutoffs, colour=f"C{index}", name=name
        )
    for cutoff in cutoffs:
        axes.text(
            1.01,  # beside the panel, where no curve is
            cutoff,
            f"{cutoff:g}",
            transform=axes.get_yaxis_transform(),
            color=GREY,
            fontsize="small",
            ha="left",
            va="center",
        )
    lowest = min(float(np.min(curve)) for curve in curves.values())
    axes.set(ylabel="Fourier shell correlation", ylim=(min(-0.05, lowest), 1.02))
    axes.grid()
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)  # above, as curves may be high
    return figure


def draw_correlation(
    axes: Axes,
    cycles: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    pixel_A: float | None,
    cutoffs: tuple[float, ...] = CUTOFFS,
    colour: str = "C0",
    name: str = "",
) -> None:
    """Draw a correlation against the spatial frequency, and where it first falls below each cut-off.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    cycles : ndarray of shape (n,), float64
        Frequencies in cycles per pixel, rising.
    values : ndarray of shape (n,), float64
        Correlations.
    pixel_A : float or None
        Voxel size in Å. Resolutions are in Å, as the commands print them, without it in pixels.
    cutoffs : tuple of float
        Thresholds, drawn as lines.
    colour : str
        Colour of the curve.
    name : str
        Its name in the legend, where its resolutions follow.
    """
    pixel, unit = pixel_A or 1.0, "Å" if pixel_A else "px"
    words = [name]
    (line,) = axes.plot(cycles / pixel, values, color=colour)
    axes.set(xlim=(0, 0.5 / pixel), xlabel=f"spatial frequency (1/{unit})")
    for cutoff in cutoffs:
        axes.axhline(cutoff, color=GREY, dashes=(3, 2), linewidth=0.8)
        at = _first_below(cycles, values, cutoff)
        if at is None:
            continue
        resolution = f"{pixel / at:.4g} {unit}"
        words.append(f"{resolution} ({cutoff:g})")
        axes.plot(at / pixel, cutoff, "o", color=colour)
        axes.plot(
            [at / pixel] * 2, [axes.get_ylim()[0] - 2, cutoff], color=colour, dashes=(1, 2), linewidth=0.8
        )
        # no curve is below a cut-off on the left of where it first falls below
        is_left = at > LEFT_PART * 0.5
        axes.annotate(
            resolution,
            (at / pixel, cutoff),
            (-4 if is_left else 4, -3),
            textcoords="offset points",
            color=colour,
            ha="right" if is_left else "left",
            va="top",
            fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    line.set_label(", ".join(words))


def _first_below(frequency: NDArray[np.float64], values: NDArray[np.float64], level: float) -> float | None:
    """Return the frequency at which values first fall below a level, interpolated; None if they do not."""
    below = np.flatnonzero(values < level)
    if not below.size or below[0] == 0:
        return None
    left = int(below[0]) - 1
    part = (values[left] - level) / (values[left] - values[left + 1])
    return float(frequency[left] + part * (frequency[left + 1] - frequency[left]))
