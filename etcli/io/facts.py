"""Summary of an image file (size, pixel size, angles, statistics, history) as plain values for JSON."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.outliers import content_of, empty_views
from etcli.core.quality import crowther_resolution_A
from etcli.io.axis_of_register import axis_of_register
from etcli.io.element_map import ElementMap
from etcli.io.frame_label import OURS, without_frame
from etcli.io.history import as_values
from etcli.io.image_file import ImageFile
from etcli.io.mrc_writer import Statistics
from etcli.io.segmentation_step import segmentation_of

MODES = {"int8": 0, "uint8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}
"""MRC modes by the type of the numbers."""


def facts_of(file: ImageFile, *, diameter_A: float | None = None) -> dict[str, Any]:
    """Summarise an image file.

    Parameters
    ----------
    file : ImageFile
    diameter_A : float, optional
        Diameter of the specimen across the tilt axis, by default the field of view.

    Returns
    -------
    dict
        ``size`` (nx, ny, n), ``pixel_A``, ``mode`` (the MRC mode of such numbers), ``type`` (as NumPy names
        it), ``min``, ``max``, ``mean``, ``origin_A``, ``tilt_deg``, ``axis_deg``, ``registered_axis`` (that
        register found, where the views have not been aligned to it), ``empty_views`` (counted from 1: one
        value), ``dose_e_A2``, ``defocus_um``, ``voltage_kv``, ``map`` (``element``, ``line``,
        ``sensitivity``, ``part`` and the kind of the ``values``, also of a volume of maps), ``segmentation``
        (how labels of bodies were found), ``labels`` (of the header), ``history`` (the steps in short),
        ``steps`` (``version``, ``command`` and ``inputs`` of each of them), ``source`` of the angles,
        Crowther's ``resolution_A`` and the ``diameter_A`` that it was asked for; None for those that are
        unknown.
    """
    n, ny, nx = file.data.shape
    dtype = str(file.data.dtype.newbyteorder("="))
    lowest, highest, mean = _statistics(file)
    series = file.series()
    views = series.views
    steps = [as_values(step) for step in without_frame(file.history) if step.startswith(OURS)]
    found = None if file.is_volume else axis_of_register(file.history)
    return {
        "file": file.name,
        "size": [nx, ny, n],
        "pixel_A": file.pixel_A,
        "mode": MODES.get(dtype) if file.mode is None else file.mode,
        "type": dtype,
        "min": lowest,
        "max": highest,
        "mean": mean,
        "origin_A": [float(f"{length:.7g}") for length in file.origin_A],
        "tilt_deg": None if views.tilt_deg is None else [round(float(a), 6) for a in views.tilt_deg],
        "axis_deg": series.axis_deg,
        "registered_axis": None if found is None else {"deg": found.angle_deg, "offset_px": found.offset_px},
        "empty_views": _empty_views(file),
        "dose_e_A2": _nan_as_none(views.dose_e_A2),
        "defocus_um": _nan_as_none(views.defocus_um),
        "voltage_kv": series.voltage_kv,
        "map": ElementMap.of(file.mdoc).as_dict(),
        "segmentation": segmentation_of(file.history),
        "labels": list(file.labels),
        "history": [step.pop("step") for step in steps],
        "steps": steps,
        "source": series.tilts_source or None,
        "diameter_A": diameter_A,
        "resolution_A": _resolution(file, diameter_A),
    }


def in_words(file: ImageFile) -> str:
    """Size, pixel size, range of the tilt angles, voltage and total dose, in ASCII for the history."""
    n, ny, nx = file.data.shape
    words = [f"{nx} x {ny} x {n}" + (f" of {file.pixel_A:.7g} A" if file.pixel_A else "")]
    if file.tilts is not None and not file.is_volume:
        angles = file.tilts.tilt_deg[np.isfinite(file.tilts.tilt_deg)]
        words += [f"{angles.min():g} to {angles.max():g} deg"] if angles.size else []
    if file.mdoc is not None:
        dose_e_A2 = np.nansum(file.mdoc.dose_e_A2)
        words += [f"{file.mdoc.voltage_kv:g} kV"] if file.mdoc.voltage_kv else []
        words += [f"{dose_e_A2:.4g} e/A2"] if dose_e_A2 > 0 else []
    return ", ".join(words)


def _empty_views(file: ImageFile) -> list[int]:
    """Return the numbers of the views of a series that hold one value only."""
    if file.is_volume or file.tilts is None:
        return []
    return [k + 1 for k in empty_views([content_of(file.data[k]) for k in range(len(file))])]


def _nan_as_none(values: NDArray[np.float64] | None) -> list[float | None] | None:
    """Return the numbers as a list with None in place of NaN; None where there are no numbers at all."""
    if values is None:
        return None
    return [float(value) if np.isfinite(value) else None for value in values]


def _statistics(file: ImageFile) -> tuple[float, float, float]:
    """Return minimum, maximum and mean from the header, or from the data where the header lacks them."""
    lowest, highest, mean = file.statistics[:3] if file.statistics else (0.0, -1.0, -2.0)
    if lowest < highest and lowest <= mean <= highest:
        values = lowest, highest, mean
    else:
        statistics, images = Statistics(), file.series()
        for k in range(len(file)):
            statistics.add(images.view(k))
        values = statistics.result()[:3]
    return tuple(float(f"{value:.7g}") for value in values)  # type: ignore[return-value]


def _resolution(file: ImageFile, diameter_A: float | None) -> float | None:
    """Return Crowther's resolution, None without a pixel size or several tilt angles."""
    steps = np.diff(np.unique(np.round(file.tilts.tilt_deg, 2))) if file.tilts else np.empty(0)
    diameter_A = diameter_A or (file.data.shape[2] * file.pixel_A if file.pixel_A else None)
    if not steps.size or not diameter_A:
        return None
    return float(f"{crowther_resolution_A(diameter_A, increment_deg=float(np.median(steps))):.4g}")
