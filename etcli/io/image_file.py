"""Reading a file of images with all that is known of it, whatever its format."""

import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.series import ImageData, TiltSeries, Volume
from etcli.io.extended_header import tilts_from_extended_header
from etcli.io.foreign import READERS, read_foreign
from etcli.io.mdoc import Mdoc, axis_in_title, read_mdoc
from etcli.io.mrc import MrcHeader, open_mrc
from etcli.io.tilts import NoTiltsError, Tilts, find_mdoc, find_tilts
from etcli.io.view_columns import view_table
from etcli.io.volume_text import describes_volume, fits_volume, frame_of

STREAM = "-"
SQUARE = 1e-3


@dataclass(frozen=True)
class ImageFile:
    """Images as a file holds them, with all that it and the files beside it say.

    ``data`` is (n, ny, nx), often a memory map, in the type stored; row 0 is the bottom. ``pixel_A`` is None
    where nobody says; ``voxel_A`` is what an MRC header says along x, y and z. ``tilts`` is None where no
    angles were found, and ``no_tilts`` then tells what was looked for; ``misfit`` is why angles beside the
    file were not taken. ``mdoc`` is the description of a series, ``frame`` that of a reconstructed volume.
    """

    name: str
    data: ImageData
    pixel_A: float | None = None
    origin_A: tuple[float, float, float] = (0.0, 0.0, 0.0)
    labels: tuple[str, ...] = ()
    mode: int | None = None
    statistics: tuple[float, float, float, float] | None = None
    mdoc: Mdoc | None = None
    tilts: Tilts | None = None
    no_tilts: str = ""
    misfit: str = ""
    is_volume: bool = False
    voxel_A: tuple[float, float, float] | None = None
    axis_deg: float | None = None
    warnings: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return self.data.shape[0]

    def series(self) -> TiltSeries:
        """Return the images as views of a series, whether their tilt angles are known or not."""
        mdoc = None if self.mdoc is None or describes_volume(self.mdoc) else self.mdoc
        axis = mdoc.tilt_axis if mdoc else None
        source = "header" if self.axis_deg is not None else ""
        return TiltSeries(
            self.data,
            name=self.name,
            pixel_A=self.pixel_A,
            origin_A=self.origin_A,
            history=self.labels,
            views=view_table(len(self), mdoc, self.tilts),
            axis_deg=axis.deg if axis else self.axis_deg,
            axis_source=axis.source if axis else source,
            tilts_source=self.tilts.source if self.tilts else "",
            no_tilts=self.misfit or self.no_tilts,
            voltage_kv=mdoc.voltage_kv if mdoc else None,
            description=mdoc,
        )

    def volume(self) -> Volume:
        """Return the images as sections of a volume."""
        return Volume(
            self.data,
            name=self.name,
            pixel_A=self.pixel_A,
            origin_A=self.origin_A,
            history=self.labels,
            frame=frame_of(self.labels, self.mdoc, has_labels=self.mode is not None),
            voxel_A=self.voxel_A,
            description=self.mdoc,
        )

    def images(self) -> TiltSeries | Volume:
        """Return the images as a series where their tilt angles are known, else as a volume."""
        return self.series() if self.tilts and not self.is_volume else self.volume()


@dataclass(frozen=True, eq=False)
class MappedImages:
    """Images of a file, which travels to other processes as its name and is opened there once.

    Parameters
    ----------
    path : Path
        The file.
    array : ndarray of shape (n, ny, nx)
        Its memory map.
    """

    path: Path
    array: NDArray[Any]

    def __reduce__(self) -> tuple[Any, ...]:
        path = self.path.resolve()
        return _opened_there, (path, _stamp(path))

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of images, rows and columns."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.array.dtype

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        found: NDArray[Any] = self.array[index]
        return found


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes with a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(4)
def _opened_there(path: Path, stamp: tuple[int, int]) -> ImageData:
    """Return the images of a file, which a process opens once as long as it stays the same."""
    if _stamp(path) != stamp:
        raise DataError(f"{path}: is not the same file here as where the work began")
    return _bare(path, str(path))[0].data


def open_images(
    name: str, *, tilts_file: str | None = None, stream: bool = False, without: Collection[int] = ()
) -> ImageFile:
    """Open a file of images.

    Parameters
    ----------
    name : str
        An MRC, TIFF or other image file, or ``-`` for an MRC file on the standard input.
    tilts_file : str, optional
        File of tilt angles that takes the place of all others.
    stream : bool
        Whether ``-`` may be given.
    without : collection of int
        Sections that will not be used, counted from 0: what they lack does not matter.

    Returns
    -------
    ImageFile

    Raises
    ------
    DataError
        When the file, or a description beside it, is damaged or does not fit.
    UsageError
        When ``-`` is given where it may not be.
    """
    if name == STREAM:
        if not stream:
            raise UsageError("cannot work on a stream; only bin, filter, xform and stack take - for a file")
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("- reads an MRC file from a pipe, but there is none on the standard input")
        return _from_pipe(sys.stdin.buffer, "standard input", tilts_file, without)
    path = Path(name)
    if path.is_dir():
        raise DataError(f"{name}: is a folder; name an image file")
    if path.exists() and not path.is_file():
        with path.open("rb") as pipe:
            return _from_pipe(pipe, name, tilts_file, without)
    stack, tilt_deg = _bare(path, name)
    described = _described(stack, path, tilts_file, tilt_deg, without)
    if (
        described.tilts is not None
        and described.tilts.tilt_deg is tilt_deg
        and path.suffix.lower() in READERS
    ):
        return replace(described, tilts=replace(described.tilts, source=name))
    return described


