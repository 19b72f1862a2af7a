"""Isotropic total variation of a volume in three dimensions: its proximal map, with bounds."""

from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit
from etcli.core.parallel import ordered_map
from etcli.core.solvers.steps import on_device_of, run_kernel

Array = NDArray[np.float32]
Zeros = Callable[[tuple[int, ...]], Array]
TINY = 1e-30


def in_memory(shape: tuple[int, ...]) -> Array:
    """Return an array of zeros, float32."""
    return np.zeros(shape, np.float32)


class TotalVariation:
    """Total variation Σ |∇x| of volumes of one shape, as a prior.

    Each minimisation starts from the dual variable at which the last one ended.

    Parameters
    ----------
    shape : (int, int, int)
        Shape of the volumes; the last axis should be the longest, because the loops along it are fast. Axes
        of length 1 are ignored. Differences are forward differences, and zero across the border.
    lower, upper : float
        Bounds of the minimum.
    threads : int
        Number of parts of the first axis processed at the same time.
    zeros : callable
        ``zeros(shape)`` creates the arrays that it holds, six of the size of the volume, on a GPU seven.

    References
    ----------
    A. Beck, M. Teboulle, IEEE Trans. Image Process. 18, 2419 (2009), doi:10.1109/TIP.2009.2028250, section 4.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        lower: float = -np.inf,
        upper: float = np.inf,
        threads: int = 1,
        zeros: Zeros = in_memory,
    ) -> None:
        self.shape = shape
        self._bounds = np.float32(lower), np.float32(upper)
        self._threads = threads
        self._steepest = 4 * max(sum(n > 1 for n in shape), 1)
        self._dual, self._ahead = zeros((3, *shape)), zeros((3, *shape))
        # on a GPU the volume is not processed part by part, so the whole image is held
        self._image = None if isinstance(self._dual, np.ndarray) else zeros(shape)
        n_parts = min(threads, shape[0])
        edges = np.linspace(0, shape[0], n_parts + 1).astype(int)
        self._parts = [(int(low), int(high)) for low, high in pairwise(edges)]

    @property
    def state(self) -> Array | None:
        """Dual variable from which the next minimisation starts."""
        return self._dual

    @state.setter
    def state(self, dual: Array | None) -> None:
        self._dual[...] = 0 if dual is None else on_device_of(self._dual, dual)

    def minimise(self, volume: Array, weight: float, *, iterations: int) -> None:
        """Replace a volume u₀ by the u within the bounds that minimises ``½ ‖u - u₀‖² + weight Σ |∇u|``.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            u₀; overwritten by u.
        weight : float
            Weight of the total variation, positive, in the units of the volume.
        iterations : int
            Steps of fast gradient projection on the dual, continuing from the last call.
        """
        step = np.float32(1 / (self._steepest * max(weight, TINY)))
        pace = 1.0
        self._ahead[...] = self._dual
        for _ in range(iterations):
            next_pace = (1 + sqrt(1 + 4 * pace**2)) / 2
            self._improve(volume, np.float32(weight), step, np.float32((pace - 1) / next_pace))
            pace = next_pace
        if self._image is not None:
            run_kernel("image_3d", volume, self._dual, np.float32(weight), *self._bounds, volume)
            return
        for _ in ordered_map(
            lambda part: _finish(volume, self._dual, np.float32(weight), *self._bounds, *part),
            self._parts,
            threads=self._threads,
        ):
            pass

    def _improve(self, volume: Array, weight: Any, step: Any, momentum: Any) -> None:
        """Make one step on the dual."""
        low, high = self._bounds
        if self._image is not None:
            run_kernel("image_3d", volume, self._ahead, weight, low, high, self._image)
            run_kernel("improve_3d", self._image, self._dual, self._ahead, step, momentum)
            return
        # A part needs the first section of the next one, computed before that one changes.
        first = np.empty((len(self._parts) + 1, *self.shape[1:]), np.float32)
        for k, (z, _) in enumerate(self._parts):
            _image_section(volume, self._ahead, weight, low, high, z, first[k])

        def improve_part(k: int) -> None:
            z0, z1 = self._parts[k]
            _improve_sections(
                volume, self._dual, self._ahead, weight, step, momentum, low, high, z0, z1, first[k : k + 2]
            )

        for _ in ordered_map(improve_part, range(len(self._parts)), threads=self._threads):
            pass


@jit
def _image_section(volume, dual, weight, lower, upper, z, out):  # type: ignore[no-untyped-def]
    """Set ``out`` to a section of ``volume + weight div(dual)``, clipped to the bounds."""
    n_rows, n = out.shape
    for i in range(n_rows):
        for j in range(n):
            divergence = dual[0, z, i, j] + dual[1, z, i, j] + dual[2, z, i, j]
            if j > 0:
                divergence -= dual[2, z, i, j - 1]
            out[i, j] = divergence
        if z > 0:
            for j in range(n):
                out[i, j] -= dual[0, z - 1, i, j]
        if i > 0:
            for j in range(n):
                out[i, j] -= dual[1, z, i - 1, j]
        for j in range(n):
            out[i, j] = min(max(volume[z, i, j] + weight * out[i, j], lower), upper)


@jit
def _improve_sections(volume, dual, ahead, weight, step, momentum, lower, upper, z0, z1, first):  # type: ignore[no-untyped-def]
    """Step from ``ahead`` along the image's gradient, project onto the unit ball and extrapolate, z0 to z1.

    ``first`` holds the images of section z0 and of section z1, which another thread may change meanwhile.
    """
    n_sections, n_rows, n = volume.shape
    here, above = first[0].copy(), first[1]
    for z in range(z0, z1):
        inner = z < n_sections - 1
        if z + 1 < z1:
            above = np.empty((n_rows, n), np.float32)
            _image_section(volume, ahead, weight, lower, upper, z + 1, above)
        else:
            above = first[1]
        for i in range(n_rows):
            for j in range(n):
                at = here[i, j]
                pz, px, py = ahead[0, z, i, j], ahead[1, z, i, j], ahead[2, z, i, j]
                if inner:
                    pz += step * (above[i, j] - at)
                if i < n_rows - 1:
                    px += step * (here[i + 1, j] - at)
                if j < n - 1:
                    py += step * (here[i, j + 1] - at)
                shrink = np.float32(1) / max(np.float32(1), np.sqrt(pz * pz + px * px + py * py))
                pz, px, py = pz * shrink, px * shrink, py * shrink
                ahead[0, z, i, j] = pz + momentum * (pz - dual[0, z, i, j])
                ahead[1, z, i, j] = px + momentum * (px - dual[1, z, i, j])
                ahead[2, z, i, j] = py + momentum * (py - dual[2, z, i, j])
                dual[0, z, i, j], dual[1, z, i, j], dual[2, z, i, j] = pz, px, py
        here = above


@jit
def _finish(volume, dual, weight, lower, upper, z0, z1):  # type: ignore[no-untyped-def]
    """Overwrite sections of the volume with those of the image."""
    section = np.empty(volume.shape[1:], np.float32)
    for z in range(z0, z1):
        _image_section(volume, dual, weight, lower, upper, z, section)
        volume[z] = section
