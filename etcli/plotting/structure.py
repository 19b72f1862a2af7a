"""Pictures of the arrangement of atoms: pair distributions and bonds of one model, or of two together."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from etcli.core.atoms.histograms import (
    ALL,
    bond_angles,
    bond_lengths,
    coordination,
    nearest_neighbours,
)
from etcli.core.atoms.structure import Structure
from etcli.plotting.style import BLUE, GREEN, GREY, ORANGE, RED, WIDTH_IN, styled

Models = Mapping[str, Structure]

COLOURS = (BLUE, ORANGE)
# Sky blue, reddish purple: M. Okabe, K. Ito, Color Universal Design (2008).
ELEMENTS = (BLUE, ORANGE, GREEN, RED, "#56B4E9", "#CC79A7", GREY)
COLUMNS = 3
ANGLE_BINS = 90
LENGTH_BINS = 60


@styled
def pair_distributions(models: Models) -> Figure:
    """Draw the pair distribution functions, and below them the partial ones of pairs of elements.

    Parameters
    ----------
    models : mapping of str to Structure
        One or two models by the names to show.

    Returns
    -------
    matplotlib.figure.Figure
    """
    pairs = list(
        dict.fromkeys(pair for structure in models.values() for pair in structure.distribution.partial)
    )
    rows = -(-len(pairs) // COLUMNS)
    figure = Figure(figsize=(WIDTH_IN, 3.2 + 1.5 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[1.8] + [1] * rows)
    total = figure.add_subplot(grid[0, :])
    for (name, structure), colour in zip(models.items(), COLOURS, strict=False):
        curve = structure.distribution
        label = f"{name}: {1000 * curve.density_A3:.3g} atoms/nm³, bonds up to {structure.cutoff_A:.3g} Å"
        total.plot(curve.distance_A, curve.g, color=colour, label=label)
        total.axvline(structure.cutoff_A, color=colour, dashes=(2, 2), linewidth=0.8)
    panels = [total]
    for k, pair in enumerate(pairs):
        panels.append(figure.add_subplot(grid[1 + k // COLUMNS, k % COLUMNS], sharex=total))
        panels[-1].set_title("–".join(pair), loc="right", y=0.82)
        for structure, colour in zip(models.values(), COLOURS, strict=False):
            if pair in structure.distribution.partial:
                curve = structure.distribution
                panels[-1].plot(curve.distance_A, curve.partial[pair], color=colour, linewidth=1.0)
    reach = max(float(structure.distribution.distance_A[-1]) for structure in models.values())
    for k, axes in enumerate(panels):
        axes.axhline(1, color=GREY, linewidth=0.6)
        axes.grid()
        axes.set(xlim=(0, reach), ylim=(0, None))
        if (k - 1) % COLUMNS == 0 or axes is total:
            axes.set_ylabel("g(r)")
        if k > len(pairs) - COLUMNS:
            axes.set_xlabel("distance (Å)")
    total.legend(loc="upper right")
    return figure


@styled
def bonds(models: Models) -> Figure:
    """Draw bond lengths, bond angles, coordination numbers and distances of nearest neighbours.

    Parameters
    ----------
    models : mapping of str to Structure
        One model, drawn by elements, or two models, by the names to show.

    Returns
    -------
    matplotlib.figure.Figure
        Four panels.
    """
    figure = Figure(figsize=(WIDTH_IN, 6.0), layout="constrained")
    (lengths, angles), (numbers, nearest) = figure.subplots(2, 2)
    edges_A = _length_edges([structure.length_A for structure in models.values()])
    near_A = _length_edges([structure.nearest_A for structure in models.values()])
    edges_deg = np.linspace(0, 180, ANGLE_BINS + 1)
    alone = len(models) == 1
    for (name, structure), colour in zip(models.items(), COLOURS, strict=False):
        label = {ALL: "all" if alone else name}
        _steps(lengths, edges_A, bond_lengths(structure, edges_A), label, colour, only_all=not alone)
        _steps(angles, edges_deg, bond_angles(structure, edges_deg), label, colour, only_all=not alone)
        _steps(nearest, near_A, {ALL: nearest_neighbours(structure, near_A)}, label, colour, only_all=True)
    _bars(numbers, models)
    lengths.set(xlabel="bond length (Å)", ylabel="probability density (1/Å)")
    angles.set(xlabel="bond angle (°)", ylabel="probability density (1/°)", xlim=(0, 180))
    angles.set_xticks(range(0, 181, 30))
    nearest.set(xlabel="distance of the nearest neighbour (Å)", ylabel="probability density (1/Å)")
    for axes in (lengths, angles, nearest):
        axes.set_ylim(0, None)
        if axes.get_legend_handles_labels()[0] and (not alone or len(axes.lines) > 1):
            axes.legend()
    return figure


def _length_edges(lengths_A: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the edges of bins for all lengths, at least 0.005 Å wide each, with a margin on either side."""
    together_A = np.concatenate(lengths_A)
    low, high = (float(together_A.min()), float(together_A.max())) if len(together_A) else (0.0, 1.0)
    margin = max(0.05 * (high - low), 0.15)
    return np.linspace(max(low - margin, 0), high + margin, LENGTH_BINS + 1)


def _steps(
    axes: Axes,
    edges: NDArray[np.float64],
    curves: Mapping[str, NDArray[np.float64]],
    label: Mapping[str, str],
    colour: str,
    *,
    only_all: bool,
) -> None:
    """Draw a filled histogram of all atoms or bonds, and outlines by element."""
    by_element = [name for name in curves if name != ALL]
    colour = colour if only_all or not by_element else GREY
    axes.stairs(curves[ALL], edges, fill=True, color=colour, alpha=0.25)
    middle = [(low + high) / 2 for low, high in pairwise(edges)]
    axes.step(middle, curves[ALL], where="mid", color=colour, label=label[ALL])
    if not only_all:
        for name, line_colour in zip(by_element, _colours(len(by_element) + 1)[1:], strict=True):
            axes.step(middle, curves[name], where="mid", color=line_colour, label=name.replace("_", "–"))


def _bars(axes: Axes, models: Models) -> None:
    """Draw the fraction of atoms by coordination number."""
    alone = len(models) == 1
    groups: dict[str, NDArray[np.float64]] = {}
    for name, structure in models.items():
        shares = coordination(structure)
        several = alone and len(shares) > 1
        groups |= {key or name: share for key, share in shares.items() if (key != ALL) == several}
    width = 0.85 / max(len(groups), 1)
    colours = _colours(len(groups) + 1)[1:] if alone and len(groups) > 1 else _colours(len(groups))
    for k, ((name, share), colour) in enumerate(zip(groups.items(), colours, strict=True)):
        place = np.arange(len(share)) + (k - (len(groups) - 1) / 2) * width
        axes.bar(place, 100 * share, width, color=colour, label=name, edgecolor="white", linewidth=0.3)
    used = np.concatenate([np.flatnonzero(share > 1e-3) for share in groups.values()])
    low, high = (int(used.min()), int(used.max())) if len(used) else (0, 1)
    axes.set(xlabel="coordination number, surface left out", ylabel="atoms (%)", xlim=(low - 0.7, high + 0.7))
    axes.set_xticks(range(low, high + 1, max(1, (high - low) // 10)))
    if len(groups) > 1:
        # above the bars, which may fill the panel
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0)


def _colours(n: int) -> list[str]:
    return [ELEMENTS[k % len(ELEMENTS)] for k in range(n)]
