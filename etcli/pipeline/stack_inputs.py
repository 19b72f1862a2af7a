"""Inputs of an assembly: image files, or mdocs that list files, with the tilt angles given for them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.series import TiltSeries, Volume
from etcli.io.image_file import STREAM, ImageFile
from etcli.io.listed_files import listed_files, number_of_images, open_described
from etcli.io.mdoc import Mdoc, read_mdoc
from etcli.io.prior_doses import without_dose
from etcli.io.tilts import Tilts, TiltsFor, read_tilts
from etcli.pipeline.inputs import read_images, with_columns
from etcli.pipeline.session import Session

MDOC = ".mdoc"
NUMBER = re.compile(r"-?\d+(\.\d+)?")
Angles = str | Tilts | TiltsFor | None


@dataclass(frozen=True)
class StackInputs:
    """Opened files and the views that are counted in them.

    Parameters
    ----------
    stacks : list of TiltSeries
    views : list of range
        Sections of each view, through all files: one section, or all the frames of a file that an mdoc lists.
        Empty for a file that was not needed.
    exposures : list of TiltSeries or Mdoc
        The files, and at their places the descriptions of those that were not needed.
    volume : Volume, optional
        The input, if it is a volume; it has no views then.
    """

    stacks: list[TiltSeries]
    views: list[range]
    exposures: list[TiltSeries | Mdoc] = field(default_factory=list)
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
    only: Collection[int] | None = None,
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
    only, exclude : collection of int
        Views that alone will be used, all if None, and views that will not be used, counted from 0 through
        all inputs. The files of others that an mdoc lists may be missing, and the metadata of those excluded.

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
    angles = _angles_of_inputs(session, names, tilts)
    stacks: list[TiltSeries] = []
    views: list[range] = []
    exposures: list[TiltSeries | Mdoc] = []
    n_sections = 0
    for name, given in zip(names, angles, strict=True):
        opened: list[TiltSeries | Mdoc]
        if _is_mdoc(name):
            opened = _open_listed(session, name, folders, given, _Wanted(len(views), only, exclude))
        else:
            without = [view - len(views) for view in exclude if view >= len(views)]
            file = read_images(session, name, tilts=given, stream=True, without=without)
            if file.is_volume and not defocus:
                if len(names) > 1:
                    raise UsageError(f"{name}: is a volume, which goes alone; name series, or this one INPUT")
                return StackInputs([], [], volume=file.volume())
            opened = [with_columns(session, file.series(), defocus=defocus)]
        for stack in opened:
            n = len(stack) if isinstance(stack, TiltSeries) else 0
            sections = range(n_sections, n_sections + n)
            views += [sections] if _is_mdoc(name) else [range(k, k + 1) for k in sections]
            stacks += [stack] if isinstance(stack, TiltSeries) else []
            n_sections += n
        exposures += opened
    for exposure in without_dose(exposures) if stacks else ():
        session.reporter.warn(f"{exposure} states no dose, so that the doses before later views lack it")
    return StackInputs(stacks, views, exposures)


@dataclass(frozen=True)
class _Wanted:
    """Views of an input that will be used; ``first`` of all views is the first one of the input."""

    first: int
    only: Collection[int] | None
    exclude: Collection[int]

    def __contains__(self, k: int) -> bool:
        view = self.first + k
        return view not in self.exclude and (self.only is None or view in self.only)


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
    return [_Dealer(tilt_deg, name, names)] * len(names)


class _Dealer:
    """Angles of one file for all sections of the inputs, dealt out to these as they are opened.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_sections,), float64
        Degrees, in the order of the sections through all inputs.
    source : str
        Name of their file.
    names : sequence of str
        The inputs, in the order in which they will be opened.
    """

    def __init__(self, tilt_deg: NDArray[np.float64], source: str, names: Sequence[str]) -> None:
        self._tilt_deg, self._source, self._names = tilt_deg, source, names
        self._n_dealt = self._n_opened = 0

    def __call__(self, n_sections: int) -> Tilts:
        """Return the angles of the next input; raise UsageError if they do not fit all inputs."""
        first = self._n_dealt
        self._n_dealt, self._n_opened = first + n_sections, self._n_opened + 1
        is_last = self._n_opened == len(self._names)
        n = len(self._tilt_deg)
        if self._n_dealt > n or (is_last and self._n_dealt < n):
            counts = [_n_sections(name) for name in self._names]
            raise UsageError(
                f"{self._source}: {n} tilt angles for {len(counts)} INPUTs with {sum(counts)} sections; give "
                "one per INPUT, or one per section"
            )
        return Tilts(self._tilt_deg[first : self._n_dealt], self._source)


def _n_sections(name: str) -> int:
    """Return the number of sections of an input."""
    return len(read_mdoc(Path(name)).sections) if _is_mdoc(name) else number_of_images(name)


def _open_listed(
    session: Session, name: str, folders: Sequence[str], angles: Angles, wanted: _Wanted
) -> list[TiltSeries | Mdoc]:
    """Open the files that an mdoc lists; of those that are not needed there is only the description."""
    mdoc = read_mdoc(Path(name))
    session.reads(name)
    if mdoc.repeated:
        raise DataError(
            f"{name}: several sections have the number {mdoc.repeated[0]}; number them from 0 in their order"
        )
    for text in mdoc.warnings:
        session.reporter.warn(text)
    n = len(mdoc.sections)
    given = _angle_of_each(name, n, angles)
    warnings: dict[str, tuple[str, int]] = {}
    opened: list[TiltSeries | Mdoc] = []
    without = [k for k in range(n) if k not in wanted]
    listed = listed_files(mdoc, [Path(folder) for folder in folders], without=without)
    for (path, section), angle, of_mdoc in zip(listed, given, mdoc.sections, strict=True):
        if path is None:
            opened.append(replace(section, name=f"{name}: [{of_mdoc.kind} = {of_mdoc.number}]"))
            continue
        file = open_described(path, section, angle)
        session.reads(path)
        _collect(warnings, file)
        opened.append(file.series())
    for text, n_files in warnings.values():
        session.reporter.warn(f"{text} (and so of {n_files - 1} more files)" if n_files > 1 else text)
    series = [one for one in opened if isinstance(one, TiltSeries)]
    if series and not any(one.has_tilts for one in series):
        session.reporter.warn(
            f"{name}: no TiltAngle in its sections, nor angles in the files they list, so that the series "
            "has no tilt angles; give --tilts FILE with one angle per section"
        )
    return opened


def _angle_of_each(name: str, n_sections: int, angles: Angles) -> list[Tilts | None]:
    """Return the angle that is given for each section of an mdoc, None where none are given."""
    if angles is None:
        return [None] * n_sections
    given = Tilts(read_tilts(Path(angles)), angles) if isinstance(angles, str) else angles
    given = given if isinstance(given, Tilts) else given(n_sections)
    if len(given.tilt_deg) != n_sections:
        raise DataError(
            f"{name}: {n_sections} sections but {len(given.tilt_deg)} tilt angles in {given.source}; give "
            "one per section"
        )
    return [Tilts(given.tilt_deg[[k]], given.source) for k in range(n_sections)]


def _collect(warnings: dict[str, tuple[str, int]], file: ImageFile) -> None:
    """Add the warnings about a file, so that each is given once for all files, whatever its numbers."""
    for text in file.warnings:
        own = text.removeprefix(f"{file.name}: ")
        kind = NUMBER.sub("", own)
        first, n_files = warnings.get(kind, (f"{file.name}: {own}", 0))
        warnings[kind] = first, n_files + 1
