"""Simulation of the phase-contrast tilt series of atoms."""

from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.geometry import across_axis
from etcli.core.lengths import ANGSTROM_PER_UM, Length
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.potential import LARGEST_FREQUENCY_PER_A, DebyeWaller, mean_potential
from etcli.core.series import TiltSeries
from etcli.core.simulate.acquisition import GroundTruth
from etcli.core.simulate.hrtem import hrtem_series
from etcli.core.view_table import ViewTable
from etcli.core.volume_frame import VolumeFrame
from etcli.io.atoms import is_atoms_file
from etcli.io.outputs import Outputs
from etcli.io.writers import ProcessingStep, volume_writer
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.simulate import SeriesRequest, check_inside, pixel_size_A, write_simulation
from etcli.pipeline.simulate_atoms import OrientedSpecimen, oriented_atoms, write_true_atoms

TRUTH_FILES = (".xyz", ".extxyz", ".pdb", ".cif", ".mrc")


@dataclass(frozen=True)
class HrtemSeriesRequest(OrientedSpecimen):
    """Specimen and microscope of a simulated series, named as the options of ``etcli simulate hrtem``.

    Parameters
    ----------
    specimen, diameter, axis_direction, beam
        As for `OrientedSpecimen`.
    defocus_um : tuple of float
        Defoci of the images at each tilt in µm, from the tilt axis; negative for underfocus.
    optics : PhaseContrastOptics
        Without an aperture, that of the frequencies up to 1/(2 pixel) is used.
    debye_waller_A2 : float or mapping of str to float
        Debye-Waller factor in Å² of all elements, or of each.
    total_dose_e_A2 : float or None
        Electrons per Å² in all images together; None for no noise.
    """

    defocus_um: tuple[float, ...] = (0.02, 0.045, 0.1)
    optics: PhaseContrastOptics = field(default_factory=PhaseContrastOptics)
    debye_waller_A2: DebyeWaller = 0.5
    total_dose_e_A2: float | None = None

    def apertured(self, pixel_A: float) -> PhaseContrastOptics:
        """Return the optics with an aperture, which pixels of the given size decide unless there is one."""
        if isfinite(self.optics.aperture_mrad):
            return self.optics
        highest_per_A = min(1 / (2 * pixel_A), LARGEST_FREQUENCY_PER_A)
        return replace(self.optics, aperture_mrad=1e3 * self.optics.wavelength_A * highest_per_A)

    def views(self, tilt_deg: NDArray[np.float64]) -> ViewTable:
        """Return the table of the views: at each tilt, all defoci in turn."""
        defocus_um = np.tile(self.defocus_um, len(tilt_deg))
        return replace(ViewTable.tilted(np.repeat(tilt_deg, len(self.defocus_um))), defocus_um=defocus_um)


@with_one_blas_thread
def simulate_hrtem_files(
    session: Session,
    output: str,
    request: HrtemSeriesRequest,
    acquisition: SeriesRequest,
    *,
    size: int,
    pixel: Length,
) -> None:
    """Simulate the phase-contrast tilt series of atoms.

    Parameters
    ----------
    session : Session
    output : str
    request : HrtemSeriesRequest
        Specimen and microscope.
    acquisition : SeriesRequest
        Tilt angles, errors and files; its dose and level are not used.
    size : int
        Pixels along each side.
    pixel : Length
        Pixel size.

    Raises
    ------
    UsageError
        When a request contradicts itself, no lattice has such a name, or all atoms are outside the views.
    DataError
        When a file of atoms is damaged.
    """
    acquisition.check_truth(TRUTH_FILES, "the atoms, their potential")
    acquisition.check_mode("--dose", given=request.total_dose_e_A2 is not None)
    pixel_A, rng = pixel_size_A(pixel), np.random.default_rng(acquisition.seed)
    optics, tilt_deg = request.apertured(pixel_A), acquisition.tilt_deg
    views = request.views(tilt_deg)
    if request.total_dose_e_A2 is not None:
        acquisition = replace(acquisition, dose_e_A2=request.total_dose_e_A2 / len(views))
    like = acquisition.described(views, output, (size, size), pixel_A, voltage_kV=optics.voltage_kV)
    like = replace(like, axis_deg=0.0, axis_source="given")
    atoms = oriented_atoms(session, request, pixel_A, rng)
    _check_field(session, atoms, like)
    n_defoci, seed = len(request.defocus_um), acquisition.seed
    step = ProcessingStep("simulate", f"hrtem {len(atoms)} atoms, {n_defoci} defoci, seed {seed}")

    def simulate(outputs: Outputs) -> tuple[NDArray[np.float32], GroundTruth]:
        with session.reporter.progress(len(tilt_deg), "simulating") as advance:
            series = hrtem_series(
                atoms,
                tilt_deg,
                ANGSTROM_PER_UM * np.array(request.defocus_um),
                optics,
                shape=(size, size),
                pixel_A=pixel_A,
                errors=acquisition.errors(pixel_A),
                rng=rng,
                dose_e_A2=acquisition.dose_e_A2,
                debye_waller_A2=request.debye_waller_A2,
                threads=session.threads,
                progress=advance,
            )
        for name in acquisition.write_truth:
            _write_truth(outputs, name, atoms, request.debye_waller_A2, size, pixel_A, step)
        return series

    write_simulation(session, like, acquisition, step, simulate)


def _check_field(session: Session, atoms: Atoms, like: TiltSeries) -> None:
    """Tell the size of the specimen, and warn of atoms outside the views."""
    position_px = atoms.position_A / (like.pixel_A or 1.0)
    across = np.max([np.abs(across_axis(position_px, tilt)) for tilt in np.unique(like.tilt_deg)], axis=0)
    farthest = np.maximum(across, np.abs(position_px[:, 1]))
    radius_A = np.linalg.norm(atoms.position_A, axis=1).max()
    session.reporter.note(f"{len(atoms)} atoms, within {radius_A:.2f} Å")
    check_inside(session, farthest, like.shape[1], "atoms lie outside views")


def _write_truth(
    outputs: Outputs,
    name: str,
    atoms: Atoms,
    debye_waller_A2: DebyeWaller,
    size: int,
    pixel_A: float,
    step: ProcessingStep,
) -> None:
    """Write the specimen as it is simulated: its atoms, or its potential on the voxels of the series."""
    shape = (size, size, size)
    if is_atoms_file(name):
        write_true_atoms(outputs, name, atoms, shape, pixel_A, step)
    elif name.lower().endswith(".mrc"):
        potential = mean_potential(atoms, shape, pixel_A, debye_waller_A2=debye_waller_A2)
        frame = VolumeFrame.central(shape, pixel_A)
        with volume_writer(outputs, name, shape, step=step, pixel_A=pixel_A, frame=frame) as writer:
            for z, section in enumerate(potential):
                writer.write_section(z, section)