def _bare(path: Path, name: str) -> tuple[ImageFile, NDArray[np.float64] | None]:
    """Return the images of a file with what it says itself, and its tilt angles."""
    with path.open("rb") as file:
        magic = file.read(4)
    if path.suffix.lower() in READERS:
        foreign = read_foreign(path)
        return ImageFile(name, MappedImages(path, foreign.data), foreign.pixel_A), foreign.tilt_deg
    from etcli.io.tiff import MAGIC, read_tiff

    if magic in MAGIC:
        data, pixel_A = read_tiff(path)
        return ImageFile(name, MappedImages(path, data), pixel_A), None
    header, data = open_mrc(path)
    return _from_mrc(name, header, MappedImages(path, data))


def _from_pipe(pipe: IO[bytes], name: str, tilts_file: str | None, without: Collection[int]) -> ImageFile:
    """Read an MRC file from a pipe by way of an unnamed file."""
    with tempfile.TemporaryFile() as spooled:  # the memory map outlives it
        shutil.copyfileobj(pipe, spooled, 1 << 20)
        spooled.seek(0)
        stack, header_tilts = _from_mrc(name, *open_mrc(spooled, name))
    return _described(stack, None, tilts_file, header_tilts, without)


def _from_mrc(name: str, header: MrcHeader, data: ImageData) -> tuple[ImageFile, NDArray[np.float64] | None]:
    """Make a stack of an MRC file; in a stream its mdoc travels in the extended header."""
    mdoc = None
    if header.exttyp == b"MDOC":
        mdoc = Mdoc.parse(header.extended.rstrip(b"\0"), name=name)
    extended = tilts_from_extended_header(
        header.exttyp,
        header.extended,
        data.shape[0],
        *header.extended_counts,
        byte_order=header.byteorder,
        first_label=header.labels[0].encode("latin-1") if header.labels else b"",
    )
    stated = header.pixel_A[0] if header.pixel_A else None
    doubts = list(header.warnings)
    if header.pixel_A and abs(header.pixel_A[1] / header.pixel_A[0] - 1) > SQUARE:
        doubts.append("pixels of {:g} x {:g} Å are not square; the first counts".format(*header.pixel_A))
    # a header that says 1 Å says nothing where the extended header knows better
    better = extended.pixel_A if stated in (None, 1.0) else None
    pixel_A = float(f"{better:.7g}") if better else stated
    stack = ImageFile(
        name,
        data,
        pixel_A,
        header.origin_A,
        header.labels,
        header.mode,
        header.statistics,
        mdoc,
        axis_deg=_axis_in_labels(header.labels) if extended.axis_deg is None else extended.axis_deg,
        voxel_A=header.pixel_A,
        is_volume=header.ispg == 1 and any(label.startswith("etcli ") for label in header.labels),
        warnings=tuple(f"{name}: {text}" for text in doubts),
    )
    return stack, extended.tilt_deg


def _axis_in_labels(labels: Sequence[str]) -> float | None:
    """Return the tilt axis angle in SerialEM's label, unless the axis has been turned since."""
    if any(label.startswith("etcli tiltalign") for label in labels):
        return None
    return next((axis for label in reversed(labels) if (axis := axis_in_title(label)) is not None), None)


def _described(
    stack: ImageFile,
    path: Path | None,
    tilts_file: str | None,
    header_tilts: NDArray[np.float64] | None,
    without: Collection[int],
) -> ImageFile:
    """Add what files beside the stack say of it.

    Files that only share its stem may belong to another stage of the work, as the angles of a series lie
    beside its volume: they may not fit, and that matters only to those who ask for the angles.
    """
    warnings, mdoc, misfit = list(stack.warnings), stack.mdoc, ""
    beside = find_mdoc(path) if path else None
    if beside and (stack.mdoc is None or not stack.is_volume):
        mdoc = read_mdoc(beside)
    if mdoc and describes_volume(mdoc):
        fits = fits_volume(mdoc, stack.data.shape)
        mdoc = mdoc if fits else None
        # formats that say nothing else of volumes
        stack = replace(stack, is_volume=stack.is_volume or (fits and stack.mode is None))
    if stack.is_volume and not tilts_file:
        mdoc = mdoc if mdoc and describes_volume(mdoc) else None
        reason = f"{stack.name}: a volume, which has no tilt angles; name a series"
        return replace(stack, mdoc=mdoc, no_tilts=reason)
    views = set(range(len(stack))) - set(without) if without else None
    if mdoc:
        try:
            mdoc.check_sections(len(stack), stack=stack.name, views=views)
            warnings += mdoc.warnings
        except DataError as error:
            if not tilts_file and beside == Path(f"{path}.mdoc"):
                raise
            if tilts_file:
                warnings.append(f"{error}; left aside")
            mdoc, misfit = None, str(error)
    tilts, no_tilts = None, ""
    try:
        tilts = find_tilts(
            path,
            n_sections=len(stack),
            tilts_file=Path(tilts_file) if tilts_file else None,
            mdoc=mdoc,
            header_tilts=header_tilts,
            views=views,
        )
        warnings += tilts.warnings
    except NoTiltsError as error:
        no_tilts = str(error)
    except DataError as error:
        if tilts_file:
            raise
        misfit = str(error)
    # a header that says 1 Å says nothing where the mdoc knows better
    better = mdoc.pixel_A if mdoc and stack.pixel_A in (None, 1.0) else None
    return replace(
        stack,
        mdoc=mdoc,
        tilts=tilts,
        no_tilts=no_tilts,
        misfit=misfit,
        pixel_A=better or stack.pixel_A,
        warnings=tuple(warnings),
    )
