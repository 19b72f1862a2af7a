"""Multislice model: phase-contrast images of a volume of electrostatic potential at any tilt and defocus."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.multislice._waves import TO_IMAGE, _transform, pass_specimen
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.rotation import make_rotation
from etcli.core.multislice.wave_workspace import (
    WaveGeometry,
    WaveWorkspace,
    fast_size,
    focus_factors,
    lens_function,
    lens_key,
    padded,
)

Array = NDArray[np.float32]
Complex = NDArray[np.complex64]
Matrices = tuple[Any, Any]
"""What a rotation to a tilt is computed from, and its adjoint; it depends on the interpolation."""

DELOCALISATION = 1 / 3
"""Margin of the wave around the image, as a fraction of the delocalisation of the highest frequency by the
largest defocus and the aberrations. Signal delocalised further wraps round, but is too faint to matter."""
MOST_LENSES = 16
"""Largest number of lens functions that are kept; a refinement of defoci would add more and more."""


class MultisliceModel:
    """Images of volumes of one size at any tilt and defocus.

    Parameters
    ----------
    geometry : WaveGeometry
        Of `wave_geometry`.
    shape : (int, int, int)
        Shape (nz, nx, ny) of the volumes.
    optics : PhaseContrastOptics
    interpolation : {"lanczos", "cubic", "linear", "shear"}
        Interpolation of the rotated volume.
    threads : int
        Number of threads that will use the model.
    memory : int, optional
        Bytes for waves, transfer functions and matrices. Where they are short of the waves behind all slabs,
        these are computed twice for a gradient, and matrices again for every use; `least_bytes` are needed.
        Not limited by default.

    Raises
    ------
    UsageError
        If FFTW is not installed, or the interpolation is unknown.
    """

    def __init__(
        self,
        geometry: WaveGeometry,
        shape: tuple[int, int, int],
        optics: PhaseContrastOptics,
        *,
        interpolation: str = "lanczos",
        threads: int = 1,
        memory: int | None = None,
    ) -> None:
        self.geometry, self.shape, self.optics = geometry, shape, optics
        g = geometry
        self.rotation = make_rotation((shape[0], shape[1]), g.volume[0], g.n_slabs, g.n_binned, interpolation)
        self.propagator = padded(optics.propagator(g.grid, g.slab_A))
        self._matrices: dict[float, Matrices] = {}
        self._lenses: dict[float, Complex] = {}
        self._workspaces: list[WaveWorkspace] = []
        spare = inf if memory is None else memory - least_bytes(geometry, threads=threads)
        waves = threads * WaveWorkspace.bytes_of_waves(geometry)
        self._keep_waves = waves <= spare
        self._spare = spare - waves * self._keep_waves

    @property
    def radians_per_V(self) -> float:
        """Phase shift by a voxel per volt."""
        return self.optics.interaction_rad_per_V_A * self.geometry.pixel_A

    @contextmanager
    def workspace(self) -> Iterator[WaveWorkspace]:
        """Lend a workspace that no other thread uses."""
        try:
            workspace = self._workspaces.pop()
        except IndexError:
            workspace = WaveWorkspace(self.geometry, keep_waves=self._keep_waves)
        yield workspace
        self._workspaces.append(workspace)

    def new_phases(self) -> Array:
        """Create the array for the phases of all slabs, (n_slabs, n_across, ny)."""
        return np.zeros((self.geometry.n_slabs, *self.geometry.volume), np.float32)

    def matrices(self, tilt_deg: float) -> Matrices:
        """Return the matrix of the rotation to a tilt, and its transpose."""
        if tilt_deg in self._matrices:
            return self._matrices[tilt_deg]
        matrix: Any = self.rotation.matrix(tilt_deg)
        pair = matrix, self.rotation.transpose(matrix)
        size = sum(part.bytes for part in pair)
        if size <= self._spare:
            self._spare -= size
            self._matrices[tilt_deg] = pair
        return pair

    def lens(self, defocus_A: float) -> Complex:
        """Return the transfer function to an image, but for the phase of its defocus; see `lens_function`."""
        key = lens_key(self.optics, defocus_A)
        if key in self._lenses:
            return self._lenses[key]
        lens = lens_function(self.geometry, self.optics, key)
        if len(self._lenses) >= MOST_LENSES:
            self._spare += lens.nbytes * len(self._lenses)
            self._lenses = {}  # not cleared: another thread may be reading it
        if not self._lenses or lens.nbytes <= self._spare:
            self._spare -= lens.nbytes
            self._lenses[key] = lens
        return lens

    def set_phases(self, volume: Array, tilt_deg: float, out: Array) -> None:
        """Compute the phase shifts by the slabs of a tilted volume, in rad."""
        self.rotation.slabs(volume, self.matrices(tilt_deg)[0], out, scale=self.radians_per_V)

    @contextmanager
    def tilt_waves(self, volume: Array, tilt_deg: float) -> Iterator["TiltWaves"]:
        """Compute the wave that leaves a volume at a tilt angle in degrees."""
        phases = self.new_phases()
        self.set_phases(volume, tilt_deg, phases)
        with self.workspace() as workspace:
            yield TiltWaves(self, phases, workspace)


class TiltWaves:
    """Wave that leaves the slabs of a tilted volume, and the waves in images.

    Parameters
    ----------
    model : MultisliceModel
    phases : ndarray of shape (n_slabs, n_across, ny), float32
        Phases of the slabs in rad.
    workspace : WaveWorkspace
        Used as long as this object.
    """

    def __init__(self, model: MultisliceModel, phases: Array, workspace: WaveWorkspace) -> None:
        self._model, self._workspace = model, workspace
        w, (x0, y0) = workspace, model.geometry.volume_at
        pass_specimen(
            w.execute, w.plans, w.spectrum, w.added, w.field, phases, w.kept, w.change, model.propagator,
            x0, y0, model.geometry.wave[1],
        )  # fmt: skip
        w.leaving[:] = w.spectrum

    def spectrum(self, defocus_A: float, shift_px: tuple[float, float] = (0.0, 0.0)) -> Complex:
        """Compute the spectrum of the wave in an image.

        Parameters
        ----------
        defocus_A : float
            Defocus in Å, positive for overfocus.
        shift_px : (float, float)
            Displacement (x, y) of the content of the image, in pixels.

        Returns
        -------
        ndarray of shape ``geometry.wave``, complex64
            [kx, ky]
        """
        model, ny = self._model, self._model.geometry.wave[1]
        defocus, shift = np.array([defocus_A]), np.array([shift_px])
        (x,), (y,) = focus_factors(model.geometry, model.optics, defocus, shift)
        lens = model.lens(defocus_A)[:, :ny]
        spectrum: Complex = self._workspace.leaving[:, :ny] * lens * np.outer(x, y)
        return spectrum

    def in_image(self, spectrum: Complex) -> Complex:
        """Transform a spectrum, [kx, ky], to the wave (x, y) in the image."""
        g, workspace = self._model.geometry, self._workspace
        (nx, ny), (x0, y0), (n_x, n_y) = g.wave, g.image_at, g.image
        workspace.spectrum[:, :ny] = spectrum
        _transform(workspace.execute, workspace.plans, TO_IMAGE)
        wave: Complex = workspace.image_field[x0 : x0 + n_x, y0 : y0 + n_y] * np.float32(1 / (nx * ny))
        return wave


def least_bytes(geometry: WaveGeometry, *, threads: int = 1) -> int:
    """Compute the smallest size of what a model and its gradients hold besides volumes and images, in bytes.

    Parameters
    ----------
    geometry : WaveGeometry
        Of `wave_geometry`.
    threads : int
        Number of threads.

    Returns
    -------
    int
    """
    spectrum = 8 * geometry.wave[0] * (geometry.wave[1] + 8)
    phases = 4 * geometry.n_slabs * geometry.volume[0] * geometry.volume[1]
    # a thread holds the transfer functions of the images of its tilt
    return threads * (WaveWorkspace.bytes_of(geometry) + 6 * spectrum) + max(threads, 2) * phases + spectrum


def margin_px(optics: PhaseContrastOptics, defocus_A: float, pixel_A: float) -> float:
    """Compute how far signal is delocalised, in pixels, but for what is too faint to matter."""
    return DELOCALISATION * optics.delocalisation_A(defocus_A, 0.5 / pixel_A) / pixel_A


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
    n_beam, margin = max(shape[:2]), margin_px(optics, defocus_A, pixel_A)
    volume = n_beam, shape[2]
    wave = tuple(
        fast_size(round(max(part + 2 * margin, inner)))
        for part, inner in zip(image[::-1], volume, strict=True)
    )
    n_slabs = -(-n_beam // binned_slices)
    return WaveGeometry(volume, (image[1], image[0]), (wave[0], wave[1]), n_slabs, binned_slices, pixel_A)
