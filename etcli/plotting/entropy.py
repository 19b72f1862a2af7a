"""Pictures of the entropy of projections."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from etcli.plotting.style import BLUE, GREY, ORANGE, RED, WIDTH_IN, styled

HEIGHT_IN = 4.0
MANY = 100  # views, whose points would hide the line


@styled
def entropy_curve(
    tilt_deg: ArrayLike,
    entropy_nat: ArrayLike,
    joint_nat: ArrayLike,
    *,
    n_voxels: int,
    sd_nat: ArrayLike | None = None,
    joint_sd_nat: ArrayLike | None = None,
    chosen: Sequence[int] = (),
    zone_axes_deg: Sequence[float] = (),
) -> Figure:
    """Draw entropies per N³ over the tilt angle, as in Fig. 1(a) of the paper.

    Parameters
    ----------
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees, any order.
    entropy_nat, joint_nat : array_like of shape (n_views,)
        Entropies alone and given the partner at 90°, in nats; NaN without a partner.
    n_voxels : int
        Voxels N along a ray.
    sd_nat, joint_sd_nat : array_like of shape (n_views,), optional
        Their standard deviations.
    chosen : sequence of int
        Views to mark, from 0.
    zone_axes_deg : sequence of float
        Tilt angles of zone axes, marked by lines.

    Returns
    -------
    matplotlib.figure.Figure

    References
    ----------
    S. M. Collins et al., Phys. Rev. Lett. 119, 166101 (2017).
    """
    angles = np.asarray(tilt_deg, np.float64)
    order = np.argsort(angles, kind="stable")
    cube = float(n_voxels) ** 3
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    for name, values, deviation, colour in (
        ("alone", entropy_nat, sd_nat, BLUE),
        ("given the view at 90°", joint_nat, joint_sd_nat, ORANGE),
    ):
        scaled = np.asarray(values, np.float64)[order] / cube
        if not np.isfinite(scaled).any():
            continue
        axes.plot(angles[order], scaled, "o-" if len(angles) < MANY else "-", color=colour, label=name)
        if deviation is not None:
            half = np.asarray(deviation, np.float64)[order] / cube
            axes.fill_between(
                angles[order], scaled - half, scaled + half, color=colour, alpha=0.25, linewidth=0
            )
    if chosen:
        marked = np.asarray(entropy_nat, np.float64)[list(chosen)] / cube
        axes.plot(
            angles[list(chosen)], marked, "o", color=RED, markersize=6, fillstyle="none", label="chosen"
        )
    for k, angle in enumerate(zone_axes_deg):
        label = "zone axes" if k == 0 else None
        axes.axvline(angle, color=GREY, linewidth=0.6, dashes=(3, 2), zorder=0, label=label)
    axes.set_xlabel("tilt angle (°)")
    axes.set_ylabel("entropy S / N³")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)
    return figure
