"""Quality measures: errors relative to a reference, Fourier shell correlation, expected resolution.

Arrays are ``(y, x)`` or ``(section, y, x)``, finite real numbers of any type, both of one shape. Sums are in
float64 and run over one section at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite, log10, pi, radians, sqrt
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError, UsageError

SSIM_SIGMA_PX, SSIM_REACH_PX = 1.5, 5
SSIM_K1, SSIM_K2 = 0.01, 0.03
NOT_FINITE = "a value is not finite; replace such values before comparing"


def nrmse(image: NDArray[Any], reference: NDArray[Any]) -> float:
    """Compute the root-mean-square error relative to the reference.

    Parameters
    ----------
    image, reference : ndarray of shape (ny, nx) or (n, ny, nx)

    Returns
    -------
    float
        ``‖image - reference‖ / ‖reference‖``; 0 is perfect.

    Raises
    ------
    DataError
        When the shapes differ, a value is not finite, or the reference is zero everywhere.
    """
    _require_comparable(image, reference)
    error = norm = 0.0
    for a, b in _pairs(image, reference):
        error += float(np.sum((a - b) ** 2))
        norm += float(np.sum(b**2))
    if norm == 0:
        raise DataError("the reference is zero everywhere, so no error can be relative to it")
    return sqrt(error / norm)


def psnr(image: NDArray[Any], reference: NDArray[Any]) -> float:
    """Compute the peak signal-to-noise ratio in dB.

    Parameters
    ----------
    image, reference : ndarray of shape (ny, nx) or (n, ny, nx)

    Returns
    -------
    float
        ``10 log10(range² / mean((image - reference)²))`` with the range of the reference, maximum minus
        minimum; infinite where both are equal.

    Raises
    ------
    DataError
        When the shapes differ, a value is not finite, or the reference is constant.
    """
    _require_comparable(image, reference)
    error = sum(float(np.sum((a - b) ** 2)) for a, b in _pairs(image, reference))
    spread = _range(reference)
    return 10 * log10(spread**2 * reference.size / error) if error else inf


def ssim(image: NDArray[Any], reference: NDArray[Any]) -> float:
    """Compute the mean structural similarity, section by section.

    Parameters
    ----------
    image, reference : ndarray of shape (ny, nx) or (n, ny, nx)
        At least 11 pixels wide and high.

    Returns
    -------
    float
        1 for equal images; the mean over all pixels that are 5 or more from the border.

    Raises
    ------
    DataError
        When the shapes differ, the sections are too small, a value is not finite, or the reference is
        constant.

    Notes
    -----
    As in the paper: a Gaussian window of σ = 1.5 pixels, 11 x 11 wide, C1 = (0.01 L)², C2 = (0.03 L)²; the
    dynamic range L is that of the whole reference, maximum minus minimum. scikit-image gives the same with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=L``.

    References
    ----------
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, IEEE Trans. Image Process. 13, 600 (2004),
    doi:10.1109/TIP.2003.819861, equation 13.
    """
    _require_comparable(image, reference)
    if min(image.shape[-2:]) <= 2 * SSIM_REACH_PX:
        raise DataError(f"images of shape {image.shape} are too small for SSIM's window of 11 x 11 pixels")
    spread = _range(reference)
    return float(np.mean([_ssim_section(a, b, spread) for a, b in _pairs(image, reference)]))


def _ssim_section(a: NDArray[np.float64], b: NDArray[np.float64], spread: float) -> float:
    """Return the mean SSIM of two images, computed so that large offsets cause no rounding errors."""
    c1, c2 = (SSIM_K1 * spread) ** 2, (SSIM_K2 * spread) ** 2
    offset = b.mean()

    def local(values: NDArray[np.float64]) -> NDArray[np.float64]:
        smooth = ndimage.gaussian_filter(values, SSIM_SIGMA_PX, radius=SSIM_REACH_PX)
        return np.asarray(smooth[SSIM_REACH_PX:-SSIM_REACH_PX, SSIM_REACH_PX:-SSIM_REACH_PX])

    a, b = a - offset, b - offset
    mean_a, mean_b = local(a), local(b)
    covariance = local(a * b) - mean_a * mean_b
    variances = local(a * a) - mean_a**2 + local(b * b) - mean_b**2
    mean_a, mean_b = mean_a + offset, mean_b + offset
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (variances + c2)))


def fit_scale(image: NDArray[Any], reference: NDArray[Any]) -> tuple[float, float]:
    """Find the scale and offset that fit an image to the reference by least squares.

    Parameters
    ----------
    image, reference : ndarray of shape (ny, nx) or (n, ny, nx)

    Returns
    -------
    scale, offset : float
        They minimise ``‖scale * image + offset - reference‖``.

    Raises
    ------
    DataError
        When the shapes differ, a value is not finite, or the image is constant.
    """
    _require_comparable(image, reference)
    mean_a, mean_b = _mean(image), _mean(reference)
    variance = covariance = 0.0
    for a, b in _pairs(image, reference):
        variance += float(np.sum((a - mean_a) ** 2))
        covariance += float(np.sum((a - mean_a) * (b - mean_b)))
    if variance == 0:
        raise DataError("the image is constant, so no scale fits it to the reference")
    scale = covariance / variance
    return scale, mean_b - scale * mean_a


@dataclass(frozen=True)
class FSC:
    """Fourier shell correlation of two volumes, or images.

    Parameters
    ----------
    frequency_per_A : ndarray of shape (n_shells,), float64
        Middle of each shell of spatial frequency, ascending up to the Nyquist frequency.
    correlation : ndarray of shape (n_shells,), float64
        -1 to 1; 0 where a shell has no signal.
    n_samples : ndarray of shape (n_shells,), int64
        Number of Fourier coefficients in the shell. Correlations of independent noise scatter by
        1/sqrt(n_samples).
    """

    frequency_per_A: NDArray[np.float64]
    correlation: NDArray[np.float64]
    n_samples: NDArray[np.int64]


def fourier_shell_correlation(
    image: NDArray[Any],
    reference: NDArray[Any],
    *,
    pixel_A: float,
    wedge_deg: tuple[float, float] | None = None,
) -> FSC:
    """Correlate two volumes in shells of spatial frequency, or two images in rings.

    Parameters
    ----------
    image, reference : ndarray of shape (nz, ny, nx) or (ny, nx)
        Two volumes, or two images. They are Fourier transformed without a window: mask or taper them first
        where opposite borders differ.
    pixel_A : float
        Pixel size in Å.
    wedge_deg : (float, float), optional
        Missing wedge of the series that both volumes come from, see `missing_wedge`: coefficients in it are
        left out, because nothing was measured there.

    Returns
    -------
    FSC
        Shell k = 1, 2, … n // 2 has the frequency ``k / (n pixel_A)`` and holds the coefficients nearer to it
        than to its neighbours; n is the smallest side.

    Raises
    ------
    DataError
        When the shapes differ, a side is a single pixel, or a value is not finite.
    UsageError
        When the pixel size is not positive.

    Notes
    -----
    ``FSC(k) = Re Σ A B* / sqrt(Σ |A|² Σ |B|²)``. The means are subtracted first; there is no shell 0.

    References
    ----------
    W. O. Saxton, W. Baumeister, J. Microsc. 127, 127 (1982), doi:10.1111/j.1365-2818.1982.tb00405.x (rings).
    G. Harauz, M. van Heel, Optik 73, 146 (1986) (shells).
    """
    _require_positive("the pixel size", pixel_A)
    _require_comparable(image, reference)
    n = min(image.shape)
    if n < 2:
        raise DataError(f"arrays of shape {image.shape} are too thin for shells of frequency")
    shape = (1,) * (3 - image.ndim) + image.shape
    a, b = _spectrum(image.reshape(shape)), _spectrum(reference.reshape(shape))
    fz, fy, fx = scipy.fft.fftfreq(shape[0]), scipy.fft.fftfreq(shape[1]), scipy.fft.rfftfreq(shape[2])
    f2_section = fy[:, None] ** 2 + fx**2
    multiplicity = np.full(f2_section.shape, 2.0)  # rfftn keeps one of a coefficient and its conjugate
    multiplicity[:, 0] = 1
    if shape[2] % 2 == 0:
        multiplicity[:, -1] = 1
    cross, power_a, power_b, count = np.zeros((4, n // 2 + 2))
    measured = np.ones_like(multiplicity)
    for k in range(shape[0]):
        if wedge_deg is not None:
            measured[:] = ~_in_wedge(fz[k], fx, *wedge_deg)
        shell = np.minimum(np.rint(n * np.sqrt(fz[k] ** 2 + f2_section)).astype(np.intp), n // 2 + 1).ravel()
        for total, part in (
            (cross, a[k].real * b[k].real + a[k].imag * b[k].imag),
            (power_a, a[k].real ** 2 + a[k].imag ** 2),
            (power_b, b[k].real ** 2 + b[k].imag ** 2),
            (count, np.ones_like(a[k].real)),
        ):
            total += np.bincount(shell, (multiplicity * measured * part).ravel(), len(total))
    kept = slice(1, n // 2 + 1)
    power = np.sqrt(power_a[kept] * power_b[kept])
    correlation = np.divide(cross[kept], power, out=np.zeros_like(power), where=power > 0)
    frequency = np.arange(1, n // 2 + 1) / (n * pixel_A)
    return FSC(frequency, correlation, np.rint(count[kept]).astype(np.int64))


def missing_wedge(tilt_deg: NDArray[np.float64]) -> tuple[float, float]:
    """Find the missing wedge of a series: the widest gap between the directions of its views.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,)

    Returns
    -------
    start_deg, width_deg : float
        The direction in which it begins, from 0 to 180, and its width.
    """
    direction = np.unique(np.mod(tilt_deg, 180))
    gap = np.diff(direction, append=direction[0] + 180)
    k = int(gap.argmax())
    return float(direction[k]), float(gap[k])


def _in_wedge(fz: float, fx: NDArray[np.float64], start_deg: float, width_deg: float) -> NDArray[np.bool_]:
    """Mark the frequencies (fx, fz) that lie in the missing wedge."""
    past_start = np.mod(np.rad2deg(np.arctan2(fz, fx)) - start_deg, 180)
    return np.asarray((past_start > 0) & (past_start < width_deg) & ((fx != 0) | (fz != 0)))


def _spectrum(volume: NDArray[Any]) -> NDArray[np.complex64]:
    """Return the half spectrum of a volume without its mean."""
    centred = np.subtract(volume, np.float32(_mean(volume)), dtype=np.float32)
    return np.asarray(scipy.fft.rfftn(centred, overwrite_x=True))


def resolution_A(fsc: FSC, *, threshold: float = 0.5) -> float | None:
    """Find where a correlation curve first falls below a threshold.

    Parameters
    ----------
    fsc : FSC
    threshold : float
        0.5 for a comparison with the truth, or with a much better reference; 0.143 for two halves of the
        data.

    Returns
    -------
    float or None
        Resolution in Å, interpolated linearly in frequency between shells; None where the curve stays above
        the threshold up to the Nyquist frequency, infinite where it begins below.

    References
    ----------
    P. B. Rosenthal, R. Henderson, J. Mol. Biol. 333, 721 (2003), doi:10.1016/j.jmb.2003.07.013 (0.143).
    """
    below = np.flatnonzero(fsc.correlation < threshold)
    if below.size == 0:
        return None
    k = int(below[0])
    if k == 0:
        return inf
    (c0, c1), (f0, f1) = fsc.correlation[k - 1 : k + 1], fsc.frequency_per_A[k - 1 : k + 1]
    return float(1 / (f0 + (c0 - threshold) / (c0 - c1) * (f1 - f0)))


def crowther_resolution_A(
    diameter_A: float, n_views: int | None = None, *, increment_deg: float | None = None
) -> float:
    """Compute the resolution that the number of views, or their spacing, allows.

    Parameters
    ----------
    diameter_A : float
        Diameter of the specimen across the tilt axis in Å.
    n_views : int, optional
        Views, evenly spaced over 180°.
    increment_deg : float, optional
        Angle between views in degrees, instead of their number: valid also with a missing wedge, for the
        directions that were measured.

    Returns
    -------
    float
        ``π D / N``, or the same as ``D Δθ`` with Δθ in radians; in Å.

    Raises
    ------
    UsageError
        When not exactly one of the two is given, or a value is not positive.

    References
    ----------
    R. A. Crowther, D. J. DeRosier, A. Klug, Proc. R. Soc. Lond. A 317, 319 (1970),
    doi:10.1098/rspa.1970.0119.
    """
    _require_positive("the diameter", diameter_A)
    if (n_views is None) == (increment_deg is None):
        raise UsageError("Crowther's resolution needs either the number of views or the angle between them")
    if n_views is not None:
        _require_positive("the number of views", n_views)
        return pi * diameter_A / n_views
    assert increment_deg is not None
    _require_positive("the angle between views", increment_deg)
    return diameter_A * radians(increment_deg)


def _require_positive(what: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise UsageError(f"{what} must be a positive number, not {value:g}")


def _require_comparable(image: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raise DataError for arrays that cannot be compared pixel by pixel."""
    if image.shape != reference.shape:
        raise DataError(
            f"shapes {image.shape} and {reference.shape} differ; crop, bin or resample one to the other first"
        )
    if image.ndim not in (2, 3) or image.size == 0:
        raise DataError(f"a comparison needs images or volumes, not arrays of shape {image.shape}")
    if {image.dtype.kind, reference.dtype.kind} - set("iuf"):
        raise DataError(f"a comparison needs real numbers, not {image.dtype} and {reference.dtype}")


