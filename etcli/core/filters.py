"""Filters of one image ``(y, x)`` or one volume ``(z, y, x)``: denoising, edge detection, band-pass.

All take real numbers of any type and return a new float32 array of the same shape; borders are mirrored
(``d c b a | a b c d | d c b a``), never wrapped. Lengths are in pixels, and the same along all axes.
"""

from collections.abc import Callable
from inspect import signature
from itertools import product
from math import prod, sqrt
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError, UsageError

Image = NDArray[np.float32]

MAD_TO_SIGMA = 1.4826  # of a normal distribution: standard deviation over median absolute deviation
IQR_TO_SIGMA = 1 / 1.349  # ... over the interquartile range
P99_TO_SIGMA = 1 / 2.576  # ... over the 99th percentile of its absolute value
BAND_EDGE = 0.2  # width of the edges of the band-pass, as a share of the cut-off frequency
NLM_PATCH = 5
NLM_REACH = {2: 9, 3: 4}  # by dimensions
NLM_STRENGTH = 0.6  # in noise sigmas; of 0.4 to 1, good on noisy spheres and on a lattice
TV_ROUND, MOST_TV_ROUNDS, TV_TOLERANCE = 20, 40, 5e-4  # iterations; rounds; share of the weight


def apply_filter(
    image: NDArray[Any],
    method: str,
    *,
    size: int = 3,
    sigma_px: float = 1.0,
    low_px: float | None = None,
    high_px: float | None = None,
    weight: float | None = None,
    threshold: float = 8.0,
) -> Image:
    """Apply a filter by name; settings that the filter does not have are ignored.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)
        Finite real numbers.
    method : str
        A key of `METHODS`.
    size : int
        Width of the kernel in pixels, odd: `median`, `median_sobel`, `despike`.
    sigma_px : float
        Standard deviation in pixels: `gaussian`.
    low_px, high_px : float, optional
        Longest and shortest period kept, in pixels: `bandpass`.
    weight : float, optional
        Strength in units of intensity, by default from the noise: `total_variation`, `nonlocal_means`.
    threshold : float
        Deviation in robust standard deviations: `despike`.

    Returns
    -------
    ndarray of the image's shape, float32

    Raises
    ------
    UsageError
        When the method is unknown or a setting is invalid for it.
    DataError
        When the image does not consist of finite real numbers in 2 or 3 dimensions.
    """
    if method not in METHODS:
        raise UsageError(f"unknown filter {method!r}; use one of {', '.join(METHODS)}")
    settings = dict(
        size=size, sigma_px=sigma_px, low_px=low_px, high_px=high_px, weight=weight, threshold=threshold
    )
    known = signature(METHODS[method]).parameters
    return METHODS[method](image, **{name: value for name, value in settings.items() if name in known})


def median(image: NDArray[Any], *, size: int = 3) -> Image:
    """Replace every pixel by the median of the square, or cube, around it.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)
    size : int
        Width in pixels, odd.

    Returns
    -------
    ndarray of the image's shape, float32
    """
    _require_odd(size, image)
    return np.asarray(ndimage.median_filter(_as_float32(image), size))


def gaussian(image: NDArray[Any], *, sigma_px: float = 1.0) -> Image:
    """Convolve with a normalised Gaussian.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)
    sigma_px : float
        Standard deviation in pixels; the kernel is cut off at four standard deviations.

    Returns
    -------
    ndarray of the image's shape, float32
    """
    _require_positive("the Gaussian's standard deviation", sigma_px)
    return np.asarray(ndimage.gaussian_filter(_as_float32(image), sigma_px))


