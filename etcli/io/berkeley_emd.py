"""Reading of the Berkeley EMD format, in which tomviz and others keep tilt series.

An HDF5 group with the attribute ``emd_group_type`` holds ``data`` and, for each of its dimensions in order, a
vector ``dim1``, ``dim2``, ... (from ``dim0`` in newer files) with the attributes ``name`` and ``units``.

References
----------
EMD 0.2, https://emdatasets.com/format; how tomviz uses it: https://github.com/OpenChemistry/tomviz
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.io.named_axes import Axis


def read_berkeley_emd(path: Path) -> tuple[NDArray[Any], list[Axis]] | None:
    """Read the largest array of two or three dimensions in a Berkeley EMD file.

    Parameters
    ----------
    path : Path
        An HDF5 file.

    Returns
    -------
    data : ndarray
        In the order of the file.
    axes : list of Axis
        With the coordinates that the file gives, even or not.

    Notes
    -----
    None where there is no such array, as in files of Velox, which are called EMD as well.

    Raises
    ------
    ImportError
        When h5py is not installed.
    OSError
        When it is no HDF5 file.
    """
    import h5py

    with h5py.File(path, "r") as file:
        found: list[Any] = []

        def collect(name: str, item: Any) -> None:
            is_data = isinstance(item, h5py.Group) and "emd_group_type" in item.attrs
            if is_data and isinstance(data := item.get("data"), h5py.Dataset) and data.ndim in (2, 3):
                found.append(item)

        file.visititems(collect)
        if not found:
            return None
        group = max(found, key=lambda one: (one["data"].ndim, one["data"].size))
        data = np.asarray(group["data"][()])
        first = 0 if "dim0" in group else 1
        return data, [_axis(group.get(f"dim{first + k}"), n) for k, n in enumerate(data.shape)]


def _axis(dimension: Any, n: int) -> Axis:
    """Return an axis of ``n`` points; two values alone stand for an even axis that begins with them."""
    if dimension is None or dimension.ndim != 1 or len(dimension) not in (2, n):
        return Axis("", "", np.arange(n, dtype=np.float64))
    values = np.asarray(dimension[()], np.float64)
    if len(values) != n:
        values = values[0] + (values[1] - values[0]) * np.arange(n)
    name, unit = (_text(dimension.attrs.get(key, "")) for key in ("name", "units"))
    return Axis(name, unit, values)


def _text(value: Any) -> str:
    """Return an attribute as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