def _pairs(
    image: NDArray[Any], reference: NDArray[Any]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the sections of both arrays as float64; raise DataError for values that are not finite."""
    if image.ndim == 2:
        image, reference = image[None], reference[None]
    for k in range(len(image)):
        a, b = image[k].astype(np.float64), reference[k].astype(np.float64)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise DataError(NOT_FINITE)
        yield a, b


def _mean(volume: NDArray[Any]) -> float:
    """Return the mean; raise DataError unless it is finite, as it is only where all values are."""
    mean = float(volume.mean(dtype=np.float64))
    if not isfinite(mean):
        raise DataError(NOT_FINITE)
    return mean


def _range(reference: NDArray[Any]) -> float:
    """Return maximum minus minimum; raise DataError unless it is finite and not zero."""
    low, high = float(reference.min()), float(reference.max())
    if not (isfinite(low) and isfinite(high)):
        raise DataError(NOT_FINITE)
    if low == high:
        raise DataError("the reference is constant: it has no range to relate errors to")
    return high - low


def last_agreement_A(fsc: FSC, *, threshold: float) -> float | None:
    """Find up to where a correlation curve is above a threshold again, beyond where it first falls below.

    Parameters
    ----------
    fsc : FSC
    threshold : float
        As for `resolution_A`.

    Returns
    -------
    float or None
        Resolution in Å of the last of two neighbouring shells that are above the threshold by more than the
        scatter of noise, three times 1/sqrt(n_samples); None where there are none.
    """
    below = np.flatnonzero(fsc.correlation < threshold)
    if below.size == 0:
        return None
    above = fsc.correlation > threshold + 3 / np.sqrt(np.maximum(fsc.n_samples, 1))
    pairs = np.flatnonzero(above[1:] & above[:-1]) + 1
    later = pairs[pairs > below[0] + 1]
    return float(1 / fsc.frequency_per_A[later[-1]]) if later.size else None
