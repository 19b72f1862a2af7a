"""Diagnostic pictures of registration and tilt alignment."""

import re
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from etcli.core.registration.axis_residual import AxisResidual
from etcli.plotting.style import BLUE, GREY, ORANGE, RED, WIDTH_IN, PixelScale, contrast, show, styled

MOST_NAMED = 12  # doubtful views named in the legend


@styled
def registration(
    tilt_deg: ArrayLike,
    shift_px: NDArray[np.float64],
    *,
    quality: ArrayLike | None = None,
    deviation_px: NDArray[np.float64] | None = None,
    doubtful: ArrayLike | None = None,
    quality_label: str = "correlation",
    along: str = "tilt angle (°)",
) -> Figure:
    """Draw the shifts of the views and how far they are from their prediction, with doubtful views marked.

    Parameters
    ----------
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees, any order, or what else tells the views apart.
    shift_px : ndarray of shape (n_views, 2)
        Shift (x, y) of each view in pixels.
    quality : array_like of shape (n_views,), optional
        How well each view matched; drawn only without `deviation_px`.
    deviation_px : ndarray of shape (n_views, 2), optional
        (x, y) from each view to its prediction by other views, in pixels.
    doubtful : array_like of bool of shape (n_views,), optional
        Views to mark; they are named by their number in the file, from 1.
    quality_label : str
        Label of the quality.
    along : str
        Label of `tilt_deg`.

    Returns
    -------
    matplotlib.figure.Figure
        Shifts above, below what they leave in pixels, or else the quality.
    """
    order = np.argsort(tilt_deg, kind="stable")
    angles = np.asarray(tilt_deg, np.float64)[order]
    marked = np.zeros(len(order), bool) if doubtful is None else np.asarray(doubtful, bool)[order]
    n_panels = 1 if quality is None and deviation_px is None else 2
    figure = Figure(figsize=(WIDTH_IN, 2.2 + 1.8 * n_panels), layout="constrained")
    panels = figure.subplots(n_panels, 1, sharex=True, squeeze=False, height_ratios=(3, 2)[:n_panels])[:, 0]
    shifts = np.asarray(shift_px, np.float64)[order]
    for column, (name, colour) in enumerate((("x", BLUE), ("y", ORANGE))):
        panels[0].plot(angles, shifts[:, column], "o-", color=colour, label=f"shift in {name}")
    panels[0].set_ylabel("shift (px)")
    if deviation_px is not None:
        left = np.hypot(*np.asarray(deviation_px, np.float64)[order].T)
        panels[1].plot(angles, left, "o-", color=GREY)
        panels[1].set_ylabel("left over (px)")
        panels[1].set_ylim(bottom=0)
    elif quality is not None:
        panels[1].plot(angles, np.asarray(quality, np.float64)[order], "o-", color=GREY)
        panels[1].set_ylabel(quality_label)
    for axes in panels:
        axes.grid(axis="y")
        for angle in angles[marked]:
            axes.axvline(angle, color=RED, linewidth=0.8, dashes=(3, 2), zorder=0)
    if marked.any():
        names = ", ".join(str(index + 1) for index in np.sort(order[marked])[:MOST_NAMED])
        names += ", …" if marked.sum() > MOST_NAMED else ""
        panels[0].plot([], [], color=RED, linewidth=0.8, dashes=(3, 2), label=f"doubtful views: {names}")
    panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)
    panels[-1].set_xlabel(along)
    return figure


@styled
def tilt_axis(
    y_px: ArrayLike,
    axis_px: ArrayLike,
    *,
    slices: NDArray[Any] | None = None,
    slice_rows: ArrayLike = (),
    residual: AxisResidual | None = None,
    pixel_A: float | None = None,
    title: str = "",
) -> Figure:
    """Draw slices of an aligned series, the position of its tilt axis row by row, and the residual.

    Parameters
    ----------
    y_px : array_like of shape (n,)
        Rows at which the axis was measured, in pixels from the centre.
    axis_px : array_like of shape (n,)
        Its position in these rows, in pixels from the centre, to +x.
    slices : ndarray of shape (n_slices, nz, nx), optional
        Quick X–Z reconstructions: arcs and doubled edges in them show that the axis is wrong.
    slice_rows : array_like of shape (n_slices,)
        Rows of these slices, in pixels from the centre.
    residual : AxisResidual, optional
        Residual of the views for other angles and offsets of the axis.
    pixel_A : float, optional
        Pixel size in Å, for lengths along x, y and z; what is left of the alignment is in pixels.
    title : str
        Short description of the result.

    Returns
    -------
    matplotlib.figure.Figure
        Slices at the top; then the axis along y, if measured, which should be on the line at 0; then the
        residual against angle and offset, which should be lowest at 0.
    """
    y, axis = (np.asarray(values, np.float64) for values in (y_px, axis_px))
    heights_in = []
    if slices is not None:
        heights_in.append(min(6.0, WIDTH_IN / len(slices) * slices.shape[1] / slices.shape[2]) + 0.9)
    if y.size:
        heights_in.append(2.6)
    if residual is not None:
        heights_in.append(2.4)
    figure = Figure(figsize=(WIDTH_IN, sum(heights_in or [2.6])), layout="constrained")
    figure.suptitle(re.sub(r"(?<!\S)-(?=\d)", "\N{MINUS SIGN}", title))
    grid = iter(figure.add_gridspec(len(heights_in) or 1, 1, height_ratios=heights_in or None))
    if slices is not None:
        panels = next(grid).subgridspec(1, len(slices)).subplots(squeeze=False)[0]
        _draw_slices(panels, slices, slice_rows, pixel_A)
    if y.size:
        axes = figure.add_subplot(next(grid))
        scale = PixelScale.of(round(np.ptp(y)) if slices is None else slices.shape[2], pixel_A)
        axes.plot(y * scale.step, axis, "o", color=BLUE)
        axes.axhline(0, color=ORANGE)
        axes.set(xlabel=f"y ({scale.unit})", ylabel="axis after alignment (px)")
        axes.set_title(f"remaining, row by row: {np.sqrt(np.mean(axis**2)):.2g} px rms")
        axes.grid()
    if residual is not None:
        _draw_residual(next(grid).subgridspec(1, 2).subplots(sharey=True, squeeze=False)[0], residual)
    return figure


def _draw_residual(panels: NDArray[Any], residual: AxisResidual) -> None:
    """Draw the residual of the views for other angles and offsets of the axis."""
    axes: Axes
    for axes, change, values, label in (
        (panels[0], residual.angle_deg, residual.by_angle, "turned further by (°)"),
        (panels[1], residual.offset_px, residual.by_offset, "moved further by (px)"),
    ):
        axes.plot(change, 100 * values, "o-", color=BLUE)
        axes.axvline(0, color=ORANGE)
        axes.set_xlabel(label)
        axes.grid()
    panels[0].set_ylabel("not explained (%)")


def _draw_slices(panels: NDArray[Any], slices: NDArray[Any], rows: ArrayLike, pixel_A: float | None) -> None:
    """Draw X–Z slices with the same contrast."""
    scale = PixelScale.of(slices.shape[2], pixel_A)
    limits = contrast(slices)
    axes: Axes
    for axes, image, row in zip(panels, slices, np.asarray(rows), strict=True):
        show(axes, image, scale, limits=limits, labels=("x", "z"))
        place = f"{row * scale.step:.3g}".replace("-", "−")
        axes.set_title(f"X–Z at y = {place} {scale.unit}")
        axes.label_outer(remove_inner_ticks=True)
