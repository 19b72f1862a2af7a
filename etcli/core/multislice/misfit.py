"""Misfit to phase-contrast images on the CPU: compiled loops around the transforms of the FFTW library."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.multislice._waves import gradient_of_tilt
from etcli.core.multislice.model import Matrices, MultisliceModel, TiltWaves
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit
from etcli.core.multislice.team import Team
from etcli.core.multislice.wave_workspace import focus_rad_per_A
from etcli.core.parallel import ordered_map

Array = NDArray[np.float32]

AT_ONCE = 8
"""Largest number of tilts whose gradients are held at the same time."""
VECTOR = 8
"""Numbers that a processor multiplies at once."""


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
        self._team = Team(self.threads)

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
        return sum(
            ordered_map(lambda images: self._square_of_tilt(volume, images), tilts, threads=self.threads)
        )

    def _square_of_tilt(self, volume: Array, images: NDArray[np.intp]) -> float:
        """Return the squared residual of a tilt."""
        phases = self.model.new_phases()
        self.model.set_phases(volume, self._angle(images), phases)
        return self._differentiate(images, phases)

    def _add_gradient(
        self, volume: Array, tilts: list[NDArray[np.intp]], target: Array, scale: float
    ) -> float:
        """Add ``scale`` times the gradient of a few tilts to an array; return their squared residual."""
        return self._add_gradients(volume, [tilts], target, scale)

    def _make_steps(self, volume: Array, parts: Sequence[Self], step: float) -> float:
        """Descend with one part after the other; return the squared residual."""
        if max(len(part.tilts) for part in parts) > AT_ONCE:
            return super()._make_steps(volume, parts, step)
        return self._add_gradients(volume, [part.tilts for part in parts], volume, -step)

    def _add_gradients(
        self, volume: Array, parts: list[list[NDArray[np.intp]]], target: Array, scale: float
    ) -> float:
        """Add ``scale`` times gradients to an array, one part of the tilts after the other.

        Returns the squared residual. All threads work on all parts, without a return in between, because a
        part may take no longer than starting them.
        """
        model, most = self.model, max(map(len, parts))
        while len(self._phases) < most:
            self._phases.append(model.new_phases())
        size = min(self.threads, most)
        edges = _edges(self.shape[2], size)
        squares = [np.zeros(len(tilts)) for tilts in parts]
        # of two parts, because a thread may begin the next part before all have finished one
        matrices: tuple[dict[int, Matrices], dict[int, Matrices]] = {}, {}

        def work(member: int, meet: Callable[[], None]) -> None:
            # a thread rotates its own part of the volume, which stays in the caches of its core
            columns = slice(edges[member], edges[member + 1])
            for n, tilts in enumerate(parts):
                known, own = matrices[n % 2], range(member, len(tilts), size)
                for k in own:
                    known[k] = model.matrices(self._angle(tilts[k]))
                meet()
                for k, phases in zip(range(len(tilts)), self._phases, strict=False):
                    model.rotation.slabs(
                        volume, known[k][0], phases, scale=self.radians_per_V, columns=columns
                    )
                meet()
                for k in own:
                    squares[n][k] = self._differentiate(tilts[k], self._phases[k])
                meet()
                for k, phases in zip(range(len(tilts)), self._phases, strict=False):
                    model.rotation.add_adjoint(
                        phases, known[k][1], target, scale=scale * self.radians_per_V, columns=columns
                    )

        self._team.run(work, size)
        return float(sum(square.sum() for square in squares))

    def _differentiate(self, images: NDArray[np.intp], phases: Array) -> float:
        """Replace the phases of a tilt by the misfit's derivatives; return the squared residual."""
        model, g = self.model, self.geometry
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
