"""Fourier shell correlations as numbers for tables and JSON."""

import math

from etcli.core.quality import FSC, resolution_A


def resolutions(shells: FSC, pixel_A: float) -> dict[str, float | None]:
    """Return the resolutions at the two usual thresholds: at best that of Nyquist, None if there is none."""
    at_thresholds = {f"resolution_{t:g}_A": resolution_A(shells, threshold=t) for t in (0.5, 0.143)}
    best = {name: 2 * pixel_A if value is None else value for name, value in at_thresholds.items()}
    return {name: value if math.isfinite(value) else None for name, value in best.items()}


def curve(shells: FSC) -> dict[str, list[float]]:
    """Return the curve as lists for JSON."""
    return {"frequency_per_A": shells.frequency_per_A.tolist(), "fsc": shells.correlation.tolist()}
