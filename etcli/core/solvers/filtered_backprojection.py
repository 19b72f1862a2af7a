"""Filtered back-projection."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Device
from etcli.core.projectors.slab import HOST
from etcli.core.solvers.methods import MethodParameters, is_filter
from etcli.core.solvers.slab_solver import SlabSolver

Array = NDArray[np.float32]
Window = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Factor of the ramp filter as a function of the frequency in cycles per pixel, 0 to 0.5."""

FILTERS: Mapping[str, Window] = MappingProxyType(
    {
        "ram-lak": np.ones_like,
        "shepp-logan": np.sinc,
        "cosine": lambda f: np.cos(np.pi * f),
        "hamming": lambda f: 0.54 + 0.46 * np.cos(2 * np.pi * f),
        "hann": lambda f: 0.5 + 0.5 * np.cos(2 * np.pi * f),
    }
)
"""Windows by name."""

SAME_DEG = 0.01
"""Views closer than this count as views of one direction."""
WEDGE, NEXT = 3.5, 2.0
"""A gap larger than so many typical increments, and so many times the next largest, is a missing wedge."""


class Interpolator(Protocol):
    """Projector interface that filtered back-projection requires."""

    @property
    def device(self) -> Device:
        """Device that holds the views."""

    @property
    def geometry(self) -> SliceGeometry:
        """Views and slice."""

    def interpolate(self, sinogram: Array, *, view_weight: NDArray[np.float64] | None = None) -> Array:
        """Sum the views at the detector position of every voxel."""


def filtered_backprojection(
    projector: Interpolator, sinogram: Array, *, window: str | Window = "ram-lak"
) -> Array:
    """Reconstruct by filtered back-projection.

    Parameters
    ----------
    projector : Interpolator
        The geometry of the views, in any order and with any spacing.
    sinogram : ndarray of shape (n_views, n_detector, n_slices), float32
        Line integrals, in voxels. Beyond the detector they are taken as zero.
    window : str or callable
        One of `FILTERS`, or a function of the frequency such as `radial`.

    Returns
    -------
    ndarray of shape (thickness, width, n_slices), float32
        Density per voxel.

    Raises
    ------
    UsageError
        When no filter has that name.

    Notes
    -----
    f(x, z) = Σ w_k q_k(x cos θ_k + z sin θ_k) with the filtered views q_k, interpolated linearly, and the
    angular ranges w_k of the views (`angles_of`): the sum approximates the integral over 180°. A missing
    wedge contributes nothing.

    References
    ----------
    A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging, IEEE Press (1988), section 3.3.
    """
    filtered = filter_views(sinogram, window=window, device=projector.device)
    return projector.interpolate(filtered, view_weight=angles_of(projector.geometry))


def filter_views(
    sinogram: Array, *, window: str | Window = "ram-lak", out: Array | None = None, device: Device = HOST
) -> Array:
    """Filter views along the detector.

    Parameters
    ----------
    sinogram : ndarray of shape (n_views, n_detector, n_slices), float32
        Line integrals, in voxels.
    window : str or callable
        One of `FILTERS`, or a function of the frequency such as `radial`.
    out : ndarray of shape (n_views, n_detector, n_slices), float32, optional
        Overwritten and returned.
    device : Device
        Device that holds the views.

    Returns
    -------
    ndarray of shape (n_views, n_detector, n_slices), float32
        Filtered views, per pixel.

    Raises
    ------
    UsageError
        When no filter has that name.
    """
    n = sinogram.shape[1]
    size = fft.next_fast_len(2 * n, real=True)
    response = ramp(size, window=window).astype(np.float32)[:, None]
    transforms: Any = fft
    if not isinstance(sinogram, np.ndarray):  # NumPy's transforms accept arrays on a GPU
        transforms, response = np.fft, device.put(response)
    out = device.empty(sinogram.shape) if out is None else out
    for k, view in enumerate(sinogram):
        spectrum = transforms.rfft(view, size, axis=0)
        spectrum *= response
        out[k] = transforms.irfft(spectrum, size, axis=0)[:n]
    return out


def ramp(size: int, *, window: str | Window = "ram-lak") -> NDArray[np.float64]:
    """Compute the frequency response of a ramp filter.

    Parameters
    ----------
    size : int
        Length of the transform, at least twice that of the data.
    window : str or callable
        One of `FILTERS`, or a function of the frequency such as `radial`.

    Returns
    -------
    ndarray of shape (size // 2 + 1,), float64
        The response at the frequencies of ``scipy.fft.rfft``, nearly |f| in cycles per pixel.

    Raises
    ------
    UsageError
        When no filter has that name.

    Notes
    -----
    The ramp is sampled in real space, 1/4 at 0 and -1/(π m)² at odd m, which keeps the mean of data padded
    with zeros; sampling |f| itself would not (Kak & Slaney, equation 61 of section 3.3).
    """
    shape = window if callable(window) else window_of(window)
    lag = np.minimum(np.arange(size), size - np.arange(size))
    odd = lag % 2 == 1
    kernel = np.zeros(size)
    kernel[0] = 0.25
    kernel[odd] = -1 / (np.pi * lag[odd]) ** 2
    response: NDArray[np.float64] = fft.rfft(kernel).real * shape(fft.rfftfreq(size))
    return response


