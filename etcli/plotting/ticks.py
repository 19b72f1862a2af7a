"""Ticks and titles of small panels that stand close to each other."""

from collections.abc import Sequence
from typing import Literal

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from etcli.plotting.style import Page

MOST_TICKS, NARROW_TICKS = 8, 5
CHARACTER, HEIGHT, APART = 0.62, 1.0, 0.7
"""Width and height of a character, and the least space between labels, relative to the size of the text."""
ROUNDING = 1e-9
OVERHANG_IN = 0.03
"""Length by which a label may reach beyond its panel."""


def set_ticks_inside(axes: Axes, which: Literal["x", "y"], length_in: float, *, gamma: float = 1.0) -> None:
    """Set ticks whose labels neither touch each other nor reach beyond the panel.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel with its final limits.
    which : {"x", "y"}
        The axis.
    length_in : float
        Length of that side of the panel in inches.
    gamma : float
        Exponent of the scale, for a colour bar.
    """
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    size_in = float(rcParams[f"{which}tick.labelsize"]) / 72
    for n in range(MOST_TICKS, 0, -1):
        ticks = MaxNLocator(n, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        labels = [_label(tick if abs(tick) > ROUNDING * (high - low) else 0.0) for tick in ticks]
        widths_in = [size_in * (CHARACTER * len(label) if which == "x" else HEIGHT) for label in labels]
        part = [max(0.0, (tick - low) / (high - low)) for tick in ticks]
        at_in = [length_in * share**gamma for share in part]
        inside = [
            k
            for k, (at, width) in enumerate(zip(at_in, widths_in, strict=True))
            if low <= ticks[k] <= high
            and width / 2 - OVERHANG_IN <= at <= length_in - width / 2 + OVERHANG_IN
        ]
        if inside and _are_apart([at_in[k] for k in inside], [widths_in[k] for k in inside], APART * size_in):
            break
    else:
        inside = []
    set_ticks = axes.set_xticks if which == "x" else axes.set_yticks
    set_ticks([ticks[k] for k in inside], [labels[k] for k in inside])


def thin_ticks(*panels: Axes, page: Page) -> None:
    """Set fewer ticks on a narrow page, where the usual ones stand close together."""
    if page.is_narrow:
        for axes in panels:
            axes.locator_params(nbins=NARROW_TICKS)


def fits(title: str, width_in: float) -> bool:
    """Check whether a title is not wider than this."""
    return CHARACTER * len(title) * float(rcParams["axes.titlesize"]) / 72 <= width_in


def shortened(title: str, width_in: float) -> str:
    """Return a title that is not wider than this, with the middle of a long one left out."""
    most = max(5, int(width_in * 72 / CHARACTER / float(rcParams["axes.titlesize"])))
    if len(title) <= most:
        return title
    return f"{title[: most // 2]}…{title[-(most - most // 2 - 1) :]}"


def _are_apart(at: Sequence[float], widths: Sequence[float], least: float) -> bool:
    """Check whether labels of these widths at these places, rising, have some space between them."""
    return all(at[k + 1] - at[k] >= (widths[k] + widths[k + 1]) / 2 + least for k in range(len(at) - 1))


def _label(tick: float) -> str:
    return f"{tick:g}".replace("-", "\N{MINUS SIGN}")
