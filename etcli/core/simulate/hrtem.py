"""Simulated phase-contrast (HRTEM) tilt series of atoms, at one or several defoci per tilt, by multislice."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import fft2, next_fast_len

from etcli.core.arguments import checked_positive
from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError
from etcli.core.geometry import across_axis
from etcli.core.multislice.optics import PhaseContrastOptics, WaveGrid
from etcli.core.multislice.potential import LARGEST_FREQUENCY_PER_A, DebyeWaller, ProjectedPotential
from etcli.core.multislice.propagation import ANTI_ALIASING, exit_wave, image, integrated
from etcli.core.parallel import ordered_map
from etcli.core.simulate.acquisition import AcquisitionErrors, CountingNoise, GroundTruth, draw_truth
from etcli.core.simulate.adf import places

Array = NDArray[np.float64]
Images = NDArray[np.float32]

SLICE_A = 0.5
"""Distance of the centre planes of slices; 1 Å changes intensities by 4e-4 of vacuum (rms), 2 Å by 6e-4."""
COARSEST_SAMPLE_A = 1 / 6
"""Largest distance of the samples of a wave; 1/8 Å changes intensities by less than 1e-4 of vacuum (rms)."""
POTENTIAL_LIMIT = 0.8
"""Highest frequency of the potential over the Nyquist frequency: 2.4 1/Å or more.

