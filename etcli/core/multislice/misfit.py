"""Misfit of a volume of electrostatic potential to phase-contrast images, through a multislice model."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.arguments import check_choice
from etcli.core.errors import DataError
from etcli.core.multislice._waves import AMPLITUDE, POISSON, gradient_of_tilt
from etcli.core.multislice.model import Matrices, MultisliceModel, wave_geometry
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.team import Team
from etcli.core.multislice.wave_workspace import focus_rad_per_A
from etcli.core.parallel import ordered_map
from etcli.core.view_table import SAME_TILT_DEG

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

LIKELIHOODS = {"poisson": POISSON, "amplitude": AMPLITUDE}
AT_ONCE = 8
"""Largest number of tilts whose gradients are held at the same time."""
VECTOR = 8
"""Numbers that a processor multiplies at once."""


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
        Shape (nz, nx, ny) of the volume.
    binned_slices : int
        Number of slices of the volume in a slab of the model.
    likelihood : {"poisson", "amplitude"}
    interpolation : {"lanczos", "cubic", "linear", "shear"}
        Interpolation of the rotated volume.
    shift_px : ndarray of shape (n_images, 2), optional
        Displacement (x, y) of the content of each image, in pixels.
    threads : int
        Number of tilts computed at the same time.
    memory : int, optional
        As for `etcli.core.multislice.model.MultisliceModel`.

    Attributes
    ----------
    model : MultisliceModel
    tilts : list of ndarray of intp
        The images at each tilt.
    defocus_A, shift_px : ndarray
        They may be changed between two steps.

    Raises
    ------
    DataError
        If images, tilt angles and defoci do not belong together.
    UsageError
        If there is no such likelihood or interpolation, or FFTW is not installed.

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
        self.shape, self.threads = shape, threads
        self.defocus_A = defoci
        self.shift_px = np.zeros((len(images), 2)) if shift_px is None else np.array(shift_px, np.float64)
        geometry = wave_geometry(
            shape, images.shape[1:], pixel_A, optics, binned_slices, float(np.abs(defoci).max())
        )
        self.model = MultisliceModel(
            geometry, shape, optics, interpolation=interpolation, threads=threads, memory=memory
        )
        self._likelihood = LIKELIHOODS[likelihood]
        self.images = np.ascontiguousarray(np.swapaxes(images, 1, 2), np.float32)
        self._tilt_of_image = tilts
        self.tilts = _grouped(tilts)
        self._phases: list[Array] = []
        self._team = Team(threads)

    @property
    def tilt_deg(self) -> Doubles:
        """Tilt angles in degrees, one per tilt."""
        return np.array([self._tilt_of_image[images[0]] for images in self.tilts])

    @property
    def norm(self) -> float:
        """Bound of the second derivative for a tilt: images · voxels along the beam · (σ Δz)² · curvature.

        The curvature is that of the misfit with respect to an amplitude, at the truth: 2, or 1 for the misfit
        of amplitudes.
        """
        n_images, curvature = max(map(len, self.tilts)), 2 if self._likelihood == POISSON else 1
        return n_images * max(self.shape[:2]) * self.model.radians_per_V**2 * curvature

    @cached_property
    def size(self) -> float:
        """Contrast of the images, ``√Σ (√I - 1)²``."""
        chosen = self.images[np.concatenate(self.tilts)]
        return float(np.sqrt(np.sum((np.sqrt(np.maximum(chosen, 0)) - 1) ** 2, dtype=np.float64)))

    def of_views(self, views: Sequence[int] | NDArray[np.intp]) -> "MultisliceMisfit":
        """Return the misfit of some of the tilts, counted from 0; it shares all arrays with this one."""
        part = copy(self)
        part.__dict__.pop("size", None)
        part.tilts = [self.tilts[k] for k in views]
        return part

    def image(self, volume: Array, k: int) -> Array:
        """Compute image k of a volume, counted from 0: an intensity of shape (ny, nx)."""
        x, y = self.shift_px[k].tolist()
        return self.model.image(volume, float(self._tilt_of_image[k]), float(self.defocus_A[k]), (x, y))

    def residual(self, volume: Array) -> float:
        """Return ``√Σ (√Î - √I)²`` over all images."""
        results = ordered_map(lambda images: self._square(volume, images), self.tilts, threads=self.threads)
        return sqrt(sum(results))

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
        while len(self._phases) < len(tilts):
            self._phases.append(self.model.new_phases())
        model, squares = self.model, np.zeros(len(tilts))
        size = min(self.threads, len(tilts))
        edges = _edges(self.shape[2], size)
        matrices: dict[int, Matrices] = {}

        def work(member: int, meet: Callable[[], None]) -> None:
            own = range(member, len(tilts), size)
            for k in own:
                matrices[k] = model.matrices(float(self._tilt_of_image[tilts[k][0]]))
            meet()
            # a thread rotates its own part of the volume, which stays in the caches of its core
            columns = slice(edges[member], edges[member + 1])
            for k, (matrix, _) in matrices.items():
                model.rotation.slabs(
                    volume, matrix, self._phases[k], scale=model.radians_per_V, columns=columns
                )
            meet()
            for k in own:
                squares[k] = self._differentiate(tilts[k], self._phases[k])
            meet()
            for k in range(len(tilts)):
                model.rotation.add_adjoint(
                    self._phases[k], matrices[k][1], target,
                    scale=scale * model.radians_per_V, columns=columns,
                )  # fmt: skip

        self._team.run(work, size)
        return float(squares.sum())

    def _square(self, volume: Array, images: NDArray[np.intp]) -> float:
        """Return the squared residual of a tilt."""
        phases = self.model.new_phases()
        self.model.set_phases(volume, float(self._tilt_of_image[images[0]]), phases)
        return self._differentiate(images, phases)

    def _differentiate(self, images: NDArray[np.intp], phases: Array) -> float:
        """Replace the phases of a tilt by the misfit's derivatives; return the squared residual."""
        model, g = self.model, self.model.geometry
        defoci = self.defocus_A[images]
        lenses = [model.lens(defocus) for defocus in defoci.tolist()]
        kinds = list({id(lens): lens for lens in lenses}.values())
        which = np.array([next(n for n, kind in enumerate(kinds) if kind is lens) for lens in lenses])
        different = kinds[0][np.newaxis] if len(kinds) == 1 else np.stack(kinds)
        costs = np.zeros(len(images))
        with model.workspace() as w:
            gradient_of_tilt(
                w.execute, w.plans, w.spectrum, w.added, w.leaving, w.back, w.field, w.image_field, phases,
                w.kept, w.change, model.propagator, different, which,
                focus_rad_per_A(g, model.optics), defoci, self.shift_px[images],
                self.images, images, self._likelihood, *g.volume_at, *g.image_at, g.wave[1], costs,
            )  # fmt: skip
        return float(costs.sum())


def _edges(n: int, parts: int) -> list[int]:
    """Divide n numbers into parts, at multiples of the width of a vector where possible."""
    edges = [round(n * k / parts / VECTOR) * VECTOR for k in range(parts)]
    return [*edges, n]


def _grouped(tilt_deg: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Group the images by tilt: those at equal angles, in the order of the angles."""
    order = np.argsort(tilt_deg, kind="stable")
    breaks = np.flatnonzero(np.diff(tilt_deg[order]) > SAME_TILT_DEG) + 1
    return [np.sort(group) for group in np.split(order, breaks)]
