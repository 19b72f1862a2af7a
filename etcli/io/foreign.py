"""Reading of the formats of microscope manufacturers, through the optional package rosettasciio."""

import importlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.hdf5_check import check_hdf5

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
UNIT_A = {"nm": 10.0, "µm": 1e4, "um": 1e4, "Å": 1.0, "A": 1.0, "m": 1e10, "mm": 1e7}

# a problem with a file is reported once, by an error of etcli
logging.getLogger("rsciio").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class ForeignImages:
    """Images of a manufacturer's format: ``data`` (n, ny, nx), row 0 at the bottom."""

    data: NDArray[Any]
    pixel_A: float | None
    tilt_deg: NDArray[np.float64] | None


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
        When the package is not installed or the file cannot be read.
    """
    path.open("rb").close()
    check_hdf5(path)
    try:
        module = importlib.import_module(f"rsciio.{READERS[path.suffix.lower()]}")
    except ImportError as error:
        raise DataError(f"{path}: needs the optional readers; pip install 'etcli[readers]'") from error
    try:
        signals = module.file_reader(str(path))
    except Exception as error:  # each reader raises exceptions of its own
        raise DataError(f"{path}: cannot be read ({error}); is the file complete?") from error
    if not signals:
        raise DataError(f"{path}: holds no images; export a tilt series")
    signal = max(signals, key=lambda one: np.ndim(one["data"]))
    data = np.asarray(signal["data"])
    if data.ndim == 2:
        data = data[np.newaxis]
    if data.ndim != 3 or data.dtype.kind not in "uif":
        raise DataError(f"{path}: data of shape {data.shape} is no stack of images; export a tilt series")
    return ForeignImages(data[:, ::-1], _pixel_A(signal), _tilts(signal, len(data)))


def _pixel_A(signal: dict[str, Any]) -> float | None:
    axis = signal["axes"][-1]
    scale = UNIT_A.get(str(axis.get("units")))
    return float(f"{scale * axis['scale']:.7g}") if scale else None


def _tilts(signal: dict[str, Any], n: int) -> NDArray[np.float64] | None:
    """Return the tilt angles from the axis of the views, else from the microscope's metadata."""
    axis = signal["axes"][0]
    if len(signal["axes"]) == 3 and str(axis.get("units")).lower() in {"°", "deg", "degree", "degrees"}:
        return np.asarray(axis["offset"] + axis["scale"] * np.arange(n), np.float64)
    alpha = _find(signal["original_metadata"], "Stage Alpha")
    return np.full(n, float(alpha)) if n == 1 and alpha is not None else None


def _find(tree: dict[str, Any], name: str) -> Any:
    for key, value in tree.items():
        if key == name:
            return value
        if isinstance(value, dict) and (found := _find(value, name)) is not None:
            return found
    return None
