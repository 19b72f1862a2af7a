"""Text table of the maps that spectra were decomposed into."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etcli.pipeline.decomposition import Decomposition


def map_table(result: "Decomposition") -> list[str]:
    """Lines of a table, one for each map, and one for what has no map."""
    lines = [f"{'map':<6} {'line':<12} {'counts':>12} {'±':>7} {'share':>7}  sensitivity"]
    whole = max(float(result.sum_spectrum.sum()), 1e-30)
    for one in result.info:
        shown = "-" if one.sensitivity is None else f"{one.sensitivity:.3f}"
        error = "-" if one.sd is None else f"{one.sd:.0f}"
        note = "" if one.there else f"  not seen: {one.fitted or 0:.0f} ± {error} in the sum"
        lines.append(
            f"{one.name:<6} {one.line or '-':<12} {one.total:12.0f} {error:>7} {one.total / whole:7.1%}  "
            f"{shown}{note}"
        )
    for name, spectrum in result.others.items():
        counts = float(spectrum.sum())
        lines.append(f"{'-':<6} {name:<12} {counts:12.0f} {'-':>7} {counts / whole:7.1%}  -")
    return lines
