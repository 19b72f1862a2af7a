"""Views predicted by reprojecting a reconstruction of other views, and deviations of the views from these."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors.slab import COST, WIDTHS, SlabProjector, from_slab, slab_width, to_slab
from etcli.core.registration.spectra import fade, frequencies, multiplicity, power
from etcli.core.solvers.accelerated_sirt import accelerated_sirt
from etcli.core.solvers.backprojection import InverseSums, inverse_sums

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Group = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Indices of the views that a volume is reconstructed from, and of the views that it predicts."""

ITERATIONS = 40
TAPER = 0.1  # of the width, at each border
SMOOTH_PX = 0.7
DETAIL_PX = 5.0
TINY = np.finfo(np.float64).tiny
NEWTON_STEPS, ENOUGH_PX, FARTHEST_PX = 5, 1e-4, 1.0  # longer displacements would follow noise


def reproject(
    images: Image,
    tilt_deg: Float,
    *,
    groups: Sequence[Group],
    positive: bool,
    iterations: int = ITERATIONS,
    turns_deg: Sequence[float] = (0.0,),
    threads: int = 1,
) -> Image:
    """Predict views by projecting volumes that are reconstructed from other views.

    Parameters
    ----------
    images : ndarray of shape (n_views, ny, nx), float32
        Aligned views without background, the tilt axis vertical in the middle; NaN where a view shows
        nothing.
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.
    groups : sequence of (ndarray, ndarray)
        For each volume, the views it is reconstructed from and those it predicts, counted from 0.
    positive : bool
        Whether negative density is excluded.
    iterations : int
        Iterations of the reconstruction.
    turns_deg : sequence of float
        Predictions are made for the tilt angles plus each of these angles.
    threads : int
        Slabs processed at the same time.

    Returns
    -------
    ndarray of shape (n_turns, n_views, ny, nx), float32
        Zero where no group predicts a view.
    """
    n_views, ny, nx = images.shape
    predicted = np.zeros((len(turns_deg), n_views, ny, nx), np.float32)
    slab_rows = _rows_in_slab(ny, len(groups), threads)

    def geometry(angles: Float) -> SliceGeometry:
        return SliceGeometry(angles, n_detector=nx, thickness=nx, width=nx)

    narrow = (SlabProjector(geometry(tilt_deg[used]), n_slices=WIDTHS[0]) for used, _ in groups)
    sums = [inverse_sums(projector, one_slice=True) for projector in narrow]

    def predict_rows(job: tuple[int, Group, InverseSums]) -> None:
        y0, (used, predicted_views), inverse = job
        rows = slice(y0, min(y0 + slab_rows, ny))
        width = slab_width(rows.stop - y0)
        volume = accelerated_sirt(
            SlabProjector(geometry(tilt_deg[used]), n_slices=width),
            to_slab(images[used, rows]),
            iterations=iterations,
            lower=0.0 if positive else -np.inf,
            sums=inverse,
        )
        for turn, out in zip(turns_deg, predicted, strict=True):
            projector = SlabProjector(geometry(tilt_deg[predicted_views] + turn), n_slices=width)
            out[predicted_views, rows] = from_slab(projector.forward(volume), rows.stop - y0)

    jobs = [
        (y0, group, inverse)
        for group, inverse in zip(groups, sums, strict=True)
        for y0 in range(0, ny, slab_rows)
    ]
    for _ in ordered_map(predict_rows, jobs, threads=threads):
        pass
    return predicted


def _rows_in_slab(n_rows: int, n_groups: int, threads: int) -> int:
    """Return the number of rows in a slab for which the reconstructions are finished soonest."""

    def duration(width: int) -> float:
        n_turns = ceil(n_groups * ceil(n_rows / width) / threads)
        return n_turns * COST[slab_width(min(width, n_rows))]

    return min(WIDTHS, key=duration)


@dataclass(frozen=True)
class ViewDeviation:
    """Deviation of a view from its prediction.

    Parameters
    ----------
    displacement_px : (float, float)
        (x, y) from the prediction to the view.
    quality : float
        Correlation of their details, after the displacement is undone.
    residual : float
        Norm of their difference before the displacement is undone, relative to the norm of the view.
    turn_deg : float
        Estimated tilt angle of the view minus that of the prediction; NaN if it was not requested.
    """

    displacement_px: tuple[float, float]
    quality: float
    residual: float
    turn_deg: float = np.nan


