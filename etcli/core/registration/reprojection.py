"""What a reconstruction of some views predicts for views, and how far these are from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors.slab import WIDTHS, SlabProjector, from_slab, slab_width, to_slab
from etcli.core.registration.spectra import fade, frequencies, multiplicity, power
from etcli.core.solvers.accelerated_sirt import accelerated_sirt
from etcli.core.solvers.backprojection import InverseSums, inverse_sums

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Group = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Views that a volume is reconstructed from, and views that it predicts."""

ITERATIONS = 40
SLICES = 32  # in a slab: views are small, and there should be slabs enough for all threads
TAPER = 0.1  # of the width, at each border
SMOOTH_PX = 0.7
DETAIL_PX = 5.0
TINY = np.finfo(np.float64).tiny
NEWTON_STEPS, ENOUGH_PX, FARTHEST_PX = 5, 1e-4, 1.0  # farther, noise leads astray


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
    """Predict views by reconstructing volumes from others.

    Parameters
    ----------
    images : ndarray of shape (n_views, ny, nx), float32
        Aligned views without background, the tilt axis upright in the middle.
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.
    groups : sequence of (ndarray, ndarray)
        For each volume the views it is reconstructed from and those it predicts, counted from 0.
    positive : bool
        Whether the density is kept from being negative.
    iterations : int
        Of the reconstruction.
    turns_deg : sequence of float
        Predictions are made for the tilts turned by each of these angles.
    threads : int
        Slabs worked on at the same time.

    Returns
    -------
    ndarray of shape (n_turns, n_views, ny, nx), float32
        Zero where no group predicts a view.
    """
    n_views, ny, nx = images.shape
    predicted = np.zeros((len(turns_deg), n_views, ny, nx), np.float32)

    def geometry(angles: Float) -> SliceGeometry:
        return SliceGeometry(angles, n_detector=nx, thickness=nx, width=nx)

    narrow = (SlabProjector(geometry(tilt_deg[used]), n_slices=WIDTHS[0]) for used, _ in groups)
    sums = [inverse_sums(projector, one_slice=True) for projector in narrow]

    def work(part: tuple[int, Group, InverseSums]) -> None:
        y0, (used, wanted), inverse = part
        rows = slice(y0, min(y0 + SLICES, ny))
        width = slab_width(rows.stop - y0)
        volume = accelerated_sirt(
            SlabProjector(geometry(tilt_deg[used]), n_slices=width),
            to_slab(images[used, rows]),
            iterations=iterations,
            lower=0.0 if positive else -np.inf,
            sums=inverse,
        )
        for turn, out in zip(turns_deg, predicted, strict=True):
            projector = SlabProjector(geometry(tilt_deg[wanted] + turn), n_slices=width)
            out[wanted, rows] = from_slab(projector.forward(volume), rows.stop - y0)

    parts = [
        (y0, group, inverse)
        for group, inverse in zip(groups, sums, strict=True)
        for y0 in range(0, ny, SLICES)
    ]
    for _ in ordered_map(work, parts, threads=threads):
        pass
    return predicted


@dataclass(frozen=True)
class ViewDeviation:
    """How far a view is from what was predicted for it.

    Parameters
    ----------
    displacement_px : (float, float)
        (x, y) from the prediction to the view.
    quality : float
        Correlation of their details, after the displacement is undone.
    residual : float
        Norm of their difference where they are, relative to that of the view.
    turn_deg : float
        By how much more the view seems to be tilted; NaN if it was not asked for.
    """

    displacement_px: tuple[float, float]
    quality: float
    residual: float
    turn_deg: float = np.nan


