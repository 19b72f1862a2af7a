"""Displacement of two sections of a focal series, by the correlation of the part that both show.

A window that stays where it is pulls the correlation of two images towards no displacement, most of all where
a defocused crystal shows little more than its outline. Here the correlation is normalised over the overlap
instead, which has no such preference.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.registration.spectra import fade, frequencies, multiplicity, power

Float = NDArray[np.float64]

TAPER = 0.1
SIGNIFICANT_SIGMA = 4.0
UNCERTAIN_PX = 1.0  # standard error beyond which a displacement counts as not measured
LESS_MISFIT = 2 / 3
"""A peak counts more than one nearer the expected displacement if it leaves at most this share of 1 - r."""
MUCH_LESS_MISFIT = 1 / 10
"""The same for a peak that lies further away than displacements usually are."""
ROUNDS = 2  # the coherence is that at the displacement found before
FLAT = 1e-12  # of the variance of an image: an overlap that varies less is blank


@dataclass(frozen=True)
class SectionLink:
    """Displacement between two sections.

    Parameters
    ----------
    first, second : int
        The sections, counted from 0.
    displacement_px : (float, float)
        (x, y) from the content of the first to that of the second, in pixels.
    quality : float
        Correlation of the two, at most 1.
    sigma_px : float
        Standard error of the displacement by the noise, in the direction in which it is least certain.
    """

    first: int
    second: int
    displacement_px: tuple[float, float]
    quality: float
    sigma_px: float


def overlap_correlation(first: Float, second: Float, *, reach_px: int) -> Float:
    """Compute the correlation coefficient of the overlap of two images for each displacement.

    Parameters
    ----------
    first, second : ndarray of shape (ny, nx)
    reach_px : int
        Largest displacement along each axis, below ny and nx.

    Returns
    -------
    ndarray of shape (2 reach_px + 1, 2 reach_px + 1), float64
        The element (reach_px + y, reach_px + x) is for a content that lies (x, y) further in the second
        image; 0 where an image is blank within the overlap.
    """
    ny, nx = (scipy.fft.next_fast_len(n + reach_px, real=True) for n in first.shape)
    first, second = first - first.mean(), second - second.mean()
    spectra = [scipy.fft.rfft2(image, s=(ny, nx)) for image in (first, second)]
    lags = np.arange(-reach_px, reach_px + 1)
    product = scipy.fft.irfft2(spectra[0].conj() * spectra[1], s=(ny, nx))[np.ix_(lags % ny, lags % nx)]
    area = np.outer(*(n - np.abs(lags) for n in first.shape))
    sums = _overlap_sums(first, lags), _overlap_sums(second, -lags)
    squares = _overlap_sums(first**2, lags), _overlap_sums(second**2, -lags)
    covariance = product / area - sums[0] * sums[1] / area**2
    variances = [square / area - (total / area) ** 2 for square, total in zip(squares, sums, strict=True)]
    seen = [
        variance > FLAT * max(float(image.var()), np.finfo(np.float64).tiny)
        for variance, image in zip(variances, (first, second), strict=True)
    ]
    both = seen[0] & seen[1]
    scale = np.sqrt(np.where(both, variances[0] * variances[1], 1.0))
    return np.where(both, covariance / scale, 0.0)


def _overlap_sums(image: Float, lags: NDArray[np.intp]) -> Float:
    """Return the sums of an image over its overlap with one whose content lies further by (x, y) lags."""
    total = np.pad(image, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    (bottom, top), (left, right) = ((np.maximum(-lags, 0), n - np.maximum(lags, 0)) for n in image.shape)
    sums: Float = (
        total[np.ix_(top, right)]
        - total[np.ix_(bottom, right)]
        - total[np.ix_(top, left)]
        + total[np.ix_(bottom, left)]
    )
    return sums


def link_sections(
    first: Float,
    second: Float,
    pair: tuple[int, int],
    *,
    low_pass_px: float,
    reach_px: int,
    expected_px: tuple[float, float] = (0.0, 0.0),
    usual_px: float = 0.0,
) -> SectionLink | None:
    """Find the displacement between two sections.

    Parameters
    ----------
    first, second : ndarray of shape (ny, nx), float64
    pair : (int, int)
        The numbers of the sections, from 0.
    low_pass_px : float
        Standard deviation of the Gaussian low-pass.
    reach_px : int
        Largest displacement along each axis.
    expected_px : (float, float)
        Displacement (x, y) near which the peak is looked for first.
    usual_px : float
        Distance from it that displacements usually have at most.

    Returns
    -------
    SectionLink or None
        None where no peak rises above the noise, or the peak is so broad that its place is not known.

    Notes
    -----
    The cross-correlation is not whitened. Each ring of spatial frequency is weighted by the coherence of the
    two sections, which is S / (S + N) for a signal S and noise N: the Wiener filter. It is estimated from the
    pair itself, so sections that show only a blurred outline are compared by that, and focused ones by their
    columns. A lattice gives several peaks of about the same height. The nearest to the expected displacement
    is taken, unless another leaves at most two thirds of its misfit 1 - r, or a tenth if it lies further away
    than is usual. The standard error is that of the slope of the correlation, divided by its curvature.
    """
    coherence = _Coherence(np.zeros(1), np.ones(1))
    for _ in range(ROUNDS):
        one, other = (_filter(image, low_pass_px, coherence) for image in (first, second))
        correlation = overlap_correlation(one, other, reach_px=reach_px)
        peak = _peak(correlation, reach_px, expected_px, usual_px)
        coherence = _coherence(first, second, peak.displacement_px if peak else expected_px)
    if peak is None:
        return None
    height_noise, slope_noise = _noise(one, other, peak.displacement_px, coherence)
    sigma_px = slope_noise / peak.curvature if peak.curvature > 0 else np.inf
    if peak.height < SIGNIFICANT_SIGMA * height_noise or sigma_px > UNCERTAIN_PX:
        return None
    return SectionLink(*pair, peak.displacement_px, peak.height, sigma_px)


@dataclass(frozen=True)
class _Peak:
    """Peak of a correlation: its place (x, y), its height, and its curvature where that is least."""

    displacement_px: tuple[float, float]
    height: float
    curvature: float


@dataclass(frozen=True, eq=False)
class _Coherence:
    """Coherence of two sections, 0 to 1, at some spatial frequencies in cycles per pixel."""

    frequency: Float
    value: Float

    def at(self, frequency: Float) -> Float:
        """Return the coherence at other frequencies."""
        return np.asarray(np.interp(frequency, self.frequency, self.value))


def _filter(image: Float, low_pass_px: float, coherence: _Coherence) -> Float:
    """Low-pass an image, and weight its frequencies by the root of a coherence; borders are mirrored."""
    along_y, along_x = (np.arange(n) / (2 * n) for n in image.shape)
    frequency = np.hypot(along_y[:, np.newaxis], along_x)
    transmission = np.exp(-2 * (np.pi * low_pass_px * frequency) ** 2) * np.sqrt(coherence.at(frequency))
    return np.asarray(scipy.fft.idctn(scipy.fft.dctn(image) * transmission))


def _peak(
    correlation: Float, reach_px: int, expected_px: tuple[float, float], usual_px: float
) -> _Peak | None:
    """Choose a peak of the correlation; None if there is no peak."""
    is_peak = correlation == ndimage.maximum_filter(correlation, 3)
    is_peak[[0, -1]] = is_peak[:, [0, -1]] = False
    rows, columns = np.nonzero(is_peak & (correlation > 0))
    if not len(rows):
        return None
    distance = np.hypot(columns - reach_px - expected_px[0], rows - reach_px - expected_px[1])
    misfit = 1 - correlation[rows, columns]
    best, *others = np.argsort(distance, kind="stable")
    for other in others:
        share = LESS_MISFIT if distance[other] <= usual_px else MUCH_LESS_MISFIT
        if misfit[other] <= share * misfit[best]:
            best = other
    row, column = rows[best], columns[best]
    values = correlation[row - 1 : row + 2, column - 1 : column + 2]
    slope = np.array([(values[:, 2] - values[:, 0]).sum(), (values[2] - values[0]).sum()]) / 6
    bend_x, bend_y = (np.diff(values, 2, axis=axis).sum() / 3 for axis in (1, 0))
    bend_xy = (values[2, 2] + values[0, 0] - values[2, 0] - values[0, 2]) / 4
    bend = np.array([[bend_x, bend_xy], [bend_xy, bend_y]])
    curvature = float(-np.linalg.eigvalsh(bend)[-1])
    offset = np.clip(-np.linalg.solve(bend, slope), -1, 1) if curvature > 0 else np.zeros(2)
    right, up = (float(value) for value in offset)
    place = float(column - reach_px + right), float(row - reach_px + up)
    return _Peak(place, float(correlation[row, column]), curvature)


def _overlap_spectra(
    first: Float, second: Float, displacement_px: tuple[float, float]
) -> tuple[list[NDArray[np.complex128]], float]:
    """Return half spectra of the overlap, faded at its borders, and how much fading broadens their noise."""
    ny, nx = first.shape
    x, y = (round(value) for value in displacement_px)
    parts = (
        first[max(-y, 0) : ny - max(y, 0), max(-x, 0) : nx - max(x, 0)],
        second[max(y, 0) : ny - max(-y, 0), max(x, 0) : nx - max(-x, 0)],
    )
    window = np.outer(*(fade(n, TAPER) for n in parts[0].shape))
    spectra = [scipy.fft.rfft2((part - np.average(part, weights=window)) * window) for part in parts]
    return spectra, float(np.sqrt(np.mean(window**4)) / np.mean(window**2))


def _coherence(first: Float, second: Float, displacement_px: tuple[float, float]) -> _Coherence:
    """Return the coherence of two sections in each ring of spatial frequency."""
    (one, other), _ = _overlap_spectra(first, second, displacement_px)
    ny, nx = (min(n, n - abs(round(by))) for n, by in zip(first.shape, displacement_px[::-1], strict=True))
    along_x, along_y = frequencies((ny, nx))
    rest_x, rest_y = (by - round(by) for by in displacement_px)
    common = (one.conj() * other * np.exp(2j * np.pi * (along_x * rest_x + along_y * rest_y))).real
    ring = (np.hypot(along_x, along_y) * min(ny, nx) + 0.5).astype(np.intp).ravel()

    def ring_sum(values: Float) -> Float:
        return np.asarray(np.bincount(ring, (values * multiplicity(nx)).ravel()))

    whole = np.sqrt(ring_sum(power(one)) * ring_sum(power(other)))
    value = np.clip(ring_sum(common) / np.maximum(whole, np.finfo(np.float64).tiny), 0, 1)
    value[0] = value[1]  # the mean was subtracted
    return _Coherence(np.arange(len(value)) / min(ny, nx), value)


def _noise(
    first: Float, second: Float, displacement_px: tuple[float, float], coherence: _Coherence
) -> tuple[float, float]:
    """Return the standard deviations, by noise, of the correlation of filtered sections and of its slope."""
    (one, other), broadening = _overlap_spectra(first, second, displacement_px)
    ny, nx = (n - abs(round(by)) for n, by in zip(first.shape, displacement_px[::-1], strict=True))
    frequency, count = np.hypot(*frequencies((ny, nx))), multiplicity(nx)
    both = np.sqrt(power(one) * power(other))
    total = float((both * count).sum())
    if total == 0:
        return np.inf, np.inf
    noise = (both * (1 - coherence.at(frequency))) ** 2 * count
    slope = noise * (2 * np.pi * frequency) ** 2 / 2  # along one of two axes
    height_sigma, slope_sigma = (float(np.sqrt(each.sum())) * broadening / total for each in (noise, slope))
    return height_sigma, slope_sigma