def window_of(name: str) -> Window:
    """Find a filter by its name.

    Parameters
    ----------
    name : str
        One of `FILTERS`, ``sirt-like:N`` or ``hamming-like:F``.

    Returns
    -------
    callable
        Factor of the ramp as a function of the frequency.

    Raises
    ------
    UsageError
        When no filter has that name, or its number is out of range.
    """
    kind, _, number = name.partition(":")
    if not is_filter(name):
        raise UsageError(f"no filter named {name!r}; use one of {', '.join(FILTERS)}")
    if kind == "sirt-like":
        return sirt_like(int(number))
    return hamming_like(float(number)) if kind == "hamming-like" else FILTERS[name]


def angles_of(geometry: SliceGeometry) -> NDArray[np.float64]:
    """Compute the angular range that each view represents, for views that may be multiplied by weights.

    Parameters
    ----------
    geometry : SliceGeometry
        Views, with their weights if there are any.

    Returns
    -------
    ndarray of shape (n_views,), float64
        `view_weights`, rescaled so that their sum over the weighted views stays the same, in radians.
    """
    angle = view_weights(geometry.tilt_deg)
    if geometry.view_weight is None:
        return angle
    rescaled: NDArray[np.float64] = angle * (angle.sum() / (angle @ geometry.view_weight))
    return rescaled


def view_weights(tilt_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the angular range that each view represents.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles in degrees, in any order and with any spacing.

    Returns
    -------
    ndarray of shape (n_views,), float64
        Half the distance to both neighbouring directions, in radians; their sum is π, or the covered range
        where a wedge is missing.

    Notes
    -----
    Directions are equal modulo 180°; views of one direction share its range. The largest gap is a missing
    wedge if it is more than 3.5 times the median of the others and twice the next one. It is then replaced
    by the median, so that the outermost views do not also represent the wedge.
    """
    angle = np.mod(tilt_deg, 180)
    order = np.argsort(angle)
    gap = np.diff(angle[order], prepend=angle[order[-1]] - 180)
    first = gap > SAME_DEG
    gap = gap[first]
    direction = (np.cumsum(first) - 1) % gap.size
    widest = gap.argmax()
    other_gaps = np.delete(gap, widest)
    if (
        other_gaps.size
        and gap[widest] > max(WEDGE * np.median(other_gaps), NEXT * other_gaps.max()) + SAME_DEG
    ):
        gap[widest] = np.median(other_gaps)
    share = (gap + np.roll(gap, -1)) / 2 / np.bincount(direction)
    weights = np.empty(angle.size)
    weights[order] = np.deg2rad(share[direction])
    return weights


def radial(cutoff: float, falloff: float) -> Window:
    """Create IMOD's radial filter: the ramp up to a cutoff, then a Gaussian.

    Parameters
    ----------
    cutoff, falloff : float
        End of the ramp and standard deviation of the Gaussian, in cycles per pixel.

    Returns
    -------
    callable
        For `filtered_backprojection`.

    Raises
    ------
    UsageError
        When one of them is not positive.

    Notes
    -----
    The response is f up to c and c exp(-½ ((f - c) / s)²) beyond. IMOD 4.8 omits the factor ½: its
    falloff is √2 times the one here.
    """
    if cutoff <= 0 or falloff <= 0:
        raise UsageError(
            f"a radial filter needs a positive cutoff and falloff, not {cutoff:g} and {falloff:g}"
        )

    def window(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        clipped = np.maximum(frequency, cutoff)
        return cutoff / clipped * np.exp(-0.5 * ((clipped - cutoff) / falloff) ** 2)

    return window


def hamming_like(start: float) -> Window:
    """Create IMOD's Hamming-like filter.

    Parameters
    ----------
    start : float
        Frequency at which the ramp ends, in cycles per pixel, below 0.5.

    Returns
    -------
    callable
        For `filtered_backprojection`.

    Raises
    ------
    UsageError
        When the start is not between 0 and 0.5.
    """
    return radial(start, 0.438 * (0.5 - start))


def sirt_like(iterations: int) -> Window:
    """Create IMOD's SIRT-like filter, which imitates the result of a number of SIRT iterations.

    Parameters
    ----------
    iterations : int
        The equivalent number of iterations.

    Returns
    -------
    callable
        For `filtered_backprojection`.

    Raises
    ------
    UsageError
        When there are no iterations.

    Notes
    -----
    1 - (1 - α/f)^(N' + 0.3) for f > α = 0.00195, with N' = N up to 15, then growing by 0.8 per iteration and
    beyond 30 by 0.6.
    """
    if iterations < 1:
        raise UsageError(f"a SIRT-like filter needs at least one iteration, not {iterations}")
    alpha = 0.00195
    power = 0.3 + min(iterations, 15) + 0.8 * np.clip(iterations - 15, 0, 15) + 0.6 * max(iterations - 30, 0)

    def window(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        low: NDArray[np.float64] = (1 - alpha / np.maximum(frequency, alpha)) ** power
        return 1 - low

    return window


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the slab solver."""
    return SlabSolver(partial(filtered_backprojection, window=parameters.window), sinograms=3)
