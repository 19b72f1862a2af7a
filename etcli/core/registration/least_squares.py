"""Motion between two images by least squares of their intensities.

From coarse to fine, an image is moved until its difference from another one is smallest. Unlike a
correlation, this can also rotate the image, compares only the overlap of the images, and gives less weight to
pixels that do not fit, such as those where particles pass behind one another.
"""

from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import centre
from etcli.core.jit import inline, jit

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Motion = Literal["translation", "rigid"]

SMALLEST_PX = 16
COARSEST_PX = 48  # at least, of the smallest image of a pyramid
FARTHEST = 0.5  # of the smaller side, where no limit is given
LEAST_OVERLAP = 0.1
ROBUST_SIGMA = 2.385  # where the weight is one half: 95 % efficient for normally distributed differences
MOST_STEPS = 30
LONGEST_STEP_PX = 1.0
SETTLED_PX = 0.003
LEAST_GAIN = 0.3
BEYOND = 2  # knots of a spline
EQUAL = 1e-6  # rounding errors, relative to the level or the contrast


@dataclass(frozen=True, eq=False)
class PairFit:
    """Motion that brings the content of an image onto a reference: x moves to A x + d about the centre.

    Parameters
    ----------
    matrix : ndarray of shape (2, 2), float64
        The rotation A, acting on (x, y); the identity where only a translation was allowed.
    shift_px : ndarray of shape (2,), float64
        d, (x, y) in pixels.
    quality : float
        Correlation of the two where they overlap, at most 1; 0 if one is blank or the shift is at its limit.
    """

    matrix: Float
    shift_px: Float
    quality: float

    @property
    def angle_rad(self) -> float:
        """Angle of the rotation A, counter-clockwise, in radians."""
        return float(np.arctan2(self.matrix[1, 0], self.matrix[0, 0]))


def register_pair(
    reference: NDArray[Any],
    image: NDArray[Any],
    *,
    motion: Motion = "translation",
    stretch: float = 1.0,
    smooth_px: float = 1.0,
    max_shift_px: float | None = None,
) -> PairFit:
    """Find the motion that makes an image most like a reference.

    Parameters
    ----------
    reference, image : ndarray of shape (ny, nx)
        Of any real type; their levels and contrasts may differ.
    motion : {"translation", "rigid"}
        Whether the image is only shifted, or also rotated.
    stretch : float
        Factor by which the image is stretched along x, about the centre, before it is moved.
    smooth_px : float
        Standard deviation of the Gaussian that smooths both images, against noise.
    max_shift_px : float, optional
        Largest shift considered, along x and along y; half the smaller side when not given.

    Returns
    -------
    PairFit

    Raises
    ------
    DataError
        If the images differ in shape, are too small or hold NaN.
    UsageError
        If an option is out of range.

    Notes
    -----
    The motion T minimises Σ w (I(T⁻¹ x) - g R(x) - o)² over the overlap of the image I and the reference R,
    with a gain g and an offset o. In the inverse compositional form, each Gauss-Newton step computes the
    motion of the reference, whose derivatives do not change: (∂R/∂x, ∂R/∂y, x ∂R/∂y - y ∂R/∂x). The weights
    are Cauchy's, 1/(1 + (r/cσ)²) for a difference r, with the root mean square σ of all differences and
    c = 2.385. The image is interpolated by cubic splines. The images are halved until the smaller side has
    less than 96 pixels; the starting point is the shift of highest correlation, in whole pixels of the
    coarsest level.

    References
    ----------
    P. Thévenaz, U. E. Ruttimann, M. Unser, IEEE Trans. Image Process. 7, 27 (1998), doi:10.1109/83.650848.
    S. Baker, I. Matthews, Int. J. Comput. Vis. 56, 221 (2004), doi:10.1023/B:VISI.0000011205.11775.fd.
    """
    _validate(reference, image, motion, stretch, smooth_px)
    limit_px = shift_limit_px(max_shift_px, image.shape)
    targets, images = _pyramid(reference, smooth_px), _pyramid(image, smooth_px)
    splines = [_spline_coefficients(each) for each in images]
    matrix, coarsest = np.diag([stretch, 1.0]), len(images) - 1
    shift_px = 2**coarsest * _starting_shift(targets[-1], splines[-1], matrix, ceil(limit_px / 2**coarsest))
    for level in range(coarsest, -1, -1):
        size_px = 2**level
        matrix, shift, quality = _refine(
            targets[level], splines[level], matrix, shift_px / size_px, limit_px / size_px, motion
        )
        shift_px = size_px * shift
    if np.abs(shift_px).max() >= limit_px:
        quality = 0.0
    return PairFit(matrix / [stretch, 1.0], shift_px, quality)


