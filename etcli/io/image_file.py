"""Reading of image files of any format, with the metadata of the file and of the files beside it."""

import shutil
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError, without_advice
from etcli.core.series import ImageData, TiltSeries, Volume
from etcli.io.doubts import axis_doubts, pixel_doubts
from etcli.io.extended_header import tilts_from_extended_header
from etcli.io.file_kind import MRC, READ_BY_CONTENT, TIFF, kind_of, misnamed, not_images
from etcli.io.foreign import READERS, ForeignImages, read_foreign
from etcli.io.history import complete
from etcli.io.mdoc import Mdoc, axis_in_labels, read_mdoc
from etcli.io.mdoc_text import MontageError, montage_error
from etcli.io.microscope_log import axis_in_log, log_of
from etcli.io.mrc import MrcHeader, open_mrc
from etcli.io.series_background import background_of
from etcli.io.series_centre import centre_of
from etcli.io.tilts import NoTiltsError, Tilts, TiltsFor, find_mdoc, find_tilts
from etcli.io.view_columns import view_table
from etcli.io.volume_text import describes_volume, fits_volume, frame_of, origin_of

STREAM = "-"
SQUARE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ImageFile:
    """Images of a file, with the metadata of the file itself and of the files beside it.

    ``data`` is (n, ny, nx), often a memory map, in the type stored; row 0 is the bottom. ``pixel_A`` is None
    where it is unknown; ``voxel_A`` is the size in an MRC header along x, y and z. ``tilts`` is None where no
    angles were found, and ``no_tilts`` then says where they were looked for; ``misfit`` is the reason why
    angles beside the file were not used. ``mdoc`` is the description of a series or of a volume.
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
    axis_source: str = "header"
    warnings: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return self.data.shape[0]

    @property
    def history(self) -> tuple[str, ...]:
        """Processing steps, the oldest first, with their details where the description has them."""
        return complete(self.labels, self.mdoc.titles if self.mdoc else ())

    def series(self) -> TiltSeries:
        """Return the images as views of a series, whether their tilt angles are known or not."""
        mdoc = None if self.mdoc is None or describes_volume(self.mdoc) else self.mdoc
        axis = mdoc.tilt_axis if mdoc else None
        source = self.axis_source if self.axis_deg is not None else ""
        has_header = self.mode is not None
        centre_A = None if self.is_volume else centre_of(self.labels, mdoc, has_labels=has_header)
        return TiltSeries(
            self.data,
            name=self.name,
            pixel_A=self.pixel_A,
            origin_A=self.origin_A if has_header else origin_of(mdoc),
            history=self.history,
            views=view_table(len(self), mdoc, self.tilts),
            axis_deg=axis.deg if axis else self.axis_deg,
            axis_source=axis.source if axis else source,
            tilts_source=self.tilts.source if self.tilts else "",
            no_tilts=self.misfit or self.no_tilts,
            voltage_kv=mdoc.voltage_kv if mdoc else None,
            description=mdoc,
            centre_A=centre_A,
            background=background_of(self.labels, mdoc, has_labels=has_header),
        )

    def volume(self) -> Volume:
        """Return the images as sections of a volume."""
        has_header = self.mode is not None
        return Volume(
            self.data,
            name=self.name,
            pixel_A=self.pixel_A,
            origin_A=self.origin_A if has_header else origin_of(self.mdoc),
            history=self.history,
            frame=frame_of(self.labels, self.mdoc, has_labels=has_header),
            voxel_A=self.voxel_A,
            description=self.mdoc,
        )

    def images(self) -> TiltSeries | Volume:
        """Return the images as a series where their tilt angles are known, else as a volume."""
        return self.series() if self.tilts and not self.is_volume else self.volume()


@dataclass(frozen=True, eq=False)
class MappedImages:
    """Memory-mapped images of a file, pickled as its name; another process opens the file once.

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
        return _open_in_process, (path, size_and_time(path))

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of images, rows and columns."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.array.dtype

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        selected: NDArray[Any] = self.array[index]
        return selected


