"""Pictures of numbers: how a solver went, what values there are, how far a result resolves."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from etcli.plotting.style import GREY, RED, WIDTH_IN, Scale, styled

HEIGHT_IN = 4.5


@styled
def error_curve(
    iterations: ArrayLike,
    values: ArrayLike | Mapping[str, ArrayLike],
    *,
    label: str = "residual",
    chosen: float | None = None,
) -> Figure:
    """Draw an error, or several, against the iteration.

    Parameters
    ----------
    iterations : array_like of shape (n,)
        Numbers of the iterations.
    values : array_like of shape (n,) or mapping of name to array_like
        Errors; the scale is logarithmic when they are positive and span more than a factor of ten.
    label : str
        What they are.
    chosen : float, optional
        The iteration whose result was kept.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    curves = {
        name: np.asarray(curve, np.float64)
        for name, curve in (values if isinstance(values, Mapping) else {label: values}).items()
    }
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        axes.plot(np.asarray(iterations), curve, "o-" if curve.size < 100 else "-", label=name)
    everything = np.concatenate(list(curves.values()))
    if everything.min() > 0 and everything.max() > 10 * everything.min():
        axes.set_yscale("log")
    if chosen is not None:
        axes.axvline(chosen, color=RED, dashes=(3, 2), label=f"kept: {chosen:g}")
    axes.set(xlabel="iteration", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()
    if len(curves) > 1 or chosen is not None:
        axes.legend()
    return figure


@styled
def histogram(values: Mapping[str, ArrayLike], *, label: str = "density", n_bins: int = 256) -> Figure:
    """Draw how often values occur, on common bins and a logarithmic scale.

    Parameters
    ----------
    values : mapping of name to array_like
        Values of any shape; those that are not finite are left out.
    label : str
        What the values are.
    n_bins : int
        Number of bins.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    finite: dict[str, NDArray[np.float64]] = {}
    for name, numbers in values.items():
        flat = np.asarray(numbers).ravel()
        finite[name] = flat[np.isfinite(flat)]
    edges = np.histogram_bin_edges(
        np.array([edge for flat in finite.values() if flat.size for edge in (flat.min(), flat.max())]), n_bins
    )
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, flat) in enumerate(finite.items()):
        axes.stairs(np.histogram(flat, edges)[0], edges, label=name, color=f"C{index}", fill=len(finite) == 1)
    axes.set_yscale("log", nonpositive="clip")
    axes.set(xlabel=label, ylabel="number of values", xlim=(edges[0], edges[-1]))
    if len(finite) > 1:
        axes.legend()
    return figure


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
        Levels drawn as lines; where a curve first falls below one its legend names the period.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    cycles = np.asarray(frequency, np.float64)
    scale = Scale.of(10, pixel_A)
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, correlation) in enumerate(curves.items()):
        values = np.asarray(correlation, np.float64)
        crossings = [(cutoff, _first_below(cycles, values, cutoff)) for cutoff in cutoffs]
        found = [f"{scale.step / at:.3g} {scale.unit} ({cutoff:g})" for cutoff, at in crossings if at]
        axes.plot(cycles / scale.step, values, color=f"C{index}", label=", ".join([name, *found]))
        for cutoff, at in crossings:
            if at:
                axes.plot(at / scale.step, cutoff, "o", color=f"C{index}")
    for cutoff in cutoffs:
        axes.axhline(cutoff, color=GREY, dashes=(3, 2), linewidth=0.8)
        axes.text(
            0.995,
            cutoff,
            f"{cutoff:g}",
            transform=axes.get_yaxis_transform(),
            color=GREY,
            ha="right",
            va="bottom",
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
    """Return where values first fall below a level, by linear interpolation; None where they do not."""
    below = np.flatnonzero(values < level)
    if not below.size or below[0] == 0:
        return None
    left = int(below[0]) - 1
    part = (values[left] - level) / (values[left] - values[left + 1])
    return float(frequency[left] + part * (frequency[left + 1] - frequency[left]))
