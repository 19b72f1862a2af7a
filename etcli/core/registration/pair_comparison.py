"""Comparison of pairs of views of a tilt series: their displacement and their similarity."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import DataError, NonFiniteViewError, UsageError
from etcli.core.registration.spectra import fade, frequencies, multiplicity, power
from etcli.core.registration.transforms import Views, rim_mean

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Spectrum = NDArray[np.complex64]
Pair = tuple[int, int]
Region = tuple[slice, slice]

SMALLEST_PX = 16
STEEPEST_DEG = 80.0  # no foil can be seen at higher tilts: the specimen is compact and needs no stretching
SURVEYED = 12  # pairs of each kind from which the weights are estimated
SURVEYED_STEPS = 1, 3  # neighbours, and views far enough apart to distinguish a foil from a particle
COHERENCE_LIMIT = 0.9999
FINE_STEP_PX = 0.1
BODY = 1 / 12  # of the field: larger structures count as body, not as detail
UNEVEN = 0.05  # of the contrast of the body: if it varies more along the border, it reaches beyond the view
CACHED = 12  # views in the cache; a few more than are compared with one another at a time
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class PairLink:
    """Displacement and correlation of two views.

    Parameters
    ----------
    near, far : int
        The views, counted from 0.
    near_stretch, far_stretch : float
        Factor by which each was stretched across the axis for the comparison; one of them is 1.
    displacement_px : (float, float)
        (x, y) from the content of the near view to that of the far one, after stretching about the middle
        of the view, in pixels of the views: near_stretch s_near - far_stretch s_far for the shifts s.
    quality : float
        Their correlation, at most 1.
    """

    near: int
    far: int
    near_stretch: float
    far_stretch: float
    displacement_px: tuple[float, float]
    quality: float


@dataclass(frozen=True, eq=False)
class PairComparison:
    """Comparison of the views of a series by correlation; created by `make_comparison`.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series; read view by view.
    cosine : ndarray of shape (n_views,)
        Cosines of the tilts, kept away from zero.
    region : (slice, slice)
        Rows and columns that are compared.
    factor : int
        Binning factor.
    background : float or None
        Level that is subtracted from each view; the mean of its outermost pixels if None.
    body_px : int
        Width of the running mean that is subtracted if the specimen reaches beyond the views, else 0. A
        bright body that is faded out at the border would not move with the specimen, and would outweigh
        its details.
    window : ndarray of shape (ny, nx), float32
        Factor that fades the binned region out at its borders.
    reach : int
        Largest displacement, in binned pixels.
    middle_px : float
        Distance of the middle of the view from the middle of the region, across the axis, in pixels.
    """

    views: Views
    cosine: Float
    region: Region
    factor: int
    background: float | None
    body_px: int
    window: Image
    reach: int
    middle_px: float

    @cached_property
    def padded(self) -> tuple[int, int]:
        """Shape of the padded images, in which a displacement within reach does not wrap around."""
        ny, nx = (scipy.fft.next_fast_len(n + self.reach, real=True) for n in self.window.shape)
        return ny, nx

    @cached_property
    def frequency(self) -> tuple[Float, Float]:
        """Spatial frequencies along x and along y, in cycles per binned pixel, of a half spectrum."""
        return frequencies(self.padded)

    @cached_property
    def multiplicity(self) -> Image:
        """How many times each column of the half spectrum occurs in the full spectrum."""
        return multiplicity(self.padded[1])

    @cached_property
    def rings(self) -> NDArray[np.intp]:
        """Index of the ring of spatial frequency that each element of a spectrum belongs to."""
        return np.asarray(np.hypot(*self.frequency) * (min(self.padded) / 4), np.intp)

    def ring_sum(self, values: NDArray[np.floating[Any]]) -> Float:
        """Return the sum over each ring of the full spectrum, given values of the half spectrum."""
        return np.asarray(np.bincount(self.rings.ravel(), (values * self.multiplicity).ravel()))

    def band(self, low_px: float | None, high_px: float | None) -> Image:
        """Return the transmission of a band-pass from period `high_px` to `low_px`, one half at both."""
        if not all(period is None or period > 0 for period in (low_px, high_px)):
            raise UsageError("the periods of the band-pass must be positive numbers of pixels")
        exponent = np.log(2) * (np.hypot(*self.frequency) / self.factor) ** 2
        passed = np.exp(-exponent * (high_px or 0) ** 2)
        if low_px is not None:
            passed *= -np.expm1(-exponent * low_px**2)
        return np.asarray(passed, np.float32)

    def _image(self, view: int) -> Image:
        """Return a view, binned and without background, before stretching and fading."""
        image = _bin_region(self.views[view], self.region, self.factor)
        if not np.isfinite(image.sum(dtype=np.float64)):
            raise NonFiniteViewError(view)
        if self.body_px:
            return image - _coarse_part(image, self.body_px)
        return image - np.float32(rim_mean(image) if self.background is None else self.background)

    @cached_property
    def image(self) -> Callable[[int], Image]:
        """Function that returns a view, binned and without background; the last few are cached."""
        return lru_cache(maxsize=CACHED)(self._image)

    @cached_property
    def spectrum(self) -> Callable[[int, float], Spectrum]:
        """Function that returns the spectrum of a view stretched by a factor; the last few are cached."""
        return lru_cache(maxsize=CACHED)(self._spectrum)

    def _spectrum(self, view: int, stretch: float) -> Spectrum:
        """Return the spectrum of a view, stretched, faded and padded."""
        image = self.image(view)
        if stretch != 1:
            image = _stretch(image, stretch)
        return np.asarray(scipy.fft.rfft2(image * self.window, s=self.padded), np.complex64)

    def stretches(self, pair: Pair, stretched: bool) -> tuple[float, float]:
        """Return the factors by which to stretch each of two views: one of them is 1, none is smaller."""
        ratio = float(self.cosine[pair[0]] / self.cosine[pair[1]]) if stretched else 1.0
        return max(1.0, 1 / ratio), max(1.0, ratio)

    def peak(self, cross: Spectrum) -> tuple[float, float, float]:
        """Return the displacement x, y of the correlation peak, in binned pixels, and the peak's height."""
        ny, nx = self.padded
        lags = np.arange(-self.reach, self.reach + 1)
        within_reach = scipy.fft.irfft2(cross, s=self.padded)[np.ix_(lags % ny, lags % nx)]
        row, column = np.unravel_index(np.argmax(within_reach), within_reach.shape)
        fine = np.arange(-10, 11) * FINE_STEP_PX
        x, y = lags[column] + fine, lags[row] + fine
        along_x = np.exp(2j * np.pi * self.frequency[0][:, np.newaxis] * x) * self.multiplicity[:, np.newaxis]
        along_y = np.exp(2j * np.pi * y[:, np.newaxis] * self.frequency[1].T)
        height = (along_y @ cross @ along_x).real
        row, column = np.unravel_index(np.argmax(height), height.shape)
        right, up = _peak_offset(height, int(row), int(column))
        return x[column] + right * FINE_STEP_PX, y[row] + up * FINE_STEP_PX, float(height.max())

    def link(self, pair: Pair, weight: Image, stretched: bool) -> PairLink:
        """Compare two views with given weights of the spatial frequencies."""
        stretches = self.stretches(pair, stretched)
        first, second = (self.spectrum(view, by) for view, by in zip(pair, stretches, strict=True))
        whole = weight * self.multiplicity
        energy = np.prod([np.sum(whole * power(each), dtype=np.float64) for each in (first, second)])
        if energy == 0:
            return PairLink(*pair, *stretches, (0.0, 0.0), 0.0)
        x, y, height = self.peak(weight * second * first.conj())
        # The views were stretched about the middle of the region.
        x_px = self.factor * x + self.middle_px * (stretches[0] - stretches[1])
        return PairLink(*pair, *stretches, (x_px, self.factor * y), height / float(np.sqrt(energy)))


