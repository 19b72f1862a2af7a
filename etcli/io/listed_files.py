"""Files that an mdoc lists, one per exposure: found again where they are now."""

from collections.abc import Collection, Sequence
from pathlib import Path, PureWindowsPath

from etcli.core.errors import DataError
from etcli.io.mdoc import Mdoc, windows_name

PATH_KEY, COUNT_KEY = "SubFramePath", "NumSubFrames"
# frames that another program has aligned and averaged keep their name but not its ending
IMAGE_SUFFIXES = (".mrc", ".mrcs", ".st", ".tif", ".tiff")


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


def n_frames(mdoc: Mdoc) -> int | None:
    """Return how many frames the first section of an mdoc says its file has, None if it does not."""
    number = mdoc.numbers_of(COUNT_KEY)
    return int(number[0]) if len(number) and number[0] > 0 else None


def _find(listed: str, mdoc: Mdoc, folders: Sequence[Path]) -> Path | None:
    """Return the file of that name in one of the folders, else one that differs in its ending only."""
    name, own = windows_name(listed), Path(mdoc.name).parent
    windows = PureWindowsPath(listed.strip())
    relative = [] if windows.drive or windows.root else [own / windows.as_posix()]
    exact = [*(folder / name for folder in (*folders, own)), *relative, Path(listed.strip())]
    stem = PureWindowsPath(name).stem
    others = [folder / f"{stem}{suffix}" for folder in (*folders, own) for suffix in IMAGE_SUFFIXES]
    return next((path for path in (*exact, *others) if path.is_file()), None)