Products of such a potential and the wave, which is limited to `ANTI_ALIASING`, are aliased to frequencies
above 0.53 Nyquist frequencies only, where the aperture, at half a Nyquist frequency or less, lets none pass.
"""
TAIL_A = 3.0
"""Distance from an atom in Å at which its projected potential is no longer seen."""
LARGEST_CELL = 8192


@dataclass(frozen=True)
class WaveCell:
    """Samples of the wave of a specimen, on an area so large that nothing wraps round into the image.

    Parameters
    ----------
    grid : WaveGrid
        Samples of the wave; its centre is that of the image.
    samples : int
        Samples along the side of a pixel of the image.
    shape : (int, int)
        Rows and columns of pixels of the image.
    """

    grid: WaveGrid
    samples: int
    shape: tuple[int, int]

    def detected(self, intensity: Images) -> Images:
        """Integrate an intensity over the pixels of the image."""
        pixels = integrated(intensity, self.samples)
        rows, columns = (
            slice((n - size) // 2, (n + size) // 2) for n, size in zip(pixels.shape, self.shape, strict=True)
        )
        return np.asarray(pixels[rows, columns], np.float32)


def wave_cell(
    shape: tuple[int, int], pixel_A: float, reach_A: tuple[float, float], optics: PhaseContrastOptics
) -> WaveCell:
    """Choose the samples of a wave.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    pixel_A : float
        Pixel size in Å.
    reach_A : (float, float)
        Distance from the centre, along y and x, at which nothing of the specimen is seen any more.
    optics : PhaseContrastOptics
        Its aperture is no larger than the frequencies of the potential.

    Returns
    -------
    WaveCell
        As small as possible: the image of a neighbouring specimen begins where the image ends.

    Raises
    ------
    UsageError
        If the aperture is too large, or the cell.
    """
    if optics.aperture_per_A > LARGEST_FREQUENCY_PER_A * (1 + 1e-9):
        largest = LARGEST_FREQUENCY_PER_A * optics.wavelength_A * 1e3
        raise UsageError(
            f"an aperture of {optics.aperture_mrad:g} mrad is larger than the {largest:.4g} mrad up to which "
            "potentials are known here; give a smaller one"
        )
    finest = max(1 / (2 * COARSEST_SAMPLE_A), 2 * optics.aperture_per_A)
    samples = next_fast_len(int(np.ceil(2 * finest * pixel_A - 1e-6)))
    sides = []
    for size, reach in zip(shape, reach_A, strict=True):
        # the image has a central pixel, or none, and so has the cell
        pixels = size + 2 * max(0, int(np.ceil((reach / pixel_A - size / 2) / 2)))
        if pixels * samples > LARGEST_CELL:
            raise UsageError(
                f"the defocus spreads images of {size * pixel_A:.0f} Å over {pixels * pixel_A:.0f} Å, more "
                "than a wave can hold; give a smaller defocus (--defocus is in µm), aperture or image"
            )
        while next_fast_len(pixels * samples) != pixels * samples:
            pixels += 2
        sides.append(pixels * samples)
    return WaveCell(WaveGrid((sides[0], sides[1]), pixel_A / samples), samples, shape)


def hrtem_series(
    atoms: Atoms,
    tilt_deg: Array,
    defocus_A: ArrayLike,
    optics: PhaseContrastOptics,
    *,
    shape: tuple[int, int],
    pixel_A: float,
    errors: AcquisitionErrors,
    rng: np.random.Generator,
    dose_e_A2: float | None = None,
    debye_waller_A2: DebyeWaller = 0.0,
    threads: int = 1,
    progress: Callable[[int], None] = lambda steps: None,
) -> tuple[Images, GroundTruth]:
    """Simulate the phase-contrast tilt series of atoms by multislice, at all defoci in turn at each tilt.

    Parameters
    ----------
    atoms : Atoms
        Positions from the rotation centre, with the tilt axis along y and the beam at 0° towards larger z.
    tilt_deg : ndarray of shape (n_tilts,), float64
        Nominal tilt angles in degrees, any order.
    defocus_A : array_like of shape (n_defoci,)
        Distances of the image plane from the tilt axis in Å, along the beam: positive for overfocus.
    optics : PhaseContrastOptics
    shape : (int, int)
        Rows and columns of an image.
    pixel_A : float
        Pixel size in Å; pixels integrate the intensity.
    errors : AcquisitionErrors
        Drift is from image to image; the images of one tilt share the error of its angle.
    rng : numpy.random.Generator
        Every image has a generator of its own, spawned from this one.
    dose_e_A2 : float, optional
        Electrons per Å² and image; no noise by default.
    debye_waller_A2 : float or mapping of str to float
        Debye-Waller factor B in Å² of all elements, or of each. Atoms do not move between the images.
    threads : int
        Tilts computed at the same time; the result does not depend on it.
    progress : callable
        ``progress(1)`` is called after each tilt.

    Returns
    -------
    data : ndarray of shape (n_tilts n_defoci, ny, nx), float32
        Intensities, 1 in vacuum; with noise, counted electrons divided by those of vacuum.
    truth : GroundTruth

    Raises
    ------
    UsageError
        When an error of the acquisition, pixel size, dose or aperture is not possible, an element is unknown,
        or the defocus is so large that no wave can hold what it spreads.

    References
    ----------
    Ren, Chen, Waller and Ophus (2018): series of this kind.
    """
    pixel_A = checked_positive("pixel_A", pixel_A)
    defoci = np.atleast_1d(np.asarray(defocus_A, np.float64))
    electrons = None if dose_e_A2 is None else checked_positive("dose_e_A2", dose_e_A2) * pixel_A**2
    noise = CountingNoise(electrons)
    generators = rng.spawn(len(tilt_deg) * len(defoci))
    truth = draw_truth(np.repeat(tilt_deg, len(defoci)), generators, errors=errors, noise=noise)
    # the stage stays where it is between the images of a tilt
    truth = replace(truth, tilt_deg=np.repeat(truth.tilt_deg[:: len(defoci)], len(defoci)))
    cell = _cell(atoms, truth, defoci, optics, shape, pixel_A)
    limit_per_A = POTENTIAL_LIMIT / (2 * cell.grid.pixel_A)
    potential = ProjectedPotential.of(
        atoms.species, cell.grid, limit_per_A=limit_per_A, debye_waller_A2=debye_waller_A2
    )
    transfers = [optics.transfer(cell.grid, defocus).astype(np.complex64) for defocus in defoci]

    def images(tilt: int) -> list[Images]:
        first = tilt * len(defoci)
        spectrum = _spectrum_at_axis(_seen(atoms, truth, first, pixel_A), potential, optics)
        return [
            noise.apply(
                cell.detected(image(_moved(spectrum, cell, truth.shift_px[k] * pixel_A), transfer)),
                generators[k],
            )
            for k, transfer in enumerate(transfers, first)
        ]

    data = np.empty((len(generators), *shape), np.float32)
    for tilt, recorded in enumerate(ordered_map(images, range(len(tilt_deg)), threads=threads)):
        data[tilt * len(defoci) : (tilt + 1) * len(defoci)] = recorded
        progress(1)
    return data, truth


def _seen(atoms: Atoms, truth: GroundTruth, view: int, pixel_A: float) -> Atoms:
    """Return the atoms in the frame of a view without drift: x and y from its centre, z along the beam."""
    in_place = replace(truth, shift_px=np.zeros_like(truth.shift_px))
    xy = places(atoms, in_place, view, pixel_A) * pixel_A
    z = across_axis(atoms.position_A, truth.tilt_deg[view] + 90)
    return Atoms(np.column_stack([xy, z]), atoms.species)


def _cell(
    atoms: Atoms,
    truth: GroundTruth,
    defocus_A: Array,
    optics: PhaseContrastOptics,
    shape: tuple[int, int],
    pixel_A: float,
) -> WaveCell:
    """Choose one cell for all images of a series."""
    tilts = range(0, len(truth.tilt_deg), len(defocus_A))
    x, y, z = np.max([np.abs(_seen(atoms, truth, k, pixel_A).position_A).max(axis=0) for k in tilts], axis=0)
    margin = TAIL_A + optics.delocalisation_A(float(np.abs(defocus_A).max() + z))
    drift = np.abs(truth.shift_px).max(axis=0) * pixel_A
    reach = np.array([y, x]) + drift[::-1] + margin
    return wave_cell(shape, pixel_A, (float(reach[0]), float(reach[1])), optics)


def _spectrum_at_axis(
    seen: Atoms, potential: ProjectedPotential, optics: PhaseContrastOptics
) -> NDArray[np.complex64]:
    """Compute the spectrum of the wave that leaves a specimen, as seen in the plane of the tilt axis."""
    grid = potential.grid
    last_plane_A, slices = potential.slices(seen, SLICE_A)
    wave = exit_wave(slices, SLICE_A, optics, grid, band_limit=ANTI_ALIASING)
    back = optics.propagator(grid, -last_plane_A, band_limit=ANTI_ALIASING)
    return np.asarray(fft2(wave) * back.astype(np.complex64))


def _moved(spectrum: NDArray[np.complex64], cell: WaveCell, shift_A: Array) -> NDArray[np.complex64]:
    """Move a wave, given by its spectrum, by (x, y)."""
    if not shift_A.any():
        return spectrum
    qy, qx = cell.grid.frequencies_per_A
    along_y, along_x = np.exp(-2j * np.pi * shift_A[1] * qy), np.exp(-2j * np.pi * shift_A[0] * qx)
    return np.asarray(spectrum * (along_y * along_x).astype(np.complex64))