def size_and_time(path: Path) -> tuple[int, int]:
    """Return size and modification time of a file, by which a change of it is noticed."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(4)
def _open_in_process(path: Path, stamp: tuple[int, int]) -> ImageData:
    """Open the images of a file, once per process as long as the file is unchanged."""
    if size_and_time(path) != stamp:
        raise DataError(f"{path}: is not the same file here as where the work began")
    return open_without_sidecars(path, str(path))[0].data


def open_images(
    name: str,
    *,
    tilts_file: str | Tilts | TiltsFor | None = None,
    stream: bool = False,
    without: Collection[int] = (),
) -> ImageFile:
    """Open a file of images.

    Parameters
    ----------
    name : str
        An MRC, TIFF or other image file, or ``-`` for an MRC file on the standard input.
    tilts_file : str, Tilts or callable, optional
        File of tilt angles, or angles out of one, that replace all other sources.
    stream : bool
        Whether ``-`` may be given.
    without : collection of int
        Sections that will not be used, counted from 0; metadata may be missing for them.

    Returns
    -------
    ImageFile

    Raises
    ------
    DataError
        When the file, or a description beside it, is damaged or does not fit.
    UsageError
        When ``-`` is given without `stream`.
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
    if path.suffix.lower() == ".mdoc" and path.exists():
        advice = "name the image file, or make one of those it lists: stack"
        raise DataError(f"{name}: describes images; {advice}")
    if path.exists() and not path.is_file():
        with path.open("rb") as pipe:
            return _from_pipe(pipe, name, tilts_file, without)
    stack, tilt_deg = open_without_sidecars(path, name)
    complete = add_sidecars(stack, path, tilts_file, tilt_deg, without)
    if complete.tilts is not None and complete.tilts.tilt_deg is tilt_deg and path.suffix.lower() in READERS:
        return replace(complete, tilts=replace(complete.tilts, source=name))
    return complete


def open_without_sidecars(path: Path, name: str) -> tuple[ImageFile, NDArray[np.float64] | None]:
    """Open a file without looking at the files beside it; return it and its own tilt angles."""
    kind = kind_of(path)
    is_foreign = path.suffix.lower() in READERS and kind not in READ_BY_CONTENT
    try:
        if is_foreign or kind is TIFF:
            images = read_foreign(path) if is_foreign else _read_tiff(path)
            _check_pixels(name, images.data)
            mapped, odd = MappedImages(path, images.data), images.warnings
            opened = ImageFile(name, mapped, images.pixel_A, labels=images.labels), images.tilt_deg
        else:
            header, data = open_mrc(path)
            opened, odd = _from_mrc(name, header, MappedImages(path, data)), []
    except DataError as error:
        raise not_images(path, name, error) from error
    odd = odd if is_foreign else [*misnamed(path, TIFF if kind is TIFF else MRC), *odd]
    warnings = (*(f"{name}: {text}" for text in odd), *opened[0].warnings)
    return replace(opened[0], warnings=warnings), opened[1]


def _read_tiff(path: Path) -> ForeignImages:
    """Read a TIFF."""
    from etcli.io.tiff import labels_of, read_tiff

    data, pixel_A, odd = read_tiff(path)
    return ForeignImages(data, pixel_A, None, odd, labels_of(path))


def _check_pixels(name: str, data: NDArray[Any]) -> None:
    """Raise DataError for images that hold no pixel, which damaged files may state."""
    if not data.size:
        nz, ny, nx = data.shape
        raise DataError(f"{name}: {nz} images of {nx} x {ny} pixels; nothing to work on")


def _from_pipe(
    pipe: IO[bytes], name: str, tilts_file: str | Tilts | TiltsFor | None, without: Collection[int]
) -> ImageFile:
    """Read an MRC file from a pipe, through an unnamed temporary file."""
    with tempfile.TemporaryFile() as spooled:  # the memory map stays valid after it is closed
        shutil.copyfileobj(pipe, spooled, 1 << 20)
        spooled.seek(0)
        stack, header_tilts = _from_mrc(name, *open_mrc(spooled, name))
    return add_sidecars(stack, None, tilts_file, header_tilts, without)


def _from_mrc(name: str, header: MrcHeader, data: ImageData) -> tuple[ImageFile, NDArray[np.float64] | None]:
    """Create the `ImageFile` of an MRC file; in a stream the extended header holds the mdoc."""
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
    if extended.is_montage:
        raise montage_error(name)
    stated = header.pixel_A[0] if header.pixel_A else None
    warnings = list(header.warnings)
    if header.pixel_A and abs(header.pixel_A[1] / header.pixel_A[0] - 1) > SQUARE_TOLERANCE:
        warnings.append("pixels of {:g} x {:g} Å are not square; the first counts".format(*header.pixel_A))
    # 1 Å in the header is a placeholder where the extended header has a pixel size
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
        axis_deg=axis_in_labels(header.labels) if extended.axis_deg is None else extended.axis_deg,
        voxel_A=header.pixel_A,
        is_volume=header.ispg == 1 and any(label.startswith("etcli ") for label in header.labels),
        warnings=tuple(f"{name}: {text}" for text in warnings),
    )
    return stack, extended.tilt_deg