def shift_limit_px(max_shift_px: float | None, shape: tuple[int, ...]) -> float:
    """Return the largest shift to consider, after validation.

    Parameters
    ----------
    max_shift_px : float or None
        Requested limit, at least 1.
    shape : tuple of int
        Height and width of the images.

    Returns
    -------
    float
        The requested limit, or half the smaller side if it is None.

    Raises
    ------
    UsageError
        If it is below 1.
    """
    if max_shift_px is None:
        return FARTHEST * min(shape)
    if not max_shift_px >= 1:
        raise UsageError(f"a largest shift of {max_shift_px:g} px is too small; use 1 or more")
    return max_shift_px


def rotation(angle_rad: float) -> Float:
    """Return the matrix of a counter-clockwise rotation in radians, acting on (x, y)."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])


def _validate(
    reference: NDArray[Any], image: NDArray[Any], motion: Motion, stretch: float, smooth_px: float
) -> None:
    """Validate images and options; raise DataError or UsageError."""
    if reference.ndim != 2 or reference.shape != image.shape or min(image.shape) < SMALLEST_PX:
        raise DataError(
            f"an image of shape {image.shape} cannot be registered to one of shape {reference.shape}; "
            f"they need one shape and at least {SMALLEST_PX} pixels each way"
        )
    for name, values in (("reference", reference), ("image", image)):
        if not np.isfinite(values).all():
            raise DataError(f"the {name} holds values that are not finite; correct it or use another")
    if motion not in ("translation", "rigid"):
        raise UsageError(f"unknown motion {motion!r}; use translation or rigid")
    if not (0 < stretch < np.inf and 0 <= smooth_px < np.inf):
        raise UsageError(
            f"a stretch by {stretch:g} and smoothing over {smooth_px:g} px are not possible; use a positive "
            "stretch and a smoothing of 0 or more"
        )


def _pyramid(image: NDArray[Any], smooth_px: float) -> list[Image]:
    """Return a pyramid of an image, normalised and smoothed, halved from level to level, the finest first."""
    images = [np.asarray(ndimage.gaussian_filter(_normalise(image), smooth_px))]
    while min(images[-1].shape) >= 2 * COARSEST_PX:
        images.append(bin_image(images[-1], 2))
    return images


def _normalise(image: NDArray[Any]) -> Image:
    """Return an image with mean 0 and standard deviation 1, or an image of zeros if it is blank."""
    mean, contrast = np.mean(image, dtype=np.float64), np.std(image, dtype=np.float64)
    if contrast <= EQUAL * abs(mean):
        return np.zeros(image.shape, np.float32)
    return np.asarray((image - mean) / contrast, np.float32)


def _starting_shift(target: Image, spline: Image, matrix: Float, reach: int) -> Float:
    """Return the shift in whole pixels at which the overlap of two images correlates best."""
    reaches = [min(reach, n - 1) for n in target.shape]
    shape = [
        scipy.fft.next_fast_len(n + reach_px, real=True)
        for n, reach_px in zip(target.shape, reaches, strict=True)
    ]
    transformed = _apply_transform(spline, matrix, np.zeros(2))
    visible = np.isfinite(transformed)
    transformed[~visible] = 0
    # spectra of mask, content and squared content: they give area, sums and sums of squares of the overlap
    first, second = (
        scipy.fft.rfft2(np.stack([inside, content, content**2], dtype=np.float64), s=shape)
        for inside, content in ((np.ones_like(visible), target), (visible, transformed))
    )
    lags = np.ix_(*(np.arange(-reach_px, reach_px + 1) for reach_px in reaches))

    def overlap(i: int, j: int) -> Float:
        """Return the sum of a product over the overlap, for every displacement."""
        return np.asarray(scipy.fft.irfft2(first[i].conj() * second[j], s=shape)[lags])

    area = np.maximum(overlap(0, 0), 1)
    covariance = overlap(1, 1) - overlap(1, 0) * overlap(0, 1) / area
    of_first = overlap(2, 0) - overlap(1, 0) ** 2 / area
    of_second = overlap(0, 2) - overlap(0, 1) ** 2 / area
    energy = np.maximum(of_first, EQUAL * of_first.max()) * np.maximum(of_second, EQUAL * of_second.max())
    if not energy.all():
        return np.zeros(2)
    score = covariance * np.sqrt(area / energy)  # a chance correlation grows as the overlap shrinks
    row, column = np.unravel_index(np.argmax(score), score.shape)
    return np.array([reaches[1] - column, reaches[0] - row], np.float64)


def _refine(
    target: Image, spline: Image, matrix: Float, shift: Float, reach: float, motion: Motion
) -> tuple[Float, Float, float]:
    """Refine the transform of an image at one level; return it with the correlation."""
    columns, radius = _derivatives(target, motion), np.hypot(*target.shape) / 4
    target = target.ravel()
    for _ in range(MOST_STEPS):
        transformed = _apply_transform(spline, matrix, shift).ravel()
        visible = np.isfinite(transformed)
        n_visible = np.count_nonzero(visible)
        if n_visible < LEAST_OVERLAP * visible.size:
            return matrix, shift, 0.0
        residual = np.where(visible, transformed - target, np.float32(0))
        variance = max(float(residual @ residual) / n_visible, EQUAL**2)
        weighted = columns * (visible / (1 + residual**2 / np.float32(ROBUST_SIGMA**2 * variance)))
        normal, slope = (np.asarray(weighted @ each, np.float64) for each in (columns.T, residual))
        step = np.linalg.lstsq(normal, slope)[0]
        right, up, angle = np.append(step[:-2], 0.0)[:3] / max(1 + step[-2], LEAST_GAIN)
        length = np.hypot(right, up) + radius * abs(angle)
        fraction = LONGEST_STEP_PX / max(length, LONGEST_STEP_PX)
        turn = rotation(fraction * angle)
        matrix = turn @ matrix
        shift = np.clip(turn @ shift + fraction * np.array([right, up]), -reach, reach)
        if length < SETTLED_PX:
            break
    return matrix, shift, _correlation(target[visible], transformed[visible])


def _derivatives(image: Image, motion: Motion) -> Image:
    """Return the derivatives of the pixels by shift x and y, rotation, gain and offset, one row for each."""
    along_y, along_x = np.gradient(image)
    columns = [along_x, along_y]
    if motion == "rigid":
        y, x = (np.arange(n, dtype=np.float32) - np.float32(centre(n)) for n in image.shape)
        columns.append(x * along_y - y[:, np.newaxis] * along_x)
    return np.stack([*columns, image, np.ones_like(image)]).reshape(-1, image.size)


def _correlation(first: Image, second: Image) -> float:
    """Return the normalised correlation of two images, 0 if one is blank."""
    first, second = (image - image.mean(dtype=np.float64) for image in (first, second))
    energy = (first @ first) * (second @ second)
    return float(first @ second / np.sqrt(energy)) if energy > 0 else 0.0


def _spline_coefficients(image: Image) -> Image:
    """Return the coefficients of the cubic spline through an image, padded by two at each border."""
    return np.pad(ndimage.spline_filter(image, output=np.float32, mode="mirror"), BEYOND, mode="reflect")


def _apply_transform(spline: Image, matrix: Float, shift: Float) -> Image:
    """Return an image after a transform about its centre, NaN outside the image."""
    ny, nx = (n - 2 * BEYOND for n in spline.shape)
    inverse, middle = np.linalg.inv(matrix), np.array([centre(nx), centre(ny)])
    result = np.empty((ny, nx), np.float32)
    _interpolate(spline, inverse, middle - inverse @ (middle + shift), result)
    return result


@inline
def _knots(x: Any) -> Any:
    """Return the weights of four knots for a point at a distance x < 1 after the second."""
    y = np.float32(1) - x
    sixth, half, most = np.float32(1 / 6), np.float32(0.5), np.float32(2 / 3)
    return (
        sixth * y * y * y,
        most - half * x * x * (np.float32(1) + y),
        most - half * y * y * (np.float32(1) + x),
        sixth * x * x * x,
    )


@jit
def _interpolate(spline: Any, inverse: Any, start: Any, moved: Any) -> None:
    """Interpolate at ``inverse @ (x, y) + start`` for every pixel (x, y) of the result."""
    ny, nx = moved.shape
    for row in range(ny):
        for column in range(nx):
            x = inverse[0, 0] * column + inverse[0, 1] * row + start[0]
            y = inverse[1, 0] * column + inverse[1, 1] * row + start[1]
            if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
                moved[row, column] = np.nan
                continue
            left, below = floor(x), floor(y)
            along_x, along_y = _knots(np.float32(x - left)), _knots(np.float32(y - below))
            total = np.float32(0)
            for k in range(4):
                i, j = below + BEYOND - 1 + k, left + BEYOND - 1
                total += along_y[k] * (
                    along_x[0] * spline[i, j]
                    + along_x[1] * spline[i, j + 1]
                    + along_x[2] * spline[i, j + 2]
                    + along_x[3] * spline[i, j + 3]
                )
            moved[row, column] = total
