"""Picture of pores and local thickness: both on a slice, and how large they are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from etcli.plotting.style import BLUE, ORANGE, WIDTH_IN, PixelScale, contrast, scale_bar, show, styled

ROW_IN = 3.5
BINS = 40
OPAQUE = 0.6
COLOURS = {"closed": BLUE, "open": ORANGE}
PARTS = {"solid": BLUE, "pores": ORANGE}


@dataclass(frozen=True, eq=False)
class PorePicture:
    """What the picture shows.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        Slice of the volume.
    z : int
        Section that the slice is, counted from 1.
    pixel_A : float or None
        Size of a voxel.
    unit : str
        Unit of thickness and diameters.
    pores : dict of str to (ndarray of shape (ny, nx), bool, and ndarray of shape (n,), float64)
        Of closed and of open pores: where they are on the slice, and their diameters. Empty where unknown.
    thickness : ndarray of shape (ny, nx), float32, or None
        Thickness on the slice; 0 where there is none.
    parts : dict of str to ndarray
        Thickness of each voxel of solid and pores.
    """

    image: NDArray[Any]
    z: int
    pixel_A: float | None
    unit: str
    pores: dict[str, tuple[NDArray[np.bool_], NDArray[np.float64]]]
    thickness: NDArray[np.float32] | None
    parts: dict[str, NDArray[np.float32]]


@styled
def pore_figure(shown: PorePicture, *, title: str = "") -> Figure:
    """Draw pores by kind and local thickness on a slice, and the distributions of both, as far as there are.

    Parameters
    ----------
    shown : PorePicture
    title : str
        Name above all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    has_pores = any(len(diameters) for _, diameters in shown.pores.values())
    has_thickness = shown.thickness is not None and any(
        np.isfinite(each).any() for each in shown.parts.values()
    )
    rows, columns = max(has_pores + has_thickness, 1), 2 if has_pores or has_thickness else 1
    figure = Figure(figsize=(WIDTH_IN, rows * ROW_IN), layout="constrained")
    if title:
        figure.suptitle(title, size=9)
    panels = (figure.add_subplot(rows, columns, k) for k in range(1, columns * rows + 1))
    if has_pores or not has_thickness:
        _draw_pores(next(panels), shown)
    if has_pores:
        _draw_sizes(next(panels), shown)
    if shown.thickness is not None and has_thickness:
        _draw_thickness(next(panels), shown, shown.thickness)
        _draw_distribution(next(panels), shown)
    return figure


def _draw_pores(axes: Axes, shown: PorePicture) -> None:
    scale = PixelScale.of(shown.image.shape[1], shown.pixel_A)
    drawn = show(axes, shown.image, scale, limits=contrast(shown.image))
    for kind, (where, _) in shown.pores.items():
        colour = np.array(to_rgba(COLOURS[kind], OPAQUE))
        axes.imshow(where[..., np.newaxis] * colour, extent=drawn.get_extent(), interpolation="nearest")
    scale_bar(axes, shown.image.shape[1], scale)
    found = any(len(diameters) for _, diameters in shown.pores.values())
    axes.set_title(f"{'pores on' if found else 'no pore found;'} section {shown.z}", loc="left")


def _draw_sizes(axes: Axes, shown: PorePicture) -> None:
    """Draw the histograms of the diameters of closed and of open pores."""
    every = np.concatenate([diameters for _, diameters in shown.pores.values()])
    edges = np.linspace(0, every.max(initial=0) or 1, min(BINS, 2 + round(2 * every.size**0.5)))
    axes.hist(
        [diameters for _, diameters in shown.pores.values()],
        bins=edges.tolist(),
        stacked=True,
        color=[COLOURS[kind] for kind in shown.pores],
        alpha=0.7,
        label=[f"{len(diameters)} {kind}" for kind, (_, diameters) in shown.pores.items()],
    )
    axes.set(xlabel=f"diameter ({shown.unit})", ylabel="pores")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    axes.set_title("sizes of pores", loc="left")


def _draw_thickness(axes: Axes, shown: PorePicture, thickness: NDArray[np.float32]) -> None:
    scale = PixelScale.of(thickness.shape[1], shown.pixel_A)
    known = np.ma.masked_where((thickness == 0) | ~np.isfinite(thickness), thickness)
    drawn = show(axes, known, scale, limits=(0, float(known.max()) if known.count() else 1), cmap="viridis")
    scale_bar(axes, thickness.shape[1], scale, on_white=True)
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label=f"local thickness ({shown.unit})")
    axes.set_title(f"thickness on section {shown.z}", loc="left")


def _draw_distribution(axes: Axes, shown: PorePicture) -> None:
    """Draw how much of the solid and of the pores is how thick."""
    for name, values in shown.parts.items():
        known = values[np.isfinite(values)]
        if known.size:
            mean, scatter = known.mean(dtype=float), known.std(dtype=float)
            words = f"{name}: mean {mean:.3g}, scatter {scatter:.2g} {shown.unit}"
            share = np.full(known.size, 1 / known.size)
            edges = np.linspace(0, known.max(), BINS + 1).tolist()
            axes.hist(
                known, edges, weights=share, histtype="step", linewidth=1.4, color=PARTS[name], label=words
            )
    axes.set(xlabel=f"local thickness ({shown.unit})", ylabel="part of the volume", xlim=(0, None))
    if axes.get_legend_handles_labels()[0]:
        axes.set_ylim(top=1.25 * axes.get_ylim()[1])  # for the legend
        axes.legend(loc="upper right")
    axes.set_title("distribution of thickness", loc="left")
