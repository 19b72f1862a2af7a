"""Reading and writing of TIFF stacks, whose rows are flipped because TIFF stores the top row first."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.mrc_writer import MrcLayout, as_stored, reserve
from etcli.io.units import length_unit_A, plain_unit

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# units of the resolution tags
RESOLUTION_UNITS = {2: "inch", 3: "cm"}
# Such tags often tell how large an image is to be printed: 72 dots per inch are 353 µm. No pixel of an
# electron microscope is larger than this.
LARGEST_TAGGED_PIXEL_A = 1e5
SQUARE_TOLERANCE = 1e-3
# what programs write where images have no scale
NO_UNITS = ("", "px", "pixel", "pixels", "none")
# beginnings of descriptions that only programs understand, and of etcli's own name
FOR_PROGRAMS = ("ImageJ=", "{", "<", "etcli", "tifffile.py")
# compressions of counted electrons (EER file format documentation, Thermo Fisher Scientific, 2020)
EER_COMPRESSIONS = (65000, 65001, 65002)

FLOAT16 = 12
"""MRC mode of numbers that ImageJ does not know."""
LARGEST_CLASSIC = 1 << 31
"""Bytes of images beyond which a TIFF has the large form, which has no room for ImageJ's metadata."""
LARGEST_COMPRESSION = 20_000
"""Ratio that no compression reaches for images with any content."""

# a problem with a file is reported once, by an error of etcli
logging.getLogger("tifffile").addHandler(logging.NullHandler())


EER = (
    "EER, single electrons in the order of their arrival, which are no images yet; align and average them "
    "with MotionCor3, RELION or IMOD's alignframes, and give the averages"
)


class EerError(DataError):
    """Error raised for a file of electron events, which has to become images first."""


def read_tiff(path: Path) -> tuple[NDArray[Any], float | None, list[str]]:
    """Read a TIFF stack.

    Parameters
    ----------
    path : Path

    Returns
    -------
    data : ndarray of shape (n, ny, nx)
        Row 0 is the bottom.
    pixel_A : float or None
        Pixel size in Å along x, if the file has one.
    warnings : list of str
        What is odd about the pixel size.

    Raises
    ------
    DataError
        When the file is damaged or holds colours.
    """
    try:
        with tifffile.TiffFile(path) as file:
            if file.pages[0].tags.valueof("Compression", 1) in EER_COMPRESSIONS:
                raise EerError(f"{path}: {EER}")
            _check_sizes(file)
            series = file.series[0]
            if len(file.series) > 1:  # written page by page
                data = np.concatenate([one.asarray().reshape(-1, *one.shape[-2:]) for one in file.series])
            elif series.dataoffset is not None:
                data = tifffile.memmap(path, mode="r")
            else:
                data = series.asarray()
            is_grey = "S" not in series.axes
            pixel_A, warnings = _calibration(file)
    except EerError:
        raise
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
    return data[:, ::-1], pixel_A, warnings


def _check_sizes(file: tifffile.TiffFile) -> None:
    """Raise ValueError for pages larger than the file can hold, which would take minutes to be missed."""
    for page in (series.keyframe for series in file.series):
        longest = file.filehandle.size * (1 if page.compression == 1 else LARGEST_COMPRESSION)
        if page.nbytes > longest:
            raise ValueError(f"a page of {page.nbytes} bytes in a file of {file.filehandle.size}")


def labels_of(path: Path) -> tuple[str, ...]:
    """Describe a TIFF as its program did: first line of the description, and the name of the program."""
    try:
        with tifffile.TiffFile(path) as file:
            texts = [
                str(file.pages[0].tags.valueof(tag, "") or "") for tag in ("ImageDescription", "Software")
            ]
    except Exception:  # damaged files fail in many ways
        return ()
    lines = (text.strip().partition("\n")[0].strip() for text in texts)
    return tuple(line for line in lines if line.isprintable() and line and not line.startswith(FOR_PROGRAMS))


def software_of(path: Path) -> str:
    """Name of the program that wrote a TIFF, empty if unknown."""
    try:
        with tifffile.TiffFile(path) as file:
            return str(file.pages[0].tags.valueof("Software", "") or "")
    except Exception:  # damaged files fail in many ways
        return ""


def _calibration(file: tifffile.TiffFile) -> tuple[float | None, list[str]]:
    """Return the pixel size along x in Å, and warnings: from OME or ImageJ metadata, else from the tags."""
    tags = file.pages[0].tags
    of_imagej = str((file.imagej_metadata or {}).get("unit") or "")
    if file.ome_metadata:
        sizes, unit = _ome_sizes(file.ome_metadata)
    else:
        per_unit = [tags.valueof(f"{axis}Resolution", (0, 0)) for axis in "XY"]
        sizes = [below / above if above else 0.0 for above, below in per_unit]
        unit = of_imagej or RESOLUTION_UNITS.get(int(tags.valueof("ResolutionUnit", 2)), "")
    scale = length_unit_A(unit)
    if not sizes[0] or scale is None:
        is_odd = bool(sizes[0]) and plain_unit(unit) not in NO_UNITS
        return None, [f"its pixel size is in {unit!r}, an unknown unit, and is not used"] * is_odd
    x_A, y_A = (float(f"{scale * (size or sizes[0]):.7g}") for size in sizes)
    if not (file.ome_metadata or of_imagej) and x_A > LARGEST_TAGGED_PIXEL_A:
        return None, []
    if abs(y_A / x_A - 1) > SQUARE_TOLERANCE:
        return x_A, [f"pixels of {x_A:g} x {y_A:g} Å are not square; the first counts"]
    return x_A, []


def _ome_sizes(metadata: str) -> tuple[list[float], str]:
    """Return the sizes of a pixel along x and y in OME metadata, both in the unit of x; 0 if unknown."""
    pixels = ElementTree.fromstring(metadata).find(".//{*}Pixels[@PhysicalSizeX]")
    if pixels is None:
        return [0.0, 0.0], ""
    x, y = (float(pixels.get(f"PhysicalSize{axis}", 0)) for axis in "XY")
    of_x, of_y = (pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XY")
    ratio = (length_unit_A(of_y) or 1.0) / (length_unit_A(of_x) or 1.0)
    return [x, y * ratio], of_x


def _description(layout: MrcLayout) -> dict[str, Any]:
    """Return what tifffile writes into the header: ImageJ's metadata, where its form allows."""
    x, y, z = layout.pixel_A
    is_large = _n_bytes(layout) > LARGEST_CLASSIC
    if is_large or layout.mode == FLOAT16:
        # plain, with the pixel size in the resolution tag: pixels per centimetre
        resolution = {"resolution": (1e8 / x, 1e8 / y), "resolutionunit": "CENTIMETER"} if x else {}
        return {"metadata": None, "bigtiff": is_large, **resolution}
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if x:
        metadata["unit"] = "nm"
        metadata |= {"spacing": float(f"{z / 10:.7g}")} if layout.volume and z else {}
    resolution = {"resolution": (10 / x, 10 / y)} if x else {}
    return {"imagej": True, "byteorder": "<", "metadata": metadata, "resolutionunit": "NONE", **resolution}


def _n_bytes(layout: MrcLayout) -> int:
    """Return the size of the images in bytes."""
    return int(np.prod(layout.shape)) * layout.dtype.itemsize


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
        self.layout = layout = replace(layout, unsigned_bytes=True)
        self._data = tifffile.memmap(
            path,
            shape=layout.shape,
            dtype=layout.dtype,
            photometric="minisblack",
            software="etcli",
            datetime=False,
            **_description(layout),
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
