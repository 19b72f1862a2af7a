"""Reading of the formats of microscope manufacturers, through the optional package rosettasciio."""

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.berkeley_emd import read_berkeley_emd
from etcli.io.hdf5_check import check_hdf5
from etcli.io.named_axes import Axis, as_stack, pixel_on, tilts_on

READERS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".ser": "tia",
    ".emi": "tia",
    ".hspy": "hspy",
    ".zspy": "zspy",
    ".h5": "usid",
    ".hdf5": "usid",
}
# what to install for a module that is missing
PACKAGES = {"rsciio": "rosettasciio", "zarr": "'zarr<3'", "sidpy": "sidpy pyUSID"}
EMD = ".emd"

# a problem with a file is reported once, by an error of etcli
logging.getLogger("rsciio").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class ForeignImages:
    """Images of a manufacturer's format: ``data`` (n, ny, nx), row 0 at the bottom."""

    data: NDArray[Any]
    pixel_A: float | None
    tilt_deg: NDArray[np.float64] | None
    warnings: list[str] = field(default_factory=list)
    labels: tuple[str, ...] = ()


def read_foreign(path: Path) -> ForeignImages:
    """Read a file with the reader for its suffix.

    Parameters
    ----------
    path : Path
        A DM3, DM4, EMD, SER, hspy or HDF5 file.

    Returns
    -------
    ForeignImages

    Raises
    ------
    DataError
        When a package is not installed, the file cannot be read, or it holds no images.
    """
    with path.open("rb") as stream:
        if not stream.read(1):
            raise DataError(f"{path}: 0 bytes; is the file complete?")
    check_hdf5(path)
    try:
        berkeley = read_berkeley_emd(path) if path.suffix.lower() == EMD else None
        found = [] if berkeley else signals(path)
    except ImportError as error:
        raise DataError(f"{path}: {missing_package(error)}") from error
    except Exception as error:  # each reader raises exceptions of its own
        raise DataError(f"{path}: cannot be read ({error}); is the file complete?") from error
    try:
        return _images(*berkeley) if berkeley else _first_images(found)
    except DataError as error:
        raise DataError(f"{path}: {error}; export a tilt series") from error


def signals(path: Path, *, lazy: bool = False) -> list[dict[str, Any]]:
    """Return what rosettasciio finds in a file, those of most dimensions first.

    Parameters
    ----------
    path : Path
    lazy : bool
        Whether data are left on disk, as arrays of dask.

    Returns
    -------
    list of dict
        With ``data``, ``axes``, ``metadata`` and ``original_metadata``.
    """
    module = importlib.import_module(f"rsciio.{READERS[path.suffix.lower()]}")
    found: list[dict[str, Any]] = module.file_reader(str(path), lazy=lazy)
    return sorted(found, key=lambda one: -np.ndim(one["data"]))


def missing_package(error: ImportError) -> str:
    """Return which module is missing, and how to install it whatever way etcli was installed."""
    module = (error.name or "rosettasciio").split(".")[0]
    package = PACKAGES.get(module, module)
    also = " h5py" if module == "rsciio" else ""
    return f"needs the Python module {module}, which is not installed; python -m pip install {package}{also}"


def _first_images(signals: list[dict[str, Any]]) -> ForeignImages:
    """Return the first stack of images; the reason of the first refusal where there is none."""
    refusals, found, titles = [], [], []
    for signal in signals:
        try:
            images = _images(np.asarray(signal["data"]), axes_of(signal), signal["original_metadata"])
            title, microscope = (
                _word(find_entry(signal.get("metadata", {}), key)) for key in ("title", "microscope")
            )
            found.append(replace(images, labels=tuple(word for word in (title, microscope) if word)))
            titles.append(title or "without a title")
        except DataError as error:
            refusals.append(error)
    if not found:
        raise refusals[0] if refusals else DataError("holds no data")
    if len(found) > 1:
        found[0].warnings.append(
            f"holds {len(found)} sets of images ({', '.join(titles)}); the first is read"
        )
    return found[0]


def _images(data: NDArray[Any], axes: list[Axis], metadata: Mapping[str, Any] | None = None) -> ForeignImages:
    """Return images with row 0 at the bottom, their pixel size and tilt angles."""
    stack, (first, rows, columns) = as_stack(data, axes)
    pixel_A, warnings = pixel_on(rows, columns)
    tilt_deg = tilts_on(first)
    alpha = find_entry(metadata, "Stage Alpha") if metadata and len(stack) == 1 else None
    if alpha is not None:  # of the microscope, for a single image
        tilt_deg = np.full(1, float(alpha))
    return ForeignImages(stack[:, ::-1], pixel_A, tilt_deg, warnings)


def axes_of(signal: Mapping[str, Any]) -> list[Axis]:
    """Return the axes of a signal; uneven ones have their coordinates in ``axis``."""
    axes = []
    for axis, n in zip(signal["axes"], np.shape(signal["data"]), strict=True):
        values = np.asarray(axis.get("axis", ()), np.float64)
        if values.shape != (n,):
            values = float(axis.get("offset", 0)) + float(axis.get("scale", 1)) * np.arange(n)
        axes.append(Axis(_word(axis.get("name")), _word(axis.get("units")), values))
    return axes


def _word(value: object) -> str:
    """Return a name or unit as text, empty where it is not set."""
    return value if isinstance(value, str) and value != "<undefined>" else ""


def find_entry(tree: Mapping[str, Any], name: str) -> Any:
    """Return the first entry of that name in nested metadata, None if there is none."""
    for key, value in tree.items():
        if key == name:
            return value
        if isinstance(value, dict) and (found := find_entry(value, name)) is not None:
            return found
    return None
