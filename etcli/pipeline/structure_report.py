"""Structure report: a folder of tables and pictures of the arrangement of atoms."""

from typing import Any

import numpy as np

from etcli.core.atomic_model import Atoms
from etcli.core.atoms import histograms
from etcli.core.atoms.structure import Structure, measure_structure
from etcli.core.errors import DataError
from etcli.io.outputs import Outputs
from etcli.io.tables import write_table
from etcli.pipeline.picture_output import announce_picture
from etcli.pipeline.session import Session

REFERENCE = "_reference"  # suffix of the columns of the reference
LENGTH_STEP_A, ANGLE_STEP_DEG = 0.02, 2.0
TABLES = ("summary", "pair_distribution", "bond_lengths", "bond_angles", "coordination", "nearest_neighbours")
PICTURES = ("pair_distribution", "bonds")


def write_report(
    session: Session,
    outputs: Outputs,
    folder: str,
    atoms: Atoms,
    *,
    name: str = "atoms",
    reference: tuple[str, Atoms] | None = None,
    cutoff_A: float | None = None,
) -> None:
    """Write the structure report of a model of atoms.

    Parameters
    ----------
    session : Session
    outputs : Outputs
        Output files of the command, to which those of the report are added.
    folder : str
        Created if missing.
    atoms : Atoms
        At least two.
    name : str
        Name of the model in pictures.
    reference : (str, Atoms), optional
        Name and atoms of a reference to show beside the model; its columns end in ``_reference``.
    cutoff_A : float, optional
        Largest length of a bond; by default the first minimum of the pair distribution function, of the
        reference if there is one.

    Raises
    ------
    DataError
        When there are too few atoms.
    """
    from etcli.plotting.structure import bonds, pair_distributions

    place = outputs.folder(folder)
    tables = {table: outputs.path(place / f"{table}.csv") for table in TABLES}
    pictures = {picture: announce_picture(outputs, str(place / f"{picture}.png")) for picture in PICTURES}
    structures: dict[str, Structure] = {}
    names = {"": name}
    for suffix, other_name, other in ((REFERENCE, *reference),) if reference else ():
        structures[suffix] = _measure(other_name, other, cutoff_A)
        names[suffix] = other_name
        cutoff_A = structures[suffix].cutoff_A
    structures = {"": _measure(name, atoms, cutoff_A), **structures}
    for table, columns in _tables(structures, names).items():
        write_table(tables[table], columns)
    same_names = len(set(names.values())) < len(names)
    shown = {
        f"{label} ({'B' if suffix else 'A'})" if same_names else label: structures[suffix]
        for suffix, label in names.items()
    }
    pictures["pair_distribution"](pair_distributions(shown))
    pictures["bonds"](bonds(shown))
    session.reporter.note(f"{folder}: bonds are up to {structures[''].cutoff_A:.3g} Å long")


def _measure(name: str, atoms: Atoms, cutoff_A: float | None) -> Structure:
    try:
        return measure_structure(atoms, cutoff_A=cutoff_A)
    except DataError as error:
        raise DataError(f"{name}: {error}; leave --report out") from error


def _tables(structures: dict[str, Structure], names: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the tables by name, each with its columns by name."""
    longest_A = max(one.cutoff_A for one in structures.values())
    farthest_A = max(float(one.nearest_A.max()) for one in structures.values())
    edges_A = np.arange(0, longest_A + LENGTH_STEP_A, LENGTH_STEP_A)
    near_A = np.arange(0, farthest_A + LENGTH_STEP_A, LENGTH_STEP_A)
    edges_deg = np.arange(0, 180 + ANGLE_STEP_DEG, ANGLE_STEP_DEG)
    tables: dict[str, dict[str, Any]] = {
        "summary": _summary(structures, names),
        "pair_distribution": {"distance_A": structures[""].distribution.distance_A},
        "bond_lengths": {"length_A": _middles(edges_A)},
        "bond_angles": {"angle_deg": _middles(edges_deg)},
        "coordination": {
            "bonds": np.arange(1 + max(int(one.coordination.max()) for one in structures.values()))
        },
        "nearest_neighbours": {"distance_A": _middles(near_A)},
    }
    n_bonds = len(tables["coordination"]["bonds"])
    for suffix, one in structures.items():
        partial = {f"g_{a}_{b}{suffix}": values for (a, b), values in one.distribution.partial.items()}
        tables["pair_distribution"] |= {f"g{suffix}": one.distribution.g, **partial}
        for key, curve in histograms.bond_lengths(one, edges_A).items():
            tables["bond_lengths"][_column("density", key, "per_A", suffix)] = curve
        for key, curve in histograms.bond_angles(one, edges_deg).items():
            tables["bond_angles"][_column("density", key, "per_deg", suffix)] = curve
        for key, share in histograms.coordination(one).items():
            full = np.pad(100 * share, (0, n_bonds - len(share)))
            tables["coordination"][_column("atoms", key, "percent", suffix)] = full
        tables["nearest_neighbours"][f"density_per_A{suffix}"] = histograms.nearest_neighbours(one, near_A)
    return tables


def _column(what: str, key: str, unit: str, suffix: str) -> str:
    return "_".join(filter(None, (what, key, unit))) + suffix


def _middles(edges: Any) -> Any:
    return (edges[1:] + edges[:-1]) / 2


def _summary(structures: dict[str, Structure], names: dict[str, str]) -> dict[str, Any]:
    """Return the summary table: one row for each model and each of its pairs of elements."""
    columns: dict[str, list[Any]] = {}

    def add(**row: Any) -> None:
        for key, value in row.items():
            columns.setdefault(key, []).append(value)

    for suffix, one in structures.items():
        inner = histograms.inner_atoms(one)
        kinds = {"all": np.ones(len(one.bonds), bool), **histograms.bonds_by_elements(one)}
        for pair, chosen in kinds.items():
            length_A, is_all = one.length_A[chosen], pair == "all"
            add(
                model=names[suffix],
                elements=pair,
                atoms=len(one.atoms) if is_all else np.nan,
                density_per_A3=one.distribution.density_A3 if is_all else np.nan,
                cutoff_A=one.cutoff_A,
                bonds=len(length_A),
                bond_length_A=length_A.mean() if len(length_A) else np.nan,
                bond_length_sd_A=length_A.std() if len(length_A) else np.nan,
                bond_angle_deg=one.angle_deg.mean() if is_all and len(one.angle_deg) else np.nan,
                bond_angle_sd_deg=one.angle_deg.std() if is_all and len(one.angle_deg) else np.nan,
                coordination=one.coordination.mean() if is_all else np.nan,
                coordination_inside=one.coordination[inner].mean() if is_all else np.nan,
                nearest_neighbour_A=one.nearest_A.mean() if is_all else np.nan,
            )
    return columns
