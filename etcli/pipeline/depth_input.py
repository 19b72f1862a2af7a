"""Input of depth sectioning: the images of a focal series, the crystal, and columns known already."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from etcli.core.depth.focal_images import FocalImages
from etcli.core.depth.focal_optics import ColumnKind
from etcli.core.depth.focal_profiles import check_foci
from etcli.core.depth.zone_lattice import ZoneLattice, zone_lattice
from etcli.core.errors import DataError, UsageError
from etcli.core.series import TiltSeries
from etcli.io.atoms import read_atoms_file
from etcli.io.lattices import read_lattice
from etcli.io.tables import read_table
from etcli.pipeline.depth_section_request import DepthSectionRequest, Zone
from etcli.pipeline.inputs import load_images
from etcli.pipeline.session import Session

Doubles = NDArray[np.float64]

COPIES = 4
"""Arrays of the size of the series that are in memory at the same time."""
SAME_COLUMN_A = 0.5
"""Largest distance of a column of one table from the same one in another."""


@dataclass(frozen=True, eq=False)
class Given:
    """Columns and counts that are known already.

    Parameters
    ----------
    position_A : ndarray of shape (n_columns, 2), float64, or None
        x and y in Å from the centre of the image.
    count : ndarray of shape (n_columns,), int64, or None
        Atoms of each.
    """

    position_A: Doubles | None = None
    count: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, columns_A: ArrayLike | None, counts: ArrayLike | None) -> "Given":
        """Check columns and counts that a script gives; raise UsageError for those that do not fit."""
        position = None if columns_A is None else np.asarray(columns_A, np.float64)
        if position is not None and (position.ndim != 2 or position.shape[1:] != (2,)):
            raise UsageError(f"columns are x and y a row, not of shape {position.shape}")
        if counts is None:
            return cls(position)
        number = np.asarray(counts, np.float64)
        if position is None or number.shape != (len(position),):
            raise UsageError("counts need the columns that were counted, one number for each")
        if (number < 0).any() or (number != np.rint(number)).any():
            raise UsageError("a count is a whole number of atoms, 0 or more")
        return cls(position, number.astype(np.int64))


def read_given(columns: str | None, counts: str | None) -> Given:
    """Read tables of known columns and counts, as ``--csv`` writes them.

    Parameters
    ----------
    columns : str or None
        CSV with the columns x_A and y_A.
    counts : str or None
        CSV with a column count; with x_A and y_A its rows are assigned to the columns by place, and it may
        stand in for the table of columns; otherwise by their order.

    Returns
    -------
    Given

    Raises
    ------
    DataError
        When a table is damaged, or the counts do not belong to the columns.
    """
    position = None
    if columns is not None:
        table = read_table(Path(columns), needed=("x_A", "y_A"))
        position = np.column_stack([table["x_A"], table["y_A"]])
    if counts is None:
        return Given(position)
    table = read_table(Path(counts), needed=("count",), optional=("x_A", "y_A"))
    for name in {"x_A", "y_A"} & set(table):
        if not np.isfinite(table[name]).all():
            raise DataError(f"{counts}: a row has no {name}")
    number = table["count"]
    if (number < 0).any() or (number != np.rint(number)).any():
        raise DataError(f"{counts}: a count is a whole number of atoms, 0 or more")
    places = np.column_stack([table["x_A"], table["y_A"]]) if {"x_A", "y_A"} <= set(table) else None
    if position is None:
        if places is None:
            raise DataError(f"{counts}: without x_A and y_A, counts need the --columns that were counted")
        return Given(places, number.astype(np.int64))
    if places is None:
        if len(number) != len(position):
            raise DataError(f"{counts}: {len(number)} counts for the {len(position)} columns of {columns}")
        return Given(position, number.astype(np.int64))
    away, nearest = cKDTree(places).query(position)
    if (away > SAME_COLUMN_A).any():
        first = int(np.flatnonzero(away > SAME_COLUMN_A)[0])
        raise DataError(
            f"{counts}: no count within {SAME_COLUMN_A:g} Å of column {first + 1} of {columns}; "
            f"{int((away > SAME_COLUMN_A).sum())} columns have none"
        )
    return Given(position, number[nearest].astype(np.int64))


def read_focal_images(
    session: Session, series: TiltSeries, request: DepthSectionRequest, *, counting: bool = True
) -> FocalImages:
    """Load the images of a series as fractions of the beam, with their foci.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    request : DepthSectionRequest
    counting : bool
        Whether atoms are to be counted, and are not known already.

    Returns
    -------
    FocalImages
        Without displacements.

    Raises
    ------
    DataError
        When the pixel size is not known, values are not finite or no fractions, or the foci do not give
        depths.
    UsageError
        When the series does not fit into the memory.
    """
    if len(series.views.groups()) > 1 and series.views.tilt_deg is not None:
        raise DataError(
            f"{series.name}: is a tilt series; depth sectioning takes images at one tilt, which --views "
            "chooses"
        )
    pixel_A = series.pixel_A
    if request.pixel is not None:
        pixel_A = request.pixel.angstrom(series.pixel_A)
    if not pixel_A or not pixel_A > 0:
        raise DataError(f"{series.name}: the pixel size is not known; give --pixel, such as 0.4A")
    focus = np.full(len(series), np.nan)
    if series.views.defocus_um is not None:
        focus = np.array([request.focus_A(value) for value in series.views.defocus_um])
    if request.runs("depth"):
        _check_depths_possible(series.name, focus)
    dose = request.dose_e_A2
    if dose is None and series.views.dose_e_A2 is not None and np.isfinite(series.views.dose_e_A2).all():
        dose = float(series.views.dose_e_A2.mean())
        session.reporter.note(f"dose of an image: {dose:g} electrons per Å², from the metadata")
    sections = load_images(session, series, copies=COPIES)
    highest = float(sections.max())
    counted = request.values == "counts" or (
        request.values == "auto" and np.dtype(series.data.dtype).kind in "iu"
    )
    if request.values == "auto" and not counted and highest > 1 and dose is not None:
        session.reporter.report(
            f"values up to {highest:.4g} are taken as counted electrons (--values counts)"
        )
        counted = True
    if counted and dose is not None:
        sections = sections / np.float32(dose * pixel_A**2)
    elif counted and request.runs("count") and counting and request.count_method != "icl":
        raise DataError(
            f"{series.name}: holds counts, which are fractions of the beam only with the --dose of an image; "
            "or count with --count-method icl, which needs none"
        )
    elif not counted and highest > 1:
        raise DataError(
            f"{series.name}: values up to {highest:.4g} are no fractions of the beam; if they are counted "
            "electrons, give the --dose of an image, in electrons per Å²"
        )
    nowhere = np.zeros((len(series), 2))
    return FocalImages(sections, focus, pixel_A, nowhere, dose, calibrated=not counted or dose is not None)


def _check_depths_possible(name: str, focus: Doubles) -> None:
    if not np.isfinite(focus).any():
        raise DataError(
            f"{name}: no defocus is known; give --defocus FILE with one a line in µm, or stop with "
            "--stop-after count"
        )
    try:
        check_foci(focus)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def read_zone_lattice(text: str, zone: Zone, element: str | None = None) -> ZoneLattice:
    """Read a crystal and project it along a zone axis.

    Parameters
    ----------
    text : str
        Structure, element and lattice constants, such as ``fcc:Au:4.078``; the element may be left out if it
        is given apart. Or a file of atoms with a unit cell (CIF, extended XYZ).
    zone : (int, int, int)
        Direction [u v w] of the beam.
    element : str, optional
        Element where the text has none.

    Returns
    -------
    ZoneLattice

    Raises
    ------
    UsageError
        When there is no such lattice, or it has no columns of one element with equal distances.
    DataError
        When a file has no unit cell.
    """
    if Path(text).exists() or text.lower().endswith((".cif", ".xyz", ".extxyz", ".pdb")):
        file = read_atoms_file(Path(text))
        if file.box is None:
            raise DataError(f"{text}: has no unit cell; give a CIF, or a lattice such as fcc:Au:4.078")
    else:
        words = text.split(":")
        if len(words) > 1 and re.fullmatch(r"[0-9.]+", words[1]):
            if element is None:
                raise UsageError(f"--lattice {text} names no element; give --element, or fcc:Au:4.078")
            words.insert(1, element)
        file = read_lattice(":".join(words))
    assert file.box is not None
    return zone_lattice(file.atoms, file.box.lattice_A, zone)


def column_kind(request: DepthSectionRequest, lattice: ZoneLattice | None) -> ColumnKind | None:
    """Return element and spacing of the columns as far as they are known.

    Parameters
    ----------
    request : DepthSectionRequest
    lattice : ZoneLattice or None

    Returns
    -------
    ColumnKind or None

    Raises
    ------
    UsageError
        When the lattice has another element or spacing.
    """
    element, spacing = request.element, request.spacing
    if lattice is not None:
        if element is not None and element.strip().capitalize() != lattice.element:
            raise UsageError(f"--element {element}, but the lattice is of {lattice.element}; leave one out")
        if spacing is not None:
            raise UsageError("--spacing is that of the lattice; leave it out")
        return ColumnKind(lattice.element, lattice.spacing_A, request.debye_waller_A2)
    if element is None or spacing is None:
        if request.runs("build"):
            absent = [f"--{name}" for name in ("element", "spacing") if getattr(request, name) is None]
            missing = " and ".join(absent)
            raise UsageError(
                f"a model needs a --lattice with its --zone, or {missing}; or stop with --stop-after depth"
            )
        return None
    return ColumnKind(element, spacing.angstrom(None), request.debye_waller_A2)
