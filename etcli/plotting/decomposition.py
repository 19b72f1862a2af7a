"""Picture of a decomposition of spectra: the sum with its parts, what is left over, and maps."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from etcli.plotting.style import GREY, WIDTH_IN, PixelScale, contrast, scale_bar, show, styled

Doubles = NDArray[np.float64]

SPECTRUM_IN, RESIDUAL_IN, CURVE_IN = 2.9, 1.0, 1.9
MOST_ACROSS = 5
"""Maps in a row."""
NAMES_FROM = 0.85
"""Height of the lower end of the names of lines, of the axes."""
LINES_APART = 0.013
"""Least distance of names of lines, relative to the width of the panel."""


@styled
def decomposition_figure(
    energy_keV: Doubles,
    observed: Doubles,
    parts: Mapping[str, Doubles],
    others: Mapping[str, Doubles],
    *,
    maps: Mapping[str, NDArray[Any]],
    tilt_deg: float,
    lines: Sequence[tuple[str, float]] = (),
    pixel_A: float | None = None,
    is_fit: bool = True,
    curve: tuple[NDArray[Any], Doubles] | None = None,
) -> Figure:
    """Draw the sum of all spectra with what explains it, what is left over, and the maps of one view.

    Parameters
    ----------
    energy_keV, observed : ndarray of shape (n_channels,), float64
        Energies, and counts of the sum.
    parts : mapping of str to ndarray of shape (n_channels,)
        Counts of each map in the sum.
    others : mapping of str to ndarray of shape (n_channels,)
        Counts of the background, and of elements without a map.
    maps : mapping of str to ndarray of shape (ny, nx)
        Maps of one view.
    tilt_deg : float
        Its tilt angle.
    lines : sequence of (str, float)
        Names and energies of lines.
    pixel_A : float, optional
        Pixel size in Å.
    is_fit : bool
        Whether parts and others together explain the sum, so that a residual has a meaning.
    curve : tuple of ndarray, optional
        Numbers of components, and their held-out deviances in nats.

    Returns
    -------
    matplotlib.figure.Figure
    """
    ny, nx = next(iter(maps.values())).shape
    across = min(MOST_ACROSS, len(maps))
    rows = ceil(len(maps) / across)
    maps_in = rows * (WIDTH_IN / across * ny / nx * 0.85 + 0.35)
    heights = [SPECTRUM_IN + RESIDUAL_IN * is_fit, *([CURVE_IN] if curve else []), maps_in]
    figure = Figure(figsize=(WIDTH_IN, sum(heights)), layout="constrained")
    pieces: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    colours = _colours(list(parts))
    if is_fit:
        top, low = pieces[0].subplots(2, 1, sharex=True, height_ratios=[SPECTRUM_IN, RESIDUAL_IN])
        _draw_residual(low, energy_keV, observed, [*parts.values(), *others.values()])
    else:
        top = low = pieces[0].subplots()
    low.set_xlabel("energy (keV)")
    _draw_sum(top, energy_keV, observed, parts, others, colours, is_fit=is_fit)
    _name_lines(top, lines, energy_keV)
    if curve:
        _draw_curve(pieces[-2].subplots(), *curve)
    _draw_maps(pieces[-1], maps, tilt_deg, colours, (rows, across), pixel_A)
    return figure


def _colours(names: Sequence[str]) -> dict[str, Any]:
    """Return a colour for each name."""
    chosen = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"]
    return {name: chosen(k % chosen.N) for k, name in enumerate(names)}


def _draw_sum(
    axes: Axes,
    energy_keV: Doubles,
    observed: Doubles,
    parts: Mapping[str, Doubles],
    others: Mapping[str, Doubles],
    colours: Mapping[str, Any],
    *,
    is_fit: bool,
) -> None:
    """Draw the sum on a logarithmic scale, the parts as areas upon the background."""
    axes.step(energy_keV, observed, where="mid", color="black", linewidth=0.7, label="sum of all spectra")
    ground = others.get("background", np.zeros(len(energy_keV)))
    for name, counts in parts.items():
        shown = np.where(counts > 0.02 * ground, ground * bool(is_fit) + counts, np.nan)
        low = ground if is_fit else np.full(len(energy_keV), 1e-3)
        axes.fill_between(energy_keV, low, shown, color=colours[name], alpha=0.55, linewidth=0, label=name)
    if is_fit:
        styles = ((GREY, "-"), (GREY, ":"), (GREY, "--"), (GREY, "-."))
        for (name, counts), (colour, style) in zip(others.items(), styles * len(others), strict=False):
            shown = (
                counts if name == "background" else np.where(counts > 0.02 * ground, ground + counts, np.nan)
            )
            axes.plot(energy_keV, shown, style, color=colour, linewidth=0.8, label=name)
        fitted = sum([*parts.values(), *others.values()], start=np.zeros(len(energy_keV)))
        axes.plot(energy_keV, fitted, color="red", linewidth=0.8, label="fit")
    high = float(observed.max(initial=1.0))
    least = float(np.percentile(observed[observed > 0], 5)) if observed.any() else 1.0
    axes.set(yscale="log", ylim=(max(least, 1e-5 * high) / 2, 12 * high), ylabel="counts of a channel")
    axes.set(xlim=(energy_keV[0], energy_keV[-1]))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderaxespad=0.2, handlelength=1.3)


def _name_lines(axes: Axes, lines: Sequence[tuple[str, float]], energy_keV: Doubles) -> None:
    """Write the names of lines along the upper edge, moved apart where they would overlap."""
    low, high = float(energy_keV[0]), float(energy_keV[-1])
    width, place = high - low, -np.inf
    for name, energy in sorted(lines, key=lambda one: one[1]):
        if not low < energy < high:
            continue
        for letters, greek in (("Ka", "Kα"), ("La", "Lα"), ("Ma", "Mα"), ("Lb", "Lβ"), ("Mb", "Mβ")):
            name = name.replace(f" {letters}1", f" {greek}").replace(f" {letters}", f" {greek}")
        place = max(energy, place + LINES_APART * width)
        axes.text(
            place,
            0.99,
            name,
            transform=axes.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="top",
            fontsize="x-small",
            color="#404040",
        )
        to_name = [energy, energy, place], [0, NAMES_FROM - 0.04, NAMES_FROM]
        axes.plot(*to_name, transform=axes.get_xaxis_transform(), color=GREY, linewidth=0.3, zorder=0)


def _draw_residual(axes: Axes, energy_keV: Doubles, observed: Doubles, fitted: Sequence[Doubles]) -> None:
    """Draw what is left over, in standard deviations."""
    model = sum(fitted, start=np.zeros(len(energy_keV)))
    left = (observed - model) / np.sqrt(np.maximum(model, 1.0))
    limit = max(4.0, min(30.0, 1.1 * float(np.percentile(abs(left), 99.5))))
    axes.axhspan(-2, 2, color=GREY, alpha=0.2, linewidth=0)
    axes.step(energy_keV, left, where="mid", color="black", linewidth=0.6)
    axes.set(ylim=(-limit, limit), ylabel="(sum − fit) / σ")


def _draw_maps(
    piece: Any,
    maps: Mapping[str, NDArray[Any]],
    tilt_deg: float,
    colours: Mapping[str, Any],
    grid: tuple[int, int],
    pixel_A: float | None,
) -> None:
    """Draw the maps of one view, each with its own contrast."""
    panels = np.atleast_1d(piece.subplots(*grid)).ravel()
    piece.suptitle(f"maps at {tilt_deg:g}°, counts of a pixel", x=0.01, ha="left", fontsize="medium")
    for panel in panels[len(maps) :]:
        panel.set_visible(False)
    for k, (panel, (name, image)) in enumerate(zip(panels, maps.items(), strict=False)):
        scale = PixelScale.of(image.shape[1], pixel_A)
        drawn = show(panel, image, scale, limits=contrast(image), cmap="inferno")
        panel.set_title(name, color=colours.get(name, "black"))
        if k == 0:  # all are of one area
            scale_bar(panel, image.shape[1], scale)
        piece.colorbar(drawn, ax=panel, orientation="horizontal", shrink=0.8, aspect=25, pad=0.02)


def _draw_curve(axes: Axes, n: NDArray[Any], deviance: Doubles) -> None:
    """Draw how well numbers of components predict held-out counts."""
    axes.plot(n, np.maximum(deviance, 1.0), "o-")
    best = int(n[deviance.argmin()])
    axes.axvline(best, color=GREY, linewidth=0.6, dashes=(3, 2))
    axes.set(yscale="log", xlabel="components", ylabel="held-out deviance\nabove the least (nat)")
    axes.set_title(f"{best} components predict best", loc="left")
    axes.set_xticks(n)
