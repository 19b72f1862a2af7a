"""Reading a stack of images with all that is known of it, whatever its format."""

import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.io.extended_header import tilts_from_extended_header
from etcli.io.mdoc import Mdoc, axis_in_title, read_mdoc
from etcli.io.mrc import MrcHeader, open_mrc
from etcli.io.readers import READERS, read_foreign
from etcli.io.tilts import NoTiltsError, Tilts, find_mdoc, find_tilts

STREAM = "-"
SQUARE = 1e-3


@dataclass(frozen=True)
class Stack:
    """Images as a file holds them, a series or a volume.

    ``data`` is (n, ny, nx), often a memory map, in the type stored; row 0 is the bottom. ``order`` names
    the images of ``data`` that belong to the stack, all where it is None. ``pixel_A`` is None where
    nobody says; ``voxel_A`` is what an MRC header says along x, y and z. ``tilts`` is None where no angles
    were found, and ``no_tilts`` then tells what was looked for. ``mdoc`` is the description beside the file.
    """

    name: str
    data: NDArray[Any]
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
    order: NDArray[np.intp] | None = None
    warnings: tuple[str, ...] = field(default=())

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes as the name of the file and what was said of it, without the images."""
        said = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "data"}
        path = Path(self.name).resolve()
        return _reopened, (path, _stamp(path), said)

    def __len__(self) -> int:
        return len(self.data if self.order is None else self.order)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of images, rows and columns."""
        return len(self), self.data.shape[1], self.data.shape[2]

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles in degrees, one a view; a DataError where there are none."""
        if self.tilts is None:
            raise DataError(
                self.misfit or self.no_tilts or f"{self.name}: no tilt angles; give them with --tilts FILE"
            )
        return self.tilts.tilt_deg

    @property
    def tilt_axis_deg(self) -> float | None:
        """Angle from +y to the tilt axis by the mdoc, else by the header; None where nobody says."""
        axis = self.mdoc.tilt_axis if self.mdoc else None
        return axis.deg if axis else self.axis_deg

    def view(self, k: int) -> NDArray[np.float32]:
        """Return image ``k`` as float32, after a look for values that cannot be worked with."""
        at = k if self.order is None else self.order[k]
        return self._checked(self.data[at], f"{'view' if self.tilts else 'section'} {k + 1}")

    def rows(self, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the chosen rows of every image, (n, rows, nx), as float32."""
        first, last = int(chosen[0]), int(chosen[-1])
        following = last - first + 1 == len(chosen) and bool((np.diff(chosen) == 1).all())
        rows: Any = slice(first, last + 1) if following else chosen
        views: Any = slice(None)
        if self.order is not None:
            views = self.order if following else self.order[:, np.newaxis]
        return self._checked(self.data[views, rows], f"rows {first + 1}-{last + 1}")

    def images(self) -> NDArray[Any]:
        """Return all images as they are stored, as a memory map where that can be."""
        data = self.data if self.order is None else self.data[self.order]
        if data.dtype.kind == "c":
            self._checked(data[:1], "")
        return data

    def select(self, views: Sequence[int]) -> "Stack":
        """Return a stack of some images, counted from 0, in the order given, without reading them."""
        chosen = np.asarray(views, np.intp)
        return replace(
            self,
            order=chosen if self.order is None else self.order[chosen],
            mdoc=self.mdoc.select(chosen) if self.mdoc else None,
            tilts=replace(self.tilts, tilt_deg=self.tilts.tilt_deg[chosen]) if self.tilts else None,
        )

    def with_axis(self, axis_deg: float) -> "Stack":
        """Return the stack with another angle from +y to its tilt axis."""
        return replace(self, axis_deg=axis_deg, mdoc=self.mdoc.with_axis(axis_deg) if self.mdoc else None)

    def with_tilts(self, tilt_deg: NDArray[np.float64], source: str) -> "Stack":
        """Return the stack with other tilt angles."""
        return replace(self, tilts=Tilts(tilt_deg, source))

    def _checked(self, values: NDArray[Any], where: str) -> NDArray[np.float32]:
        if values.dtype.kind == "c":
            raise DataError(
                f"{self.name}: holds complex numbers (a Fourier transform); give the images themselves"
            )
        real = np.asarray(values, np.float32)
        if values.dtype.kind == "f" and not np.isfinite(real).all():
            raise DataError(f"{self.name}: NaN or infinite values in {where}; leave it out or mend it before")
        return real


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes with a file."""
    about = path.stat()
    return about.st_size, about.st_mtime_ns


@lru_cache(4)
def _images_of(path: Path, stamp: tuple[int, int]) -> NDArray[Any]:
    """Return the images of a file, which a process opens once as long as it stays the same."""
    if _stamp(path) != stamp:
        raise DataError(f"{path}: is not the same file here as where the work began")
    return _bare(path, str(path))[0].data


def _reopened(path: Path, stamp: tuple[int, int], said: dict[str, Any]) -> Stack:
    """Return a stack that has travelled."""
    return Stack(data=_images_of(path, stamp), **said)


def open_stack(
    name: str, *, tilts_file: str | None = None, stream: bool = False, without: Collection[int] = ()
) -> Stack:
    """Open a stack of images.

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
    Stack

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


def _bare(path: Path, name: str) -> tuple[Stack, NDArray[np.float64] | None]:
    """Return the images of a file with what it says itself, and its tilt angles."""
    with path.open("rb") as file:
        magic = file.read(4)
    if path.suffix.lower() in READERS:
        foreign = read_foreign(path)
        return Stack(name, foreign.data, foreign.pixel_A), foreign.tilt_deg
    from etcli.io.tiff import MAGIC, read_tiff

    if magic in MAGIC:
        data, pixel_A = read_tiff(path)
        return Stack(name, data, pixel_A), None
    return _from_mrc(name, *open_mrc(path))


def _from_pipe(pipe: IO[bytes], name: str, tilts_file: str | None, without: Collection[int]) -> Stack:
    """Read an MRC file from a pipe by way of an unnamed file."""
    with tempfile.TemporaryFile() as spooled:  # the memory map outlives it
        shutil.copyfileobj(pipe, spooled, 1 << 20)
        spooled.seek(0)
        stack, header_tilts = _from_mrc(name, *open_mrc(spooled, name))
    return _described(stack, None, tilts_file, header_tilts, without)


def _from_mrc(name: str, header: MrcHeader, data: NDArray[Any]) -> tuple[Stack, NDArray[np.float64] | None]:
    """Make a stack of an MRC file; in a stream its mdoc travels in the extended header."""
    mdoc = None
    if header.exttyp == b"MDOC":
        mdoc = Mdoc.parse(header.extended.rstrip(b"\0"), name=name)
    extended = tilts_from_extended_header(
        header.exttyp,
        header.extended,
        len(data),
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
    stack = Stack(
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
    stack: Stack,
    path: Path | None,
    tilts_file: str | None,
    header_tilts: NDArray[np.float64] | None,
    without: Collection[int],
) -> Stack:
    """Add what files beside the stack say of it.

    Files that only share its stem may belong to another stage of the work, as the angles of a series lie
    beside its volume: they may not fit, and that matters only to those who ask for the angles.
    """
    if stack.is_volume and not tilts_file:
        return replace(stack, no_tilts=f"{stack.name}: a volume, which has no tilt angles; name a series")
    warnings, mdoc, misfit = list(stack.warnings), stack.mdoc, ""
    views = set(range(len(stack))) - set(without) if without else None
    beside = find_mdoc(path) if path else None
    if beside:
        mdoc = read_mdoc(beside)
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
