"""Species of traced atoms, and the table of their properties."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import UNKNOWN, Atoms
from etcli.core.atoms.gaussian_fit import axes, integrals, places, positions_A, sigmas
from etcli.core.atoms.mixture import fit_mixture
from etcli.core.atoms.polynomial import polynomial_positions
from etcli.core.atoms.refine_trace import RefinedTrace, positions
from etcli.core.atoms.species import reclassify, without_drift
from etcli.core.atoms.tracing import Trace

Doubles = NDArray[np.float64]


def classified(trace: Trace, pixel_A: float, *, correct_depth: bool = False) -> tuple[Trace, int, float]:
    """Classify the atoms of a trace again, by comparison with the atoms around each.

    Parameters
    ----------
    trace : Trace
        Classified by the scores alone.
    pixel_A : float
        Size of a voxel in Å.
    correct_depth : bool
        Whether to correct the scores first for a drift with depth, and to classify them again.

    Returns
    -------
    trace : Trace
        With new species and probabilities.
    flipped : int
        Number of atoms whose species was changed by the comparison.
    drift_per_A : float
        Relative change of scores per Å of depth; 0 if `correct_depth` is false.
    """
    n_species, drift = len(trace.mixture.mean), 0.0
    kind, probability = trace.kind, trace.mixture.probabilities(trace.score)
    if correct_depth:
        places_A = positions(trace, pixel_A, np.zeros(3))
        score, drift = without_drift(places_A, trace.score, kind)
        above = min(trace.mixture.threshold, float(score.min()) * 0.999)
        probability = fit_mixture(score, threshold=above, n_species=n_species).probabilities(score)
        kind = probability[:, 1:].argmax(axis=1)
    kind, flipped = reclassify(trace.residual, trace.fitted, kind, pixel_A, n_species=n_species)
    certain = probability[np.arange(len(kind)), 1 + kind]
    return replace(trace, kind=kind, probability=certain), flipped, drift


def species_shown(trace: Trace, completed: RefinedTrace | None = None) -> int:
    """Find the number of species that scores or amplitudes show, independent of the requested number.

    Parameters
    ----------
    trace : Trace
    completed : RefinedTrace, optional
        Result of a refinement, whose amplitudes then take the place of the scores.

    Returns
    -------
    int
    """
    score, threshold = trace.candidates, trace.mixture.threshold
    if completed is not None:
        score, threshold = completed.refined.model.amplitude, completed.classes.mixture.threshold
    return len(fit_mixture(score[score > threshold], threshold=threshold).mean)


def by_polynomials(trace: Trace, pixel_A: float, centre_A: Doubles) -> Doubles:
    """Compute the positions of atoms from fourth-order polynomials instead of Gaussians.

    Parameters
    ----------
    trace : Trace
    pixel_A : float
        Size of a voxel in Å.
    centre_A : ndarray of shape (3,), float64
        x, y and z of the middle of the volume from the rotation centre.

    Returns
    -------
    ndarray of shape (n_atoms, 3), float64
        x, y and z from the rotation centre, in Å; where there is no such maximum, those of the Gaussian.
    """
    place, _ = polynomial_positions(trace.volume, places(trace.fitted), threads=trace.rules.threads)
    return positions_A(place, trace.volume.shape, pixel_A, centre_A)


def atoms_of(
    trace: Trace,
    pixel_A: float,
    centre_A: Doubles,
    *,
    symbols: tuple[str, ...] | None = None,
    error_A: Doubles | None = None,
    half_A: Doubles | None = None,
    place_A: Doubles | None = None,
    completed: RefinedTrace | None = None,
) -> Atoms:
    """Create the table of atoms with all their properties.

    Parameters
    ----------
    trace : Trace
    pixel_A : float
        Size of a voxel in Å.
    centre_A : ndarray of shape (3,), float64
        x, y and z of the middle of the volume from the rotation centre.
    symbols : tuple of str, optional
        Elements of the species, the lightest first.
    error_A : ndarray of shape (n_atoms, 3), float64, optional
        Standard deviations of positions in the volume.
    half_A : ndarray of shape (n_atoms, 3), float64, optional
        Half of the differences between two half-sets.
    place_A : ndarray of shape (n_atoms, 3), float64, optional
        Positions from another fit.
    completed : RefinedTrace, optional
        Result of a refinement.

    Returns
    -------
    Atoms
        With columns of intensity (density times Å³), width without the smoothing, score, probability, errors
        of x, y and z, and, after a refinement, amplitude (in units of a pixel of the views); ``class``, 1 for
        the lightest, if elements are not named. Atoms added in a refinement have NaN in columns from the
        volume.
    """
    sigma_px = np.sqrt(np.maximum(sigmas(trace.fitted) ** 2 - (trace.smoothing_A / pixel_A) ** 2, 0))
    columns: dict[str, Doubles] = {
        "intensity": integrals(trace.fitted) * pixel_A**3,
        "sigma_A": sigma_px * pixel_A,
        "score": trace.score,
        "probability": trace.probability,
    }
    if trace.rules.freedom == "elliptical":
        along = np.maximum(axes(trace.fitted) ** 2 - (trace.smoothing_A / pixel_A) ** 2, 0)
        columns |= {f"sigma_{name}_A": np.sqrt(along[:, k]) * pixel_A for k, name in enumerate("xyz")}
    for prefix, values in (("error", error_A), ("half", half_A)):
        if values is not None:
            columns |= {f"{prefix}_{name}_A": values[:, k] for k, name in enumerate("xyz")}
    position_A = positions(trace, pixel_A, centre_A) if place_A is None else place_A
    kind = trace.kind
    if completed is not None:
        trace_index, model = completed.from_trace, completed.refined.model
        columns = {
            name: np.where(trace_index < 0, np.nan, values[trace_index]) for name, values in columns.items()
        }
        columns["probability"] = completed.classes.probability[np.arange(len(model)), 1 + model.kind]
        columns["amplitude"] = model.amplitude
        if error_A is not None:
            refined_A = completed.error_A(error_A)
            columns |= {f"error_{name}_A": refined_A[:, k] for k, name in enumerate("xyz")}
        position_A, kind = model.position_A, model.kind
    if symbols is None and len(trace.mixture.mean) > 1:
        columns["class"] = kind.astype(np.float64) + 1
    names = np.array(symbols or (UNKNOWN,) * len(trace.mixture.mean))
    return Atoms(position_A, names[kind], columns)
