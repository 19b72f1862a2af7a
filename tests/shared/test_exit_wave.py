"""Potentials, waves and images of atoms against those of another multislice program."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2

from etcli.core.atomic_model import Atoms
from etcli.core.elements import SYMBOLS
from etcli.core.geometry import centre
from etcli.core.multislice.optics import PhaseContrastOptics, WaveGrid
from etcli.core.multislice.potential import ProjectedPotential
from etcli.core.multislice.propagation import ANTI_ALIASING, exit_wave, image, integrated
from tests.files import etcli

OPTICS = PhaseContrastOptics(300, aperture_mrad=1e3 * PhaseContrastOptics(300).wavelength_A)
FACTORS = {"O": 0.10, "Si": 0.08, "Ti": 0.075, "Sr": 0.089}
DEBYE_WALLER = {name: 8 * np.pi**2 * u_A**2 for name, u_A in FACTORS.items()}


def rms(values: NDArray[np.generic]) -> float:
    return float(np.sqrt((np.abs(values) ** 2).mean()))


@pytest.fixture(scope="module")
def phase(shared_data: Path) -> Path:
    folder = shared_data / "phase"
    if not folder.is_dir():
        pytest.skip(f"no phase-contrast series at {folder}")
    return folder


@pytest.fixture(scope="module")
def wanted(phase: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of the other program as (row, column)."""
    with np.load(phase / "exitwave_sto.npz") as file:
        return {name: file[name].T for name in file}


def atoms_of(wanted: dict[str, NDArray[np.generic]]) -> Atoms:
    return Atoms(wanted["positions"].T, np.array([SYMBOLS[n] for n in wanted["numbers"]]))


def spectrum_at_axis(atoms: Atoms, grid: WaveGrid, limit_per_A: float) -> NDArray[np.complex64]:
    potential = ProjectedPotential.of(
        atoms.species, grid, limit_per_A=limit_per_A, debye_waller_A2=DEBYE_WALLER
    )
    last_A, slices = potential.slices(atoms, 0.5)
    wave = exit_wave(slices, 0.5, OPTICS, grid, band_limit=ANTI_ALIASING)
    return np.asarray(fft2(wave) * OPTICS.propagator(grid, -last_A), np.complex64)


def test_potential_wave_and_intensity(wanted: dict[str, NDArray[np.generic]]) -> None:
    """On the grid of the other program, whose origin is elsewhere."""
    n, sample_A = 324, float(wanted["sampling"])
    grid, atoms = WaveGrid((n, n), sample_A), atoms_of(wanted)
    corner = wanted["origin_xy"] - centre(n) * sample_A
    atoms = Atoms(atoms.position_A + np.array([*corner, 0.0]), atoms.species)
    potential = ProjectedPotential.of(atoms.species, grid, limit_per_A=2.4, debye_waller_A2=DEBYE_WALLER)
    found = potential.image(atoms.position_A[:, :2], atoms.species)
    assert rms(found - wanted["projected_potential"]) < 2e-5 * rms(wanted["projected_potential"])
    spectrum = spectrum_at_axis(atoms, grid, 2.4)
    exit_plane = ifft2(spectrum * OPTICS.propagator(grid, float(wanted["exit_plane_z"])))
    # frequencies beyond 2.0 1/Å, which no aperture passes, are left out
    assert rms(exit_plane - wanted["exit_wave"]) < 2e-3
    intensity = image(spectrum, OPTICS.transfer(grid, 450.0))
    assert rms(intensity - wanted["intensity_450A"]) < 1e-4
    assert rms(wanted["intensity_450A"] - 1) > 0.04


@pytest.mark.parametrize(
    ("sample_A", "limit_per_A", "worst"), [(1 / 6, 2.4, 1e-4), (0.125, 2.67, 2e-4), (0.25, 1.9, 5e-4)]
)
def test_points_and_pixels(
    wanted: dict[str, NDArray[np.generic]], sample_A: float, limit_per_A: float, worst: float
) -> None:
    n = round(0.5 / sample_A)
    grid, atoms = WaveGrid((108 * n, 108 * n), sample_A), atoms_of(wanted)
    intensity = image(spectrum_at_axis(atoms, grid, limit_per_A), OPTICS.transfer(grid, 450.0))
    pixels = integrated(intensity, n)[14:94, 14:94]
    assert rms(pixels - wanted["intensity_450A_pixels"]) < worst
    if n % 2:
        points = intensity[n // 2 :: n, n // 2 :: n][14:94, 14:94]
        assert rms(points - wanted["intensity_450A_points"]) < worst


@pytest.mark.parametrize(("name", "size", "worst"), [("sto", 80, 1e-4), ("sio2si", 96, 1.5e-3)])
def test_series(phase: Path, tmp_path: Path, name: str, size: int, worst: float) -> None:
    """The cell of the other `sio2si` is 60 Å wide, so that a little of the specimen wraps round into it."""
    factors = ",".join(f"{element}:{b:.6f}" for element, b in DEBYE_WALLER.items())
    tilts = ("--range", -90, 81, 57)
    options = ("--size", size, *tilts, "--debye-waller", factors)
    etcli("simulate", "hrtem", phase / name / "truth.xyz", *options, tmp_path / "s.mrc")
    found = mrcfile.read(tmp_path / "s.mrc")
    theirs = mrcfile.read(phase / name / f"{name}_inf.mrc").reshape(60, 3, size, size)[::19]
    assert found.shape == (12, size, size)
    for image_found, image_wanted in zip(found, theirs.reshape(found.shape), strict=True):
        assert rms(image_found - image_wanted) < worst < 0.05 * rms(image_wanted - 1)
