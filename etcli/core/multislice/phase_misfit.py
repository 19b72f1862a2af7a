"""Misfit of a volume of electrostatic potential to phase-contrast images: what all implementations share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import copy
from functools import cached_property
from math import sqrt
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.arguments import check_choice
from etcli.core.errors import DataError
from etcli.core.multislice._waves import AMPLITUDE, POISSON
from etcli.core.multislice.model import wave_geometry
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.rotation import INTERPOLATIONS
from etcli.core.view_table import SAME_TILT_DEG

Array = NDArray[np.float32]
Complex = NDArray[np.complex64]
Doubles = NDArray[np.float64]

LIKELIHOODS = {"poisson": POISSON, "amplitude": AMPLITUDE}


class LeavingWave(Protocol):
    """Wave that leaves a tilted volume, on the host."""

    def spectrum(self, defocus_A: float, shift_px: tuple[float, float]) -> Complex:
        """Return the spectrum [kx, ky] of the wave in an image."""

    def in_image(self, spectrum: Complex) -> Complex:
        """Transform a spectrum to the wave (x, y) in the image."""


class PhaseContrastMisfit(ABC):
    """Misfit of a potential V to images at several tilts and defoci, with its gradient.

    Images and model are intensities I and Î, with 1 for vacuum. The misfit is ½ Σ (Î - I + I ln(I/Î)), half
    of the Poisson deviance per electron, or ½ Σ (√Î - √I)².

    Parameters
    ----------
    images : ndarray of shape (n_images, ny, nx), float32
        Intensities.
    tilt_deg, defocus_A : array_like of shape (n_images,)
        Tilt angle in degrees and defocus in Å, positive for overfocus, of each image.
    optics : PhaseContrastOptics
    pixel_A : float
        Size of pixels and voxels in Å.
    shape : (int, int, int)
        Shape (nz, nx, ny) of the volume.
    binned_slices : int
        Number of slices of the volume in a slab of the model.
    likelihood : {"poisson", "amplitude"}
    interpolation : {"lanczos", "cubic", "linear", "shear"}
        Interpolation of the rotated volume; see `etcli.core.multislice.rotation.make_rotation`. Only
        `etcli.core.multislice.misfit.MultisliceMisfit` knows the last one.
    shift_px : ndarray of shape (n_images, 2), optional
        Displacement (x, y) of the content of each image, in pixels.
    threads : int
        Number of threads.

    Attributes
    ----------
    images : ndarray of shape (n_images, nx, ny), float32
        Intensities [x, y], on the host; see `set_image`.
    tilts : list of ndarray of intp
        The images at each tilt.
    defocus_A, shift_px : ndarray
        They may be changed between two steps.

    Raises
    ------
    DataError
        If images, tilt angles and defoci do not belong together.
    UsageError
        If there is no such likelihood or interpolation.

    References
    ----------
    D. Ren, C. Ophus, M. Chen, L. Waller, Ultramicroscopy 208, 112860 (2020),
    doi:10.1016/j.ultramic.2019.112860.
    """

    def __init__(
        self,
        images: Array,
        tilt_deg: ArrayLike,
        defocus_A: ArrayLike,
        optics: PhaseContrastOptics,
        *,
        pixel_A: float,
        shape: tuple[int, int, int],
        binned_slices: int = 8,
        likelihood: str = "poisson",
        interpolation: str = "lanczos",
        shift_px: ArrayLike | None = None,
        threads: int = 1,
    ) -> None:
        check_choice("likelihood", likelihood, LIKELIHOODS)
        check_choice("interpolation", interpolation, INTERPOLATIONS)
        tilts, defoci = (np.array(a, np.float64, ndmin=1) for a in (tilt_deg, defocus_A))
        if not len(images) == len(tilts) == len(defoci):
            raise DataError(
                f"{len(images)} images need as many tilt angles and defoci, not {len(tilts)} and "
                f"{len(defoci)}"
            )
        self.shape, self.threads, self.optics = shape, threads, optics
        self.defocus_A = defoci
        self.shift_px = np.zeros((len(images), 2)) if shift_px is None else np.array(shift_px, np.float64)
        self.geometry = wave_geometry(
            shape, images.shape[1:], pixel_A, optics, binned_slices, float(np.abs(defoci).max())
        )
        self.interpolation = interpolation
        self.images = np.ascontiguousarray(np.swapaxes(images, 1, 2), np.float32)
        self.tilts = grouped_by_tilt(tilts)
        self._per_step = 0
        self._tilt_of_image, self._likelihood = tilts, LIKELIHOODS[likelihood]

    @property
    def tilt_deg(self) -> Doubles:
        """Tilt angles in degrees, one per tilt."""
        return np.array([self._angle(images) for images in self.tilts])

    @property
    def radians_per_V(self) -> float:
        """Phase shift by a voxel per volt."""
        return self.optics.interaction_rad_per_V_A * self.geometry.pixel_A

    @property
    def norm(self) -> float:
        """Bound of the second derivative for a tilt: images · voxels along the beam · (σ Δz)² · curvature.

        The curvature is that of the misfit with respect to an amplitude, at the truth: 2, or 1 for the misfit
        of amplitudes.
        """
        n_images, curvature = max(map(len, self.tilts)), 2 if self._likelihood == POISSON else 1
        return n_images * max(self.shape[:2]) * self.radians_per_V**2 * curvature

    @cached_property
    def size(self) -> float:
        """Contrast of the images, ``√Σ (√I - 1)²``."""
        chosen = self.images[np.concatenate(self.tilts)]
        return float(np.sqrt(np.sum((np.sqrt(np.maximum(chosen, 0)) - 1) ** 2, dtype=np.float64)))

    def set_image(self, k: int, image: Array) -> None:
        """Replace image k, counted from 0, by another one [x, y]."""
        self.images[k] = image
        self.__dict__.pop("size", None)

    def of_views(self, views: Sequence[int] | NDArray[np.intp]) -> Self:
        """Return the misfit of some of the tilts, counted from 0; it shares all arrays with this one."""
        part = copy(self)
        part.__dict__.pop("size", None)
        part._per_step = 0
        part.tilts = [self.tilts[k] for k in views]
        return part

    def in_steps(self, views: Sequence[int] | NDArray[np.intp], per_step: int) -> Self:
        """Return the misfit of some tilts whose `descend` makes a step for every few of them, in order."""
        part = self.of_views(views)
        part._per_step = per_step
        return part

    def image(self, volume: Array, k: int) -> Array:
        """Compute image k of a volume, counted from 0: an intensity of shape (ny, nx)."""
        x, y = self.shift_px[k].tolist()
        with self.leaving_wave(volume, float(self._tilt_of_image[k])) as leaving:
            wave = leaving.in_image(leaving.spectrum(float(self.defocus_A[k]), (x, y)))
        return np.ascontiguousarray((wave.real**2 + wave.imag**2).T)

    def residual(self, volume: Array) -> float:
        """Return ``√Σ (√Î - √I)²`` over all images."""
        return sqrt(sum(self._square(volume, tilts) for tilts in self._batches()))

    def gradient(self, volume: Array) -> tuple[Array, float]:
        """Return the gradient of the misfit with respect to V, and ``√Σ (√Î - √I)²``.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            V in volts.
        """
        gradient = self._zeros()
        squares = [self._add_gradient(volume, tilts, gradient, 1.0) for tilts in self._batches()]
        return gradient, sqrt(sum(squares))

    def descend(self, volume: Array, step: float) -> float:
        """Replace V by ``V - step · gradient``; return ``√Σ (√Î - √I)²`` before the step, or before each.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            Overwritten.
        step : float
            Length of the step.
        """
        if self._per_step:
            every = range(len(self.tilts))
            parts = [self.of_views(every[k : k + self._per_step]) for k in every[:: self._per_step]]
            return sqrt(self._make_steps(volume, parts, step))
        batches = self._batches()
        if len(batches) == 1:
            return sqrt(self._add_gradient(volume, batches[0], volume, -step))
        gradient, cost = self.gradient(volume)
        gradient *= np.float32(step)
        volume -= gradient
        return cost

    def _make_steps(self, volume: Array, parts: Sequence[Self], step: float) -> float:
        """Descend with one part after the other; return the squared residual."""
        return sum(part.descend(volume, step) ** 2 for part in parts)

    @abstractmethod
    def leaving_wave(self, volume: Array, tilt_deg: float) -> AbstractContextManager[LeavingWave]:
        """Compute the wave that leaves a volume at a tilt angle in degrees."""

    @abstractmethod
    def _batches(self) -> list[list[NDArray[np.intp]]]:
        """Divide the tilts into parts whose gradients are computed at the same time."""

    @abstractmethod
    def _zeros(self) -> Array:
        """Create an array of zeros for a gradient."""

    @abstractmethod
    def _square(self, volume: Array, tilts: list[NDArray[np.intp]]) -> float:
        """Return the squared residual of a few tilts."""

    @abstractmethod
    def _add_gradient(
        self, volume: Array, tilts: list[NDArray[np.intp]], target: Array, scale: float
    ) -> float:
        """Add ``scale`` times the gradient of a few tilts to an array; return their squared residual.

        The array may be the volume itself.
        """

    def _angle(self, images: NDArray[np.intp]) -> float:
        """Return the tilt angle of the images of a tilt, in degrees."""
        return float(self._tilt_of_image[images[0]])


def grouped_by_tilt(tilt_deg: Doubles) -> list[NDArray[np.intp]]:
    """Group the images by tilt: those at equal angles, in the order of the angles."""
    order = np.argsort(tilt_deg, kind="stable")
    breaks = np.flatnonzero(np.diff(tilt_deg[order]) > SAME_TILT_DEG) + 1
    return [np.sort(group) for group in np.split(order, breaks)]
