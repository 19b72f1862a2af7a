"""Pictures of traced atoms: on sections of the volume, and how they were told from noise."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from etcli.core.atoms.gaussian_fit import places
from etcli.core.atoms.tracing import Trace
from etcli.plotting.style import BLUE, GREEN, GREY, ORANGE, RED, WIDTH_IN, contrast, styled

COLOURS = (ORANGE, BLUE, GREEN, RED)
BINS = 80
NEAR_PX = 1.0


@styled
def traced(trace: Trace, *, pixel_A: float, names: tuple[str, ...]) -> Figure:
    """Draw the middle sections of a volume with the atoms that lie in them, and the histogram of scores.

    Parameters
    ----------
    trace : Trace
    pixel_A : float
        Size of a voxel in Å.
    names : tuple of str
        Of the species, the lightest first.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(WIDTH_IN, 0.85 * WIDTH_IN), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1.1, 1.0])
    nz, ny, nx = trace.volume.shape
    at = places(trace.fitted)
    middle = np.median(at, axis=0) if len(at) else np.array([nx, ny, nz]) / 2
    for column, axis in enumerate((2, 1, 0)):  # across z, y and x
        axes = figure.add_subplot(grid[0, column])
        _section(axes, trace, axis, int(np.clip(round(middle[axis]), 0, (nx, ny, nz)[axis] - 1)), pixel_A)
    _scores(figure.add_subplot(grid[1, :]), trace, names)
    return figure


def _section(axes: Axes, trace: Trace, axis: int, at: int, pixel_A: float) -> None:
    """Draw one section across an axis (0 is x) with the atoms near it."""
    across = [k for k in (0, 1, 2) if k != axis]
    image = np.take(trace.volume, at, axis=2 - axis)
    low, high = contrast(image)
    n_right, n_up = image.shape[::-1]
    extent = tuple(edge * pixel_A for edge in (-n_right / 2, n_right / 2, -n_up / 2, n_up / 2))
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent)
    place = places(trace.fitted)
    near = np.abs(place[:, axis] - at) <= NEAR_PX
    for kind in np.unique(trace.kind):
        chosen = near & (trace.kind == kind)
        right, up = (
            (place[chosen, k] - (n - 1) / 2) * pixel_A for k, n in zip(across, (n_right, n_up), strict=True)
        )
        axes.plot(right, up, "+", color=COLOURS[int(kind) % len(COLOURS)], markersize=5, markeredgewidth=1.0)
    where = (at - (trace.volume.shape[2 - axis] - 1) / 2) * pixel_A
    axes.set(
        title=f"{'xyz'[axis]} = {where:.1f} Å",
        xlabel=f"{'xyz'[across[0]]} (Å)",
        ylabel=f"{'xyz'[across[1]]} (Å)",
    )


def _scores(axes: Axes, trace: Trace, names: tuple[str, ...]) -> None:
    """Draw the histogram of scores, the mixture and the cut."""
    score, mixture = trace.candidates, trace.mixture
    edges = np.linspace(0, float(score.max(initial=1e-30)) * 1.02, BINS + 1)
    axes.hist(score, edges, color=GREY, alpha=0.5, label=f"{len(score)} maxima")
    x = np.linspace(mixture.threshold, edges[-1], 500)
    used = int((score > mixture.threshold).sum())
    for k, curve in enumerate(mixture.densities(x).T):
        name = "no atoms" if k == 0 else names[k - 1]
        colour = "black" if k == 0 else COLOURS[(k - 1) % len(COLOURS)]
        axes.plot(x, curve * used * (edges[1] - edges[0]), color=colour, linewidth=1.2, label=name)
    if np.isfinite(trace.cut):
        axes.axvline(trace.cut, color="black", linestyle=":", linewidth=1, label=f"cut at {trace.cut:.3g}")
    top = np.histogram(score[score > 0.3 * mixture.mean[0]], edges)[0].max(initial=1)
    axes.set(xlabel="score (density at the middle of the atom)", ylabel="maxima", ylim=(0, 1.6 * top))
    axes.legend(fontsize="small", title=f"{len(trace.fitted)} atoms", title_fontsize="small")
