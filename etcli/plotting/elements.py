"""Picture of elements that were reconstructed together."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from etcli.core.fusion.scales import half_above
from etcli.core.specimen_centre import specimen_centre
from etcli.plotting.reconstruction import few_ticks
from etcli.plotting.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    TALLEST_IN,
    WIDTH_IN,
    PixelScale,
    scale_bar,
    show,
    styled,
)

Array = NDArray[Any]

COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#F0E442", GREY)
"""Of the elements in turn: colours that colour-blind readers can distinguish (Okabe & Ito, 2008)."""
BELOW_IN, TITLE_IN, SIDES_IN = 2.6, 0.45, 0.9
WHITE = 1.25
"""Level shown as white, relative to the counts a voxel that voxels with half of all counts exceed."""
SHOWN_NATS = 50.0
"""Deviance above the least up to which curves are shown."""


class DevianceCurve(Protocol):
    """Deviance of held-out counts against a weight."""

    @property
    def name(self) -> str:
        """The element, or what was varied."""

    @property
    def tried(self) -> tuple[float, ...]:
        """Weights or factors."""

    @property
    def deviance(self) -> tuple[float, ...]:
        """Deviance above the least, in nats."""

    @property
    def best(self) -> float:
        """The weight or factor that is used."""


@styled
def elements_figure(
    names: Sequence[str],
    counts: Array,
    fractions: Array,
    curves: Sequence[DevianceCurve],
    *,
    pixel_A: float | None = None,
) -> Figure:
    """Draw three slices of each element, all in one colour picture, fractions along a line, and the curves.

    Parameters
    ----------
    names : sequence of str
        The elements.
    counts : ndarray of shape (n_elements, nz, ny, nx)
        Counts a voxel.
    fractions : ndarray of the same shape
        Atomic fractions.
    curves : sequence of DevianceCurve
        Held-out deviance, in nats above the least.
    pixel_A : float, optional
        Voxel size in Å; without it lengths are in pixels.

    Returns
    -------
    matplotlib.figure.Figure
        The slices go through the centre of the specimen. The line is that row of X–Y along which fractions
        change most.
    """
    brightest = [WHITE * half_above(volume) or 1.0 for volume in counts]  # also of an element in few voxels
    relative = counts / np.array(brightest, np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    at = specimen_centre(relative.sum(axis=0))
    n, (nz, ny, nx) = len(names), counts.shape[1:]
    high, wide = max(ny, nz), 2 * nx + nz
    room_in = TALLEST_IN - BELOW_IN - (n + 1) * TITLE_IN
    inch = min((WIDTH_IN - SIDES_IN) / wide, room_in / ((n + 1) * high))
    row_in = high * inch + TITLE_IN
    figure = Figure(figsize=(WIDTH_IN, (n + 1) * row_in + BELOW_IN), layout="constrained")
    grid = figure.add_gridspec(n + 2, 1, height_ratios=[row_in] * (n + 1) + [BELOW_IN])
    scale = PixelScale.of(nx, pixel_A)
    for c, name in enumerate(names):
        title = f"{name}, white {brightest[c]:.3g} a voxel"
        panels = _three(figure, grid[c], nx, nz)
        _draw_slices(panels, _slices(counts[c], at), at, scale, (0.0, brightest[c]))
        panels[0].set_title(title, loc="left", color=COLOURS[c % len(COLOURS)])
    colours = [
        tuple(int(COLOURS[c % len(COLOURS)][k : k + 2], 16) / 255 for k in (1, 3, 5)) for c in range(n)
    ]
    panels = _three(figure, grid[n], nx, nz)
    for axes, slices in zip(
        panels, zip(*(_slices(volume, at) for volume in relative), strict=True), strict=True
    ):
        mixed = np.einsum("cyx,ck->yxk", np.clip(slices, 0, 1), colours)
        axes.imshow(np.clip(mixed, 0, 1), extent=_extent(slices[0], scale))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    panels[0].set_title("all, in their colours", loc="left")
    row = int(np.abs(np.diff(fractions[:, at[0]], axis=2)).sum(axis=(0, 2)).argmax())
    panels[0].axhline((row - (ny - 1) / 2) * scale.step, color="white", linewidth=0.6, dashes=(4, 3))
    below = GridSpecFromSubplotSpec(1, 2, subplot_spec=grid[n + 1])
    _draw_curves(figure.add_subplot(below[0]), names, curves)
    _draw_line(figure.add_subplot(below[1]), names, fractions[:, at[0], row], scale)
    return figure


def _three(figure: Figure, place: Any, nx: int, nz: int) -> list[Axes]:
    """Add the axes of X–Y, X–Z and Z–Y."""
    row = GridSpecFromSubplotSpec(1, 3, subplot_spec=place, width_ratios=[nx, nx, nz])
    return [figure.add_subplot(row[k]) for k in range(3)]


def _slices(volume: Array, at: tuple[int, int, int]) -> tuple[Array, Array, Array]:
    """Return the slices X–Y, X–Z and Z–Y through a point (z, y, x)."""
    z, y, x = at
    return volume[z], volume[:, y], volume[:, :, x].T


def _extent(image: Array, scale: PixelScale) -> tuple[float, float, float, float]:
    """Return where an image begins and ends, from its middle."""
    ny, nx = image.shape
    return *scale.extent(nx), *scale.extent(ny)


def _draw_slices(
    panels: Sequence[Axes],
    slices: Sequence[Array],
    at: tuple[int, int, int],
    scale: PixelScale,
    limits: tuple[float, float],
) -> None:
    """Draw the three slices of one element."""
    z, y, x = at
    for axes, image, title in zip(panels, slices, ("", f"X–Z, y {y + 1}", f"Z–Y, x {x + 1}"), strict=True):
        show(axes, image, scale, limits=limits)
        axes.set_title(title, loc="left")
    panels[0].set_title(f"X–Y, z {z + 1}", loc="right")
    scale_bar(panels[0], slices[0].shape[1], scale)


def _draw_curves(axes: Axes, names: Sequence[str], curves: Sequence[DevianceCurve]) -> None:
    """Draw held-out deviance against the weights relative to the best, near its minimum."""
    for curve in curves:
        colour = COLOURS[names.index(curve.name) % len(COLOURS)] if curve.name in names else "black"
        label = curve.name if curve.name in names else "joint prior"
        axes.plot(np.array(curve.tried) / curve.best, curve.deviance, "o-", color=colour, label=label)
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set(xscale="log", xlabel="weight of the prior / chosen", ylabel="held-out deviance (nats)")
    axes.set_ylim(-0.03 * SHOWN_NATS, SHOWN_NATS)
    ticks = few_ticks(*axes.get_xlim())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend()


def _draw_line(axes: Axes, names: Sequence[str], fractions: Array, scale: PixelScale) -> None:
    """Draw the fractions of the elements along a line; gaps where there is no specimen."""
    solid = fractions.sum(axis=0) > 0
    x = (np.arange(fractions.shape[1]) - (fractions.shape[1] - 1) / 2) * scale.step
    for c, name in enumerate(names):
        values = np.where(solid, fractions[c], np.nan)
        axes.plot(x, values, color=COLOURS[c % len(COLOURS)], label=name, marker=".")
    axes.set(xlabel=f"x ({scale.unit}), along the dashed line", ylabel="fraction")
    axes.set(xlim=scale.extent(fractions.shape[1]), ylim=(-0.02, 1.02))
