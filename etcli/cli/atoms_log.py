"""What the user is told of tracing, and its last steps."""

from typing import TYPE_CHECKING, Any

from etcli.cli.inputs import naming
from etcli.cli.options import Settings
from etcli.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etcli.cli.atoms_input import SeriesViews
    from etcli.core.atoms.against_views import Completed
    from etcli.core.atoms.model import Atoms
    from etcli.core.atoms.tracing import Trace, TraceRules

LEAST_SHOWN, FEW_SHOWN = 0.5, 0.9
"""Shares of traced atoms below which the views are not those of the volume, or may not be."""
MOST_DOUBTED = 0.1
"""Share of atoms that may be of another species before the user is warned."""


def refined(
    settings: Settings,
    found: "Trace",
    series: "SeriesViews",
    pixel_A: float,
    centre_A: "NDArray[Any]",
    hold_A: float | None,
    rules: "TraceRules",
) -> "Completed":
    """Refine a trace against the views, which have to show what the volume does.

    Raises
    ------
    DataError
        When half of the atoms are not in the views, unless the user has decided what is one.
    UsageError
        When views cannot tell how far atoms may move.
    """
    from etcli.core.atoms.against_views import refine_trace

    name = series.stack.name
    try:
        with naming(series.stack):
            completed = refine_trace(
                found,
                series.views,
                pixel_A=pixel_A,
                centre_A=centre_A - series.middle_A,
                level=series.level,
                hold_A=hold_A,
                min_distance_A=rules.cleaning.min_distance_A,
                progress=lambda text: settings.console.report(f"refining: {text}"),
            ).moved(series.middle_A)
    except UsageError as error:
        remedy = "" if "--hold" in str(error) else "; give --hold as a length"
        raise UsageError(f"{name}: {error}{remedy}") from error
    n_atoms, n_shown = len(found.fitted), int((completed.from_trace >= 0).sum())
    text = f"{name}: shows only {n_shown} of the {n_atoms} atoms of the volume"
    if n_shown < LEAST_SHOWN * n_atoms and rules.threshold is None and rules.expected is None:
        raise DataError(f"{text}; is it the series that was reconstructed, with the same angles?")
    if n_shown < FEW_SHOWN * n_atoms:
        settings.console.warn(f"{text}; make sure that the volume was reconstructed from it (--orient zyx)")
    return completed


def classes_named(n_species: int) -> tuple[str, ...]:
    """Return what species are called whose elements are not known, as the column ``class`` numbers them."""
    return ("atoms",) if n_species == 1 else tuple(f"class {k + 1}" for k in range(n_species))


def tell(
    settings: Settings,
    found: "Trace",
    completed: "Completed | None",
    atoms: "Atoms",
    *,
    flipped: int,
    drift_per_A: float,
    half_A: "NDArray[Any] | None",
    species_given: bool,
) -> dict[str, Any]:
    """Report what was found and removed; return the numbers."""
    import numpy as np

    console = settings.console
    console.note(
        f"an atom is {found.sigma_A:.3g} Å wide (standard deviation) and {found.snr:.3g} times as high as "
        f"the noise; smoothed by {found.smoothing_A:.3g} Å"
    )
    removed = [*found.removed, *(completed.removed if completed else [])]
    for one in removed:
        (console.report if one.count else console.note)(f"{one.count} removed: {one.rule}")
    if flipped:
        console.report(f"{flipped} are of another species than their score says, by what surrounds them")
    if drift_per_A:
        console.report(f"scores drift by {100 * drift_per_A:+.2g} % per Å of depth; taken off")
    _warn_of_species(settings, found, given=species_given)
    numbers: dict[str, Any] = {
        "n_atoms": len(atoms),
        "species": {str(name): int((atoms.species == name).sum()) for name in np.unique(atoms.species)},
        "removed": [{"rule": one.rule, "count": one.count} for one in removed],
        "n_maxima": len(found.candidates),
        "cut": found.cut,
        "class_scores": found.mixture.mean,
        "sigma_A": found.sigma_A,
        "smoothing_A": found.smoothing_A,
        "snr": found.snr,
    }
    if half_A is not None and len(half_A):
        numbers["half_set_rms_A"] = np.sqrt(np.mean(half_A**2, axis=0))
        x, y, z = 100 * numbers["half_set_rms_A"]
        console.report(f"by the half-sets, positions are uncertain by {x:.3g}, {y:.3g}, {z:.3g} pm (x, y, z)")
    if completed:
        numbers |= _refinement(settings, completed)
    counts = ", ".join(f"{n} {name}" for name, n in numbers["species"].items())
    console.report(f"{len(atoms)} atoms ({counts})")
    return numbers


def _warn_of_species(settings: Settings, found: "Trace", *, given: bool) -> None:
    """Tell where scores do not hold the species; as many as they show are not looked for again."""
    from etcli.core.atoms.classes import doubt_about_species, species_shown

    doubted, asked = doubt_about_species(found), len(found.mixture.mean)
    if doubted > MOST_DOUBTED:
        settings.console.warn(
            f"scores of the species overlap: about {doubted:.0%} of the atoms may be of another than it says "
            "(see their probability); are there as many species?"
        )
    if given and asked > 1 and (shown := species_shown(found)) < asked:
        settings.console.warn(
            f"the scores show {shown} species, not {asked}: what is too many holds what is no atom, or "
            "shares atoms of one (see --plot)"
        )


def _refinement(settings: Settings, completed: "Completed") -> dict[str, Any]:
    """Report how well the views are explained."""
    model, added = completed.refined.model, int((completed.from_trace < 0).sum())
    if added:
        settings.console.report(f"{added} added that the views show")
    heights = ", ".join(f"{height:.4g}" for height in model.means())
    b_factors = ", ".join(f"{b:.3g}" for b in model.b_factors_A2())
    settings.console.report(
        f"R = {completed.refined.r_factor:.3f}; amplitude {heights}, B = {b_factors} Å² by species; held by "
        f"{completed.hold_A:g} Å"
    )
    hold = completed.hold
    return {
        "r_factor": completed.refined.r_factor,
        "chi2": completed.refined.chi2,
        "amplitude": model.means(),
        "b_factor_A2": model.b_factors_A2(),
        "hold_A": completed.hold_A,
        "hold_tried_A": hold.tried_A if hold else None,
        "hold_misfit": hold.misfit if hold else None,
        "added": added,
    }
