"""Counts of one series in two parts, of which one is fitted and the other predicted, view by view."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion.parts import SEED, TRAINED
from etcli.core.fusion.problem import FusionProblem
from etcli.core.fusion.scales import half_above
from etcli.core.view_subsets import FEWEST_VIEWS, every_sixth

Array = NDArray[np.float32]
Float = NDArray[np.float64]

MANY_COUNTS = 30
"""Counts of a typical pixel above which views are left out as well."""


@dataclass(frozen=True, eq=False)
class PredictedCounts:
    """Counts of which a share is fitted and the rest is predicted; an `etcli.core.fusion.parts.Parts`.

    Parameters
    ----------
    fitted, others : ndarray of shape (view, y, x), float32
        The two parts.
    share : ndarray of shape (view,), float64
        Share of the counts of each view that is fitted, 0 for views that are left out.
    """

    fitted: Array
    others: Array
    share: Float

    @property
    def fraction(self) -> float:
        """Share of all counts that is fitted."""
        return float(self.share.mean())

    @property
    def scales(self) -> tuple[float, float]:
        """Factors of the expected counts, which the gains of the views hold already."""
        return 1.0, 1.0

    @property
    def held_out(self) -> tuple[NDArray[np.intp], tuple[Array, ...]]:
        """All views, and their counts that are predicted."""
        return np.arange(len(self.others)), (self.others,)

    def train(self, problem: FusionProblem) -> FusionProblem:
        """Return the problem of the counts that are fitted."""
        return _part(problem, self.fitted, self.share)

    def test(self, problem: FusionProblem) -> FusionProblem:
        """Return the problem of the counts that are predicted."""
        return _part(problem, self.others, 1 - self.share)


def _part(problem: FusionProblem, counts: Array, share: Float) -> FusionProblem:
    """Return the problem of a share of the counts of every view, those of the background included."""
    part = problem.with_counts([counts]).with_gains(problem.gains * share)
    return replace(part, background=problem.background * share)


def divided(counts: Array, tilt_deg: Float, parts: tuple[Array, Array] | None = None) -> PredictedCounts:
    """Divide the counts of a series.

    Parameters
    ----------
    counts : ndarray of shape (view, y, x)
        Whole numbers, unless there are parts.
    tilt_deg : ndarray of shape (view,)
        Tilt angles in degrees.
    parts : tuple of ndarray of shape (view, y, x), optional
        The counts in two independent parts, made before they were interpolated or fitted.

    Returns
    -------
    PredictedCounts

    Notes
    -----
    One count in five is predicted, drawn at random: of a Poisson number, a part drawn so and the rest are
    independent Poisson numbers. That tells noise from structure, but not errors of the model, such as those
    of voxels at edges, which both parts have. Where a typical pixel has many counts these errors are larger
    than the noise, so every sixth view is left out as well, and all of its counts are predicted.
    """
    share = np.full(len(counts), TRAINED)
    if half_above(counts) > MANY_COUNTS and len(counts) >= FEWEST_VIEWS:
        share[every_sixth(tilt_deg)] = 0
    if parts is not None:
        kept, predicted = (float(part.sum(dtype=np.float64)) for part in parts)
        share[share > 0] = kept / (kept + predicted)
        moved = np.where(share[:, None, None] > 0, np.float32(0), parts[0])
        return PredictedCounts(parts[0] - moved, parts[1] + moved, share)
    whole = np.rint(counts).astype(np.int64)
    fitted = np.random.default_rng(SEED).binomial(whole, share[:, None, None])
    return PredictedCounts(fitted.astype(np.float32), (whole - fitted).astype(np.float32), share)
