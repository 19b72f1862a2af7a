"""Simulated annular dark-field (ADF) images of atoms: their signal, and tilt series of them.

Each atom is imaged by itself, and the images are added up: the linear, incoherent imaging that tomography
assumes. There is no channelling, and no electron form factor, since the electrons that reach an annular
detector were scattered close to the nucleus.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import UNKNOWN, Atoms
from etcli.core.elements import NUMBERS
from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import across_axis, centre
from etcli.core.simulate.acquisition import AcquisitionErrors, CountingNoise, GroundTruth, record

Array = NDArray[np.float64]

EXPONENT = 1.64
"""Of the atomic number, for the signal of an atom; Krivanek et al., Nature 464, 571 (2010)."""
FINEST_RESOLUTION_PX = 0.5
PERIOD = 2  # of the Fourier series, in widths of the view: rings that leave it do not come back in
VALUES_AT_ONCE = 1 << 20  # of an array over atoms, so that the memory does not grow with their number


class Signal(Protocol):
    """Image of one atom, in pixels."""

    @property
    def reach_px(self) -> float:
        """How far from its centre an atom must be inside the view, in pixels."""

    @property
    def extent_px(self) -> float:
        """Distance at which two atoms are seen apart, in pixels."""

    def image(self, place_px: Array, weight: Array, shape: tuple[int, int]) -> Array:
        """Add up the images of atoms.

        Parameters
        ----------
        place_px : ndarray of shape (n_atoms, 2), float64
            x and y of the atoms from the middle of the view, in pixels.
        weight : ndarray of shape (n_atoms,), float64
            Sum of the image of each atom, if all of it is within the view.
        shape : (int, int)
            Rows and columns of the view.

        Returns
        -------
        ndarray of shape (ny, nx), float64
            Integrals over the pixels.
        """


@dataclass(frozen=True)
class AiryDisc:
    """A point, seen through a circular aperture by incoherent imaging.

    Parameters
    ----------
    resolution_px : float
        Distance d from the maximum to the first zero, in pixels (Rayleigh's criterion).

    Raises
    ------
    UsageError
        When the resolution is below half a pixel.

    Notes
    -----
    The profile is h(r) = π k²/4 (2 J₁(x) / x)² with x = π k r and k = 1.22 / d. Its Fourier transform is

        MTF(q) = 2/π (arccos s − s √(1 − s²)),  s = q / k,  and 0 beyond k

    [1]_. So the integral of an image over each pixel is a sum over few frequencies, which is evaluated as it
    stands, at the very positions of the atoms: there is no grid and no interpolation. The sum is a Fourier
    series with twice the width of the view as its period, so that the rings of an atom at one side do not
    appear at the other one.

    References
    ----------
    .. [1] J. W. Goodman, Introduction to Fourier Optics, 3rd ed. (2005), eq. (6-32).
    """

    resolution_px: float

    def __post_init__(self) -> None:
        if not FINEST_RESOLUTION_PX <= self.resolution_px < np.inf:
            raise UsageError(
                f"a resolution of {self.resolution_px:.3g} px is too fine for these pixels; use at least "
                f"{FINEST_RESOLUTION_PX} px, or points instead (--spheres 0)"
            )

    @property
    def reach_px(self) -> float:
        """Zero: the centre of an atom must be inside the view, its rings need not."""
        return 0.0

    @property
    def extent_px(self) -> float:
        """The resolution (Rayleigh's criterion)."""
        return self.resolution_px

    def image(self, place_px: Array, weight: Array, shape: tuple[int, int]) -> Array:
        """Add up the images of atoms; see `Signal`."""
        rows, columns, spectrum = _airy_series(shape, self.resolution_px)
        structure = np.zeros(spectrum.shape)
        step = max(1, VALUES_AT_ONCE // max(spectrum.shape))
        for start in range(0, len(place_px), step):
            x, y = place_px[start : start + step].T
            across, along = _waves(x, shape[1], columns.shape[1]), _waves(y, shape[0], rows.shape[1])
            structure += (along * weight[start : start + step]) @ across.T
        image: Array = rows @ (spectrum * structure) @ columns.T
        return np.maximum(image, 0, out=image)  # rounding errors of the dark rings


@dataclass(frozen=True)
class Sphere:
    """A uniform sphere seen by parallel rays, or a point.

    Parameters
    ----------
    radius_px : float
        Radius R in pixels; 0 for a point, whose whole weight goes to the pixel that contains it.

    Raises
    ------
    UsageError
        When the radius is negative or not finite.

    Notes
    -----
    The profile is 2 √(R² − ρ²), integrated exactly over each pixel; see `quadrant_volume`.
    """

    radius_px: float

    def __post_init__(self) -> None:
        if not 0 <= self.radius_px < np.inf:
            raise UsageError(f"the radius of spheres is {self.radius_px:.3g} px; use 0 or more")

    @property
    def reach_px(self) -> float:
        """The radius: a sphere must be inside the view as a whole."""
        return self.radius_px

    @property
    def extent_px(self) -> float:
        """The diameter."""
        return 2 * self.radius_px

    def image(self, place_px: Array, weight: Array, shape: tuple[int, int]) -> Array:
        """Add up the images of atoms; see `Signal`."""
        reach = int(np.ceil(2 * self.radius_px)) + 1  # pixels that a sphere can touch, in one direction
        step = max(1, VALUES_AT_ONCE // (reach + 1) ** 2)
        total = np.zeros(shape[0] * shape[1])
        for start in range(0, len(place_px), step):
            # in pixels from the outer edge of the first one
            place = place_px[start : start + step] + np.array([shape[1] / 2, shape[0] / 2])
            first = np.floor(place - self.radius_px)
            share = self._shares(place - first, reach) * weight[start : start + step, None, None]
            x, y = (first.astype(np.intp)[:, k, None] + np.arange(reach) for k in (0, 1))
            inside = ((x >= 0) & (x < shape[1]))[:, None, :] & ((y >= 0) & (y < shape[0]))[:, :, None]
            pixel = y[:, :, None] * shape[1] + x[:, None, :]
            total += np.bincount(pixel[inside], weights=share[inside], minlength=total.size)
        return total.reshape(shape)

    def _shares(self, place: Array, n: int) -> Array:
        """Divide spheres among n × n pixels, given the place of each from the corner of its first pixel."""
        if self.radius_px == 0:
            return np.ones((len(place), 1, 1))
        x, y = ((np.arange(n + 1) - place[:, k, None]) / self.radius_px for k in (0, 1))
        volume = quadrant_volume(x[:, None, :], y[:, :, None])
        share = np.diff(np.diff(volume, axis=1), axis=2) * (3 / (2 * np.pi))
        # what is outside the circle must be exactly zero, not a rounding error: such pixels are counted
        nearest = [np.maximum(0, np.maximum(edge[:, :-1], -edge[:, 1:])) for edge in (x, y)]
        touched = nearest[0][:, None, :] ** 2 + nearest[1][:, :, None] ** 2 < 1
        return np.where(touched, np.maximum(share, 0), 0)


def quadrant_volume(x: Array, y: Array) -> Array:
    """Integrate √(1 − ξ² − η²), the height of the unit ball, over 0 … x and 0 … y.

    Parameters
    ----------
    x, y : ndarray, float64
        Upper limits, which may be negative and outside the ball; broadcast against each other.

    Returns
    -------
    ndarray of the common shape, float64
        Odd in x and in y. The volume above a rectangle is the sum over its corners with alternating signs.

    Notes
    -----
    Where (x, y) is within the unit circle, with s = √(1 − x² − y²), integration by parts gives

        x y s / 3 + x (3 − x²)/6 arctan(y/s) + y (3 − y²)/6 arctan(x/s) − arctan(x y / s)/3.

    Outside, the rectangle holds the octant of the ball, π/6, without the halves of two caps that do not
    overlap; half a quarter of the cap beyond x has the volume π/4 (2/3 − x + x³/3).
    """
    sign = np.sign(x) * np.sign(y)
    a, b = np.minimum(np.abs(x), 1), np.minimum(np.abs(y), 1)
    squared = 1 - a * a - b * b
    s = np.sqrt(np.maximum(squared, 0))
    ab = a * b
    within = (
        ab * s / 3
        + a * (3 - a * a) / 6 * np.arctan2(b, s)
        + b * (3 - b * b) / 6 * np.arctan2(a, s)
        - np.arctan2(ab, s) / 3
    )
    caps = sum(2 / 3 - edge + edge**3 / 3 for edge in (a, b))
    outside = np.pi / 6 - np.pi / 4 * caps
    return np.asarray(sign * np.where(squared > 0, within, outside))


def dark_field_weights(species: NDArray[np.str_]) -> Array:
    """Compute the signal of atoms in annular dark field, relative to the mean of all of them.

    Parameters
    ----------
    species : ndarray of shape (n_atoms,), str
        Chemical symbols.

    Returns
    -------
    ndarray of shape (n_atoms,), float64
        Proportional to Z^1.64 [1]_, with a mean of 1; all 1 where no element is known.

    Raises
    ------
    DataError
        When only some elements are known.

    References
    ----------
    .. [1] O. L. Krivanek et al., Nature 464, 571 (2010), doi:10.1038/nature08879.
    """
    unknown = np.flatnonzero(species == UNKNOWN)
    if unknown.size == len(species):
        return np.ones(len(species))
    if unknown.size:
        raise DataError(f"the element of atom {unknown[0] + 1} is not known; name it, or use --spheres")
    names, index = np.unique(species, return_inverse=True)
    signal = np.array([float(NUMBERS[name]) for name in names])[index] ** EXPONENT
    return np.asarray(signal / signal.mean())


def places(atoms: Atoms, truth: GroundTruth, view: int, pixel_A: float) -> Array:
    """Compute where the atoms are seen in a view; see `GroundTruth`.

    Parameters
    ----------
    atoms : Atoms
    truth : GroundTruth
    view : int
        From 0.
    pixel_A : float

    Returns
    -------
    ndarray of shape (n_atoms, 2), float64
        x and y from the middle of the view, in pixels.
    """
    position_px, axis = atoms.position_A / pixel_A, np.deg2rad(truth.axis_deg)
    p = across_axis(position_px, truth.tilt_deg[view]) + truth.axis_offset_px
    y = position_px[:, 1]
    turned = [p * np.cos(axis) - y * np.sin(axis), p * np.sin(axis) + y * np.cos(axis)]
    return np.asarray(np.stack(turned, axis=1) + truth.shift_px[view])


def atoms_series(
    atoms: Atoms,
    tilt_deg: Array,
    signal: Signal,
    *,
    weight: Array,
    shape: tuple[int, int],
    pixel_A: float,
    errors: AcquisitionErrors,
    rng: np.random.Generator,
    counts: float | None = None,
    noise: bool = True,
    threads: int = 1,
) -> tuple[NDArray[np.float32], GroundTruth]:
    """Simulate the dark-field tilt series of atoms.

    Parameters
    ----------
    atoms : Atoms
        Positions from the rotation centre, with the tilt axis along y and the beam at 0° along z.
    tilt_deg : ndarray of shape (n_views,), float64
        Nominal tilt angles in degrees, any order.
    signal : Signal
        Image of an atom.
    weight : ndarray of shape (n_atoms,), float64
        Relative signal of each atom.
    shape : (int, int)
        Rows and columns of a view.
    pixel_A : float
    errors : AcquisitionErrors
    rng : numpy.random.Generator
        See `record`.
    counts : float, optional
        Sum of each view before the noise; by default that of the weights, without noise.
    noise : bool
        Whether counts are Poisson distributed, or their expected values.
    threads : int
        Views computed at the same time; the result does not depend on it.

    Returns
    -------
    data : ndarray of shape (n_views, ny, nx), float32
    truth : GroundTruth

    Raises
    ------
    UsageError
        When an atom is outside a view, or an error of the acquisition is not possible.
    """
    total = float(weight.sum()) if counts is None else counts

    def check(truth: GroundTruth) -> None:
        _check_field(atoms, truth, signal, shape, pixel_A)

    def view(k: int, truth: GroundTruth) -> NDArray[np.float32]:
        image = signal.image(places(atoms, truth, k, pixel_A), weight, shape)
        # rings outside the view are lost, of more atoms in some views than in others
        return np.asarray(image * (total / image.sum()), np.float32)

    counting = CountingNoise(1.0 if noise and counts is not None else None)
    return record(
        view, tilt_deg, shape=shape, errors=errors, noise=counting, rng=rng, check=check, threads=threads
    )


def _check_field(
    atoms: Atoms, truth: GroundTruth, signal: Signal, shape: tuple[int, int], pixel_A: float
) -> None:
    """Check that all atoms are inside every view; raise UsageError with the size that is needed."""
    farthest = [np.abs(places(atoms, truth, k, pixel_A)).max(axis=0) for k in range(len(truth.tilt_deg))]
    needed = 2 * (np.array(farthest) + signal.reach_px)
    outside = np.flatnonzero((needed >= (shape[1], shape[0])).any(axis=1))
    if outside.size:
        # a point on the outer edge is in no pixel, so the next even size is taken, not this one
        size = 2 * int(np.floor(needed.max() / 2) + 1)
        raise UsageError(
            f"atoms lie outside view {outside[0] + 1}; give --size {size} or more, or a smaller --diameter"
        )


def _waves(place_px: Array, n: int, n_waves: int) -> Array:
    """Compute cosines and sines of all frequencies of one direction, at places from the middle of the view.

    Returns an array of shape (n_waves, n_places): first all cosines, then all sines.
    """
    phase = np.exp(2j * np.pi / (PERIOD * n) * np.asarray(place_px))
    powers = np.ones((n_waves // 2, len(phase)), np.complex128)
    done = 1
    while done < len(powers):  # powers by products of those known: much faster than an exponential each
        new = min(done, len(powers) - done)
        step = powers[done - 1] * phase
        np.multiply(powers[:new], step, out=powers[done : done + new])
        done += new
    return np.concatenate([powers.real, powers.imag])


@lru_cache(maxsize=2)
def _airy_series(shape: tuple[int, int], resolution_px: float) -> tuple[Array, Array, Array]:
    """Return waves along the rows and columns of a view, and the transfer function at their frequencies."""
    limit = 1.22 / resolution_px
    waves, frequencies = [], []
    for n in shape:
        q = np.arange(int(np.ceil(limit * PERIOD * n))) / (PERIOD * n)
        waves.append(_waves(np.arange(n, dtype=np.float64) - centre(n), n, 2 * len(q)).T)
        frequencies.append(q)
    y, x = frequencies
    s = np.minimum(np.hypot(x, y[:, None]) / limit, 1)
    transfer = 2 / np.pi * (np.arccos(s) - s * np.sqrt(1 - s * s))
    for q, n, form in ((y[:, None], shape[0], (-1, 1)), (x, shape[1], (1, -1))):
        # the sinc integrates over a pixel; a frequency and its negative are one cosine of twice the weight
        factor = np.sinc(q) * np.where(q > 0, 2, 1) / (PERIOD * n)
        transfer = transfer * factor.reshape(form)
    return waves[0], waves[1], np.tile(transfer, (2, 2))
