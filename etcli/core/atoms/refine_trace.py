"""The refinement as a whole: how far atoms may move, refined, completed, and cut again."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.cleaning import RemovedCounts, without_close
from etcli.core.atoms.gaussian_fit import places, positions_A
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, check_hand, start_model, with_diffuse
from etcli.core.atoms.missing import missing_atoms
from etcli.core.atoms.mixture import fit_mixture
from etcli.core.atoms.refine_model import RefinedModel, refine_model
from etcli.core.atoms.restraint import Restraint, find_restraint
from etcli.core.atoms.tracing import NEARER, Trace

Doubles = NDArray[np.float64]

DIFFUSE_A = 2.5
"""What varies over longer distances in the views of a film is not put down to its atoms."""


@dataclass(frozen=True, eq=False)
class RefinedTrace:
    """A trace refined against the views.

    Parameters
    ----------
    refined : RefinedModel
    restraint : Restraint or None
        How its freedom was found; None where it was given.
    restraint_A : float
    from_trace : ndarray of shape (n_atoms,), int
        Number of each atom in the trace, -1 for those that were added.
    removed : list of RemovedCounts
    """

    refined: RefinedModel
    restraint: Restraint | None
    restraint_A: float
    from_trace: NDArray[np.intp]
    removed: list[RemovedCounts]

    def moved(self, by_A: Doubles) -> "RefinedTrace":
        """Return the same with all atoms moved by x, y and z."""
        model = replace(self.refined.model, position_A=self.refined.model.position_A + by_A)
        return replace(self, refined=replace(self.refined, model=model))


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
    """Refine what was found in a volume against the views that it was made of.

    Parameters
    ----------
    trace : Trace
    views : AtomViews
    pixel_A : float
        Size of the voxels in Å.
    centre_A : ndarray of shape (3,), float64
        x, y and z of the middle of the volume from the rotation centre.
    level : float
        Level below the specimen in the views, where it is known.
    restraint_A : float, optional
        As for `etcli.core.atoms.refine_model.refine_model`; found by default.
    min_distance_A : float
        Between atoms.
    progress : callable, optional
        Told what is begun.

    Returns
    -------
    Completed

    Raises
    ------
    DataError
        When the views do not show the atoms.
    """
    tell = progress or (lambda text: None)
    shape = trace.volume.shape
    position_A = positions(trace, pixel_A, centre_A)
    n_kinds = int(trace.kind.max(initial=0)) + 1
    sigma_A = np.full(n_kinds, trace.sigma_A)
    model = start_model(position_A, trace.score, trace.kind, sigma_A, views)
    check_hand(model, views)
    restraint = None
    if restraint_A is None:
        tell("how far atoms may move")
        restraint = find_restraint(
            views,
            trace.fitted,
            trace.rules,
            kind=trace.kind,
            score=trace.score,
            sigma_A=sigma_A,
            smoothing_A=trace.smoothing_A,
            shape=(shape[0], shape[1], shape[2]),
            voxel_A=pixel_A,
            centre_A=centre_A,
            level=level,
        )
        restraint_A = restraint.best_A
    tell("positions, amplitudes and widths")
    refined = refine_model(model, views, restraint_A=restraint_A)
    tell("atoms that the volume does not show")
    half_A = (np.array(shape[::-1]) - 1) / 2 * pixel_A
    new, amplitude = missing_atoms(
        refined.model,
        with_diffuse(views, refined.model),
        low_A=centre_A - half_A,
        high_A=centre_A + half_A,
        clearance_A=min_distance_A,
    )
    number, home_A = np.arange(len(model)), model.position_A
    whole = refined.model
    if len(new):
        whole = _with_more(refined.model, new, amplitude)
        number = np.concatenate([number, np.full(len(new), -1)])
        home_A = np.concatenate([home_A, new])
        whole = refine_model(whole, views, restraint_A=restraint_A, home_A=home_A).model
    stay, removed = _good(whole, min_distance_A)
    if len(new) or not stay.all():
        refined = refine_model(
            whole.select(stay), views, restraint_A=restraint_A, home_A=home_A[stay], rounds=1
        )
    return RefinedTrace(refined, restraint, restraint_A, number[stay], removed)


def positions(trace: Trace, pixel_A: float, centre_A: Doubles) -> Doubles:
    """Return where the atoms of a trace are, from the rotation centre, in Å."""
    return positions_A(places(trace.fitted), trace.volume.shape, pixel_A, centre_A)


def _with_more(model: GaussianModel, position_A: Doubles, amplitude: Doubles) -> GaussianModel:
    """Return a model with more atoms, each of the species that it is nearest to."""
    means = model.means()
    usual = np.where(means > 0, means, np.nan)
    kind = np.nanargmin(np.abs(np.log(amplitude[:, np.newaxis] / usual)), axis=1)
    return replace(
        model,
        position_A=np.concatenate([model.position_A, position_A]),
        amplitude=np.concatenate([model.amplitude, amplitude]),
        kind=np.concatenate([model.kind, kind]),
    )


def _good(model: GaussianModel, min_distance_A: float) -> tuple[NDArray[np.bool_], list[RemovedCounts]]:
    """Tell which atoms are strong enough in the views, and not too close to a stronger one."""
    amplitude = model.amplitude
    least = 0.1 * float(np.percentile(amplitude, 90))
    mixture = fit_mixture(
        amplitude[amplitude > least], threshold=least, n_species=int(model.kind.max(initial=0)) + 1
    )
    strong = mixture.probabilities(amplitude)[:, 0] < 0.5
    apart = without_close(model.position_A, amplitude, NEARER * min_distance_A)
    return strong & apart, [
        RemovedCounts("no atoms by what the views show of them", int((~strong).sum())),
        RemovedCounts(
            f"moved closer than {min_distance_A:g} Å to a stronger one", int((strong & ~apart).sum())
        ),
    ]
