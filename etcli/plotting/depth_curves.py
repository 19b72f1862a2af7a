"""Panels of depth sectioning that show curves: cross-sections, criteria, focal profiles, drift, precision."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray
from scipy.stats import norm

from etcli.core.depth.counting import Counts
from etcli.core.depth.cross_section_mixture import MixtureFit, local_minima
from etcli.core.depth.focal_images import FocalImages
from etcli.core.depth.sectioning_result import Sectioning
from etcli.core.registration.shifts import Shifts
from etcli.plotting.depth_maps import head
from etcli.plotting.style import BLUE, GREEN, GREY, ORANGE, RED

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

BINS, BINS_PER_COUNT = 60, 4
"""Bins of the histogram, or as many more as the steps between the counts need."""
CURVE_POINTS = 400
PROFILES = 6
LABEL_WIDTH = 0.05
"""Width of a number above a histogram, relative to that of the panel."""


def draw_cross_sections(axes: Axes, found: Sectioning) -> None:
    """Draw the histogram of cross-sections with the means of a library, or the components of a mixture.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    found : Sectioning
    """
    value = found.cross_section_A2 if found.compared_A2 is None else found.compared_A2
    counts, known = found.counts, found.images.electrons is not None
    highest = float(value.max())
    if counts is not None:  # the mean of the largest count may lie above all of its columns
        highest = max(highest, float(counts.means[counts.counts <= counts.count.max()].max()))
    highest *= 1.02
    lowest = min(0.0, float(value.min()))
    n_bins = BINS
    if counts is not None:
        n_bins = max(BINS, BINS_PER_COUNT * int((counts.means <= highest).sum()))
    edges = np.linspace(lowest, highest, n_bins + 1)
    heights, _ = np.histogram(value, edges)
    axes.stairs(heights, edges, fill=True, color=GREY, alpha=0.5)
    highest_bar = float(heights.max())
    if counts is not None and found.mixtures:
        curves = component_curves(counts, found.cross_section_error_A2, edges)
        axes.plot(curves[0], curves[1].T, color=BLUE, linewidth=0.8)
        axes.plot(curves[0], curves[1].sum(axis=0), color=ORANGE, label=f"mixture of {len(counts.means)}")
        axes.lines[0].set_label("components")
        highest_bar = max(highest_bar, float(curves[1].sum(axis=0).max()))
    axes.set(
        xlim=(lowest, highest),
        ylim=(0, (1.05 if counts is None else 1.16) * highest_bar),
        xlabel="cross-section (Å²)" if known else "cross-section (Å² × unit of the image)",
        ylabel="columns",
    )
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if counts is not None:
        _mark_counts(axes, counts, curves=bool(found.mixtures))
    head(axes, "cross-sections", ncols=2)


def component_curves(counts: Counts, error_A2: Doubles, edges: Doubles) -> tuple[Doubles, Doubles]:
    """Compute the columns that each component of a mixture puts in a bin, over the cross-section.

    Parameters
    ----------
    counts : Counts
    error_A2 : ndarray of shape (n_columns,), float64
        Errors of the cross-sections, by which each column scatters more than the common width.
    edges : ndarray of shape (n_bins + 1,), float64
        Equal bins in Å².

    Returns
    -------
    at : ndarray of shape (n_points,), float64
        Cross-sections in Å².
    curves : ndarray of shape (n_components, n_points), float64
    """
    at = np.linspace(edges[0], edges[-1], CURVE_POINTS)
    error = error_A2[np.isfinite(error_A2)]
    width = np.hypot(counts.sigma, error)[:, np.newaxis]
    columns_per_unit = len(error_A2) * (edges[1] - edges[0])
    curves = [
        columns_per_unit * weight * norm.pdf(at, mean, width).mean(axis=0)
        for mean, weight in zip(counts.means, counts.weights, strict=True)
    ]
    return at, np.array(curves)


def _mark_counts(axes: Axes, counts: Counts, *, curves: bool) -> None:
    """Mark mean cross-sections by their counts, as many as there is room for, and by lines without curves."""
    low, high = axes.get_xlim()
    inside = (counts.means > low) & (counts.means < high)
    means, numbers = counts.means[inside], counts.counts[inside]
    name = "library" if counts.scale == 1 else f"library × {counts.scale:.3f}"
    room, last = LABEL_WIDTH * (high - low), -np.inf
    for mean, number in zip(means, numbers, strict=True):
        if mean - last < room or high - mean < room / 3:
            continue
        axes.text(
            mean, 0.98, str(number), transform=axes.get_xaxis_transform(), color=BLUE, fontsize=7,
            ha="center", va="top",
        )  # fmt: skip
        if not curves:
            label = f"means of the {name}" if last < low else None
            axes.axvline(mean, ymax=0.92, color=BLUE, linewidth=0.8, label=label)
        last = mean


def draw_criteria(axes: Axes, mixtures: Sequence[MixtureFit], n_components: int) -> None:
    """Draw the criteria for the number of components of a mixture, with their local minima.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    mixtures : sequence of MixtureFit
        Of 1, 2, ... components.
    n_components : int
        The number that was taken.
    """
    number = np.array([fit.n_components for fit in mixtures])
    for name, colour in (("icl", BLUE), ("bic", ORANGE), ("aic", GREEN)):
        values = np.array([getattr(fit, name) for fit in mixtures])
        minima = [list(number).index(k) for k in local_minima(values)]
        axes.plot(number, values, ".-", color=colour, label=name.upper())
        axes.plot(number[minima], values[minima], "o", color=colour, ms=7, fillstyle="none")
    axes.plot([], [], "o", color=GREY, ms=7, fillstyle="none", label="local minima")
    axes.axvline(n_components, color=GREY, dashes=(3, 2), linewidth=0.8, label=f"taken: {n_components}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="components of the mixture", ylabel="criterion")
    axes.grid(axis="y")
    head(axes, "number of components")


def draw_drift(axes: Axes, images: FocalImages, shifts: Shifts, chosen: NDArray[np.intp]) -> None:
    """Draw the displacement of the sections.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    images : FocalImages
    shifts : Shifts
        From the first registration, which finds doubtful sections.
    chosen : ndarray, intp
        Sections of the mean image, from 0.
    """
    section = np.arange(len(images)) + 1
    for name, values, colour in zip("xy", images.displacement_px.T, (BLUE, ORANGE), strict=True):
        moved = values * images.pixel_A
        axes.plot(section, moved, ".-", color=colour, label=name)
        doubtful = section[shifts.doubtful]
        if doubtful.size:
            label = "doubtful" if name == "y" else None
            axes.plot(doubtful, moved[shifts.doubtful], "o", color=RED, ms=7, fillstyle="none", label=label)
    axes.axvspan(
        chosen.min() + 0.5, chosen.max() + 1.5, color=GREY, alpha=0.2, linewidth=0, label="in the mean image"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="section", ylabel="displacement (Å)")
    axes.grid(axis="y")
    head(axes, "drift", ncols=4)


def draw_precision(axes: Axes, found: Sectioning, flagged: Mask, column_bound_A: Doubles) -> None:
    """Draw the standard errors of depths and their lower bound over the count.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    found : Sectioning
        With counts and depths.
    flagged : ndarray of shape (n_columns,), bool
        Doubtful columns, which are drawn hollow.
    column_bound_A : ndarray of shape (n_counts,), float64
        Cramér-Rao lower bounds of columns of 1, 2, ... atoms in Å.
    """
    if found.depths is None or found.count is None:
        raise ValueError("the precision needs counts and depths")
    sigma, count = found.depths.fit.sigma_A, found.count
    for mask, style, label in ((~flagged, "full", "columns"), (flagged, "none", "flagged columns")):
        if mask.any():
            axes.plot(count[mask], sigma[mask], "o", color=GREY, ms=3, fillstyle=style, mew=0.5, label=label)
    most = max(int(count.max()), 1)
    number = np.arange(1, min(most, len(column_bound_A)) + 1)
    axes.plot(number, column_bound_A[: len(number)], ".-", color=BLUE, label="lower bound")
    axes.set(xlabel="atoms of a column", ylabel="standard error of the depth (Å)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    head(axes, "precision of depths")


def shown_profiles(found: Sectioning, flagged: Mask) -> list[int]:
    """Choose columns for profiles: from the thinnest to the thickest, and the one that fits worst.

    Parameters
    ----------
    found : Sectioning
        With counts and depths.
    flagged : ndarray of shape (n_columns,), bool
        Doubtful columns, which are left out as long as others remain.

    Returns
    -------
    list of int
        Columns from 0, at most `PROFILES`; the last has the largest χ², or the largest error of the depth
        where the noise is not known.
    """
    if found.depths is None or found.count is None:
        raise ValueError("profiles need counts and depths")
    fit = found.depths.fit
    fitted = np.flatnonzero(~fit.no_fit)
    if not fitted.size:
        return []
    misfit = fit.sigma_A if found.images.electrons is None else fit.chi2
    worst = int(fitted[np.nanargmax(misfit[fitted])])
    others = fitted[fitted != worst]
    sure = others[~flagged[others]]
    others = sure if len(sure) >= PROFILES - 1 else others
    others = others[np.argsort(found.count[others], kind="stable")]
    spread = np.unique(np.linspace(0, len(others) - 1, PROFILES - 1).round().astype(int))
    return [*others[spread].tolist(), worst] if len(others) else [worst]


def draw_profile(axes: Axes, found: Sectioning, column: int, title: str) -> None:
    """Draw the focal profile of one column with its fit.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    found : Sectioning
        With depths.
    column : int
        From 0.
    title : str
    """
    if found.depths is None:
        raise ValueError("profiles need depths")
    fit, measured, order = found.depths.fit, found.depths, np.argsort(found.images.focus_A)
    unit = intensity_unit(found.images)[0]
    focus, profile = found.images.focus_A[order], measured.profile[order, column] / unit
    model, used = fit.model[order, column] / unit, fit.used[order, column]
    error = None if measured.variance is None else np.sqrt(measured.variance[order, column]) / unit
    for mask, colour, label in ((used, BLUE, "measured, fitted"), (~used, GREY, "outside the window")):
        if mask.any():
            yerr = None if error is None else error[mask]
            axes.errorbar(
                focus[mask], profile[mask], yerr, fmt=".", color=colour, elinewidth=0.6, label=label
            )
    axes.plot(focus, model, color=GREY, linewidth=0.8, dashes=(3, 2))
    axes.plot(focus[used], model[used], color=ORANGE, label="fit")
    axes.axvline(fit.peak_A[column], color=GREEN, linewidth=0.8, label="depth of the peak")
    if used.any():
        axes.axvspan(focus[used][0], focus[used][-1], color=GREY, alpha=0.12, linewidth=0, label="window")
    axes.set_title(title, loc="left")


def intensity_unit(images: FocalImages) -> tuple[float, str]:
    """Return the unit in which intensities are drawn, and the label of its axis.

    Parameters
    ----------
    images : FocalImages

    Returns
    -------
    unit : float
        0.01, a per cent of the beam, where the dose is known; otherwise 1, the unit of the image.
    label : str
    """
    return (1.0, "intensity") if images.electrons is None else (0.01, "intensity (% of the beam)")
