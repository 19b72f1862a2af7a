"""Text tables of the results of a comparison."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etcli.pipeline.compare_atoms import AtomsCompared


def numbers_table(numbers: dict[str, Any]) -> list[str]:
    """Lines of a table with one number each."""
    return [f"{name:<20} {'-' if value is None else f'{value:.6g}'}" for name, value in numbers.items()]


def atoms_table(comparison: "AtomsCompared") -> list[str]:
    """Lines with one number each, then a table by element, and the confusion matrix of the elements."""
    lines = [f"{name:<20} {_word(value)}" for name, value in comparison.numbers.items()]
    result = comparison.agreement
    if len(result.species) > 1:
        columns = ("reference_atoms", "found", "false", "found_percent", "right_percent", "rmsd_pm")
        groups = comparison.by_species()["species"]
        lines += ["", "  ".join(["element", *columns])]
        for name, numbers in groups.items():
            words = [f"{_word(numbers[column], 4):>{len(column)}}" for column in columns]
            lines.append("  ".join([f"{name:<7}", *words]))
        lines += ["", "  ".join(["B \\ A  ", *(f"{name:>7}" for name in groups), "missing"])]
        for (name, group), row in zip(result.species.items(), result.confusion, strict=True):
            words = [f"{count:>7}" for count in (*row, group.n_reference - group.n_found)]
            lines.append("  ".join([f"{name:<7}", *words]))
        extra = [f"{group.n_extra:>7}" for group in result.species.values()]
        lines.append("  ".join([f"{'false':<7}", *extra]))
    return lines


def _word(value: Any, digits: int = 6) -> str:
    if isinstance(value, float):
        return f"{value:.{digits}g}" if value == value else "-"
    return str(value)