def _with_axis_of_log(stack: ImageFile, path: Path | None) -> ImageFile:
    """Return a stack with the tilt axis of the microscope's log, for raw data whose header states none."""
    is_raw = stack.axis_deg is None and not any(label.startswith("etcli ") for label in stack.labels)
    log = log_of(path) if path and is_raw else None
    axis_deg = axis_in_log(log) if log else None
    return stack if axis_deg is None else replace(stack, axis_deg=axis_deg, axis_source=str(log))


def add_sidecars(
    stack: ImageFile,
    path: Path | None,
    tilts_file: str | Tilts | TiltsFor | None,
    header_tilts: NDArray[np.float64] | None,
    without: Collection[int],
) -> ImageFile:
    """Add the metadata of the files beside the stack.

    Files that only share its stem may belong to another processing stage, as the angles of a series beside
    its volume. They may not fit, which is an error only where the angles are used.
    """
    warnings, misfit = list(stack.warnings), ""
    tilts_file = tilts_file(len(stack)) if callable(tilts_file) else tilts_file
    beside = find_mdoc(path) if path else None
    mdoc = stack.mdoc
    if beside and (stack.mdoc is None or not stack.is_volume):
        mdoc = _read_beside(beside, len(stack), warnings if tilts_file else None)
    if mdoc and describes_volume(mdoc):
        fits = fits_volume(mdoc, stack.data.shape)
        mdoc = mdoc if fits else None
        # formats that have no other mark of a volume
        stack = replace(stack, is_volume=stack.is_volume or (fits and stack.mode is None))
    if stack.is_volume and not tilts_file:
        mdoc = mdoc if mdoc and describes_volume(mdoc) else None
        reason = f"{stack.name}: a volume, which has no tilt angles; name a series"
        return replace(stack, mdoc=mdoc, no_tilts=reason)
    stack = _with_axis_of_log(stack, path)
    views = set(range(len(stack))) - set(without) if without else None
    if mdoc:
        try:
            mdoc.check_sections(len(stack), stack=stack.name, views=views)
            warnings += mdoc.warnings
        except DataError as error:
            if not tilts_file and beside == Path(f"{path}.mdoc"):
                raise
            if tilts_file:
                warnings.append(f"{without_advice(error)}; ignored")
            mdoc, misfit = None, str(error)
    tilts, no_tilts, unusable = _tilts_of(path, len(stack), tilts_file, mdoc, header_tilts, views)
    warnings += tilts.warnings if tilts else []
    # 1 Å in the header is a placeholder where the mdoc has a pixel size
    better = mdoc.pixel_A if mdoc and stack.pixel_A in (None, 1.0) else None
    doubts = pixel_doubts(better or stack.pixel_A, mdoc) + axis_doubts(stack.axis_deg, stack.labels, mdoc)
    warnings += [f"{stack.name}: {text}" for text in doubts]
    return replace(
        stack,
        mdoc=mdoc,
        tilts=tilts,
        no_tilts=no_tilts,
        misfit=unusable or misfit,
        pixel_A=better or stack.pixel_A,
        warnings=tuple(warnings),
    )


def _tilts_of(
    path: Path | None,
    n_sections: int,
    given: str | Tilts | None,
    mdoc: Mdoc | None,
    header_tilts: NDArray[np.float64] | None,
    views: Collection[int] | None,
) -> tuple[Tilts | None, str, str]:
    """Find tilt angles; return them, else why there are none, or why those beside the file cannot be used."""
    named = Path(given) if isinstance(given, str) else given
    try:
        found = find_tilts(
            path, n_sections=n_sections, tilts_file=named, mdoc=mdoc, header_tilts=header_tilts, views=views
        )
    except NoTiltsError as error:
        return None, str(error), ""
    except DataError as error:
        if given:
            raise
        return None, "", str(error)
    return found, "", ""


def _read_beside(path: Path, n_images: int, warnings: list[str] | None) -> Mdoc | None:
    """Read the mdoc beside an image file; where warnings are collected, one that is damaged is ignored."""
    try:
        return read_mdoc(path).for_images(n_images)
    except DataError as error:
        if warnings is None or isinstance(error, MontageError):
            raise
        warnings.append(f"{without_advice(error)}; ignored")
        return None
