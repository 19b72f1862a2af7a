"""Entropies of the projections of a model, before the experiment, and the tilt angles of its zone axes."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from etcli.core.entropy.projection import occupied_voxels, projection_entropy
from etcli.core.entropy.ranking import angle_between
from etcli.core.errors import UsageError
from etcli.core.parallel import ordered_map

Float = NDArray[np.float64]
Projection = Callable[[float], Float]
"""Function of a tilt angle in degrees that returns the counts of the model's image, of shape (ny, nx)."""

SIGNIFICANCE = 5.0
"""A view stands out if its entropy is so many standard deviations of disordered models below the others."""
SAME_AXIS_DEG = 0.1
"""Zone axes that are nearer to each other, also from behind, are one."""
PRECISION_DEG = 0.005
"""Precision to which the tilt angle of a zone axis is searched."""


@dataclass(frozen=True)
class ZoneAxis:
    """Tilt angle at which the entropy of a model has a minimum that stands out.

    Parameters
    ----------
    tilt_deg : float
    entropy_nat : float
    significance : float
        How far it is below the median of all views, in standard deviations of disordered models.
    """

    tilt_deg: float
    entropy_nat: float
    significance: float


@dataclass(frozen=True, eq=False)
class EntropyCurve:
    """Entropies of the projections of a model over the tilt angle.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n,), float64
        Tilt angles in degrees, ascending.
    entropy_nat, joint_nat : ndarray of shape (n,), float64
        Entropies alone, and given the view at 90°.
    zero_fraction : ndarray of shape (n,), float64
        Share of the pixels without counts.
    disorder_nat : float
        Standard deviation of the entropy among disordered models.
    n_voxels : int
    zone_axes : list of ZoneAxis
        Minima that stand out, the lowest first.
    """

    tilt_deg: Float
    entropy_nat: Float
    joint_nat: Float
    zero_fraction: Float
    disorder_nat: float
    n_voxels: int
    zone_axes: list[ZoneAxis]


def predicted_entropies(
    project: Projection,
    tilt_deg: ArrayLike,
    *,
    disordered: Callable[[int], Float],
    n_disordered: int = 16,
    n_voxels: int | None = None,
    form: str = "gamma",
    threads: int = 1,
    progress: Callable[[int], None] = lambda steps: None,
) -> EntropyCurve:
    """Predict the entropies of the projections of a model, and find its zone axes.

    Parameters
    ----------
    project : callable
        Image of the model without noise, as a function of the tilt angle.
    tilt_deg : array_like of shape (n,)
        Tilt angles in degrees, ascending.
    disordered : callable
        ``disordered(k)`` returns the image of a disordered model, another one for every k: the same atoms
        at random around the centre. Its views differ by chance only.
    n_disordered : int
        Number of these.
    n_voxels : int, optional
        Voxels N along a ray; by default the columns of an image.
    form : {"gamma", "stirling"}
    threads : int
        Images computed at the same time.
    progress : callable
        Called with the number of images that are done, of ``len(tilt_deg)`` in all.

    Returns
    -------
    EntropyCurve

    Raises
    ------
    UsageError
        When angles do not rise.

    Notes
    -----
    Between grid angles a minimum is refined by a bounded search. A minimum narrower than the step of the
    angles can be missed: atoms at the surface must not move by more than an atom from angle to angle.
    """
    angles = np.atleast_1d(np.asarray(tilt_deg, np.float64))
    if len(angles) < 3 or not (np.diff(angles) > 0).all():
        raise UsageError("a curve needs three tilt angles or more, in rising order")

    def score(angle: float) -> tuple[float, float, float]:
        image, partner = project(angle), project(angle + 90.0)
        n = n_voxels or image.shape[1]
        occupied = np.minimum(occupied_voxels(partner), n)
        return (
            projection_entropy(image, n, form=form),
            projection_entropy(image, occupied, form=form),
            float((image == 0).mean()),
        )

    scores = []
    for found in ordered_map(score, angles.tolist(), threads=threads):
        scores.append(found)
        progress(1)
    alone, joint, zeros = np.array(scores).T
    n = n_voxels or project(float(angles[0])).shape[1]
    chance = [
        projection_entropy(image, n, form=form)
        for image in ordered_map(disordered, range(n_disordered), threads=threads)
    ]
    disorder, median = float(np.std(chance, ddof=1)), float(np.median(alone))

    def entropy_at(angle: float) -> float:
        return projection_entropy(project(float(angle)), n, form=form)

    # one angle beyond either end shows whether the curve has a minimum there
    ends = 2 * angles[0] - angles[1], 2 * angles[-1] - angles[-2]
    padded = np.array([entropy_at(ends[0]), *alone, entropy_at(ends[1])])

    def refine(k: int) -> tuple[float, float]:
        bounds = angles[max(k - 1, 0)], angles[min(k + 1, len(angles) - 1)]
        best = minimize_scalar(entropy_at, bounds=bounds, method="bounded", options={"xatol": PRECISION_DEG})
        return min(
            (float(best.x), float(best.fun)), (float(angles[k]), float(alone[k])), key=lambda at: at[1]
        )

    minima = np.flatnonzero((alone <= padded[:-2]) & (alone < padded[2:]))
    zone_axes = [
        ZoneAxis(angle, value, (median - value) / disorder)
        for angle, value in ordered_map(refine, minima.tolist(), threads=threads)
        if value < median - SIGNIFICANCE * disorder
    ]
    zone_axes.sort(key=attrgetter("entropy_nat"))
    zone_axes = [  # the same view from behind is the same axis
        axis
        for k, axis in enumerate(zone_axes)
        if all(angle_between(axis.tilt_deg, other.tilt_deg) > SAME_AXIS_DEG for other in zone_axes[:k])
    ]
    return EntropyCurve(angles, alone, joint, zeros, disorder, n, zone_axes)
