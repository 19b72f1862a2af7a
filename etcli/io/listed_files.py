"""Files that an mdoc lists, one per exposure: found again where they are now."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.image_file import (
    ImageFile,
    MappedImages,
    add_sidecars,
    open_without_sidecars,
    size_and_time,
)
from etcli.io.mdoc import Mdoc, windows_name
from etcli.io.tilts import Tilts

PATH_KEY, COUNT_KEY = "SubFramePath", "NumSubFrames"
# frames that another program has aligned and averaged keep their name but not its ending
EVENTS = ".eer"
IMAGE_SUFFIXES = (".mrc", ".mrcs", ".st", ".tif", ".tiff")

_opened = threading.local()


def listed_files(
    mdoc: Mdoc, folders: Sequence[Path], *, without: Collection[int] = ()
) -> list[tuple[Path | None, Mdoc]]:
    """Find the files that the sections of an mdoc name.

    Parameters
    ----------
    mdoc : Mdoc
        Its ``SubFramePath`` are paths of the computer of the microscope, often of Windows.
    folders : sequence of Path
        Where their names are looked for, in this order; the folder of the mdoc comes last.
    without : collection of int
        Sections that are not needed, counted from 0; their files may be missing.

    Returns
    -------
    list of (Path or None, Mdoc)
        For each section its file, None where that is not needed, and an mdoc of that section alone.

    Raises
    ------
    DataError
        When a section names no file, or a file is missing.
    """
    if not any(section.get(PATH_KEY) for section in mdoc.sections):
        image = mdoc.globals.get("ImageFile")
        advice = f"give the images it describes, {windows_name(image)}" if image else "give the image files"
        raise DataError(f"{mdoc.name}: lists no files, as it has no {PATH_KEY}; {advice}")
    found: list[tuple[Path | None, Mdoc]] = []
    for place, (number, section) in enumerate(zip(mdoc.numbers, mdoc.sections, strict=True)):
        alone = mdoc.select([number])
        if place in without:
            found.append((None, alone))
            continue
        listed = section.get(PATH_KEY)
        if not listed:
            raise DataError(
                f"{mdoc.name}: no {PATH_KEY} in [{section.kind} = {number}]; use --exclude {place + 1}"
            )
        path = _find(listed, mdoc, folders)
        if path is None:
            looked_in = ", ".join(str(folder) for folder in (*folders, Path(mdoc.name).parent))
            raise DataError(
                f"{mdoc.name}: {windows_name(listed)} of [{section.kind} = {number}] is missing (looked for "
                f"in {looked_in}); name its folder with --frames, or use --exclude {place + 1}"
            )
        found.append((path, alone))
    return found


def open_described(path: Path, mdoc: Mdoc, tilts: Tilts | None = None) -> ImageFile:
    """Open a file of frames that an mdoc elsewhere describes, without looking at the files beside it.

    Parameters
    ----------
    path : Path
        The file; where it is compressed it is read again for each use, as there may be many of them.
    mdoc : Mdoc
        Its only section describes the file.
    tilts : Tilts, optional
        The tilt angle of the file, instead of that of the mdoc.

    Returns
    -------
    ImageFile
        With a section of the mdoc for each frame.

    Raises
    ------
    DataError
        When the file is damaged, or does not hold the frames that the mdoc counts.
    """
    stack, tilt_deg = open_without_sidecars(path, str(path))
    counted = mdoc.numbers_of(COUNT_KEY)
    expected = int(counted[0]) if len(counted) and counted[0] > 0 else None
    if expected and len(stack) not in (1, expected):
        raise DataError(f"{path}: {len(stack)} frames of {expected} that {mdoc.name} counts; copy it again")
    described = replace(stack, mdoc=mdoc.for_images(len(stack), of_file=True), is_volume=False)
    if isinstance(stack.data, MappedImages) and not isinstance(stack.data.array, np.memmap):
        described = replace(described, data=ReopenedImages.of(stack.data))
    return add_sidecars(described, None, tilts, tilt_deg, ())


def number_of_images(name: str) -> int:
    """Return the number of images in a file."""
    return len(open_without_sidecars(Path(name), name)[0])


@dataclass(frozen=True, eq=False)
class ReopenedImages:
    """Images of a compressed file that is read when they are used, one per thread at a time."""

    path: Path
    stamp: tuple[int, int]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, images: MappedImages) -> "ReopenedImages":
        """Return images that are read again instead of those in memory."""
        path = images.path.resolve()
        return cls(path, size_and_time(path), images.shape, images.dtype)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        if getattr(_opened, "images", None) is not self:
            if size_and_time(self.path) != self.stamp:
                raise DataError(f"{self.path}: has changed while it was in use; wait until it is complete")
            _opened.data = open_without_sidecars(self.path, str(self.path))[0].data
            _opened.images = self
        selected: NDArray[Any] = _opened.data[index]
        return selected


def _find(listed: str, mdoc: Mdoc, folders: Sequence[Path]) -> Path | None:
    """Return the file of that name in one of the folders, else one that differs in its ending only."""
    name, own = windows_name(listed), Path(mdoc.name).parent
    windows = PureWindowsPath(listed.strip())
    relative = [] if windows.drive or windows.root else [own / windows.as_posix()]
    exact = [*(folder / name for folder in (*folders, own)), *relative, Path(listed.strip())]
    stem = PureWindowsPath(name).stem
    others = [folder / f"{stem}{suffix}" for folder in (*folders, own) for suffix in IMAGE_SUFFIXES]
    # electron events are no images, but their averages may be beside them
    order = (*others, *exact) if PureWindowsPath(name).suffix.lower() == EVENTS else (*exact, *others)
    return next((path for path in order if path.is_file()), None)
