"""Pictures of the errors of atoms compared with a reference."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.agreement import Agreement
from etcli.plotting.style import BLUE, GREEN, GREY, ORANGE, WIDTH_IN, styled

HEIGHT_IN = 4.1
BINS = 40
LENGTH = "distance (pm)"
PM = 100.0


@styled
def position_errors(result: Agreement, reference: Atoms, *, cutoff_A: float, title: str) -> Figure:
    """Draw the errors of the positions of a model compared with a reference.

    Parameters
    ----------
    result : Agreement
    reference : Atoms
        The reference, for the elements of the pairs.
    cutoff_A : float
        Largest distance of two atoms that form a pair.
    title : str
        Names of model and reference.

    Returns
    -------
    matplotlib.figure.Figure
        A histogram of the distances, stacked by element, and one of the differences along x, y and z.
    """
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    lengths, axes = figure.subplots(1, 2)
    total = result.total
    figure.suptitle(
        f"{title}: {total.n_found} of {total.n_reference} found ({total.found_percent:.2f} %), "
        f"{total.n_extra} false",
        fontsize=9,
    )
    distance_pm = PM * np.linalg.norm(result.difference_A, axis=1)
    _distances(lengths, distance_pm, reference.species[result.pairs.reference], PM * cutoff_A)
    if len(distance_pm):
        for value, name, dashes in (
            (PM * total.errors.rmsd_A, "RMSD", (4, 2)),
            (PM * total.errors.mean_A, "mean", (1, 1.5)),
        ):
            lengths.axvline(value, color="black", dashes=dashes, lw=0.9, label=f"{name} {value:.1f} pm")
        lengths.legend()
    _differences(axes, result)
    return figure


def _distances(
    axes: Axes, distance_pm: NDArray[np.float64], species: NDArray[np.str_], cutoff_pm: float
) -> None:
    """Draw the histogram of distances, up to the cutoff or the largest distance."""
    reach = min(cutoff_pm, 1.05 * float(distance_pm.max())) if len(distance_pm) else cutoff_pm
    edges = np.linspace(0, reach, BINS + 1)
    names = sorted(set(species.tolist()))
    counts = [distance_pm[species == name] for name in names]
    if names:
        axes.hist(counts, edges.tolist(), stacked=True, label=names, edgecolor="white", linewidth=0.3)
    axes.set(xlabel=f"{LENGTH}, cutoff {cutoff_pm:g} pm", ylabel="atoms", xlim=(0, reach))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _differences(axes: Axes, result: Agreement) -> None:
    """Draw the histograms of the differences along the three axes."""
    errors = result.total.errors
    reach = PM * float(np.abs(result.difference_A).max(initial=0.0)) or 1.0
    edges = np.linspace(-reach, reach, BINS + 1)
    for k, (axis, colour) in enumerate(zip("xyz", (BLUE, ORANGE, GREEN), strict=True)):
        offset = f"{PM * errors.offset_A[k]:+.2f}".replace("-", "\N{MINUS SIGN}")
        label = f"{axis}: offset {offset} pm, RMS {PM * errors.rmsd_axis_A[k]:.1f} pm"
        axes.hist(
            PM * result.difference_A[:, k], edges.tolist(), histtype="step", color=colour, lw=1.2, label=label
        )
    axes.axvline(0, color=GREY, linewidth=0.6)
    axes.set(xlabel="model − reference (pm)", ylabel="atoms", xlim=(-reach, reach))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    # above the panel, where neither a line nor the line at zero runs
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