@dataclass(frozen=True)
class Comparison:
    """How views of one shape are compared with their predictions.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    """

    shape: tuple[int, int]

    @cached_property
    def _frequency(self) -> tuple[Float, Float]:
        """Spatial frequencies along x and along y, in cycles a pixel, of a half spectrum."""
        return frequencies(self.shape)

    @cached_property
    def _multiplicity(self) -> Image:
        """How often each column of the half spectrum stands in the whole."""
        return multiplicity(self.shape[1])

    @cached_property
    def window(self) -> Image:
        """Fades an image out at its borders."""
        return np.outer(*(fade(n, TAPER) for n in self.shape)).astype(np.float32)

    def _passed(self, sigma_px: float) -> Float:
        """Return the transfer function of a Gaussian."""
        square = self._frequency[0] ** 2 + self._frequency[1] ** 2
        return np.exp(-2 * (np.pi * sigma_px) ** 2 * square)

    @cached_property
    def _smooth(self) -> Float:
        return self._passed(SMOOTH_PX)

    @cached_property
    def _detail(self) -> Float:
        return (1 - self._passed(DETAIL_PX)) ** 2 * self._multiplicity

    def chance(self, shown: Image) -> Float:
        """Return the standard deviation of the correlation of details between views of mere white noise.

        Parameters
        ----------
        shown : ndarray of shape (n_views, ny, nx)
            1 where a view shows something, else 0.

        Returns
        -------
        ndarray of shape (n_views,), float64
        """
        passed = self._detail * self._smooth**2
        n_waves = np.sum(passed) ** 2 / np.sum(passed**2 / self._multiplicity)
        weight = np.square(self.window * shown, dtype=np.float64)
        pixels = np.sum(weight, axis=(1, 2)) ** 2 / np.maximum(np.sum(weight**2, axis=(1, 2)), TINY)
        return np.asarray(np.sqrt(self.window.size / np.maximum(n_waves * pixels, 1)))

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
            Largest displacement looked for along x and along y, in whole pixels.
        turned : ndarray of shape (2, ny, nx), optional
            Predictions for the view tilted by half a degree less and more.

        Returns
        -------
        Misfit

        Notes
        -----
        The displacement is that of the highest correlation, to a pixel. From there Gauss and Newton's method
        finds where the displaced prediction, brightened by a factor, is least different from the view within
        a window, both smoothed by a Gaussian of 0.7 px. A correlation of windowed images would not do: where
        a specimen goes on beyond the border, the window's own edges hold them together.
        """
        window = self.window * shown
        seen, expected = (self._smooth * scipy.fft.rfft2(image * window) for image in (view, predicted))
        energy = float(np.sum(self._multiplicity * power(seen)))
        if energy == 0 or not expected.any():
            return ViewDeviation((0.0, 0.0), 0.0, 1.0)
        residual = np.sqrt(np.sum(self._multiplicity * power(seen - expected)) / energy)
        x, y = self._highest(seen * expected.conj(), reach_px)
        x, y = self._least_different(view, predicted, window, (x, y))
        back = np.exp(2j * np.pi * (self._frequency[0] * x + self._frequency[1] * y))
        seen *= back
        common = np.sum(self._detail * (seen * expected.conj()).real)
        both = np.sum(self._detail * power(seen)) * np.sum(self._detail * power(expected))
        quality = float(common / np.sqrt(both)) if both > 0 else 0.0
        if turned is None:
            return ViewDeviation((x, y), quality, float(residual))
        low, high = (self._smooth * scipy.fft.rfft2(image * window) for image in turned)
        # The change by a degree, beside those by brightness and by displacement, which it partly looks like.
        slopes = [1j * frequency * expected for frequency in self._frequency]
        changes = [high - low, expected, *slopes]
        gram = np.array([[self._inner(one, other) for other in changes] for one in changes])
        seen_of = np.array([self._inner(one, seen - expected) for one in changes])
        turn = np.linalg.lstsq(gram, seen_of, rcond=1e-9)[0][0]
        return ViewDeviation((x, y), quality, float(residual), float(turn))

    def _inner(self, first: NDArray[np.complexfloating], second: NDArray[np.complexfloating]) -> float:
        """Return the scalar product of two images, given their half spectra."""
        return float(np.sum(self._multiplicity * (first * second.conj()).real))

    def _highest(self, cross: NDArray[np.complexfloating], reach_px: int) -> tuple[float, float]:
        """Return the displacement (x, y) in whole pixels where the correlation is highest."""
        ny, nx = self.shape
        lags = np.arange(-reach_px, reach_px + 1)
        near = scipy.fft.irfft2(cross, s=self.shape)[np.ix_(lags % ny, lags % nx)]
        row, column = np.unravel_index(np.argmax(near), near.shape)
        return float(lags[column]), float(lags[row])

    def _least_different(
        self, view: Image, predicted: Image, window: Image, start: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the displacement (x, y) of the prediction that leaves the least difference."""
        fx, fy = self._frequency
        shown, window = window > 0, window.copy()
        for axis, by in enumerate(reversed(start)):  # where the moved prediction comes in from the other side
            wrapped = slice(0, int(by)) if by > 0 else slice(window.shape[axis] + int(by), None)
            window[(slice(None),) * axis + (wrapped,)] = 0
        expected = self._smooth * scipy.fft.rfft2(predicted)
        whole = predicted + (view - predicted) * shown
        seen = scipy.fft.irfft2(self._smooth * scipy.fft.rfft2(whole), s=self.shape) * window
        place = np.array(start)
        for _ in range(NEWTON_STEPS):
            moved = expected * np.exp(-2j * np.pi * (fx * place[0] + fy * place[1]))
            slopes = -2j * np.pi * fx * moved, -2j * np.pi * fy * moved
            image, *change = (scipy.fft.irfft2(each, s=self.shape) * window for each in (moved, *slopes))
            causes = np.stack([*change, image]).reshape(3, -1)
            *motion, gain = np.linalg.lstsq(causes @ causes.T, causes @ seen.ravel(), rcond=1e-9)[0]
            if gain <= 0:  # unlike
                return start
            step = np.divide(motion, gain)
            wanted = place + step
            place = np.clip(wanted, np.subtract(start, FARTHEST_PX), np.add(start, FARTHEST_PX))
            if np.abs(step).max() < ENOUGH_PX or (place != wanted).any():  # the next round goes on from there
                break
        return float(place[0]), float(place[1])
