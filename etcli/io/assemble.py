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
SAME_TILT_DEG, SAME_DEFOCUS_UM = 0.01, 1e-4


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
        own = [place for place, view in enumerate(views) if start <= view < start + len(stack)]
        sections = [views[place] - start for place in own]
        together = _together(stack, sections) if frames != "keep" else [[k] for k in range(len(sections))]
        groups = [tuple(sections[k] for k in members) for members in together]
        leading = [group[0] for group in groups]
        parts += [(stack, group) for group in groups]
        places += [own[members[0]] for members in together]
        mdocs.append(_description(stack, groups))
        if stack.tilts:
            tilt_deg.append(stack.tilts.tilt_deg[leading])
        start += len(stack)
    sources = dict.fromkeys(stack.tilts.source for stack in stacks if stack.tilts)
    like = replace(
        first,
        pixel_A=next((stack.pixel_A for stack in stacks if stack.pixel_A), None),
        data=np.broadcast_to(np.float32(0), (len(parts), *first.shape[1:])),
        order=None,
        mdoc=Mdoc.concatenate(mdocs) if any(stack.mdoc for stack in stacks) else None,
        tilts=Tilts(np.concatenate(tilt_deg), ", ".join(sources)) if tilt_deg else None,
    )
    return Assembly(like, tuple(parts), frames).arranged(np.argsort(places, kind="stable").tolist())


def _together(stack: Stack, sections: Sequence[int]) -> list[list[int]]:
    """Gather, as places in the list, the sections that were taken at one tilt angle and defocus."""
    if stack.tilts is None:
        return [[k] for k in range(len(sections))]
    tilt_deg = stack.tilts.tilt_deg[list(sections)]
    defocus_um = _by_section(stack, "Defocus")[list(sections)]
    groups: list[list[int]] = []
    for k in range(len(sections)):
        for group in groups:
            same_tilt = abs(tilt_deg[group[0]] - tilt_deg[k]) < SAME_TILT_DEG
            # an unknown defocus is nan, which differs from nothing
            other_defocus = abs(defocus_um[group[0]] - defocus_um[k]) > SAME_DEFOCUS_UM
            if same_tilt and not other_defocus:
                group.append(k)
                break
        else:
            groups.append([k])
    return groups


def _description(stack: Stack, groups: Sequence[tuple[int, ...]]) -> Mdoc:
    """Return the description of the first section of each group, with the exposure of all of the group."""
    mdoc = (stack.mdoc or Mdoc.empty(len(stack))).select([group[0] for group in groups])
    dose = _by_section(stack, "ExposureDose")
    summed = [float(f"{dose[list(group)].sum():.7g}") for group in groups]
    if all(len(group) == 1 for group in groups) or not np.isfinite(summed).all():
        return mdoc
    return mdoc.with_view_values("ExposureDose", summed)


def _by_section(stack: Stack, key: str) -> NDArray[np.float64]:
    """Return the numbers of a key of the mdoc, one a section, nan where there is none."""
    values = np.full(len(stack), np.nan)
    if stack.mdoc:
        values[list(stack.mdoc.numbers)] = stack.mdoc.numbers_of(key)
    return values


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
