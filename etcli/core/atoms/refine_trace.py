"""Refinement of a trace against the views: restraint of positions, and the completed model."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.cleaning import RemovedCounts
from etcli.core.atoms.complete_model import CompletedModel, amplitude_spread, complete_model, of_one_width
from etcli.core.atoms.gaussian_fit import places, positions_A
from etcli.core.atoms.gaussian_model import AtomViews, check_hand, start_model, with_diffuse
from etcli.core.atoms.overlap import overlap_factors
from etcli.core.atoms.refine_model import RefinedModel
from etcli.core.atoms.refined_species import AmplitudeClasses
from etcli.core.atoms.restraint import Restraint, find_restraint
from etcli.core.atoms.surroundings import reconstruct_surroundings
from etcli.core.atoms.tracing import Trace

Doubles = NDArray[np.float64]

DIFFUSE_A = 2.5
"""In the views of a film, variations over longer distances are diffuse background and not due to atoms."""


@dataclass(frozen=True, eq=False)
class RefinedTrace:
    """Trace refined against the views.

    Parameters
    ----------
    refined : RefinedModel
    restraint : Restraint or None
        Cross-validation of the restraint; None if the restraint was given.
    restraint_A : float
    from_trace : ndarray of shape (n_atoms,), int
        Index of each atom in the trace, -1 for added atoms.
    classes : AmplitudeClasses
        Species by the refined amplitudes.
    removed : list of RemovedCounts
    """

    refined: RefinedModel
    restraint: Restraint | None
    restraint_A: float
    from_trace: NDArray[np.intp]
    classes: AmplitudeClasses
    removed: list[RemovedCounts]

    def error_A(self, traced_A: Doubles) -> Doubles:
        """Return the standard deviations of x, y and z, from those of the trace: (n, 3) for (n_traced, 3)."""
        found = np.where(self.from_trace[:, np.newaxis] < 0, np.nan, traced_A[self.from_trace])
        return self.refined.error_A(self.restraint_A, found)


def refine_trace(
    trace: Trace,
    views: AtomViews,
    *,
    pixel_A: float,
    centre_A: Doubles,
    level: float = 0.0,
    restraint_A: float | None = None,
    min_distance_A: float,
    progress: Callable[[str], None] | None = None,
) -> RefinedTrace:
    """Refine the atoms traced in a volume against the views from which the volume was reconstructed.

    Parameters
    ----------
    trace : Trace
    views : AtomViews
    pixel_A : float
        Size of the voxels in Å.
    centre_A : ndarray of shape (3,), float64
        x, y and z of the middle of the volume from the rotation centre.
    level : float
        Background level of the views, where it is known.
    restraint_A : float, optional
        As for `etcli.core.atoms.refine_model.refine_model`; by default found by cross-validation.
    min_distance_A : float
        Smallest distance between atoms.
    progress : callable, optional
        Called with the name of each stage when it begins.

    Returns
    -------
    RefinedTrace

    Raises
    ------
    DataError
        When the views do not show the atoms.
    """
    report = progress or (lambda text: None)
    nz, ny, nx = trace.volume.shape
    if views.diffuse_A:
        report("what is outside the volume")
        surroundings = reconstruct_surroundings(views, (nz, ny, nx), pixel_A, centre_A, level)
        outside = surroundings.views_of_outside(views)
        views = replace(views, outside=outside, widest_A=trace.sigma_A)
    sigma_A = np.full(len(trace.mixture.mean), trace.sigma_A)
    half_A = (np.array([nx, ny, nz]) - 1) / 2 * pixel_A

    def completed(
        position_A: Doubles, used: AtomViews, restraint_A: float, *, keep_all: bool = False
    ) -> CompletedModel:
        start = start_model(position_A, trace.score, trace.kind, sigma_A, used)
        if used.diffuse_A:
            # the trusted pixels stay the same, as a refinement of fewer and fewer pixels would not end
            used = with_diffuse(used, start)
        return complete_model(
            start,
            used,
            restraint_A=restraint_A,
            low_A=centre_A - half_A,
            high_A=centre_A + half_A,
            min_distance_A=min_distance_A,
            keep_all=keep_all,
        )

    position_A = positions(trace, pixel_A, centre_A)
    check_hand(start_model(position_A, trace.score, trace.kind, sigma_A, views), views)
    restraint = None
    if restraint_A is None:
        report("how far atoms may move")
        restraint = find_restraint(
            views,
            trace.fitted,
            trace.rules,
            kind=np.zeros_like(trace.kind),  # species by scores may be wrong
            score=trace.score,
            sigma_A=sigma_A[:1],
            smoothing_A=trace.smoothing_A,
            shape=(nz, ny, nx),
            voxel_A=pixel_A,
            centre_A=centre_A,
            level=level,
            spread=amplitude_spread(len(sigma_A)),
            complete=completed,
        )
        restraint_A = restraint.best_A
    report("positions, amplitudes, missing atoms and species")
    keep_all = restraint is not None and not restraint.completes
    found = completed(position_A, views, restraint_A, keep_all=keep_all)
    model = of_one_width(found.refined.model)
    overlap = overlap_factors(
        model,
        with_diffuse(views, model),
        home_A=found.home_A,
        restraint_A=restraint_A,
        spread=amplitude_spread(len(sigma_A)),
    )
    refined = replace(found.refined, overlap=overlap)
    return RefinedTrace(refined, restraint, restraint_A, found.origin, found.classes, found.removed)


def positions(trace: Trace, pixel_A: float, centre_A: Doubles) -> Doubles:
    """Return the positions of the atoms of a trace from the rotation centre, in Å."""
    return positions_A(places(trace.fitted), trace.volume.shape, pixel_A, centre_A)
