"""The rounds of projection matching: reconstruct, project, move, until nothing moves."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.registration.matching_scale import Alignment, MatchingScale, alike, convincing, unexplained
from etcli.core.registration.reprojection import ITERATIONS, ViewDeviation, reproject

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.float32]
Progress = Callable[[int], None]

SETTLED_PX, SETTLED_DEG = 0.005, 0.02  # binned pixels; at most so much in a round is nothing
CONVERGED = 200  # iterations; before that, true tilt angles seem to be some tenths of a degree wrong, and the
# axis some hundredths of a pixel; where shifts are looked for, they are too many, as noise is fitted too
MIXED = 4  # rounds that the acceleration looks back on
HALF_DEG = 0.5
LARGEST_TURN_DEG = 1.0  # of a tilt angle in one round


def no_progress(_: int) -> None:
    """Tell nobody how far the work is."""


@dataclass(frozen=True)
class Rounds:
    """Reconstruct, project, move, until nothing moves.

    Parameters
    ----------
    iterations : int
        Most rounds.
    free_shifts, free_tilts : bool
        What moves besides the axis.
    progress : callable
        Called with the number of rounds that are done or need not be.
    converged : bool
        Whether reconstructions are to converge whatever the noise does; with ``free_tilts`` they do.
    """

    iterations: int
    free_shifts: bool = True
    free_tilts: bool = False
    progress: Progress = no_progress
    converged: bool = False

    def settle(
        self, scale: MatchingScale, alignment: Alignment, trusted: Bool, reach_px: int
    ) -> tuple[Alignment, Bool]:
        """Return the alignment at which views and predictions agree, and which views are like theirs."""
        predicted: Image | None = None
        places: list[Float] = []
        steps: list[Float] = []
        for done in range(1, self.iterations + 1):
            views, shown = scale.aligned(alignment, None if predicted is None else predicted[0])
            predicted = reproject(
                views,
                alignment.tilt_deg,
                groups=[(np.flatnonzero(trusted), np.arange(len(views)))],
                positive=scale.positive,
                iterations=CONVERGED if self.free_tilts or self.converged else ITERATIONS,
                turns_deg=(0.0, -HALF_DEG, HALF_DEG) if self.free_tilts else (0.0,),
                threads=scale.threads,
            )
            misfits = scale.compared(views, shown, predicted, reach_px)
            quality = np.array([misfit.quality for misfit in misfits])
            like = alike(quality, alignment.tilt_deg)
            sure = convincing(quality, alignment.tilt_deg)
            trusted = like & (trusted | sure)
            measured = -scale.factor * np.array([misfit.displacement_px for misfit in misfits])
            step, offset = unexplained(measured, alignment.tilt_deg, trusted)
            step[~like] = 0  # it would wander
            if not self.free_shifts:
                step[:] = 0
            places.append(np.append(alignment.shift_px, alignment.offset_px))
            wanted = alignment.moved(step, offset)
            steps.append(np.append(wanted.shift_px, wanted.offset_px) - places[-1])
            mixed = places[-1] + _accelerated(places, steps, most=2 * scale.factor)
            alignment = replace(alignment, shift_px=mixed[:-1].reshape(-1, 2), offset_px=float(mixed[-1]))
            turn_deg = np.zeros(len(views))
            if self.free_tilts:
                turn_deg = _turns(misfits, trusted)
                alignment = replace(alignment, tilt_deg=alignment.tilt_deg + turn_deg)
            self.progress(1)
            if np.abs(steps[-1]).max() < SETTLED_PX * scale.factor and np.abs(turn_deg).max() < SETTLED_DEG:
                self.progress(self.iterations - done)
                break
        return alignment, trusted & sure


def _accelerated(places: list[Float], steps: list[Float], *, most: float) -> Float:
    """Return the step that Anderson's mixing makes of the last few, at most so far in one number."""
    plain, past = steps[-1], min(len(steps) - 1, MIXED)
    if not past or np.abs(plain).max() > 2 * most:
        return plain
    moved = np.stack([places[-i] - places[-i - 1] for i in range(1, past + 1)], axis=1)
    change = np.stack([steps[-i] - steps[-i - 1] for i in range(1, past + 1)], axis=1)
    share = np.linalg.lstsq(change, plain, rcond=1e-3)[0]
    return np.clip(plain - (moved + change) @ share, -most, most)


def _turns(misfits: list[ViewDeviation], trusted: Bool) -> Float:
    """Return by how much more each view seems to be tilted than the mean of all."""
    turn = np.where(trusted, [misfit.turn_deg for misfit in misfits], 0)
    turn = np.clip(turn, -LARGEST_TURN_DEG, LARGEST_TURN_DEG)
    return np.asarray(turn - turn.mean())
