"""Text table of the maps that spectra were decomposed into."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etcli.pipeline.decomposition import Decomposition


def map_table(result: "Decomposition") -> list[str]:
    """Lines of a table, one for each map, and one for what has no map."""
    lines = [f"{'map':<6} {'line':<12} {'counts':>12} {'share':>7}  sensitivity"]
    whole = max(float(result.sum_spectrum.sum()), 1e-30)
    for one in result.info:
        shown = "-" if one.sensitivity is None else f"{one.sensitivity:.3f}"
        note = "" if one.there else "  not there"
        lines.append(
            f"{one.name:<6} {one.line:<12} {one.total:12.0f} {one.total / whole:7.1%}  {shown}{note}"
        )
    for name, spectrum in result.others.items():
        lines.append(f"{'-':<6} {name:<12} {spectrum.sum():12.0f} {spectrum.sum() / whole:7.1%}  -")
    return lines
