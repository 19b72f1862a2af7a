"""One series out of several files, whose sections may be frames of one view."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.mdoc import Mdoc
from etcli.io.stack import Stack
from etcli.io.tilts import Tilts

Frames = Literal["mean", "sum", "keep"]
SAME_TILT_DEG, SAME_DEFOCUS_UM = 0.01, 0.001


@dataclass(frozen=True)
class Assembly:
    """A series that is put together when its views are asked for.

    ``like`` knows everything but the images; ``parts`` names for each view a file and its sections.
    """

    like: Stack
    parts: tuple[tuple[Stack, tuple[int, ...]], ...]
    frames: Frames

    def view(self, k: int) -> NDArray[np.float32]:
        """Return view ``k``, the mean or sum of its frames."""
        stack, sections = self.parts[k]
        total = stack.view(sections[0])
        if len(sections) == 1:
            return total
        total = np.sum([stack.view(section) for section in sections], axis=0, dtype=np.float64)
        return np.asarray(total / len(sections) if self.frames == "mean" else total, np.float32)

    def arranged(self, order: Sequence[int]) -> "Assembly":
        """Return the same views in another order."""
        parts = tuple(self.parts[k] for k in order)
        return replace(self, like=self.like.select(order), parts=parts)


def assemble(stacks: Sequence[Stack], views: Sequence[int], *, frames: Frames = "mean") -> Assembly:
    """Put files together into one series.

    Parameters
    ----------
    stacks : sequence of Stack
        Files whose images are of one size.
    views : sequence of int
        Sections to use, counted from 0 through all files, in this order.
    frames : {"mean", "sum", "keep"}
        What becomes of sections of one file at one tilt angle (to 0.01°) and one defocus.

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
    parts: list[tuple[Stack, tuple[int, ...]]] = []
    mdocs, tilt_deg, places = [], [], []
    start = 0
    for stack in stacks:
        _check_alike(stack, first)
        sections = [view - start for view in views if start <= view < start + len(stack)]
        groups = _groups(stack, sections) if frames != "keep" else [(section,) for section in sections]
        leading = [group[0] for group in groups]
        parts += [(stack, group) for group in groups]
        places += [views.index(start + section) for section in leading]
        if stack.mdoc:
            mdocs.append(_summed_dose(stack.mdoc, groups).select(leading))
        if stack.tilts:
            tilt_deg.append(stack.tilts.tilt_deg[leading])
        start += len(stack)
    sources = dict.fromkeys(stack.tilts.source for stack in stacks if stack.tilts)
    like = replace(
        first,
        data=np.broadcast_to(np.float32(0), (len(parts), *first.shape[1:])),
        order=None,
        mdoc=Mdoc.concatenate(mdocs) if len(mdocs) == len(stacks) else None,
        tilts=Tilts(np.concatenate(tilt_deg), ", ".join(sources)) if tilt_deg else None,
    )
    return Assembly(like, tuple(parts), frames).arranged(np.argsort(places).tolist())


def _groups(stack: Stack, sections: Sequence[int]) -> list[tuple[int, ...]]:
    """Gather the sections that were taken at one tilt angle and defocus, in order of first appearance."""
    if stack.tilts is None:
        return [(section,) for section in sections]
    groups: list[list[int]] = []
    defocus_um = stack.mdoc.defocus_um if stack.mdoc else np.zeros(len(stack))
    for section in sections:
        for group in groups:
            same_tilt = abs(stack.tilts.tilt_deg[group[0]] - stack.tilts.tilt_deg[section]) < SAME_TILT_DEG
            # an unknown defocus is nan, which differs from nothing
            other_defocus = abs(defocus_um[group[0]] - defocus_um[section]) > SAME_DEFOCUS_UM
            if same_tilt and not other_defocus:
                group.append(section)
                break
        else:
            groups.append([section])
    return [tuple(group) for group in groups]


def _summed_dose(mdoc: Mdoc, groups: Sequence[tuple[int, ...]]) -> Mdoc:
    """Let the first section of each group carry the exposure of them all."""
    dose = mdoc.dose_e_A2
    if all(len(group) == 1 for group in groups) or not np.isfinite(dose).all():
        return mdoc
    for group in groups:
        dose[group[0]] = dose[list(group)].sum()
    return mdoc.with_view_values("ExposureDose", [float(f"{value:.7g}") for value in dose])


def _check_alike(stack: Stack, first: Stack) -> None:
    if stack.shape[1:] != first.shape[1:]:
        sizes = [f"{one.shape[2]} x {one.shape[1]}" for one in (stack, first)]
        raise DataError(
            f"{stack.name}: images of {sizes[0]}, but {first.name} has {sizes[1]}; crop or bin them first"
        )
    if stack.pixel_A and first.pixel_A and abs(stack.pixel_A / first.pixel_A - 1) > 1e-3:
        raise DataError(
            f"{stack.name}: pixels of {stack.pixel_A:g} Å, but {first.name} has {first.pixel_A:g} Å"
        )
    if (stack.tilts is None) != (first.tilts is None):
        without = stack if stack.tilts is None else first
        raise DataError(without.no_tilts or f"{without.name}: no tilt angles, but other files have them")