def make_comparison(
    views: Views,
    tilt_deg: Float,
    *,
    background: float | None = None,
    taper: float = 0.1,
    max_shift_px: float | None = None,
    region: Region | None = None,
    size_px: int,
) -> PairComparison:
    """Create the comparison of the views of a series.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series.
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.
    background, taper, max_shift_px, region
        As for `etcli.core.registration.correlation.correlate_views`.
    size_px : int
        Larger views are binned to at most this.

    Returns
    -------
    PairComparison

    Raises
    ------
    UsageError
        If a number is out of range or the region is too small.
    """
    if not 0 <= taper <= 0.5:
        raise UsageError(f"a taper of {taper:g} is not a share between 0 and 0.5 of the width")
    if max_shift_px is not None and not max_shift_px >= 1:
        raise UsageError(f"a largest shift of {max_shift_px:g} px is too small; use 1 or more")
    rows, columns = (
        range(n)[part] for n, part in zip(views.shape[1:], region or (slice(None), slice(None)), strict=True)
    )
    if min(len(rows), len(columns)) < SMALLEST_PX or rows.step != 1 or columns.step != 1:
        raise UsageError(
            f"a region of {len(columns)} x {len(rows)} pixels cannot be compared; "
            f"it needs at least {SMALLEST_PX} pixels each way"
        )
    inside = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    factor = ceil(max(len(rows), len(columns)) / size_px)
    ny, nx = len(rows) // factor, len(columns) // factor
    sample = np.unique(np.linspace(0, len(views) - 1, SURVEYED).astype(int))
    body_px = max(3, round(min(ny, nx) * BODY))
    if np.mean([_reaches_beyond(_bin_region(views[k], inside, factor), body_px) for k in sample]) <= 0.5:
        body_px = 0
    reach = min(ny, nx) // 2 if max_shift_px is None else min(ceil(max_shift_px / factor), min(ny, nx) - 1)
    return PairComparison(
        views=views,
        cosine=np.maximum(np.abs(np.cos(np.deg2rad(tilt_deg))), np.cos(np.deg2rad(STEEPEST_DEG))),
        region=inside,
        factor=factor,
        background=background,
        body_px=body_px,
        window=np.outer(fade(ny, taper, body_px), fade(nx, taper, body_px)).astype(np.float32),
        reach=reach,
        middle_px=(views.shape[2] - columns.start - columns.stop) / 2,
    )


