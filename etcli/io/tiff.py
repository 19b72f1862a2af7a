"""Reading and writing of TIFF stacks, whose rows are flipped because TIFF stores the top row first."""

import logging
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.mrc_writer import MrcLayout, as_stored, reserve

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Å per unit of the resolution tag: centimetres only, as inches mean screen resolution, not pixel size
RESOLUTION_UNIT_A = {3: 1e8}
UNIT_A = {
    "pm": 0.01,
    "nm": 10.0,
    "µm": 1e4,
    "\\u00B5m": 1e4,
    "um": 1e4,
    "micron": 1e4,
    "A": 1.0,
    "Å": 1.0,
    "\\u00C5": 1.0,
}
LARGEST_COMPRESSION = 20_000
"""Ratio that no compression reaches for images with any content."""

# a problem with a file is reported once, by an error of etcli
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(path: Path) -> tuple[NDArray[Any], float | None]:
    """Read a TIFF stack.

    Parameters
    ----------
    path : Path

    Returns
    -------
    data : ndarray of shape (n, ny, nx)
        Row 0 is the bottom.
    pixel_A : float or None
        Pixel size in Å, if the file has one.

    Raises
    ------
    DataError
        When the file is damaged or holds colours.
    """
    try:
        with tifffile.TiffFile(path) as file:
            _check_sizes(file)
            series = file.series[0]
            if len(file.series) > 1:  # written page by page
                data = np.concatenate([one.asarray().reshape(-1, *one.shape[-2:]) for one in file.series])
            elif series.dataoffset is not None:
                data = tifffile.memmap(path, mode="r")
            else:
                data = series.asarray()
            is_grey = "S" not in series.axes
            pixel_A = _pixel_A(file)
    except Exception as error:  # damaged files fail in many ways
        raise DataError(
            f"{path}: not a TIFF that can be read ({error}); save it again without compression"
        ) from error
    if data.ndim == 2:
        data = data[np.newaxis]
    if data.ndim != 3 or data.dtype.kind not in "uif" or not is_grey:
        raise DataError(
            f"{path}: TIFF of shape {data.shape} is no stack of grey images; save single-channel images"
        )
    return data[:, ::-1], pixel_A


def _check_sizes(file: tifffile.TiffFile) -> None:
    """Raise ValueError for pages larger than the file can hold, which would take minutes to be missed."""
    for page in (series.keyframe for series in file.series):
        longest = file.filehandle.size * (1 if page.compression == 1 else LARGEST_COMPRESSION)
        if page.nbytes > longest:
            raise ValueError(f"a page of {page.nbytes} bytes in a file of {file.filehandle.size}")


def software_of(path: Path) -> str:
    """Name of the program that wrote a TIFF, empty if unknown."""
    try:
        with tifffile.TiffFile(path) as file:
            return str(file.pages[0].tags.valueof("Software", "") or "")
    except Exception:  # damaged files fail in many ways
        return ""


def _pixel_A(file: tifffile.TiffFile) -> float | None:
    """Return the pixel size in the OME metadata, else in that of ImageJ or in the resolution tag."""
    if file.ome_metadata:
        pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels[@PhysicalSizeX]")
        if pixels is None:
            return None
        size, unit = float(pixels.attrib["PhysicalSizeX"]), pixels.get("PhysicalSizeXUnit", "µm")
        return float(f"{size * UNIT_A[unit]:.7g}") if unit in UNIT_A else None
    tags = file.pages[0].tags
    numerator, denominator = tags.valueof("XResolution", (0, 0))
    if not numerator or not denominator:
        return None
    imagej = (file.imagej_metadata or {}).get("unit")
    scale = UNIT_A.get(imagej) if imagej else RESOLUTION_UNIT_A.get(tags.valueof("ResolutionUnit", 2))
    return float(f"{scale * denominator / numerator:.7g}") if scale else None


class TiffWriter:
    """Writer of a TIFF stack in pieces, with the same methods as `etcli.io.mrc_writer.MrcWriter`.

    Parameters
    ----------
    path : Path
        File to write.
    layout : MrcLayout
        Shape, type and pixel size.
    """

    def __init__(self, path: Path, layout: MrcLayout) -> None:
        self.layout = layout
        per_cm = 1e8 / layout.pixel_A[0] if layout.pixel_A[0] else 0.0
        self._data = tifffile.memmap(
            path,
            shape=layout.shape,
            dtype=layout.dtype,
            bigtiff=np.prod(layout.shape) * layout.dtype.itemsize > 1 << 31,
            photometric="minisblack",
            resolution=(per_cm, per_cm) if per_cm else None,
            resolutionunit="CENTIMETER",
            metadata=None,
            software="etcli",
            datetime=False,
        )
        # without reserved space, a full disk would kill the process when it writes into the memory map
        with path.open("r+b") as file:
            reserve(file, path.stat().st_size)

    def write_section(self, z: int, section: NDArray[Any]) -> None:
        """Write section ``z``, an array (ny, nx)."""
        self._data[z] = as_stored(section, self.layout)[::-1]

    def write_rows(self, y0: int, block: NDArray[Any], *, z0: int = 0) -> None:
        """Write rows from ``y0`` on of the sections from ``z0`` on, an array (sections, rows, nx)."""
        ny = self.layout.shape[1]
        rows = slice(ny - y0 - block.shape[1], ny - y0)
        self._data[z0 : z0 + len(block), rows] = as_stored(block, self.layout)[:, ::-1]

    def close(self) -> None:
        """Complete the file."""
        self._data.flush()
        del self._data

    def abandon(self) -> None:
        """Close the file without completing it."""
        del self._data
