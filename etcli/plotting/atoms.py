"""Pictures of traced atoms: sections of the volume with the atoms, and the histogram of scores."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from etcli.core.atoms.gaussian_fit import places
from etcli.core.atoms.tracing import Trace
from etcli.core.geometry import centre
from etcli.plotting.style import BLUE, GREEN, GREY, ORANGE, RED, WIDTH_IN, contrast, outlined, styled

Doubles = NDArray[np.float64]

COLOURS = (ORANGE, BLUE, GREEN, RED)
BINS = 80
NEAR_PX = 1.0
MARGINS_IN, TITLE_IN = 2.0, 0.9
"""Width of the labels of three sections, and height of those of one."""
HIGHEST_IN, HISTOGRAM_IN = 4.0, 3.2
NARROWEST = 0.3
"""Least width of the panel of a section, relative to the widest, so that its title fits."""


@styled
def traced(
    trace: Trace, *, pixel_A: float, names: tuple[str, ...], centre_A: Doubles | None = None
) -> Figure:
    """Draw three sections of a volume with the atoms that lie in them, and the histogram of scores.

    Parameters
    ----------
    trace : Trace
    pixel_A : float
        Size of a voxel in Å.
    names : tuple of str
        Names of the species, the lightest first.
    centre_A : ndarray of shape (3,), float64, optional
        Middle of the volume (x, y, z) relative to the rotation centre; 0 by default.

    Returns
    -------
    matplotlib.figure.Figure
        Sections across z, y and x on one scale, each at the position with most atoms.
    """
    size = np.array(trace.volume.shape[::-1])
    widths = np.maximum(size[[0, 0, 1]], NARROWEST * size[:2].max())
    height = max(size[1:])
    row_in = min(HIGHEST_IN, (WIDTH_IN - MARGINS_IN) * height / widths.sum()) + TITLE_IN
    figure = Figure(figsize=(WIDTH_IN, row_in + HISTOGRAM_IN), layout="constrained")
    rows = figure.add_gridspec(2, 1, height_ratios=[row_in, HISTOGRAM_IN])
    sections = rows[0].subgridspec(1, 3, width_ratios=widths.tolist())
    middle_A = np.zeros(3) if centre_A is None else centre_A
    for column, axis in enumerate((2, 1, 0)):
        _section(figure.add_subplot(sections[column]), trace, axis, pixel_A=pixel_A, middle_A=middle_A)
    _scores(figure.add_subplot(rows[1]), trace, names)
    return figure


def _section(axes: Axes, trace: Trace, axis: int, *, pixel_A: float, middle_A: Doubles) -> None:
    """Draw the section across an axis (0 is x) that holds most atoms, with these atoms."""
    across = [k for k in (0, 1, 2) if k != axis]
    position_px, size = places(trace.fitted), trace.volume.shape[::-1]
    index = _section_with_most_atoms(position_px[:, axis], size[axis])
    low, high = contrast(trace.volume)
    first_A = np.array([middle_A[k] - centre(size[k]) * pixel_A for k in range(3)])
    edges_A = [(first_A[k] - pixel_A / 2, first_A[k] + (size[k] - 0.5) * pixel_A) for k in across]
    axes.imshow(
        np.take(trace.volume, index, axis=2 - axis),
        cmap="gray",
        vmin=max(low, 0.0) if high > 0 else low,
        vmax=high,
        origin="lower",
        extent=(*edges_A[0], *edges_A[1]),
    )
    near = np.abs(position_px[:, axis] - index) <= NEAR_PX
    for kind in np.unique(trace.kind):
        where_A = first_A + position_px[near & (trace.kind == kind)] * pixel_A
        colour = COLOURS[int(kind) % len(COLOURS)]
        axes.plot(where_A[:, across[0]], where_A[:, across[1]], "+", color=colour, ms=5, mew=1.0)
    axes.text(
        0.02,
        0.02,
        f"+ within {NEAR_PX * pixel_A:.1f} Å",
        color="white",
        fontsize=7,
        transform=axes.transAxes,
        path_effects=outlined(),
    )
    axes.set(
        title=f"{'xyz'[axis]} = {first_A[axis] + index * pixel_A:.1f} Å".replace("-", "\N{MINUS SIGN}"),
        xlabel=f"{'xyz'[across[0]]} (Å)",
        ylabel=f"{'xyz'[across[1]]} (Å)",
        xlim=edges_A[0],
        ylim=edges_A[1],
    )


def _section_with_most_atoms(position_px: Doubles, n: int) -> int:
    """Return the section that holds most atoms, searched in the middle half of all atoms."""
    if not len(position_px):
        return n // 2
    ascending = np.sort(position_px)
    first, last = np.clip(np.rint(np.quantile(position_px, [0.25, 0.75])).astype(int), 0, n - 1)
    sections = np.arange(first, last + 1)
    count = np.searchsorted(ascending, sections + NEAR_PX, "right") - np.searchsorted(
        ascending, sections - NEAR_PX
    )
    best = sections[count == count.max()]
    return int(best[np.abs(best - np.median(position_px)).argmin()])


def _scores(axes: Axes, trace: Trace, names: tuple[str, ...]) -> None:
    """Draw the histogram of scores, the fitted mixture, and the threshold."""
    score, mixture = trace.candidates, trace.mixture
    edges = np.linspace(0, float(score.max(initial=1e-30)) * 1.02, BINS + 1)
    # maxima that are no atoms are often so many that the bars of atoms would be too low to see
    ceiling = 1.6 * np.histogram(score[score >= min(trace.cut, float(score.max()))], edges)[0].max(initial=1)
    highest = int(np.histogram(score, edges)[0].max())
    beyond = f", bars up to {highest}" if highest > ceiling else ""
    axes.hist(score, edges.tolist(), color=GREY, alpha=0.5, label=f"{len(score)} maxima{beyond}")
    x = np.linspace(mixture.threshold, edges[-1], 500)[1:]
    used = int((score > mixture.threshold).sum())
    for k, curve in enumerate(mixture.densities(x).T):
        name = "no atoms" if k == 0 else names[k - 1]
        colour = "black" if k == 0 else COLOURS[(k - 1) % len(COLOURS)]
        # not a fit where strong maxima and the others are the classes
        style = "-" if trace.separated else "--"
        axes.plot(x, curve * used * (edges[1] - edges[0]), style, color=colour, linewidth=1.2, label=name)
    if np.isfinite(trace.cut):
        axes.axvline(trace.cut, color="black", linestyle=":", linewidth=1, label=f"cut at {trace.cut:.3g}")
    axes.set(
        xlabel="score (density at the middle of the atom)",
        ylabel="maxima",
        xlim=(0, edges[-1]),
        ylim=(0, ceiling),
    )
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    how = "" if trace.separated else ": strong maxima, as\nscores have no minimum"
    axes.legend(title=f"{len(trace.fitted)} atoms{how}", title_fontsize=8)