def survey(
    comparison: PairComparison,
    order: NDArray[np.intp],
    *,
    stretched: bool | None,
    band: Image,
) -> tuple[Image, bool]:
    """Estimate weights of the spatial frequencies from some pairs of views, and decide whether to stretch.

    Parameters
    ----------
    comparison : PairComparison
        Comparison of the views.
    order : ndarray of shape (n_views,), int
        The views in the order of their angles.
    stretched : bool or None
        Whether to stretch; None for whichever makes the views more similar.
    band : ndarray, float32
        Transmission that the weights are multiplied by.

    Returns
    -------
    weight : ndarray, float32
        Weight of each element of a cross-power spectrum, at most 1.
    stretched : bool
        Whether to stretch.

    Raises
    ------
    DataError
        If the views have nothing in common.
    """
    pairs = [
        (int(order[i]), int(order[i + step]))
        for step in sorted({min(step, len(order) - 1) for step in SURVEYED_STEPS})
        for i in np.unique(np.linspace(0, len(order) - 1 - step, SURVEYED).astype(int))
    ]
    undecided = stretched is None and np.ptp(comparison.cosine) > 0
    choices = [False, True] if undecided else [bool(stretched)]
    spectra = [_common_power(comparison, pairs, choice, band) for choice in choices]
    coherences = [_mean_coherence(*each) for each in spectra]
    best = int(np.argmax(coherences))
    common, whole_power = spectra[best]
    coherence = np.clip(common / np.maximum(whole_power, TINY), 0, COHERENCE_LIMIT)
    density = whole_power / np.maximum(comparison.ring_sum(np.ones(comparison.rings.shape)), 1)
    gain = np.sqrt(coherence / (1 - coherence**2) / np.maximum(density, TINY))
    if not gain.any():
        raise DataError("neighbouring views have nothing in common; are they blank, or the angles wrong?")
    return np.asarray(band * (gain / gain.max())[comparison.rings], np.float32), choices[best]