def sobel(image: NDArray[Any]) -> Image:
    """Compute the length of the gradient in intensity per pixel.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)

    Returns
    -------
    ndarray of the image's shape, float32
        1 on a ramp that rises by 1 per pixel, in any direction.

    Notes
    -----
    Along each axis, the central difference ``(I[+1] - I[-1]) / 2`` is averaged with weights 1/4, 1/2, 1/4
    along the other axes.
    """
    image = _as_float32(image)
    squares = np.zeros_like(image)
    for axis in range(image.ndim):
        slope = ndimage.sobel(image, axis)
        squares += slope * slope
    squares /= np.float32(2 * 4 ** (image.ndim - 1)) ** 2
    return np.sqrt(squares, out=squares)


def median_sobel(image: NDArray[Any], *, size: int = 3) -> Image:
    """Compute the length of the gradient after a median filter, which keeps edges and removes noise.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)
    size : int
        Width of the median's square or cube in pixels, odd.

    Returns
    -------
    ndarray of the image's shape, float32
    """
    return sobel(median(image, size=size))


def bandpass(image: NDArray[Any], *, low_px: float | None = None, high_px: float | None = None) -> Image:
    """Keep the periods between two limits: a band-pass, low-pass or high-pass filter.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)
    low_px : float, optional
        Longest period kept (the low cut-off frequency is its inverse). None keeps all that are longer than
        ``high_px``, the mean included: a low-pass.
    high_px : float, optional
        Shortest period kept. None keeps all that are shorter than ``low_px``: a high-pass.

    Returns
    -------
    ndarray of the image's shape, float32
        Its mean is that of the image with a low-pass, 0 otherwise.

    Raises
    ------
    UsageError
        When neither period is given, one is not positive, or the longest is below the shortest.

    Notes
    -----
    The response at the frequency f (cycles per pixel, f² summed over the axes) is 1 from 1/low to 1/high;
    below and above it falls as exp(-½ ((f - c) / (0.2 c))²), c the cut-off on that side: to 0.61 at 0.8 c
    and 1.2 c, to 0.04 at 0.5 c and 1.5 c. It is applied to the cosine transform (type II), that is, to the
    image mirrored at its borders.
    """
    if low_px is None and high_px is None:
        raise UsageError(
            "a band-pass needs the longest period to keep (--low), the shortest (--high), or both"
        )
    for name, period in (("longest", low_px), ("shortest", high_px)):
        if period is not None:
            _require_positive(f"the {name} period of a band-pass", period)
    if low_px is not None and high_px is not None and low_px < high_px:
        raise UsageError(
            f"no period is below {low_px:g} px (low) and above {high_px:g} px (high); swap the two"
        )
    image = _as_float32(image)
    mean = image.mean(dtype=np.float64)
    spectrum = scipy.fft.dctn(image - np.float32(mean), overwrite_x=True)
    f = [np.arange(n, dtype=np.float32) / np.float32(2 * n) for n in image.shape]
    f2_section = sum(np.square(g) for g in np.meshgrid(*f[1:], indexing="ij", sparse=True))
    for start in range(0, len(image), 32):  # in blocks, to avoid an array of frequencies as large as a volume
        block = slice(start, start + 32)
        f2 = np.square(f[0][block]).reshape(-1, *[1] * (image.ndim - 1)) + f2_section
        spectrum[block] *= _band(np.sqrt(f2, out=f2), low_px, high_px)
    kept = scipy.fft.idctn(spectrum, overwrite_x=True)
    return np.asarray(kept + np.float32(mean) if low_px is None else kept)


def _band(f: Image, low_px: float | None, high_px: float | None) -> Image:
    """Return the response of the band-pass at the frequencies ``f``."""
    outside = np.zeros_like(f)
    if low_px is not None:
        outside += np.maximum(1 - f * np.float32(low_px), 0)
    if high_px is not None:
        outside += np.maximum(f * np.float32(high_px) - 1, 0)
    return np.asarray(np.exp(-0.5 * np.square(outside / np.float32(BAND_EDGE))))


