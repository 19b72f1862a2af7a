"""Comparison of atoms with a reference: pairs, errors of positions, confusion of elements."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.agreement import (
    Agreement,
    PositionErrors,
    SpeciesAgreement,
    better_axis_mapping,
    chance_percent,
    measure_agreement,
    right_by_chance_percent,
)
from etcli.core.atoms.match import RigidMotion, align_rigid
from etcli.core.errors import DataError
from etcli.io.atoms import read_atoms
from etcli.pipeline.picture_output import announce_picture
from etcli.pipeline.session import Session
from etcli.pipeline.structure_report import write_report

SEED = 1
PM = 100.0  # per Å
CHANCE_FACTOR, LOW_PERCENT = 2.0, 5.0
"""Atoms found, as a multiple of those found by chance and in percent, below which there is a warning."""
FEWEST_PAIRS, MARGIN_PERCENT = 20, 5.0
"""Pairs from which elements are judged, and how far their agreement must exceed that by chance."""


@dataclass(frozen=True)
class AtomsRequest:
    """Options of a comparison of atoms.

    Parameters
    ----------
    cutoff_A : float
        Largest distance of two atoms that form a pair.
    rule : {"one-to-one", "nearest"}
        How atoms are paired.
    align : bool
        Rotate and shift A onto B first.
    box_A : tuple of float or None
        Full widths of a box about the centre; atoms outside are ignored.
    """

    cutoff_A: float = 0.75
    rule: str = "one-to-one"
    align: bool = False
    box_A: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class AtomsCompared:
    """Result of the comparison of a model with a reference.

    Parameters
    ----------
    model, reference : Atoms
        The atoms as compared, after alignment and within the box.
    agreement : Agreement
    numbers : dict
        Values for a table, the main ones first.
    """

    model: Atoms
    reference: Atoms
    agreement: Agreement
    numbers: dict[str, Any]

    def by_species(self) -> dict[str, Any]:
        """Numbers of each element, and the confusion matrix of the elements."""
        result = self.agreement
        names = list(result.species)
        rows = zip(names, result.confusion.tolist(), strict=True)
        return {
            "species": {
                name: {"reference_atoms": group.n_reference, **_numbers(group)}
                for name, group in result.species.items()
            },
            "confusion": {name: dict(zip(names, row, strict=True)) for name, row in rows},
        }


def compare_atoms(
    session: Session,
    model: Atoms,
    reference: Atoms,
    request: AtomsRequest,
    *,
    names: tuple[str, str] = ("A", "B"),
) -> AtomsCompared:
    """Compare atoms with a reference.

    Parameters
    ----------
    session : Session
        Gets a warning where the agreement may be by chance.
    model, reference : Atoms
    request : AtomsRequest
    names : (str, str)
        Names of both for error messages.

    Returns
    -------
    AtomsCompared

    Raises
    ------
    DataError
        When no atoms are in the box, or the alignment fails.
    """
    cutoff_A, rule = request.cutoff_A, request.rule
    motion: dict[str, float] = {}
    if request.align:
        model, motion = _align(model, reference, cutoff_A, names[0])
    if request.box_A:
        model, reference = (
            _atoms_in_box(atoms, request.box_A, name)
            for atoms, name in zip((model, reference), names, strict=True)
        )
    result = measure_agreement(model, reference, cutoff_A=cutoff_A, rule=rule)
    rng = np.random.default_rng(SEED)
    chance = chance_percent(reference.position_A, rng, cutoff_A=cutoff_A, rule=rule)
    numbers = {"atoms": len(model), "reference_atoms": len(reference), **_numbers(result.total), **motion}
    numbers |= {"chance_percent": chance, "cutoff_A": cutoff_A, "rule": rule}
    _warn_of_chance(session, model, reference, result, cutoff_A=cutoff_A, chance=chance)
    return AtomsCompared(model, reference, result, numbers)


def compare_atoms_files(
    session: Session,
    a: str,
    b: str,
    request: AtomsRequest,
    *,
    report: str | None = None,
    plot: str | None = None,
) -> AtomsCompared:
    """Compare two files of atoms.

    Parameters
    ----------
    session : Session
    a, b : str
        A file and its reference.
    request : AtomsRequest
    report : str, optional
        Folder for tables and pictures of both structures.
    plot : str, optional
        Picture to draw.

    Returns
    -------
    AtomsCompared
    """
    model, reference = (_read(session, name) for name in (a, b))
    names = PurePath(a).name, PurePath(b).name
    with session.outputs() as outputs:
        write_picture = announce_picture(outputs, plot) if plot else None
        comparison = compare_atoms(session, model, reference, request, names=(a, b))
        if write_picture:
            from etcli.plotting.atom_errors import position_errors

            title = " against ".join(names)
            figure = position_errors(
                comparison.agreement, comparison.reference, cutoff_A=request.cutoff_A, title=title
            )
            write_picture(figure)
        if report:
            other = names[1], comparison.reference
            write_report(session, outputs, report, comparison.model, name=names[0], reference=other)
    return comparison


def _read(session: Session, name: str) -> Atoms:
    """Read the atoms of an input."""
    atoms = read_atoms(Path(name))
    session.reads(name)
    return atoms


def _align(model: Atoms, reference: Atoms, cutoff_A: float, name: str) -> tuple[Atoms, dict[str, float]]:
    """Return the model aligned to the reference, and the rotation and shift applied."""
    try:
        motion = align_rigid(model.position_A, reference.position_A, cutoff_A=cutoff_A)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return replace(model, position_A=motion(model.position_A)), _motion_numbers(motion)


def _motion_numbers(motion: RigidMotion) -> dict[str, float]:
    shift = {f"shift_{axis}_pm": _in_pm(d) for axis, d in zip("xyz", motion.shift_A, strict=True)}
    return {"rotation_deg": round(motion.angle_deg, 9), **shift}


def _atoms_in_box(atoms: Atoms, box_A: tuple[float, float, float], name: str) -> Atoms:
    """Return the atoms in a box about the centre."""
    chosen = np.all(np.abs(atoms.position_A) < np.array(box_A) / 2, axis=1)
    if not chosen.any():
        raise DataError(f"{name}: none of its {len(atoms)} atoms is in the --box; is it about the centre?")
    return atoms.select(chosen)


def _numbers(group: SpeciesAgreement) -> dict[str, Any]:
    """Return counts, percentages and errors of a group of atoms."""
    counts = {"found": group.n_found, "false": group.n_extra, "missing": group.n_reference - group.n_found}
    percent = {
        "found_percent": group.found_percent,
        "false_percent": group.false_percent,
        "missing_percent": group.missing_percent,
        "right_percent": group.right_percent,
    }
    return {**counts, **percent, **_errors(group.errors)}


def _errors(errors: PositionErrors) -> dict[str, float]:
    """Return the errors of positions in pm."""
    lengths = {"rmsd": errors.rmsd_A, "mean_error": errors.mean_A}
    for name, values in (
        ("rmsd", errors.rmsd_axis_A),
        ("mean_error", errors.mean_axis_A),
        ("offset", errors.offset_A),
    ):
        lengths |= {f"{name}_{axis}": value for axis, value in zip("xyz", values.tolist(), strict=True)}
    return {f"{name}_pm": _in_pm(value) for name, value in lengths.items()}


def _in_pm(length_A: float) -> float:
    return round(PM * float(length_A), 6) + 0.0


def _warn_of_chance(
    session: Session,
    model: Atoms,
    reference: Atoms,
    result: Agreement,
    *,
    cutoff_A: float,
    chance: float,
) -> None:
    """Warn where a model agrees hardly better than by chance, and suggest other axes that would fit."""
    found, right = result.total.found_percent, result.total.right_percent
    by_chance = right_by_chance_percent(result)
    if len(result.pairs) >= FEWEST_PAIRS and len(result.confusion) > 1 and right < by_chance + MARGIN_PERCENT:
        session.reporter.warn(
            f"elements agree in {right:.3g} % of the pairs, hardly more than by chance ({by_chance:.3g} %); "
            "in a crystal a mirrored or shifted model fits as well"
        )
    # a model of a part finds few atoms of the whole, but most atoms of the model have a partner
    of_model = 100 * result.total.n_found / max(len(model), 1)
    if max(found, of_model) > max(CHANCE_FACTOR * chance, LOW_PERCENT):
        return
    text = f"{found:.3g} % found is little more than the {chance:.3g} % of chance"
    places = model.position_A, reference.position_A
    frame = better_axis_mapping(*places, np.random.default_rng(SEED), cutoff_A=cutoff_A)
    if frame is None:
        session.reporter.warn(f"{text}; give a smaller --cutoff, or look whether both are of one specimen")
        return
    what = f"axes of A read as {frame.axes}{' (mirrored)' if frame.is_mirrored else ''}"
    if frame.shift_A.any():
        what += " and a shift by {:.4g},{:.4g},{:.4g} Å".format(*frame.shift_A)
    session.reporter.warn(f"{text}: A is in another frame; with the {what}, {frame.found_percent:.3g} % fit")
