"""Misfit of a volume of electrostatic potential to phase-contrast images, through a multislice model."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from itertools import pairwise
from math import inf, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.arguments import check_choice
from etcli.core.errors import DataError
from etcli.core.multislice._waves import AMPLITUDE, POISSON, gradient_of_tilt
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.rotation import SlabRotation, SparseMatrix
from etcli.core.multislice.wave_workspace import (
    WaveGeometry,
    WaveWorkspace,
    fast_size,
    padded,
    transfer_of,
)
from etcli.core.parallel import ordered_map
from etcli.core.view_table import SAME_TILT_DEG

Array = NDArray[np.float32]

LIKELIHOODS = {"poisson": POISSON, "amplitude": AMPLITUDE}
DELOCALISATION = 1 / 3
"""Margin of the wave around the image, as a fraction of λ q d for the highest frequency and the largest
defocus. Signal that is delocalised further wraps round, but is too faint to matter."""
AT_ONCE = 8
"""Largest number of tilts whose gradients are held at the same time."""


class MultisliceMisfit:
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
        Shape (nz, nx, ny) of the volume; the beam crosses the longer of nz and nx at every tilt.
    binned_slices : int
        Number of slices of the volume in a slab of the model.
    likelihood : {"poisson", "amplitude"}
    interpolation : {"lanczos", "cubic", "linear"}
        Interpolation of the rotated volume.
    shift_px : ndarray of shape (n_images, 2), optional
        Displacement (x, y) of the content of each image, in pixels.
    threads : int
        Number of tilts computed at the same time.
    memory : int, optional
        Bytes for waves, transfer functions and matrices. Where they are short of the waves behind all slabs,
        these are computed twice, and matrices again and again; `bytes_needed` is the least. Not limited by
        default.

    Raises
    ------
    DataError
        If images, tilt angles and defoci do not belong together.

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
        memory: int | None = None,
    ) -> None:
        check_choice("likelihood", likelihood, LIKELIHOODS)
        tilts, defoci = (np.atleast_1d(np.asarray(a, np.float64)) for a in (tilt_deg, defocus_A))
        if not len(images) == len(tilts) == len(defoci):
            raise DataError(
                f"{len(images)} images need as many tilt angles and defoci, not {len(tilts)} and "
                f"{len(defoci)}"
            )
        self.shape, self.optics, self.threads = shape, optics, threads
        self.defocus_A = defoci
        self.shift_px = np.zeros((len(images), 2)) if shift_px is None else np.array(shift_px, np.float64)
        self.geometry = wave_geometry(
            shape, images.shape[1:], pixel_A, optics, binned_slices, float(np.abs(defoci).max())
        )
        across = self.geometry.volume[0]
        self.rotation = SlabRotation(
            (shape[0], shape[1]), across, self.geometry.n_slabs, binned_slices, interpolation
        )
        self._likelihood = LIKELIHOODS[likelihood]
        spare = inf if memory is None else memory - least_bytes(self.geometry, defoci, threads=threads)
        waves = threads * WaveWorkspace.bytes_of_waves(self.geometry)
        self._keep_waves = waves <= spare
        self._spare = spare - waves * self._keep_waves
        self._images = np.ascontiguousarray(np.swapaxes(images, 1, 2), np.float32)
        self.tilts = _grouped(tilts)
        self._tilt_of_image = tilts
        self._matrices: dict[float, tuple[SparseMatrix, SparseMatrix]] = {}
        self._transfers: dict[float, NDArray[np.complex64]] = {}
        self._propagator = padded(optics.propagator(self.geometry.grid, self.geometry.slab_A))
        self._workspaces: list[WaveWorkspace] = []
        self._phases: list[Array] = []

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles in degrees, one per tilt."""
        return np.array([self._tilt_of_image[images[0]] for images in self.tilts])

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
        chosen = self._images[np.concatenate(self.tilts)]
        return float(np.sqrt(np.sum((np.sqrt(np.maximum(chosen, 0)) - 1) ** 2, dtype=np.float64)))

    def of_views(self, views: Sequence[int] | NDArray[np.intp]) -> "MultisliceMisfit":
        """Return the misfit of some of the tilts, counted from 0; it shares all arrays with this one."""
        part = copy(self)
        part.__dict__.pop("size", None)
        part.tilts = [self.tilts[k] for k in views]
        return part

    def residual(self, volume: Array) -> float:
        """Return ``√Σ (√Î - √I)²`` over all images."""
        return sqrt(sum(self._gradient(volume, images, k)[1] for k, images in enumerate(self.tilts)))

    def gradient(self, volume: Array) -> tuple[Array, float]:
        """Return the gradient of the misfit with respect to V, and ``√Σ (√Î - √I)²``.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            V in volts.
        """
        gradient = np.zeros(self.shape, np.float32)
        square = 0.0
        for first in range(0, len(self.tilts), AT_ONCE):
            square += self._add_gradient(volume, self.tilts[first : first + AT_ONCE], gradient, 1.0)
        return gradient, sqrt(square)

    def descend(self, volume: Array, step: float) -> float:
        """Replace V by ``V - step · gradient``; return ``√Σ (√Î - √I)²`` before the step.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            Overwritten.
        step : float
            Length of the step.
        """
        if len(self.tilts) <= AT_ONCE:
            return sqrt(self._add_gradient(volume, self.tilts, volume, -step))
        gradient, cost = self.gradient(volume)
        gradient *= np.float32(step)
        volume -= gradient
        return cost

    def _add_gradient(
        self, volume: Array, tilts: list[NDArray[np.intp]], target: Array, scale: float
    ) -> float:
        """Add ``scale`` times the gradient of a few tilts to an array; return their squared residual."""
        work = range(len(tilts))
        results = list(ordered_map(lambda k: self._gradient(volume, tilts[k], k), work, threads=self.threads))
        edges = np.linspace(0, self.shape[0], min(self.threads, self.shape[0]) + 1).astype(int)
        parts = [slice(low, high) for low, high in pairwise(edges.tolist())]

        def add_part(part: slice) -> None:
            for images, (slabs, _) in zip(tilts, results, strict=True):
                transpose = self._matrix(images)[1]
                self.rotation.add_adjoint(
                    slabs, transpose, target, scale=scale * self.radians_per_V, sections=part
                )

        for _ in ordered_map(add_part, parts, threads=len(parts)):
            pass
        return sum(square for _, square in results)

    def _gradient(self, volume: Array, images: NDArray[np.intp], slot: int) -> tuple[Array, float]:
        """Return the derivatives with respect to the phases of a tilt's slabs, and its squared residual."""
        phase = self._phase(slot)
        workspace = self._take_workspace()
        self.rotation.slabs(volume, self._matrix(images)[0], phase, scale=self.radians_per_V)
        transfers, which = self._transfers_of(images)
        costs = np.zeros(len(images))
        (x0, y0), (image_x0, image_y0) = self.geometry.volume_at, self.geometry.image_at
        w = workspace
        gradient_of_tilt(
            w.execute, w.plans, w.spectrum, w.added, w.leaving, w.back, w.field, w.image_field, phase,
            w.kept, w.change, self._propagator, transfers, which, *self._ramps(images), self._images[images],
            self._likelihood, x0, y0, image_x0, image_y0, self.geometry.wave[1], costs,
        )  # fmt: skip
        self._workspaces.append(workspace)
        return phase, float(costs.sum())

    def _phase(self, slot: int) -> Array:
        """Return the array of phases for one of the tilts that are computed at the same time."""
        g = self.geometry
        while len(self._phases) <= slot % AT_ONCE:
            self._phases.append(np.zeros((g.n_slabs, *g.volume), np.float32))
        return self._phases[slot % AT_ONCE]

    def _take_workspace(self) -> WaveWorkspace:
        """Return a workspace that no other thread uses."""
        try:
            return self._workspaces.pop()
        except IndexError:
            return WaveWorkspace(self.geometry, keep_waves=self._keep_waves)

    def _matrix(self, images: NDArray[np.intp]) -> tuple[SparseMatrix, SparseMatrix]:
        """Return the matrix of the rotation to a tilt and its transpose."""
        tilt = float(self._tilt_of_image[images[0]])
        if tilt not in self._matrices:
            matrix = self.rotation.matrix(tilt)
            pair = matrix, self.rotation.transpose(matrix)
            size = sum(part.bytes for part in pair)
            if size > self._spare:
                return pair
            self._spare -= size
            self._matrices[tilt] = pair
        return self._matrices[tilt]

    def _transfers_of(self, images: NDArray[np.intp]) -> tuple[NDArray[np.complex64], NDArray[np.intp]]:
        """Return the transfer functions of some images, and which of them belongs to each image."""
        values, which = np.unique(self.defocus_A[images], return_inverse=True)
        for defocus in values.tolist():
            if defocus not in self._transfers:
                self._transfers[defocus] = transfer_of(self.geometry, self.optics, defocus)
        return np.stack([self._transfers[defocus] for defocus in values.tolist()]), which

    def _ramps(self, images: NDArray[np.intp]) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Return the factors of the spectra, along x and along y, that shift some images."""
        qx, qy = (np.fft.fftfreq(n) for n in self.geometry.wave)
        x, y = self.shift_px[images].T
        ramps = (np.exp(-2j * np.pi * np.outer(s, q)).astype(np.complex64) for s, q in ((x, qx), (y, qy)))
        ramp_x, ramp_y = ramps
        return ramp_x, ramp_y


def _grouped(tilt_deg: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Group the images by tilt: those at equal angles, in the order of the angles."""
    order = np.argsort(tilt_deg, kind="stable")
    breaks = np.flatnonzero(np.diff(tilt_deg[order]) > SAME_TILT_DEG) + 1
    return [np.sort(group) for group in np.split(order, breaks)]