def noise_level(image: NDArray[Any]) -> float:
    """Estimate the standard deviation of white noise from second differences.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)

    Returns
    -------
    float
        In the image's units. 0 where more than half of the image is smooth to the last bit.

    Notes
    -----
    The kernel (1, -2, 1) along every axis removes linear variations; the median absolute deviation of the
    rest is robust against edges.

    References
    ----------
    J. Immerkær, Comput. Vis. Image Underst. 64, 300 (1996), doi:10.1006/cviu.1996.0060, with the median
    instead of the mean.
    """
    rest = _as_float32(image)
    for axis in range(rest.ndim):
        if rest.shape[axis] > 2:
            rest = np.diff(rest, 2, axis) / np.float32(sqrt(6))
    return MAD_TO_SIGMA * float(np.median(np.abs(rest)))


def total_variation(image: NDArray[Any], *, weight: float | None = None) -> Image:
    """Smooth by total variation: flat regions, sharp edges.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)
    weight : float, optional
        λ in units of intensity; by default the `noise_level`.

    Returns
    -------
    ndarray of the image's shape, float32
        argmin over u of ½ ‖u - image‖² + λ Σ |∇u|, with forward differences and the Euclidean length.

    Notes
    -----
    Fast gradient projection on the dual, until 20 iterations change u by less than 0.0005 λ (rms).

    References
    ----------
    L. I. Rudin, S. Osher, E. Fatemi, Physica D 60, 259 (1992), doi:10.1016/0167-2789(92)90242-F.
    A. Beck, M. Teboulle, IEEE Trans. Image Process. 18, 2419 (2009), doi:10.1109/TIP.2009.2028250, section 4.
    """
    image = _as_float32(image)
    weight = _strength(image, weight)
    if weight == 0:
        return image.copy()
    from etcli.core.solvers.total_variation import TotalVariation  # imports numba

    data = image.reshape((1, 1, *image.shape)[-3:])
    n_sections, n_rows, n = data.shape
    prior, smooth = TotalVariation((n_sections, n_rows, n)), data
    for _ in range(MOST_TV_ROUNDS):
        before, smooth = smooth, data.copy()
        prior.minimise(smooth, weight, iterations=TV_ROUND)
        if np.sqrt(np.mean((smooth - before) ** 2, dtype=np.float64)) < TV_TOLERANCE * weight:
            break
    return smooth.reshape(image.shape)


def nonlocal_means(image: NDArray[Any], *, weight: float | None = None) -> Image:
    """Average pixels with similar surroundings, which preserves repeating structures such as a lattice.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)
    weight : float, optional
        h in units of intensity, by default 0.6 times the `noise_level`.

    Returns
    -------
    ndarray of the image's shape, float32

    Notes
    -----
    Every pixel becomes the weighted mean of the pixels at most 9 (in volumes 4) pixels away along each axis,
    with weights exp(-max(d² - 2σ², 0) / h²): d² is the mean squared difference of their surroundings, 5
    pixels wide, σ the noise.

    References
    ----------
    A. Buades, B. Coll, J.-M. Morel, CVPR 2, 60 (2005), doi:10.1109/CVPR.2005.38; with the noise subtracted
    as in Image Process. On Line 1, 208 (2011), doi:10.5201/ipol.2011.bcm_nlm.
    """
    image = _as_float32(image)
    noise = noise_level(image)
    weight = _strength(image, weight, NLM_STRENGTH)
    if weight == 0:
        return image.copy()
    reach = NLM_REACH[image.ndim]
    margin = reach + NLM_PATCH // 2
    padded = np.pad(image, margin, "symmetric")

    def inside(shift: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(margin + s, margin + s + n) for s, n in zip(shift, image.shape, strict=True))

    here = (0,) * image.ndim
    total, weights = image.copy(), np.ones_like(image)
    for shift in product(range(-reach, reach + 1), repeat=image.ndim):
        if shift <= here:  # covered by the opposite shift
            continue
        back = tuple(-s for s in shift)
        distance = np.square(padded - np.roll(padded, back, tuple(range(image.ndim))))
        distance = ndimage.uniform_filter(distance, NLM_PATCH, output=distance)
        similarity = np.exp(np.maximum(distance - 2 * noise**2, 0) * np.float32(-1 / weight**2))
        for centre, partner in ((here, shift), (back, back)):
            total += similarity[inside(centre)] * padded[inside(partner)]
            weights += similarity[inside(centre)]
    return np.asarray(total / weights)


