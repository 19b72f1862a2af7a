"""Pictures of Fourier shell correlations."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from etcli.plotting.style import GREY, WIDTH_IN, PixelScale, styled

HEIGHT_IN = 4.5


@styled
def fsc_curve(
    frequency: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    pixel_A: float | None = None,
    cutoffs: tuple[float, ...] = (0.5, 0.143),
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
    scale = PixelScale.of(10, pixel_A)
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, correlation) in enumerate(curves.items()):
        values = np.asarray(correlation, np.float64)
        crossings = [(cutoff, _first_below(cycles, values, cutoff)) for cutoff in cutoffs]
        periods = [f"{scale.step / at:.3g} {scale.unit} ({cutoff:g})" for cutoff, at in crossings if at]
        axes.plot(cycles / scale.step, values, color=f"C{index}", label=", ".join([name, *periods]))
        for cutoff, at in crossings:
            if at:
                axes.plot(at / scale.step, cutoff, "o", color=f"C{index}")
    for cutoff in cutoffs:
        axes.axhline(cutoff, color=GREY, dashes=(3, 2), linewidth=0.8)
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
    axes.set(
        xlabel=f"spatial frequency (1/{scale.unit})",
        ylabel="Fourier shell correlation",
        xlim=(0, 0.5 / scale.step),
        ylim=(min(-0.05, *(float(np.min(curve)) for curve in curves.values())), 1.02),
    )
    axes.grid()
    axes.legend()
    return figure


def _first_below(frequency: NDArray[np.float64], values: NDArray[np.float64], level: float) -> float | None:
    """Return the frequency at which values first fall below a level, interpolated; None if they do not."""
    below = np.flatnonzero(values < level)
    if not below.size or below[0] == 0:
        return None
    left = int(below[0]) - 1
    part = (values[left] - level) / (values[left] - values[left + 1])
    return float(frequency[left] + part * (frequency[left + 1] - frequency[left]))