def least_bytes(geometry: WaveGeometry, defocus_A: ArrayLike, *, threads: int = 1) -> int:
    """Compute the smallest size of what `MultisliceMisfit` holds besides the images, in bytes.

    Parameters
    ----------
    geometry : WaveGeometry
        Of `wave_geometry`.
    defocus_A : array_like
        Defoci of the images.
    threads : int
        Number of threads.

    Returns
    -------
    int
    """
    spectrum = 8 * geometry.wave[0] * (geometry.wave[1] + 8)
    phases = 4 * geometry.n_slabs * geometry.volume[0] * geometry.volume[1]
    transfers = 2 * len(np.unique(np.asarray(defocus_A))) + 1
    return threads * WaveWorkspace.bytes_of(geometry) + max(threads, 2) * phases + transfers * spectrum


def wave_geometry(
    shape: tuple[int, int, int],
    image: tuple[int, int],
    pixel_A: float,
    optics: PhaseContrastOptics,
    binned_slices: int,
    defocus_A: float,
) -> WaveGeometry:
    """Choose the sizes of a multislice model.

    Parameters
    ----------
    shape : (int, int, int)
        Shape (nz, nx, ny) of the volume.
    image : (int, int)
        Rows and columns of an image.
    pixel_A : float
        Size of pixels and voxels in Å.
    optics : PhaseContrastOptics
    binned_slices : int
        Slices in a slab.
    defocus_A : float
        Largest defocus in Å.

    Returns
    -------
    WaveGeometry
        The volume across the beam is as wide as its longer side across the tilt axis.
    """
    n_beam = max(shape[:2])
    highest = min(optics.aperture_per_A, 0.5 / pixel_A)
    margin = DELOCALISATION * optics.wavelength_A * highest * defocus_A / pixel_A
    volume = n_beam, shape[2]
    wave = tuple(
        fast_size(round(max(part + 2 * margin, inner)))
        for part, inner in zip(image[::-1], volume, strict=True)
    )
    n_slabs = -(-n_beam // binned_slices)
    return WaveGeometry(volume, (image[1], image[0]), (wave[0], wave[1]), n_slabs, binned_slices, pixel_A)