def despike(image: NDArray[Any], *, size: int = 3, threshold: float = 8.0) -> Image:
    """Replace single pixels that differ strongly from their surroundings (X-ray hits) by the local median.

    Parameters
    ----------
    image : ndarray of shape (ny, nx) or (nz, ny, nx)
    size : int
        Width of the median's square or cube in pixels, odd. A hit must fill less than half of it.
    threshold : float
        Smallest deviation of a hit from the median, in robust standard deviations.

    Returns
    -------
    ndarray of the image's shape, float32
        Equal to the image except at the hits.

    Notes
    -----
    The standard deviation is the larger of two: that of the deviations in the whole image (1.4826 times their
    median absolute value; where this is 0, as with counts that are mostly 0, the 99th percentile / 2.576),
    and that of the pixels in the surroundings, ``size + 2`` wide (interquartile range / 1.349). The latter
    prevents edges, atoms and the noise of bright regions from being mistaken for hits.
    """
    _require_odd(size, image)
    _require_positive("the threshold of despike", threshold)
    image = _as_float32(image)
    smooth = ndimage.median_filter(image, size)
    deviation = np.abs(image - smooth)
    noise = MAD_TO_SIGMA * float(np.median(deviation)) or P99_TO_SIGMA * float(np.quantile(deviation, 0.99))
    suspects = np.argwhere(deviation > threshold * noise)
    clean = image.copy()
    reach = size // 2 + 1
    window = (2 * reach + 1,) * image.ndim
    around = np.lib.stride_tricks.sliding_window_view(np.pad(image, reach, "symmetric"), window)
    for chunk in np.array_split(suspects, len(suspects) // 2**15 + 1):
        index = tuple(chunk.T)
        lower, upper = np.percentile(around[index].reshape(len(chunk), prod(window)), [25, 75], axis=1)
        hit = deviation[index] > threshold * IQR_TO_SIGMA * (upper - lower)
        index = tuple(chunk[hit].T)
        clean[index] = smooth[index]
    return clean


METHODS: dict[str, Callable[..., Image]] = {
    "median": median,
    "gaussian": gaussian,
    "sobel": sobel,
    "median-sobel": median_sobel,
    "bandpass": bandpass,
    "tv": total_variation,
    "nlm": nonlocal_means,
    "despike": despike,
}


def _as_float32(image: NDArray[Any]) -> Image:
    """Return the image as float32; raise DataError if it cannot be filtered."""
    if image.ndim not in (2, 3) or image.dtype.kind not in "iuf" or image.size == 0:
        raise DataError(
            f"a filter needs an image (y, x) or a volume (z, y, x) of real numbers, "
            f"not {image.dtype} of shape {image.shape}"
        )
    image = np.asarray(image, np.float32)
    if not np.isfinite(image).all():
        raise DataError("the image holds values that are not finite; replace them before filtering")
    return image


def _strength(image: Image, weight: float | None, of_noise: float = 1.0) -> float:
    """Return the given weight, or by default a share of the noise level."""
    if weight is None:
        return of_noise * noise_level(image)
    _require_positive("the weight of a filter", weight)
    return weight


def _require_odd(size: int, image: NDArray[Any]) -> None:
    if size < 1 or size % 2 == 0:
        raise UsageError(f"a kernel of {size} pixels has no centre; use an odd size such as 3")
    if size == 1 or size > max(image.shape):
        raise UsageError(f"a kernel of {size} of {max(image.shape)} pixels is no neighbourhood; use 3 or 5")


def _require_positive(what: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise UsageError(f"{what} must be a positive number, not {value:g}")
