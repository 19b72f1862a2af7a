"""Rounds of projection matching: reconstruct, reproject and move the views until they no longer move."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.registration.alignment import Alignment
from etcli.core.registration.matching_scale import (
    MatchingScale,
    similar_views,
    split_motion,
    well_matched,
)
from etcli.core.registration.reprojection import ITERATIONS, ViewDeviation

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.float32]
Progress = Callable[[int], None]

SETTLED_PX, SETTLED_DEG = 0.005, 0.02  # binned pixels; the rounds end when all changes are smaller
# Iterations until reconstructions converge. With fewer, correct tilt angles seem to be wrong by some tenths
# of a degree, and the axis by some hundredths of a pixel. To find shifts they are too many: they fit noise.
CONVERGED = 200
MIXED = 4  # previous rounds that the acceleration uses
HALF_DEG = 0.5
LARGEST_TURN_DEG = 1.0  # of a tilt angle in one round


def no_progress(_: int) -> None:
    """Progress callback that does nothing."""


@dataclass(frozen=True)
class Rounds:
    """Settings and loop of the rounds of projection matching.

    Parameters
    ----------
    iterations : int
        Maximum number of rounds.
    free_shifts, free_tilts : bool
        Whether shifts and tilt angles are refined; the axis always is.
    progress : callable
        Called with the number of rounds that are done or no longer needed.
    converged : bool
        Whether reconstructions are iterated to convergence, although they fit noise then; with ``free_tilts``
        they always are.
    settled_px : float
        The rounds end when no view and no axis moves by more than this, in binned pixels.
    """

    iterations: int
    free_shifts: bool = True
    free_tilts: bool = False
    progress: Progress = no_progress
    converged: bool = False
    settled_px: float = SETTLED_PX

    def iterate(
        self, scale: MatchingScale, alignment: Alignment, trusted: Bool, reach_px: int
    ) -> tuple[Alignment, Bool]:
        """Return the alignment at which views and predictions agree, and a mask of the views that match."""
        positions: list[Float] = []
        steps: list[Float] = []
        for n_done in range(1, self.iterations + 1):
            views = scale.align(alignment)
            predicted = scale.predict(
                views,
                alignment,
                [(np.flatnonzero(trusted), np.arange(len(views)))],
                iterations=CONVERGED if self.free_tilts or self.converged else ITERATIONS,
                turns_deg=(0.0, -HALF_DEG, HALF_DEG) if self.free_tilts else (0.0,),
            )
            deviations = scale.compare_views(views, predicted, reach_px)
            quality = np.array([deviation.quality for deviation in deviations])
            similar = similar_views(quality, alignment.tilt_deg)
            certain = well_matched(quality, alignment.tilt_deg)
            trusted = similar & (trusted | certain)
            measured = -scale.factor * np.array([deviation.displacement_px for deviation in deviations])
            step, offset = split_motion(measured, alignment.tilt_deg, trusted)
            step[~similar] = 0  # such a view would drift
            if not self.free_shifts:
                step[:] = 0
            positions.append(np.append(alignment.shift_px, alignment.offset_px))
            target = alignment.moved(step, offset)
            steps.append(np.append(target.shift_px, target.offset_px) - positions[-1])
            mixed = positions[-1] + _anderson_step(positions, steps, limit=2 * scale.factor)
            alignment = replace(alignment, shift_px=mixed[:-1].reshape(-1, 2), offset_px=float(mixed[-1]))
            turn_deg = np.zeros(len(views))
            if self.free_tilts:
                turn_deg = _tilt_corrections(deviations, trusted)
                alignment = replace(alignment, tilt_deg=alignment.tilt_deg + turn_deg)
            self.progress(1)
            settled = np.abs(steps[-1]).max() < self.settled_px * scale.factor
            if settled and np.abs(turn_deg).max() < SETTLED_DEG:
                self.progress(self.iterations - n_done)
                break
        return alignment, trusted & certain


def _anderson_step(positions: list[Float], steps: list[Float], *, limit: float) -> Float:
    """Return the step by Anderson's mixing of the last few steps, with every number limited to ``limit``."""
    latest, n_past = steps[-1], min(len(steps) - 1, MIXED)
    if not n_past or np.abs(latest).max() > 2 * limit:
        return latest
    moved = np.stack([positions[-i] - positions[-i - 1] for i in range(1, n_past + 1)], axis=1)
    change = np.stack([steps[-i] - steps[-i - 1] for i in range(1, n_past + 1)], axis=1)
    share = np.linalg.lstsq(change, latest, rcond=1e-3)[0]
    return np.clip(latest - (moved + change) @ share, -limit, limit)


def _tilt_corrections(deviations: list[ViewDeviation], trusted: Bool) -> Float:
    """Return the estimated correction of each tilt angle, relative to the mean of all."""
    turn = np.where(trusted, [deviation.turn_deg for deviation in deviations], 0)
    turn = np.clip(turn, -LARGEST_TURN_DEG, LARGEST_TURN_DEG)
    return np.asarray(turn - turn.mean())
