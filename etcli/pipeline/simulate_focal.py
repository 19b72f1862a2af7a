"""Simulation of the through-focal dark-field series of a crystal in zone axis."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import checked_positive
from etcli.core.depth.atom_columns import AtomColumns, atoms_of_columns, columns_of_atoms
from etcli.core.depth.focal_optics import FocalOptics
from etcli.core.errors import DataError
from etcli.core.lengths import ANGSTROM_PER_UM, Length
from etcli.core.simulate.focal import FocalTruth, column_libraries, columns_px, defocus_range, focal_series
from etcli.core.view_table import ViewTable
from etcli.io.atoms import is_atoms_file
from etcli.io.outputs import Outputs
from etcli.io.tables import write_table
from etcli.io.writers import ProcessingStep
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.simulate import SeriesRequest, check_inside, pixel_size_A, write_simulation
from etcli.pipeline.simulate_atoms import OrientedSpecimen, oriented_atoms, write_true_atoms

TRUTH_FILES = (".xyz", ".extxyz", ".pdb", ".cif", ".csv")


@dataclass(frozen=True)
class FocalSeriesRequest(OrientedSpecimen):
    """Specimen and microscope of a simulated focal series, named as the options of ``etcli simulate focal``.

    Parameters
    ----------
    specimen, diameter, axis_direction, beam
        As for `OrientedSpecimen`; the axis direction is along y.
    defocus_um : (float, float, float)
        First and last defocus, and the distance between neighbours, in µm; negative for underfocus.
    optics : FocalOptics
        Illumination and detector.
    debye_waller_A2 : float
        Debye-Waller factor of the atoms in Å².
    """

    defocus_um: tuple[float, float, float] = (0.02, -0.02, 0.001)
    optics: FocalOptics = field(default_factory=FocalOptics)
    debye_waller_A2: float = 0.63

    def views(self) -> ViewTable:
        """Return the table of the views, which are not tilted."""
        defocus_um = defocus_range(*self.defocus_um)
        return replace(ViewTable.tilted(np.zeros(len(defocus_um))), defocus_um=defocus_um)


@with_one_blas_thread
def simulate_focal_files(
    session: Session,
    output: str,
    request: FocalSeriesRequest,
    acquisition: SeriesRequest,
    *,
    size: int,
    pixel: Length,
) -> None:
    """Simulate the through-focal dark-field series of a crystal in zone axis.

    Parameters
    ----------
    session : Session
    output : str
    request : FocalSeriesRequest
        Specimen and microscope.
    acquisition : SeriesRequest
        Dose, drift and files; its drift is the standard deviation from a view to the next. It has no tilt
        angles.
    size : int
        Pixels along each side.
    pixel : Length
        Pixel size.

    Raises
    ------
    UsageError
        When a request contradicts itself, or all columns are outside the views.
    DataError
        When the file of atoms is damaged, or the model is not in zone axis.
    """
    acquisition.check_truth(TRUTH_FILES, "the atoms, the columns")
    acquisition.check_mode("--dose", given=acquisition.dose_e_A2 is not None)
    pixel_A, rng, views = pixel_size_A(pixel), np.random.default_rng(acquisition.seed), request.views()
    shape = (size, size)
    drift_px = checked_positive("--drift", acquisition.drift.px(pixel_A), or_zero=True)
    like = acquisition.described(views, output, shape, pixel_A, voltage_kV=request.optics.voltage_kV)
    columns = _columns(session, request, pixel_A, rng)
    _check_field(session, columns, shape, pixel_A)
    focus_A = 0.0 - ANGSTROM_PER_UM * np.asarray(views.defocus_um)
    atoms, seed = int(columns.count.sum()), acquisition.seed
    step = ProcessingStep("simulate", f"focal {atoms} atoms, {len(columns)} columns, seed {seed}")

    def simulate(outputs: Outputs) -> tuple[NDArray[np.float32], FocalTruth]:
        libraries = column_libraries(
            columns, request.optics, debye_waller_A2=request.debye_waller_A2, focus_A=focus_A
        )
        _write_truth(outputs, acquisition.write_truth, columns, shape, pixel_A, step)
        return focal_series(
            columns,
            libraries,
            focus_A=focus_A,
            shape=shape,
            pixel_A=pixel_A,
            drift_px=drift_px,
            dose_e_A2=acquisition.dose_e_A2,
            rng=rng,
        )

    write_simulation(session, like, acquisition, step, simulate)


def _columns(
    session: Session, request: FocalSeriesRequest, pixel_A: float, rng: np.random.Generator
) -> AtomColumns:
    """Find the columns of the specimen; errors name its file."""
    atoms = oriented_atoms(session, request, pixel_A, rng)
    try:
        columns = columns_of_atoms(atoms)
    except DataError as error:
        raise DataError(f"{request.specimen}: {error}") from None
    session.reporter.note(
        f"{len(atoms)} atoms in {len(columns)} columns of {columns.count.min()} to {columns.count.max()}, z "
        f"from {atoms.position_A[:, 2].min():.2f} to {atoms.position_A[:, 2].max():.2f} Å"
    )
    return columns


def _check_field(session: Session, columns: AtomColumns, shape: tuple[int, int], pixel_A: float) -> None:
    """Check that there are columns inside the views, and warn of those outside."""
    farthest = np.abs(columns.position_A / pixel_A).max(axis=1)
    check_inside(session, farthest, shape[0], "columns lie outside the views")


def _write_truth(
    outputs: Outputs,
    names: Sequence[str],
    columns: AtomColumns,
    shape: tuple[int, int],
    pixel_A: float,
    step: ProcessingStep,
) -> None:
    """Write the specimen as it is simulated: its atoms, and a table of its columns."""
    for name in names:
        if is_atoms_file(name):
            atoms = atoms_of_columns(
                columns.position_A, columns.count, columns.depth_A, columns.spacing_A, columns.element
            )
            write_true_atoms(outputs, name, atoms, (shape[0], *shape), pixel_A, step)
        elif name.lower().endswith(".csv"):
            (x_A, y_A), (col_px, row_px) = columns.position_A.T, columns_px(columns, shape, pixel_A).T
            table = {"x_A": x_A, "y_A": y_A, "col_px": col_px, "row_px": row_px}
            write_table(outputs.path(name), {**table, "count": columns.count, "z_A": columns.depth_A})
