"""What ``etcli measure`` tells people: the totals in a few lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from etcli.core.number_words import counted, plain, with_sigma
from etcli.pipeline.measured import Measured

FEW = 3
"""Number of whole bodies from which their median elongation means something."""
STRETCHED = 1.05
"""Median elongation above which lengths along z are said to be too large."""


def in_words(result: Measured) -> Sequence[str]:
    """Return the totals in a few lines for people."""
    totals, u = result.totals, result.unit

    def value(name: str) -> str:
        return with_sigma(totals[name], totals[f"sigma_{name}"])

    cut, whole = totals["labels_cut"], totals["labels_whole"]
    of_them = "" if totals["labels"] == 1 else f"{cut} of them "
    kept = counted(totals["labels"], "label") + (f", {of_them}cut by the border" if cut else "")
    lines = [
        f"{kept}: volume {value(f'volume_{u}3')} {u}³, surface {value(f'surface_{u}2')} {u}²",
        f"volume fraction {value('volume_fraction')}, "
        f"surface per volume {value(f'surface_per_volume_{u}-1')} {u}⁻¹",
    ]
    if whole:
        bodies = counted(whole, "whole body", "whole bodies")
        scatter = f", scatter {totals[f'sd_eq_diameter_{u}']:.3g} {u}" if whole > 1 else ""
        mean = "mean diameter" if whole > 1 else "diameter"
        lines.append(f"{mean} {value(f'mean_eq_diameter_{u}')} {u} of {bodies}{scatter}")
    return [*lines, *_wedge(totals), *_pores(totals, u)]


def _wedge(totals: dict[str, Any]) -> Sequence[str]:
    """Tell how much the missing wedge lengthens along z, and how much longer bodies are."""
    expected = totals["expected_elongation"]
    if not expected:
        return []
    words = (
        f"tilted to {totals['reach_deg']:g}°: the missing wedge makes points {expected:.2f} times as long "
        "along z as along x"
    )
    if totals["labels_whole"] >= FEW:
        stretched = totals["median_elongation"]
        words += f"; the whole bodies are {stretched:.2f} times as long in the median"
        if stretched > STRETCHED:
            words += ": if they lie at random, their lengths along z are that much too large"
    return [words]


def _pores(totals: dict[str, Any], u: str) -> Sequence[str]:
    """Return the numbers of `PoreMeasures.totals` in words."""
    lines: list[str] = []
    if pores := totals.get("pores"):
        lines += _kinds(pores)
    if network := totals.get("network"):
        if network["pieces"]:
            chords = network["chord_z_by_x"]
            lines.append(
                f"{counted(network['pieces'], 'piece')} ({network['largest_share']:.1%} in the largest), "
                f"{counted(network['loops'], 'loop')}, {counted(network['cavities'], 'cavity', 'cavities')}: "
                f"Euler number {network['euler_number']}"
                + (f"; chords z/x {chords:.2f}" if np.isfinite(chords) else "")
            )
        else:
            lines.append("no piece of the labels is large enough for a network")
    for name, found in totals.get("thickness", {}).items():
        mean, scatter = found[f"mean_{u}"], found[f"sd_{u}"]
        which = f" ({found['kind']})" if "kind" in found else ""
        if np.isfinite(mean):
            lines.append(f"local thickness of the {name}{which} {plain(mean)} {u}, scatter {scatter:.2g} {u}")
    if found := totals.get("tortuosity"):
        known = [
            f"of the {name} {found[name]:.3g}"
            for name in ("solid", "pores")
            if found[name] is not None and np.isfinite(found[name])
        ]
        if known:
            lines.append(f"tortuosity along {found['axis']}: {', '.join(known)}")
    return lines


def _kinds(pores: dict[str, Any]) -> Sequence[str]:
    """Tell of how many pores of which kind there are, how sure that is, and of porosities."""
    closed, n_open, small = pores["closed"], pores["open"], pores["small_left_out"]
    line = counted(closed, "closed pore") + ("" if n_open is None else f", {n_open} open")
    if closed or n_open:
        changes = pores["close_at_lower_threshold"] + pores["open_at_higher_threshold"]
        line += f"; {changes} would be of the other kind at a threshold changed by 5 % of the contrast"
    if small:
        line += f"; not counted: {counted(small, 'speck')} too small for a pore, as rough surfaces make them"
    values = [f"closed {with_sigma(pores['closed_porosity'], pores['sigma_closed_porosity'])}"]
    if n_open is not None:
        values.append(f"open {with_sigma(pores['open_porosity'], pores['sigma_open_porosity'])}")
    if np.isfinite(pores["porosity"]):
        values.append(f"total {plain(pores['porosity'])}")
    return [line, f"porosity: {', '.join(values)}"]
