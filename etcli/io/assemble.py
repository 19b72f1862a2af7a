"""Assembly of one tilt series from several files, whose sections may be frames of one view."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.series import TiltSeries
from etcli.core.view_table import SAME_DEFOCUS_UM, ViewTable
from etcli.io.element_map import ElementMap
from etcli.io.mdoc import Mdoc

Frames = Literal["mean", "sum", "keep"]

SAME_CENTRE_PX = 0.5
"""Largest distance of the rotation centres of files that make one series."""


@dataclass(frozen=True)
class Assembly:
    """Series assembled from sections of several files; each view is computed when it is requested.

    ``like`` has all metadata but no images; ``parts`` lists for each view a file and the sections in it.
    """

    like: TiltSeries
    parts: tuple[tuple[TiltSeries, tuple[int, ...]], ...]
    frames: Frames

    def view(self, k: int) -> NDArray[np.float32]:
        """Return view ``k``, the mean or sum of its frames."""
        stack, sections = self.parts[k]
        if len(sections) == 1:
            return stack.view(sections[0])
        total = np.zeros(stack.shape[1:])
        for section in sections:
            total += stack.view(section)
        return np.asarray(total / len(sections) if self.frames == "mean" else total, np.float32)

    def arranged(self, order: Sequence[int]) -> "Assembly":
        """Return the same views in another order."""
        parts = tuple(self.parts[k] for k in order)
        return replace(self, like=self.like.select(order), parts=parts)


def assemble(stacks: Sequence[TiltSeries], views: Sequence[int], *, frames: Frames = "mean") -> Assembly:
    """Combine files into one series.

    Parameters
    ----------
    stacks : sequence of TiltSeries
        Files whose images are of one size.
    views : sequence of int
        Sections to use, counted from 0 through all files, in this order.
    frames : {"mean", "sum", "keep"}
        How sections of one file at the same tilt angle (to 0.01°) and defocus are combined.

    Returns
    -------
    Assembly

    Raises
    ------
    DataError
        When no view is left, sizes or pixel sizes differ, or only some files have tilt angles.
    """
    if not views:
        raise DataError(f"{stacks[0].name}: no view is left; exclude fewer")
    first = stacks[0]
    parts: list[tuple[TiltSeries, tuple[int, ...]]] = []
    mdocs, tables, positions, firsts = [], [], [], []
    start = 0
    for stack in stacks:
        _check_alike(stack, first)
        of_stack = [position for position, view in enumerate(views) if start <= view < start + len(stack)]
        sections = [views[position] - start for position in of_stack]
        members = _group_frames(stack, sections) if frames != "keep" else [[k] for k in range(len(sections))]
        groups = [tuple(sections[k] for k in member) for member in members]
        parts += [(stack, group) for group in groups]
        positions += [of_stack[member[0]] for member in members]
        mdocs.append(_description(stack, groups))
        tables.append(_view_table(stack, groups))
        firsts += [start + group[0] for group in groups]
        start += len(stack)
    joined = Mdoc.concatenate(mdocs) if any(stack.description for stack in stacks) else None
    sources = dict.fromkeys(stack.tilts_source for stack in stacks if stack.tilts_source)
    like = replace(
        first,
        pixel_A=next((stack.pixel_A for stack in stacks if stack.pixel_A), None),
        data=np.broadcast_to(np.float32(0), (len(parts), *first.shape[1:])),
        views=_join_tables(tables, stacks, firsts),
        tilts_source=", ".join(sources),
        description=joined,
    )
    return Assembly(like, tuple(parts), frames).arranged(np.argsort(positions, kind="stable").tolist())


def _group_frames(stack: TiltSeries, sections: Sequence[int]) -> list[list[int]]:
    """Group the sections taken at the same tilt angle and defocus; return their positions in the list."""
    if not stack.has_tilts:
        return [[k] for k in range(len(sections))]
    views = stack.views.select(sections)
    groups: list[list[int]] = []
    for same_tilt in views.groups():
        groups += _split_by_defocus(same_tilt, views.defocus_um)
    return sorted(groups)


def _split_by_defocus(same_tilt: list[int], defocus_um: NDArray[np.float64] | None) -> list[list[int]]:
    """Split views of one tilt angle by defocus; an unknown defocus counts as equal to any other."""
    if defocus_um is None:
        return [same_tilt]
    groups: list[list[int]] = []
    for k in same_tilt:
        for members in groups:
            if not abs(defocus_um[members[0]] - defocus_um[k]) > SAME_DEFOCUS_UM:
                members.append(k)
                break
        else:
            groups.append([k])
    return groups


def _view_table(stack: TiltSeries, groups: Sequence[tuple[int, ...]]) -> ViewTable:
    """Return the view table of the first section of each group, with the dose summed over the group."""
    views = stack.views.select([group[0] for group in groups])
    if stack.views.dose_e_A2 is None or all(len(group) == 1 for group in groups):
        return views
    dose = [float(f"{stack.views.dose_e_A2[list(group)].sum():.7g}") for group in groups]
    return replace(views, dose_e_A2=np.array(dose)) if np.isfinite(dose).all() else views


def _join_tables(
    tables: Sequence[ViewTable], stacks: Sequence[TiltSeries], firsts: Sequence[int]
) -> ViewTable:
    """Concatenate view tables, with the doses before each view, whose first section is known."""
    if len(tables) == 1:
        return replace(tables[0], section=np.arange(len(tables[0])))
    prior = _prior_doses(stacks)
    return replace(ViewTable.joined(tables), prior_dose_e_A2=None if prior is None else prior[firsts])


def _prior_doses(stacks: Sequence[TiltSeries]) -> NDArray[np.float64] | None:
    """Return the doses before each section of all files, whether it is used or not; None if unknown.

    Where every file counts its own dose, they are summed in the order of time, else in that of the files.
    """
    every = ViewTable.joined([stack.views for stack in stacks])
    if not any(stack.description for stack in stacks) or every.dose_e_A2 is None:
        return None
    if not np.isfinite(every.dose_e_A2).all():
        return None
    known = [stack.views.prior_dose_e_A2 for stack in stacks if len(stack)]
    starts = {None if prior is None else float(prior[0]) for prior in known}
    if len(starts) == len(known) and None not in starts:
        return every.prior_dose_e_A2  # each of its own: the microscope has counted through all files
    order = Mdoc.concatenate([_mdoc(stack) for stack in stacks]).time_order
    prior = np.empty(len(every))
    prior[order] = np.cumsum(every.dose_e_A2[order]) - every.dose_e_A2[order]
    return prior


def _mdoc(stack: TiltSeries) -> Mdoc:
    return stack.description if isinstance(stack.description, Mdoc) else Mdoc.empty(len(stack))


def _description(stack: TiltSeries, groups: Sequence[tuple[int, ...]]) -> Mdoc:
    """Return the mdoc of the first section of each group."""
    return _mdoc(stack).select([group[0] for group in groups])


def _check_alike(stack: TiltSeries, first: TiltSeries) -> None:
    maps = [ElementMap.of(one.description) for one in (stack, first)]
    kinds = [" ".join(filter(None, (one.element, one.part))) for one in maps]
    if kinds[0] != kinds[1] and all(kinds):
        raise DataError(f"{stack.name}: is a map of {kinds[0]}, but {first.name} of {kinds[1]}")
    if stack.shape[1:] != first.shape[1:]:
        sizes = [f"{one.shape[2]} x {one.shape[1]}" for one in (stack, first)]
        raise DataError(
            f"{stack.name}: images of {sizes[0]}, but {first.name} has {sizes[1]}; crop or bin them first"
        )
    if stack.pixel_A and first.pixel_A and abs(stack.pixel_A / first.pixel_A - 1) > 1e-3:
        raise DataError(
            f"{stack.name}: pixels of {stack.pixel_A:g} Å, but {first.name} has {first.pixel_A:g} Å"
        )
    away_px = max(abs(a - b) for a, b in zip(stack.centre_px, first.centre_px, strict=True))
    if away_px > SAME_CENTRE_PX:
        raise DataError(
            f"{stack.name}: was cropped otherwise than {first.name}, so that its rotation centre is "
            f"{away_px:.3g} px from where it is there; put the files together before the crop"
        )
    if stack.has_tilts != first.has_tilts:
        without = first if stack.has_tilts else stack
        raise DataError(without.no_tilts or f"{without.name}: no tilt angles, but other files have them")