def _common_power(
    comparison: PairComparison, pairs: list[Pair], stretched: bool, band: Image
) -> tuple[Float, Float]:
    """Return, for each ring, the power that pairs of views have in common, and their total power."""
    common = np.zeros(int(comparison.rings.max()) + 1)
    whole_power = np.zeros_like(common)
    frequency_x, frequency_y = comparison.frequency
    for pair in pairs:
        stretches = comparison.stretches(pair, stretched)
        first, second = (comparison.spectrum(view, by) for view, by in zip(pair, stretches, strict=True))
        cross = second * first.conj()
        x, y, _ = comparison.peak(band * cross)
        cross *= np.exp(2j * np.pi * x * frequency_x)
        cross *= np.exp(2j * np.pi * y * frequency_y)
        pair_power = np.sqrt(comparison.ring_sum(power(first)) * comparison.ring_sum(power(second)))
        total = max(pair_power.sum(), TINY)  # all pairs get the same weight, however bright they are
        common += comparison.ring_sum(cross.real) / total
        whole_power += pair_power / total
    return common, whole_power


def _mean_coherence(common: Float, power: Float) -> float:
    """Return the mean coherence weighted by the common power, so that rings of pure noise do not count."""
    common = np.maximum(common[1:], 0)  # the innermost ring, the shape of the field of view, always agrees
    return float(np.sum(common**2 / np.maximum(power[1:], TINY)) / max(common.sum(), TINY))


def _stretch(image: Image, factor: float) -> Image:
    """Stretch an image across the axis about its middle, by linear interpolation."""
    middle = (image.shape[1] - 1) / 2
    x = (np.arange(image.shape[1]) - middle) / factor + middle
    left = np.minimum(x.astype(np.intp), image.shape[1] - 2)
    share = (x - left).astype(np.float32)
    return np.asarray(image[:, left] * (1 - share) + image[:, left + 1] * share)


def _bin_region(view: NDArray[Any], region: Region, factor: int) -> Image:
    """Return a region of a view, binned."""
    return bin_image(np.asarray(view[region]), factor)


def _coarse_part(image: Image, width: int) -> Image:
    """Return the part of an image that is larger than a width; unreliable closer than that to the border."""
    once = ndimage.uniform_filter(image, width, mode="nearest")
    return np.asarray(ndimage.uniform_filter(once, width, mode="nearest"))


def _reaches_beyond(image: Image, width: int) -> bool:
    """Check whether the specimen continues beyond the border of an image."""
    body = _coarse_part(image, width)
    border = np.concatenate([body[0], body[-1], body[1:-1, 0], body[1:-1, -1]])
    return bool(border.std() > UNEVEN * np.ptp(body))


def _peak_offset(height: Float, row: int, column: int) -> tuple[float, float]:
    """Return the position (x, y) of the maximum of a paraboloid through 3 x 3 values, from their middle."""
    values = height[row - 1 : row + 2, column - 1 : column + 2]
    if min(row, column) == 0 or values.shape != (3, 3):
        return 0.0, 0.0
    slope_x, slope_y = (values[:, 2] - values[:, 0]).sum() / 6, (values[2] - values[0]).sum() / 6
    bend_x, bend_y = (np.diff(values, 2, axis=axis).sum() / 3 for axis in (1, 0))
    bend_xy = (values[2, 2] + values[0, 0] - values[2, 0] - values[0, 2]) / 4
    determinant = bend_x * bend_y - bend_xy**2
    if determinant <= 0:  # no summit
        return 0.0, 0.0
    x = (bend_xy * slope_y - bend_y * slope_x) / determinant
    y = (bend_xy * slope_x - bend_x * slope_y) / determinant
    return float(np.clip(x, -1, 1)), float(np.clip(y, -1, 1))