@dataclass(frozen=True)
class Comparison:
    """Comparison of views of one shape with their predictions.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    """

    shape: tuple[int, int]

    @cached_property
    def _frequency(self) -> tuple[Float, Float]:
        """Spatial frequencies along x and along y, in cycles per pixel, of a half spectrum."""
        return frequencies(self.shape)

    @cached_property
    def _multiplicity(self) -> Image:
        """How many times each column of the half spectrum occurs in the full spectrum."""
        return multiplicity(self.shape[1])

    @cached_property
    def window(self) -> Image:
        """Factor that fades an image out at its borders."""
        return np.outer(*(fade(n, TAPER) for n in self.shape)).astype(np.float32)

    def _gaussian_transfer(self, sigma_px: float) -> Float:
        """Return the transfer function of a Gaussian."""
        square = self._frequency[0] ** 2 + self._frequency[1] ** 2
        return np.exp(-2 * (np.pi * sigma_px) ** 2 * square)

    @cached_property
    def _smooth(self) -> Float:
        return self._gaussian_transfer(SMOOTH_PX)

    @cached_property
    def _detail(self) -> Float:
        return (1 - self._gaussian_transfer(DETAIL_PX)) ** 2 * self._multiplicity

    def chance(self, shown: Image) -> Float:
        """Return the standard deviation of the correlation of details between views of pure white noise.

        Parameters
        ----------
        shown : ndarray of shape (n_views, ny, nx)
            1 where a view shows something, else 0.

        Returns
        -------
        ndarray of shape (n_views,), float64
        """
        transfer = self._detail * self._smooth**2
        n_waves = np.sum(transfer) ** 2 / np.sum(transfer**2 / self._multiplicity)
        weight = np.square(self.window * shown, dtype=np.float64)
        n_pixels = np.sum(weight, axis=(1, 2)) ** 2 / np.maximum(np.sum(weight**2, axis=(1, 2)), TINY)
        return np.asarray(np.sqrt(self.window.size / np.maximum(n_waves * n_pixels, 1)))

    def misfit(
        self, view: Image, predicted: Image, *, shown: Image, reach_px: int, turned: Image | None = None
    ) -> ViewDeviation:
        """Compare a view with its prediction.

        Parameters
        ----------
        view, predicted : ndarray of shape (ny, nx), float32
            The two images.
        shown : ndarray of shape (ny, nx)
            1 where the view shows something, else 0.
        reach_px : int
            Largest displacement considered along x and along y, in whole pixels.
        turned : ndarray of shape (2, ny, nx), optional
            Predictions for the view tilted by half a degree less and more.

        Returns
        -------
        ViewDeviation

        Notes
        -----
        The displacement is first that of the highest correlation, to a pixel. From there the Gauss-Newton
        method minimises the difference between the view and the displaced prediction times a factor, within
        a window, both smoothed by a Gaussian of 0.7 px. A correlation of windowed images would not work: if
        a specimen continues beyond the border, the edges of the window bias the displacement towards zero.
        """
        window = self.window * shown
        measured, expected = (self._smooth * scipy.fft.rfft2(image * window) for image in (view, predicted))
        energy = float(np.sum(self._multiplicity * power(measured)))
        if energy == 0 or not expected.any():
            return ViewDeviation((0.0, 0.0), 0.0, 1.0)
        residual = np.sqrt(np.sum(self._multiplicity * power(measured - expected)) / energy)
        x, y = self._correlation_peak(measured * expected.conj(), reach_px)
        x, y = self._refine_displacement(view, predicted, window, (x, y))
        phase = np.exp(2j * np.pi * (self._frequency[0] * x + self._frequency[1] * y))
        measured *= phase
        common = np.sum(self._detail * (measured * expected.conj()).real)
        energies = np.sum(self._detail * power(measured)) * np.sum(self._detail * power(expected))
        quality = float(common / np.sqrt(energies)) if energies > 0 else 0.0
        if turned is None:
            return ViewDeviation((x, y), quality, float(residual))
        low, high = (self._smooth * scipy.fft.rfft2(image * window) for image in turned)
        # The change by a degree is fitted with those by brightness and displacement, which are similar to it.
        slopes = [1j * frequency * expected for frequency in self._frequency]
        changes = [high - low, expected, *slopes]
        gram = np.array([[self._inner(first, second) for second in changes] for first in changes])
        difference_along = np.array([self._inner(first, measured - expected) for first in changes])
        turn = np.linalg.lstsq(gram, difference_along, rcond=1e-9)[0][0]
        return ViewDeviation((x, y), quality, float(residual), float(turn))

    def _inner(self, first: NDArray[np.complexfloating], second: NDArray[np.complexfloating]) -> float:
        """Return the scalar product of two images, given their half spectra."""
        return float(np.sum(self._multiplicity * (first * second.conj()).real))

    def _correlation_peak(self, cross: NDArray[np.complexfloating], reach_px: int) -> tuple[float, float]:
        """Return the displacement (x, y) in whole pixels where the correlation is highest."""
        ny, nx = self.shape
        lags = np.arange(-reach_px, reach_px + 1)
        within_reach = scipy.fft.irfft2(cross, s=self.shape)[np.ix_(lags % ny, lags % nx)]
        row, column = np.unravel_index(np.argmax(within_reach), within_reach.shape)
        return float(lags[column]), float(lags[row])

    def _refine_displacement(
        self, view: Image, predicted: Image, window: Image, start: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the displacement (x, y) of the prediction that minimises its difference from the view."""
        fx, fy = self._frequency
        shown, window = window > 0, window.copy()
        for axis, by in enumerate(reversed(start)):  # exclude where the moved prediction wraps around
            wrapped = slice(0, int(by)) if by > 0 else slice(window.shape[axis] + int(by), None)
            window[(slice(None),) * axis + (wrapped,)] = 0
        expected = self._smooth * scipy.fft.rfft2(predicted)
        filled = predicted + (view - predicted) * shown
        measured = scipy.fft.irfft2(self._smooth * scipy.fft.rfft2(filled), s=self.shape) * window
        position = np.array(start)
        for _ in range(NEWTON_STEPS):
            moved = expected * np.exp(-2j * np.pi * (fx * position[0] + fy * position[1]))
            slopes = -2j * np.pi * fx * moved, -2j * np.pi * fy * moved
            image, *change = (scipy.fft.irfft2(each, s=self.shape) * window for each in (moved, *slopes))
            derivatives = np.stack([*change, image]).reshape(3, -1)
            *motion, gain = np.linalg.lstsq(
                derivatives @ derivatives.T, derivatives @ measured.ravel(), rcond=1e-9
            )[0]
            if gain <= 0:  # not similar
                return start
            step = np.divide(motion, gain)
            unclipped = position + step
            position = np.clip(unclipped, np.subtract(start, FARTHEST_PX), np.add(start, FARTHEST_PX))
            # a clipped displacement is refined further in the next round of the matching
            if np.abs(step).max() < ENOUGH_PX or (position != unclipped).any():
                break
        return float(position[0]), float(position[1])
