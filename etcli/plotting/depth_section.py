"""Picture of depth sectioning: all stages of the work on one page."""

from collections.abc import Callable
from functools import partial
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.depth.sectioning_result import Sectioning
from etcli.core.registration.shifts import Shifts
from etcli.plotting.depth_curves import (
    draw_criteria,
    draw_cross_sections,
    draw_drift,
    draw_precision,
    draw_profile,
    intensity_unit,
    shown_profiles,
)
from etcli.plotting.depth_maps import (
    LOWEST_BAR,
    draw_columns,
    draw_count_map,
    draw_depth_map,
    draw_model,
    model_widths,
)
from etcli.plotting.style import styled

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
Panel = Callable[[Axes], None]

PANEL_IN, CURVES_IN, PROFILES_IN = 4.0, 2.9, 2.3
MAP_IN, BAR_IN, HEADS_IN, TITLE_IN = 2.6, 0.9, 0.9, 0.35
"""Width of a map, of its colour bar and labels; height of the labels and names of a row; and of the title."""
HIGHEST_IN, MODEL_IN = 7.0, 4.2
"""Largest heights of maps and of the model."""
APART_IN = 0.12
LETTERS_PER_IN = 12
PROFILES_ACROSS = 3


@styled
def depth_section_figure(
    found: Sectioning,
    *,
    flagged: Mask,
    title: str,
    shifts: Shifts | None = None,
    column_bound_A: Doubles | None = None,
    atoms: Atoms | None = None,
) -> Figure:
    """Draw what depth sectioning has found, with a panel for all that exists.

    Parameters
    ----------
    found : Sectioning
        Columns, and counts and depths where they are known.
    flagged : ndarray of shape (n_columns,), bool
        Doubtful columns.
    title : str
        Name of the series.
    shifts : Shifts, optional
        Drift as it was found first; without it the drift is not drawn.
    column_bound_A : ndarray of shape (n_counts,), float64, optional
        Cramér-Rao lower bounds of the depths of columns of 1, 2, ... atoms in Å.
    atoms : Atoms, optional
        Model.

    Returns
    -------
    matplotlib.figure.Figure
    """
    maps, curves = _panels(found, flagged, shifts, column_bound_A)
    ny, nx = found.images.shape
    map_row = min(MAP_IN * max(ny / nx, LOWEST_BAR), HIGHEST_IN) + HEADS_IN
    rows: list[tuple[float, Callable[[SubFigure], None]]] = [(map_row, partial(_draw_row, panels=maps))]
    if curves:
        rows.append((CURVES_IN, partial(_draw_row, panels=curves)))
    profiles = shown_profiles(found, flagged) if found.depths is not None else []
    if profiles:
        height = PROFILES_IN * -(-len(profiles) // PROFILES_ACROSS) + TITLE_IN
        rows.append((height, partial(_draw_profiles, found=found, columns=profiles)))
    across = max(len(maps), len(curves), PROFILES_ACROSS if profiles else 0)
    width = PANEL_IN * across
    if atoms is not None:
        widths, height = model_widths(atoms)
        row = min((width - 3 * BAR_IN) * height / sum(widths), MODEL_IN) + HEADS_IN
        rows.append((row, partial(_draw_model, atoms=atoms)))
    heights = [height for height, _ in rows]
    figure = Figure(figsize=(width, sum(heights) + TITLE_IN), layout="constrained")
    if engine := figure.get_layout_engine():
        engine.set(w_pad=APART_IN, h_pad=APART_IN / 2)  # type: ignore[call-arg]
    figure.suptitle(fill(title, int(LETTERS_PER_IN * width)), x=0.01, ha="left", fontsize=10)
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (_, draw) in zip(parts, rows, strict=True):
        draw(part)
    return figure


def _panels(
    found: Sectioning, flagged: Mask, shifts: Shifts | None, column_bound_A: Doubles | None
) -> tuple[list[Panel], list[Panel]]:
    """Collect the panels of the row of maps and of the row of curves."""
    maps: list[Panel] = [partial(draw_columns, found=found, flagged=flagged)]
    curves: list[Panel] = [partial(draw_cross_sections, found=found)]
    if found.count is not None:
        maps.append(partial(draw_count_map, found=found, flagged=flagged))
    if found.depths is not None:
        maps.append(partial(draw_depth_map, found=found, flagged=flagged))
    if found.mixtures and found.counts is not None:
        taken = len(found.counts.means)
        curves.append(partial(draw_criteria, mixtures=found.mixtures, n_components=taken))
    if shifts is not None:
        curves.append(partial(draw_drift, images=found.images, shifts=shifts, chosen=found.chosen))
    if column_bound_A is not None and found.depths is not None:
        curves.append(partial(draw_precision, found=found, flagged=flagged, column_bound_A=column_bound_A))
    if len(maps) == 1:  # the columns alone: one row holds everything
        return maps + curves, []
    return maps, curves


def _draw_row(part: SubFigure, *, panels: list[Panel]) -> None:
    for axes, draw in zip(part.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes)


def _draw_profiles(part: SubFigure, *, found: Sectioning, columns: list[int]) -> None:
    """Draw focal profiles with one legend."""
    rows = -(-len(columns) // PROFILES_ACROSS)
    grid = part.subplots(rows, PROFILES_ACROSS, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(columns):
            axes.remove()
            continue
        title = _profile_title(found, columns[place], worst=place == len(columns) - 1)
        draw_profile(axes, found, columns[place], title)
        if place >= len(columns) - PROFILES_ACROSS:
            axes.set_xlabel("depth of the focal plane (Å)")
        if place % PROFILES_ACROSS == 0:
            axes.set_ylabel(intensity_unit(found.images)[1])
    handles, labels = grid.flat[0].get_legend_handles_labels()
    part.legend(handles, labels, loc="outside upper left", ncols=len(labels), title="focal profiles",
                title_fontsize=9, alignment="left")  # fmt: skip


def _profile_title(found: Sectioning, column: int, *, worst: bool) -> str:
    """Describe the fit of a column in two lines."""
    if found.depths is None or found.count is None:
        raise ValueError("profiles need counts and depths")
    fit, count, known = found.depths.fit, found.count[column], found.images.electrons is not None
    what = "" if not worst else ", worst fit" if known else ", largest error"
    numbers = f"z = {fit.depth_A[column]:.1f} ± {fit.sigma_A[column]:.1f} Å".replace("-", "\N{MINUS SIGN}")
    if known:
        numbers += f", χ² {fit.chi2[column]:.2f}"
    return f"column {column}{what}\n{count} atom{'' if count == 1 else 's'}, {numbers}"


def _draw_model(part: SubFigure, *, atoms: Atoms) -> None:
    """Draw the projections of the model."""
    widths, _ = model_widths(atoms)
    axes = part.subplots(1, 3, width_ratios=widths)
    draw_model(tuple(axes), atoms)
    surface = "; light: atoms at the surface" if "surface" in atoms.columns else ""
    part.suptitle(
        f"model of {len(atoms)} atoms, z away from the source{surface}", x=0.01, ha="left", fontsize=9
    )
