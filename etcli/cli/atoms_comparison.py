"""Lists of atoms held against each other, in numbers."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.options import Settings
from etcli.cli.pictures import announce_picture
from etcli.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from etcli.core.atoms.agreement import Agreement, Errors, Group
    from etcli.core.atoms.match import RigidMotion
    from etcli.core.atoms.model import Atoms

SEED = 1
PM = 100.0  # in an Å
SUSPICIOUS, LOW = 2.0, 5.0  # times what chance gives; percent
FEW, MARGIN = 20, 5.0  # pairs; percent


@dataclass(frozen=True)
class AtomsWish:
    """How atoms are to be compared.

    Parameters
    ----------
    cutoff_A : float
        Largest distance of a pair.
    rule : {"one-to-one", "nearest"}
        How pairs are made.
    align : bool
        Turn and shift A onto B first.
    box_A : tuple of float or None
        Full widths of the box that both are cut to.
    report : str or None
        Folder for tables and pictures of both structures.
    """

    cutoff_A: float
    rule: str
    align: bool
    box_A: tuple[float, float, float] | None
    report: str | None


def compare_atoms(
    settings: Settings, a: str, b: str, *, wish: AtomsWish, as_json: bool, plot: str | None
) -> None:
    """Compare two files of atoms and print what was found.

    Parameters
    ----------
    settings : Settings
    a, b : str
        A file and its reference.
    wish : AtomsWish
        How.
    as_json : bool
        Print JSON, not tables.
    plot : str or None
        Picture to draw.
    """
    import numpy as np

    from etcli.cli.structure_report import write_report
    from etcli.core.atoms.agreement import agreement, chance_percent

    cutoff_A, rule = wish.cutoff_A, wish.rule
    model, reference = (open_atoms(settings, name) for name in (a, b))
    names = PurePath(a).name, PurePath(b).name
    with settings.outputs() as outputs:
        write_picture = announce_picture(outputs, plot) if plot else None
        motion: dict[str, float] = {}
        if wish.align:
            model, motion = _aligned(model, reference, cutoff_A, a)
        if wish.box_A:
            model, reference = _within(model, wish.box_A, a), _within(reference, wish.box_A, b)
        result = agreement(model, reference, cutoff_A=cutoff_A, rule=rule)
        rng = np.random.default_rng(SEED)
        chance = chance_percent(reference.position_A, rng, cutoff_A=cutoff_A, rule=rule)
        found = {"atoms": len(model), "reference_atoms": len(reference), **_numbers(result.total), **motion}
        found |= {"chance_percent": chance, "cutoff_A": cutoff_A, "rule": rule}
        _warn_of_chance(settings, model, reference, result, cutoff_A=cutoff_A, chance=chance)
        if write_picture:
            from etcli.plotting.atom_errors import position_errors

            title = " against ".join(names)
            write_picture(position_errors(result, reference, cutoff_A=cutoff_A, title=title))
        if wish.report:
            other = names[1], reference
            write_report(settings, outputs, wish.report, model, name=names[0], reference=other)
        if as_json:
            settings.console.data(found | _by_species(result))
        else:
            click.echo("\n".join(_table(found, result)))


def open_atoms(settings: Settings, name: str) -> "Atoms":
    """Read the atoms of a file that is an input of the command."""
    from etcli.io.atoms import read_atoms

    atoms = read_atoms(Path(name))
    settings.inputs.append(name)
    return atoms


def _aligned(
    model: "Atoms", reference: "Atoms", cutoff_A: float, name: str
) -> "tuple[Atoms, dict[str, float]]":
    """Return the model on the reference, and what it took."""
    from etcli.core.atoms.match import align_rigid

    try:
        motion = align_rigid(model.position_A, reference.position_A, cutoff_A=cutoff_A)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return replace(model, position_A=motion(model.position_A)), _motion(motion)


def _motion(motion: "RigidMotion") -> dict[str, float]:
    shift = {f"shift_{axis}_pm": _pm(d) for axis, d in zip("xyz", motion.shift_A, strict=True)}
    return {"rotation_deg": round(motion.angle_deg, 9), **shift}


def _within(atoms: "Atoms", box_A: tuple[float, float, float], name: str) -> "Atoms":
    """Return the atoms in a box about the centre."""
    import numpy as np

    chosen = np.all(np.abs(atoms.position_A) < np.array(box_A) / 2, axis=1)
    if not chosen.any():
        raise DataError(f"{name}: none of its {len(atoms)} atoms is in the --box; is it about the centre?")
    return atoms.select(chosen)


def _numbers(group: "Group") -> dict[str, Any]:
    """Return what was found of a group of atoms."""
    counts = {"found": group.n_found, "false": group.n_extra, "missing": group.n_reference - group.n_found}
    percent = {
        "found_percent": group.found_percent,
        "false_percent": group.false_percent,
        "missing_percent": group.missing_percent,
        "right_percent": group.right_percent,
    }
    return {**counts, **percent, **_errors(group.errors)}


def _errors(errors: "Errors") -> dict[str, float]:
    """Return errors in pm."""
    lengths = {"rmsd": errors.rmsd_A, "mean_error": errors.mean_A}
    for name, values in (
        ("rmsd", errors.rmsd_axis_A),
        ("mean_error", errors.mean_axis_A),
        ("offset", errors.offset_A),
    ):
        lengths |= {f"{name}_{axis}": value for axis, value in zip("xyz", values.tolist(), strict=True)}
    return {f"{name}_pm": _pm(value) for name, value in lengths.items()}


def _pm(length_A: float) -> float:
    return round(PM * float(length_A), 6) + 0.0


def _by_species(result: "Agreement") -> dict[str, Any]:
    """Return what was found of each element, and which were taken for which."""
    names = list(result.species)
    rows = zip(names, result.confusion.tolist(), strict=True)
    return {
        "species": {
            name: {"reference_atoms": group.n_reference, **_numbers(group)}
            for name, group in result.species.items()
        },
        "confusion": {name: dict(zip(names, row, strict=True)) for name, row in rows},
    }


def _table(found: dict[str, Any], result: "Agreement") -> list[str]:
    """Return the lines to print: a number each, then a table by element, and one of which is which."""
    lines = [f"{name:<20} {_word(value)}" for name, value in found.items()]
    if len(result.species) > 1:
        columns = ("reference_atoms", "found", "false", "found_percent", "right_percent", "rmsd_pm")
        groups = _by_species(result)["species"]
        lines += ["", "  ".join(["element", *columns])]
        for name, numbers in groups.items():
            words = [f"{_word(numbers[column], 4):>{len(column)}}" for column in columns]
            lines.append("  ".join([f"{name:<7}", *words]))
        lines += ["", "  ".join(["B \\ A  ", *(f"{name:>7}" for name in groups), "missing"])]
        counts: NDArray[np.int64] = result.confusion
        for (name, group), row in zip(result.species.items(), counts, strict=True):
            words = [f"{count:>7}" for count in (*row, group.n_reference - group.n_found)]
            lines.append("  ".join([f"{name:<7}", *words]))
        extra = [f"{group.n_extra:>7}" for group in result.species.values()]
        lines.append("  ".join([f"{'false':<7}", *extra]))
    return lines


def _word(value: Any, digits: int = 6) -> str:
    if isinstance(value, float):
        return f"{value:.{digits}g}" if value == value else "-"
    return str(value)


def _warn_of_chance(
    settings: Settings,
    model: "Atoms",
    reference: "Atoms",
    result: "Agreement",
    *,
    cutoff_A: float,
    chance: float,
) -> None:
    """Say so where a model finds hardly more than chance does, and how it may have been meant."""
    import numpy as np

    from etcli.core.atoms.agreement import better_frame

    found, right = result.total.found_percent, result.total.right_percent
    share = result.confusion / max(int(result.confusion.sum()), 1)
    by_chance = 100 * float(share.sum(axis=0) @ share.sum(axis=1))
    if len(result.pairs) >= FEW and len(result.confusion) > 1 and right < by_chance + MARGIN:
        settings.console.warn(
            f"elements agree in {right:.3g} % of the pairs, hardly more than by chance ({by_chance:.3g} %); "
            "in a crystal a mirrored or shifted model fits as well"
        )
    # a model of a part finds little of the whole, but much of it is found
    of_model = 100 * result.total.n_found / max(len(model), 1)
    if max(found, of_model) > max(SUSPICIOUS * chance, LOW):
        return
    text = f"{found:.3g} % found is little more than the {chance:.3g} % of chance"
    places = model.position_A, reference.position_A
    frame = better_frame(*places, np.random.default_rng(SEED), cutoff_A=cutoff_A)
    if frame is None:
        settings.console.warn(f"{text}; give a smaller --cutoff, or look whether both are of one specimen")
        return
    what = f"axes of A read as {frame.axes}{' (mirrored)' if frame.is_mirrored else ''}"
    if frame.shift_A.any():
        what += " and a shift by {:.4g},{:.4g},{:.4g} Å".format(*frame.shift_A)
    settings.console.warn(f"{text}: A is in another frame; with the {what}, {frame.found_percent:.3g} % fit")
