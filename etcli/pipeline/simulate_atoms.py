"""Simulation of the dark-field tilt series of atoms at atomic resolution."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.core.simulate.acquisition import GroundTruth
from etcli.core.simulate.adf import AiryDisc, Signal, Sphere, atoms_series, dark_field_weights
from etcli.core.simulate.crystals import ball_of_crystal, cut_to_ball, orientation
from etcli.io.atoms import Box, atoms_format, is_atoms_file, read_atoms_file, write_atoms
from etcli.io.lattices import read_lattice
from etcli.io.outputs import Outputs
from etcli.io.writers import ProcessingStep
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.simulate import SeriesRequest, pixel_size_A, specimen_history, write_simulation

RESOLUTION = Length(1.6, "A")
ATOMS_FILES = (".xyz", ".extxyz", ".pdb", ".cif")
Direction = tuple[float, float, float]


@dataclass(frozen=True)
class OrientedSpecimen:
    """Specimen of atoms and its orientation, named as the options of ``etcli simulate``.

    Parameters
    ----------
    specimen : str
        A file of atoms, or a lattice such as ``diamond:Si:5.431``.
    diameter : Length or None
        Diameter of the ball to which the specimen is cut; needed for a lattice.
    axis_direction, beam : (float, float, float)
        Directions of the specimen along the tilt axis and along the beam at 0°: u, v and w of a lattice, or
        x, y and z of a file of atoms.
    """

    specimen: str
    diameter: Length | None = None
    axis_direction: Direction = (0.0, 1.0, 0.0)
    beam: Direction = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class AtomsSeriesRequest(OrientedSpecimen):
    """Specimen and signal of a simulated series of atoms, named as the options of ``etcli simulate adf``.

    Parameters
    ----------
    specimen, diameter, axis_direction, beam
        As for `OrientedSpecimen`.
    resolution : Length or None
        First zero of the Airy disc; None for 1.6 Å.
    spheres : Length or None
        Radius of the spheres, or 0 for points, that are imaged in place of Airy discs.
    counts : float or None
        Sum of the counts of a view; None for signals without noise, the mean of which is 1 an atom.
    noise : bool
        Whether the counts have Poisson noise.
    """

    resolution: Length | None = None
    spheres: Length | None = None
    counts: float | None = None
    noise: bool = True

    def check(self) -> None:
        """Check the options; raise UsageError for contradictory ones."""
        if self.resolution is not None and self.spheres is not None:
            raise UsageError("--resolution is that of a microscope, which --spheres leave out; give one")
        if self.counts is not None and not 0 < self.counts <= 1e15:
            raise UsageError(f"--counts {self.counts:g}: must be above 0 and no more than 1e15")
        if not self.noise and self.counts is None:
            raise UsageError("there is no noise without --counts; leave out --no-noise")

    def signal(self, pixel_A: float) -> Signal:
        """Image of an atom, in pixels of the given size."""
        if self.spheres is not None:
            return Sphere(self.spheres.px(pixel_A))
        return self.microscope(pixel_A)

    def microscope(self, pixel_A: float) -> AiryDisc:
        """Image of a point in the microscope, also where spheres are asked for."""
        return AiryDisc((self.resolution or RESOLUTION).px(pixel_A))

    def weight(self, atoms: Atoms) -> NDArray[np.float64]:
        """Relative signal of each atom; spheres are all alike."""
        return np.ones(len(atoms)) if self.spheres is not None else dark_field_weights(atoms.species)

    def summary(self, n_atoms: int, seed: int) -> str:
        """Describe the simulation for the history, in no more than the 60 letters that a label has left."""
        size = self.spheres if self.spheres is not None else self.resolution or RESOLUTION
        name = "R" if self.spheres is not None else "d"
        counts = "" if self.counts is None else f", {self.counts:g} counts{'' if self.noise else ' exact'}"
        return f"adf {n_atoms} atoms, {name} {size.value:g} {size.unit}{counts}, seed {seed}"


@with_one_blas_thread
def simulate_atoms_files(
    session: Session,
    output: str,
    request: AtomsSeriesRequest,
    acquisition: SeriesRequest,
    *,
    size: int,
    pixel: Length,
) -> None:
    """Simulate the dark-field series of atoms.

    Parameters
    ----------
    session : Session
    output : str
    request : AtomsSeriesRequest
        Specimen and signal.
    acquisition : SeriesRequest
        Tilt angles, errors and files; its dose and level are not used.
    size : int
        Pixels along each side.
    pixel : Length
        Pixel size.

    Raises
    ------
    UsageError
        When a request contradicts itself, no lattice has such a name, or atoms are outside a view.
    DataError
        When a file of atoms is damaged.
    """
    request.check()
    acquisition.check_truth(ATOMS_FILES, "the atoms")
    acquisition.check_mode("--counts", given=request.counts is not None)
    pixel_A, rng = pixel_size_A(pixel), np.random.default_rng(acquisition.seed)
    like = acquisition.description(output, (size, size), pixel_A)
    signal = request.signal(pixel_A)
    atoms = oriented_atoms(session, request, pixel_A, rng)
    weight = request.weight(atoms)
    step = ProcessingStep("simulate", request.summary(len(atoms), acquisition.seed))
    session.reporter.note(
        f"{len(atoms)} atoms, within {np.linalg.norm(atoms.position_A, axis=1).max():.2f} Å"
    )

    def simulate(outputs: Outputs) -> tuple[NDArray[np.float32], GroundTruth]:
        for name in filter(is_atoms_file, acquisition.write_truth):
            write_true_atoms(outputs, name, atoms, (size, size, size), pixel_A, step)
        return atoms_series(
            atoms,
            like.tilt_deg,
            signal,
            weight=weight,
            shape=(size, size),
            pixel_A=pixel_A,
            errors=acquisition.errors(pixel_A),
            rng=rng,
            counts=request.counts,
            noise=request.noise,
            threads=session.threads,
        )

    write_simulation(session, like, acquisition, step, simulate)


def oriented_atoms(
    session: Session, request: OrientedSpecimen, pixel_A: float, rng: np.random.Generator
) -> Atoms:
    """Read or build the specimen, cut it to its ball and turn it into the microscope.

    Parameters
    ----------
    session : Session
    request : OrientedSpecimen
    pixel_A : float
        Pixel size, for a diameter in pixels.
    rng : numpy.random.Generator
        The centre of a ball of crystal is drawn from it.

    Returns
    -------
    Atoms
        Position and element; the tilt axis is along y, the beam at 0° along z.

    Raises
    ------
    UsageError
        When no lattice has such a name, a crystal has no diameter, or no atoms are left.
    DataError
        When a file of atoms is damaged.
    """
    name = request.specimen
    is_lattice = ":" in name and not is_atoms_file(name) and not Path(name).exists()
    if not is_lattice:
        session.reads(name)
    file = read_lattice(name) if is_lattice else read_atoms_file(Path(name))
    # the CIF of a crystal is one unit cell; one of a volume, as etcli writes it, has its corner elsewhere
    is_cell = is_lattice or (
        name.lower().endswith(".cif") and file.box is not None and not file.box.origin_A.any()
    )
    diameter_A = None if request.diameter is None else request.diameter.angstrom(pixel_A)
    if is_cell and diameter_A is None:
        raise UsageError(f"{name}: a crystal has no end; give the --diameter of a ball of it")
    lattice_A = file.box.lattice_A if is_cell and file.box is not None else np.eye(3)
    turn = orientation(np.array(request.axis_direction) @ lattice_A, np.array(request.beam) @ lattice_A)
    atoms = file.atoms
    if diameter_A is not None:
        atoms = (
            ball_of_crystal(atoms, lattice_A, diameter_A, rng) if is_cell else cut_to_ball(atoms, diameter_A)
        )
    if not len(atoms):
        raise UsageError(f"{name}: no atoms in a ball of {diameter_A:g} Å; give a larger --diameter")
    return Atoms(atoms.position_A @ turn.T, atoms.species)


def write_true_atoms(
    outputs: Outputs,
    name: str,
    atoms: Atoms,
    shape: tuple[int, int, int],
    pixel_A: float,
    step: ProcessingStep,
) -> None:
    """Write the atoms of a simulation, in the box of a volume of this shape."""
    box = Box.of_volume(shape, pixel_A)
    history = [*specimen_history(outputs.run.inputs), outputs.run.record(step)]
    write_atoms(outputs.path(name), atoms, form=atoms_format(name), box=box, history=history)
