"""Half spectra of real images, and windows that taper images before a Fourier transform."""

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Float = NDArray[np.float64]


def frequencies(shape: tuple[int, int]) -> tuple[Float, Float]:
    """Return the spatial frequencies of a half spectrum.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    along_x, along_y : ndarray of shape (width // 2 + 1,) and (height, 1), float64
        In cycles per pixel.
    """
    ny, nx = shape
    return scipy.fft.rfftfreq(nx), scipy.fft.fftfreq(ny)[:, np.newaxis]


def multiplicity(width: int) -> NDArray[np.float32]:
    """Return how many times each column of a half spectrum occurs in the full spectrum.

    Parameters
    ----------
    width : int
        Width of the image in pixels.

    Returns
    -------
    ndarray of shape (width // 2 + 1,), float32
    """
    count = np.full(width // 2 + 1, 2, np.float32)
    count[0] = 1
    if width % 2 == 0:
        count[-1] = 1
    return count


def power(spectrum: NDArray[np.complexfloating[Any]]) -> NDArray[Any]:
    """Return the power, the squared modulus of a spectrum.

    Parameters
    ----------
    spectrum : ndarray, complex

    Returns
    -------
    ndarray of the same shape, real, of the same precision
    """
    return np.asarray(np.square(spectrum.real) + np.square(spectrum.imag))


def fade(n: int, taper: float, margin: int = 0) -> Float:
    """Return a window that rises from 0 to 1 as a cosine at each end, inside a margin of zeros.

    Parameters
    ----------
    n : int
        Length.
    taper : float
        Fraction of the length over which it rises at each end.
    margin : int
        Pixels of zero at each end.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    from_edge = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5 - margin
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(from_edge / max(taper * n, 0.5), 0, 1))
