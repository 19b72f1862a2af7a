"""Misfit to phase-contrast images on the CPU: compiled loops around the transforms of the FFTW library."""

from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.multislice._waves import gradient_of_tilt
from etcli.core.multislice.model import MultisliceModel, TiltWaves
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit
from etcli.core.multislice.wave_workspace import focus_factors
from etcli.core.parallel import ordered_map

Array = NDArray[np.float32]

AT_ONCE = 8
"""Largest number of tilts whose gradients are held at the same time."""


class MultisliceMisfit(PhaseContrastMisfit):
    """Misfit to phase-contrast images by kernels for the CPU.

    Parameters
    ----------
    images, tilt_deg, defocus_A, optics
        As for `PhaseContrastMisfit`.
    memory : int, optional
        As for `etcli.core.multislice.model.MultisliceModel`.
    **how
        As for `PhaseContrastMisfit`; ``threads`` is the number of tilts computed at the same time.

    Attributes
    ----------
    model : MultisliceModel

    Raises
    ------
    DataError
        If images, tilt angles and defoci do not belong together.
    UsageError
        If there is no such likelihood or interpolation, or FFTW is not installed.
    """

    def __init__(
        self,
        images: Array,
        tilt_deg: ArrayLike,
        defocus_A: ArrayLike,
        optics: PhaseContrastOptics,
        *,
        memory: int | None = None,
        **how: Any,
    ) -> None:
        super().__init__(images, tilt_deg, defocus_A, optics, **how)
        self.model = MultisliceModel(
            self.geometry,
            self.shape,
            optics,
            interpolation=self.interpolation,
            threads=self.threads,
            memory=memory,
        )
        self._phases: list[Array] = []

    def leaving_wave(self, volume: Array, tilt_deg: float) -> AbstractContextManager[TiltWaves]:
        """Compute the wave that leaves a volume at a tilt angle in degrees."""
        return self.model.tilt_waves(volume, tilt_deg)

    def _batches(self) -> list[list[NDArray[np.intp]]]:
        """Divide the tilts into parts whose gradients are computed at the same time."""
        return [self.tilts[first : first + AT_ONCE] for first in range(0, len(self.tilts), AT_ONCE)]

    def _zeros(self) -> Array:
        """Create an array of zeros for a gradient."""
        return np.zeros(self.shape, np.float32)

    def _square(self, volume: Array, tilts: list[NDArray[np.intp]]) -> float:
        """Return the squared residual of a few tilts."""
        return self._derivatives(volume, tilts)

    def _add_gradient(
        self, volume: Array, tilts: list[NDArray[np.intp]], target: Array, scale: float
    ) -> float:
        """Add ``scale`` times the gradient of a few tilts to an array; return their squared residual."""
        square = self._derivatives(volume, tilts)
        edges = np.linspace(0, self.shape[0], min(self.threads, self.shape[0]) + 1).astype(int)
        parts = [slice(low, high) for low, high in pairwise(edges.tolist())]

        def add_part(part: slice) -> None:
            for images, derivatives in zip(tilts, self._phases, strict=False):
                transpose = self.model.matrices(self._angle(images))[1]
                self.model.rotation.add_adjoint(
                    derivatives, transpose, target, scale=scale * self.radians_per_V, sections=part
                )

        for _ in ordered_map(add_part, parts, threads=len(parts)):
            pass
        return square

    def _derivatives(self, volume: Array, tilts: list[NDArray[np.intp]]) -> float:
        """Compute the derivatives with respect to the phases of tilts; return their squared residual."""
        while len(self._phases) < len(tilts):
            self._phases.append(self.model.new_phases())
        return sum(
            ordered_map(
                lambda k: self._gradient(volume, tilts[k], self._phases[k]),
                range(len(tilts)),
                threads=self.threads,
            )
        )

    def _gradient(self, volume: Array, images: NDArray[np.intp], out: Array) -> float:
        """Compute the derivatives with respect to the phases of a tilt; return its squared residual."""
        model, g = self.model, self.geometry
        model.set_phases(volume, self._angle(images), out)
        defoci = self.defocus_A[images]
        lenses = [model.lens(defocus) for defocus in defoci.tolist()]
        kinds = list({id(lens): lens for lens in lenses}.values())
        which = np.array([next(n for n, kind in enumerate(kinds) if kind is lens) for lens in lenses])
        factors = focus_factors(g, model.optics, defoci, self.shift_px[images])
        costs = np.zeros(len(images))
        with model.workspace() as w:
            gradient_of_tilt(
                w.execute, w.plans, w.spectrum, w.added, w.leaving, w.back, w.field, w.image_field, out,
                w.kept, w.change, model.propagator, np.stack(kinds), which, *factors,
                self.images[images], self._likelihood, *g.volume_at, *g.image_at, g.wave[1], costs,
            )  # fmt: skip
        return float(costs.sum())
