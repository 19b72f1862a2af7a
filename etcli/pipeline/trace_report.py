"""Report of a tracing: messages for the user, and the numbers of the run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.mixture import species_doubt
from etcli.core.atoms.refine_trace import RefinedTrace
from etcli.core.atoms.restraint import STILL_A
from etcli.core.atoms.traced_species import species_shown
from etcli.core.atoms.tracing import Trace
from etcli.pipeline.session import Session

LEAST_FALSE = 0.005
"""Fraction of atoms that may be noise above which it is reported."""
MOST_DOUBTED = 0.1
"""Fraction of atoms of doubtful species above which there is a warning."""


def classes_named(n_species: int) -> tuple[str, ...]:
    """Names of species whose elements are unknown, numbered as in the column ``class``."""
    return ("atoms",) if n_species == 1 else tuple(f"class {k + 1}" for k in range(n_species))


def report_trace(
    session: Session,
    trace: Trace,
    completed: RefinedTrace | None,
    atoms: Atoms,
    *,
    flipped: int,
    drift_per_A: float,
    half_A: NDArray[Any] | None,
    species_given: bool,
) -> dict[str, Any]:
    """Report the atoms found and the maxima removed; return the numbers of the run."""
    reporter = session.reporter
    reporter.note(
        f"an atom is {trace.sigma_A:.3g} Å wide (standard deviation) and {trace.snr:.3g} times as high as "
        f"the noise; smoothed by {trace.smoothing_A:.3g} Å"
    )
    removed = [*trace.removed, *(completed.removed if completed else [])]
    for one in removed:
        (reporter.report if one.count else reporter.note)(f"{one.count} removed: {one.rule}")
    if flipped and not completed:
        reporter.report(
            f"{flipped} atoms changed from the species of their score to that of their surroundings"
        )
    if drift_per_A:
        reporter.report(f"scores drift by {100 * drift_per_A:+.2g} % per Å of depth; corrected")
    if not trace.separated:
        reporter.report(
            "scores have no minimum between atoms and other maxima (see --plot): atoms are those "
            "of about half the height of strong ones or more"
            + ("" if species_given else "; name all species")
        )
    _warn_of_species(session, trace, completed, given=species_given)
    numbers: dict[str, Any] = {
        "n_atoms": len(atoms),
        "species": {str(name): int((atoms.species == name).sum()) for name in np.unique(atoms.species)},
        "removed": [{"rule": one.rule, "count": one.count} for one in removed],
        # n_atoms = n_maxima - removed + added
        "n_maxima": len(trace.fitted) + sum(one.count for one in trace.removed),
        "cut": trace.cut,
        "class_scores": trace.mixture.mean,
        "sigma_A": trace.sigma_A,
        "smoothing_A": trace.smoothing_A,
        "snr": trace.snr,
    }
    if half_A is not None and len(half_A):
        numbers["half_set_rms_A"] = np.sqrt(np.mean(half_A**2, axis=0))
        x, y, z = 100 * numbers["half_set_rms_A"]
        reporter.report(
            f"by the half-sets, positions are uncertain by {x:.3g}, {y:.3g}, {z:.3g} pm (x, y, z)"
        )
    if completed:
        numbers |= _report_refinement(session, completed)
    counts = ", ".join(f"{n} {name}" for name, n in numbers["species"].items())
    reporter.report(f"{len(atoms)} atoms ({counts})")
    if completed:
        probability, what = completed.classes.probability, "amplitudes"
    else:
        score = np.maximum(trace.score, trace.mixture.threshold)
        probability, what = trace.mixture.probabilities(score), "scores"
    numbers["expected_false"] = expected = float(probability[:, 0].sum())
    if expected > max(1, LEAST_FALSE * len(atoms)):
        reporter.report(f"by their {what}, about {expected:.0f} of them may be noise")
    return numbers


def _warn_of_species(session: Session, trace: Trace, completed: RefinedTrace | None, *, given: bool) -> None:
    """Warn where species overlap in scores or refined amplitudes, or there are fewer than requested."""
    n_requested, what = len(trace.mixture.mean), "scores"
    if completed:
        doubtful, what = completed.classes.doubt, "amplitudes"
    else:
        doubtful = species_doubt(trace.mixture.probabilities(trace.score))
    if doubtful > MOST_DOUBTED:
        session.reporter.warn(
            f"{what} of the species overlap: about {doubtful:.0%} of the atoms may be of another species "
            "than the one given (see their probability); is the number of species right?"
        )
    if given and n_requested > 1 and (shown := species_shown(trace, completed)) < n_requested:
        session.reporter.warn(
            f"the {what} show {shown} species, not {n_requested}: the others may be noise, or part of the "
            "atoms of one species (see --plot)"
        )


def _report_refinement(session: Session, completed: RefinedTrace) -> dict[str, Any]:
    """Report how well the refined atoms explain the views; return the numbers of the refinement."""
    model, added = completed.refined.model, int((completed.from_trace < 0).sum())
    if added:
        session.reporter.report(f"{added} atoms added that only the views show")
    heights = ", ".join(f"{height:.4g}" for height in model.means())
    by_species = " by species" if len(model.means()) > 1 else ""
    moves = f"restraint {completed.restraint_A:g} Å" if completed.restraint_A > STILL_A else "atoms not moved"
    session.reporter.report(
        f"R = {completed.refined.r_factor:.3f}; amplitude {heights}{by_species}; "
        f"B = {model.b_factors_A2()[0]:.3g} Å² of all atoms; {moves}"
    )
    restraint = completed.restraint
    if restraint and not restraint.completes:
        worse, before = restraint.completed_misfit, restraint.kept_misfit
        session.reporter.report(
            f"with atoms removed and added, left-out views are predicted worse ({worse:.4g}) than without "
            f"({before:.4g}): all atoms of the volume are kept, and none are added"
        )
    if restraint and completed.restraint_A == STILL_A:
        session.reporter.report("moved atoms do not predict left-out views better, so atoms stay in place")
    return {
        "r_factor": completed.refined.r_factor,
        "chi2": completed.refined.chi2,
        "amplitude": model.means(),
        "b_factor_A2": model.b_factors_A2(),
        "hold_A": completed.restraint_A,
        "hold_tried_A": restraint.tried_A if restraint else None,
        "hold_misfit": restraint.misfit if restraint else None,
        "completed_misfit": restraint.completed_misfit if restraint else None,
        "added": added,
    }
