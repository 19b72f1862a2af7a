"""What a file holds, as plain facts for a table or JSON."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.quality import crowther_resolution_A
from etcli.io.mrc_writer import Statistics
from etcli.io.stack import Stack


def about(stack: Stack, *, diameter_A: float | None = None) -> dict[str, Any]:
    """Collect what is known of a stack.

    Parameters
    ----------
    stack : Stack
    diameter_A : float, optional
        Diameter of the specimen across the tilt axis, by default the field of view.

    Returns
    -------
    dict
        ``size`` (nx, ny, n), ``pixel_A``, ``mode``, ``min``, ``max``, ``mean``, ``origin_A``, ``tilt_deg``,
        ``axis_deg``, ``dose_e_A2``, ``defocus_um``, ``voltage_kv``, ``labels``, ``history``, ``source`` of
        the angles and Crowther's ``resolution_A``; None where nobody says.
    """
    n, ny, nx = stack.shape
    lowest, highest, mean = _statistics(stack)
    mdoc, tilts = stack.mdoc, stack.tilts
    titles = mdoc.titles if mdoc else stack.labels
    return {
        "file": stack.name,
        "size": [nx, ny, n],
        "pixel_A": stack.pixel_A,
        "mode": stack.mode,
        "min": lowest,
        "max": highest,
        "mean": mean,
        "origin_A": [float(f"{length:.7g}") for length in stack.origin_A],
        "tilt_deg": [round(float(angle), 6) for angle in tilts.tilt_deg] if tilts else None,
        "axis_deg": stack.tilt_axis_deg,
        "dose_e_A2": _known(mdoc.dose_e_A2) if mdoc else None,
        "defocus_um": _known(mdoc.defocus_um) if mdoc else None,
        "voltage_kv": mdoc.voltage_kv if mdoc else None,
        "labels": list(stack.labels),
        "history": [title.strip() for title in titles if title.strip().startswith("etcli ")],
        "source": tilts.source if tilts else None,
        "resolution_A": _resolution(stack, diameter_A),
    }


def _known(values: NDArray[np.float64]) -> list[float | None] | None:
    """Return the numbers, None for each that is absent, or None where all are."""
    if not np.isfinite(values).any():
        return None
    return [float(value) if np.isfinite(value) else None for value in values]


def _statistics(stack: Stack) -> tuple[float, float, float]:
    """Return minimum, maximum and mean by the header, or from the data where it does not know."""
    lowest, highest, mean = stack.statistics[:3] if stack.statistics else (0.0, -1.0, -2.0)
    if lowest < highest and lowest <= mean <= highest:
        numbers = lowest, highest, mean
    else:
        statistics = Statistics()
        for k in range(len(stack)):
            statistics.add(stack.view(k))
        numbers = statistics.result()[:3]
    return tuple(float(f"{number:.7g}") for number in numbers)  # type: ignore[return-value]


def _resolution(stack: Stack, diameter_A: float | None) -> float | None:
    """Return Crowther's resolution where there are pixels of known size and several tilt angles."""
    steps = np.diff(np.unique(np.round(stack.tilts.tilt_deg, 2))) if stack.tilts else np.empty(0)
    diameter_A = diameter_A or (stack.shape[2] * stack.pixel_A if stack.pixel_A else None)
    if not steps.size or not diameter_A:
        return None
    return float(f"{crowther_resolution_A(diameter_A, increment_deg=float(np.median(steps))):.4g}")
