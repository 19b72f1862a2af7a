"""Inputs of an assembly: image files, or mdocs that list files, with the tilt angles given for them."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etcli.core.errors import DataError, UsageError
from etcli.core.series import TiltSeries, Volume
from etcli.io.image_file import STREAM, ImageFile
from etcli.io.listed_files import listed_files, number_of_images, open_described
from etcli.io.mdoc import read_mdoc
from etcli.io.tilts import Tilts, read_tilts
from etcli.pipeline.inputs import read_images, with_columns
from etcli.pipeline.session import Session

MDOC = ".mdoc"
NUMBER = re.compile(r"-?\d+(\.\d+)?")
Angles = str | Tilts | None


@dataclass(frozen=True)
class StackInputs:
    """Opened files and the views that are counted in them.

    Parameters
    ----------
    stacks : list of TiltSeries
    views : list of range
        Sections of each view, through all files: one section, or all the frames of a file that an mdoc lists.
        Empty for a file that was not needed.
    volume : Volume, optional
        The input, if it is a volume; it has no views then.
    """

    stacks: list[TiltSeries]
    views: list[range]
    volume: Volume | None = None

    def sections(self, views: Sequence[int]) -> list[int]:
        """Return the sections of some views, in that order."""
        return [section for view in views for section in self.views[view]]


def read_inputs(
    session: Session,
    names: Sequence[str],
    *,
    folders: Sequence[str] = (),
    tilts: Sequence[str] = (),
    defocus: str | None = None,
    exclude: Collection[int] = (),
) -> StackInputs:
    """Open the files of an assembly.

    Parameters
    ----------
    session : Session
    names : sequence of str
        Image files, and mdocs that list one file per exposure.
    folders : sequence of str
        Where the files of mdocs are looked for, besides the folder of the mdoc.
    tilts : sequence of str
        No file of angles, one for all inputs, or one for each.
    defocus : str, optional
        File of defoci, for one input.
    exclude : collection of int
        Views that will not be used, counted from 0 through all inputs; their metadata and files may be
        missing.

    Returns
    -------
    StackInputs

    Raises
    ------
    UsageError
        When folders or angles do not go with the inputs.
    DataError
        When a file is missing or damaged.
    """
    mdocs = [name for name in names if _is_mdoc(name)]
    _check_folders(folders, mdocs)
    if mdocs and tilts:
        raise UsageError(f"{mdocs[0]}: an mdoc has the angles of its files; leave --tilts out")
    angles = _angles_of_inputs(session, names, tilts)
    stacks: list[TiltSeries] = []
    views: list[range] = []
    n_sections = 0
    for name, given in zip(names, angles, strict=True):
        without = [view - len(views) for view in exclude if view >= len(views)]
        if _is_mdoc(name):
            opened = list(_open_listed(session, name, folders, without))
        else:
            file = read_images(session, name, tilts=given, stream=True, without=without)
            if file.is_volume and not defocus:
                if len(names) > 1:
                    raise UsageError(f"{name}: is a volume, which goes alone; name series, or this one INPUT")
                return StackInputs([], [], file.volume())
            opened = [with_columns(session, file.series(), defocus=defocus)]
        for stack in opened:
            n = len(stack) if stack is not None else 0
            sections = range(n_sections, n_sections + n)
            views += [sections] if _is_mdoc(name) else [range(k, k + 1) for k in sections]
            stacks += [stack] if stack is not None else []
            n_sections += n
    return StackInputs(stacks, views)


def _is_mdoc(name: str) -> bool:
    return name.lower().endswith(MDOC)


def _check_folders(folders: Sequence[str], mdocs: Sequence[str]) -> None:
    for folder in folders:
        if not Path(folder).is_dir():
            raise UsageError(f"--frames {folder}: give mean, sum or keep, or a folder that exists")
    if folders and not mdocs:
        raise UsageError(f"--frames {folders[0]}: a folder is for an INPUT.mdoc that lists files; omit it")


def _angles_of_inputs(session: Session, names: Sequence[str], tilts: Sequence[str]) -> list[Angles]:
    """Return for each input a file of angles, or its angles out of one file for all inputs."""
    session.reads(*tilts)
    if len(tilts) == len(names):
        return list(tilts)
    if not tilts:
        return [None] * len(names)
    if len(tilts) > 1:
        raise UsageError(
            f"--tilts is given {len(tilts)} times for {len(names)} INPUTs; give one file, or one per INPUT"
        )
    (name,) = tilts
    tilt_deg = read_tilts(Path(name))
    if len(tilt_deg) == len(names):
        return [Tilts(tilt_deg[[k]], name) for k in range(len(names))]
    if STREAM in names:
        raise UsageError(f"{name}: {len(tilt_deg)} tilt angles for {len(names)} INPUTs; give one per INPUT")
    counts = [number_of_images(one) for one in names]
    if len(tilt_deg) != sum(counts):
        raise UsageError(
            f"{name}: {len(tilt_deg)} tilt angles for {len(names)} INPUTs with {sum(counts)} sections; give "
            "one per INPUT, or one per section"
        )
    parts = np.split(tilt_deg, np.cumsum(counts)[:-1])
    return [Tilts(part, name) for part in parts]


def _open_listed(
    session: Session, name: str, folders: Sequence[str], without: Collection[int]
) -> Iterator[TiltSeries | None]:
    """Open the files that an mdoc lists; None for one that is not needed."""
    mdoc = read_mdoc(Path(name))
    session.reads(name)
    if mdoc.repeated:
        raise DataError(
            f"{name}: several sections have the number {mdoc.repeated[0]}; number them from 0 in their order"
        )
    for text in mdoc.warnings:
        session.reporter.warn(text)
    warnings: dict[str, tuple[str, int]] = {}
    for path, section in listed_files(mdoc, [Path(folder) for folder in folders], without=without):
        if path is None:
            yield None
            continue
        file = open_described(path, section)
        session.reads(path)
        _collect(warnings, file)
        yield file.series()
    for text, n_files in warnings.values():
        session.reporter.warn(f"{text} (and so of {n_files - 1} more files)" if n_files > 1 else text)


def _collect(warnings: dict[str, tuple[str, int]], file: ImageFile) -> None:
    """Add the warnings about a file, so that each is given once for all files, whatever its numbers."""
    for text in file.warnings:
        own = text.removeprefix(f"{file.name}: ")
        kind = NUMBER.sub("", own)
        first, n_files = warnings.get(kind, (f"{file.name}: {own}", 0))
        warnings[kind] = first, n_files + 1
