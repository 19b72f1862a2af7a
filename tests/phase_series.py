"""Phase-contrast images of a few atoms, by a plain multislice of Gaussian potentials."""

from collections.abc import Sequence
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

PIXEL_A, SIZE, CELL = 0.5, 32, 64
WAVELENGTH_A, SIGMA = 0.019687489, 6.526161e-4  # 300 kV
INTEGRAL_V_A3, WIDTH_A = 300.0, 0.45
SLICE_A = 1.0
ATOMS_A = np.array(
    [
        [0.3, 0.1, -0.2],
        [3.1, 2.4, 1.2],
        [-2.6, 3.0, -1.5],
        [1.9, -3.3, 2.6],
        [-3.2, -1.4, 2.2],
        [0.8, -0.7, -3.4],
    ]
)
TILT_DEG = np.arange(-90.0, 90, 15)
DEFOCUS_A = (150.0, 400.0)
VIEWS_DEG, FOCI_A = np.repeat(TILT_DEG, len(DEFOCUS_A)), np.tile(DEFOCUS_A, len(TILT_DEG))
HOW = ("-j", "1", "--method", "multislice", "--thickness", "24px", "--width", "24px")
"""Options of ``recon`` for these series."""


def images(
    tilt_deg: Sequence[float] | Float = TILT_DEG,
    defocus_A: Sequence[float] = DEFOCUS_A,
    *,
    shift_px: float = 0.0,
) -> NDArray[np.float32]:
    """Intensities, tilt by tilt and for each at all defoci; ``shift_px`` moves the tilt axis along x."""
    q = np.fft.fftfreq(CELL, PIXEL_A)
    squared = q[:, np.newaxis] ** 2 + q**2
    place = (np.arange(CELL) - (CELL - 1) / 2) * PIXEL_A
    heights = np.arange(-5.0, 6) * SLICE_A
    found = []
    for tilt in np.deg2rad(tilt_deg):
        wave = np.ones((CELL, CELL), complex)
        x, y, z = ATOMS_A.T
        across, along = x * np.cos(tilt) + z * np.sin(tilt), -x * np.sin(tilt) + z * np.cos(tilt)
        across = across + shift_px * PIXEL_A
        nearest = np.abs(along[:, np.newaxis] - heights).argmin(axis=1)
        for k in range(len(heights)):
            wave = propagated(wave, SLICE_A * (k > 0), squared)
            for x_A, y_A in zip(across[nearest == k], y[nearest == k], strict=True):
                wave = wave * np.exp(1j * SIGMA * projected(place, x_A, y_A))
        for defocus in defocus_A:
            focused = propagated(wave, defocus - heights[-1], squared, aperture_per_A=1 / (2 * PIXEL_A))
            found.append(np.abs(focused) ** 2)
    margin = (CELL - SIZE) // 2
    return np.array(found, np.float32)[:, margin:-margin, margin:-margin]


def projected(place: Float, x_A: float, y_A: float) -> Float:
    """Projected potential of an atom in V Å, [y, x]."""
    gx, gy = (np.exp(-((place - c) ** 2) / (2 * WIDTH_A**2)) for c in (x_A, y_A))
    return INTEGRAL_V_A3 / (2 * np.pi * WIDTH_A**2) * gy[:, np.newaxis] * gx


def propagated(
    wave: NDArray, distance_A: float, squared: Float, *, aperture_per_A: float = np.inf
) -> NDArray:
    """Wave after a distance along the beam."""
    factor = np.exp(-1j * np.pi * WAVELENGTH_A * distance_A * squared) * (squared <= aperture_per_A**2)
    return np.fft.ifft2(factor * np.fft.fft2(wave))


def counted(intensities: NDArray[np.float32], dose_e_A2: float, seed: int = 0) -> NDArray[np.float32]:
    """Counts of a dose in every image, over those of vacuum."""
    electrons = dose_e_A2 * PIXEL_A**2
    return (np.random.default_rng(seed).poisson(intensities * electrons) / electrons).astype(np.float32)


def write_phase_series(
    path: Path,
    data: NDArray[np.float32],
    tilt_deg: Sequence[float] | Float | None = None,
    defocus_A: Sequence[float] | Float | None = None,
    *,
    dose_e_A2: float = 0.0,
    voltage_kV: float | None = 300,
) -> Path:
    """Write images with an mdoc of the tilt and defocus of each; NaN is a defocus that is not known."""
    if tilt_deg is None:
        tilt_deg, defocus_A = VIEWS_DEG, FOCI_A
    with mrcfile.new(path, data) as mrc:
        mrc.set_image_stack()
        mrc.voxel_size = PIXEL_A
    lines = [f"PixelSpacing = {PIXEL_A}", f"ImageFile = {path.name}", "DataMode = 2"]
    lines += [f"Voltage = {voltage_kV:g}"] if voltage_kV else []
    lines += ["", "[T =     Tilt axis angle = 0.0, binning = 1  spot = 1  camera = 0]", ""]
    for k, (tilt, defocus) in enumerate(zip(tilt_deg, defocus_A, strict=True)):
        lines += [f"[ZValue = {k}]", f"TiltAngle = {tilt:g}", f"ExposureDose = {dose_e_A2:g}"]
        lines += [f"Defocus = {defocus * 1e-4:.6g}"] * bool(np.isfinite(defocus)) + [""]
    Path(f"{path}.mdoc").write_text("\n".join(lines))
    return path


def potential_at(volume: NDArray[np.float32], atoms_A: Float = ATOMS_A) -> Float:
    """Highest of the voxels within one of each atom, in a volume (z, y, x)."""
    centre = (np.array(volume.shape[::-1]) - 1) / 2
    peaks = []
    for place in atoms_A / PIXEL_A + centre:
        i, j, k = np.rint(place).astype(int)
        peaks.append(float(volume[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].max()))
    return np.array(peaks)
