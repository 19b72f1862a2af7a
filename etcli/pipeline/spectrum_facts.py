"""Summary of spectrum images as plain values, for ``etcli info``."""

from pathlib import Path
from typing import Any

import numpy as np

from etcli.core.errors import DataError
from etcli.core.series import TiltSeries
from etcli.io.spectrum_images import SpectrumImages, n_spectra, open_spectra
from etcli.io.tilts import NoTiltsError, Tilts, read_tilts
from etcli.pipeline.session import Session
from etcli.pipeline.spectrum_inputs import SpectrumSeries, angles_of


def facts_of_spectra(
    session: Session, name: str, *, tilts: str | None = None, need_tilts: bool = False
) -> dict[str, Any]:
    """Summarise a file of spectrum images, all of which is read.

    Parameters
    ----------
    session : Session
    name : str
    tilts : str, optional
        File of tilt angles that replaces all other sources.
    need_tilts : bool
        Whether a file without tilt angles is an error.

    Returns
    -------
    dict
        As for images: ``file``, ``size`` (nx, ny, number of views), ``pixel_A``, ``type``, ``min``, ``max``,
        ``mean``, ``tilt_deg``, ``source``, ``voltage_kv``, ``history``. ``spectra`` has the number of
        ``channels``, ``offset_eV`` and ``dispersion_eV`` of the energy axis, ``last_eV``, the ``kind``
        ("X-rays", "energy losses" or None), ``detector`` and ``fwhm_Mn_Ka_eV`` where the file has them, all
        ``counts``, those of a spectrum on average, and those of each view.

    Raises
    ------
    DataError
        When the file cannot be read, or angles are needed but missing.
    """
    session.reads(name, tilts)
    file = open_spectra(Path(name))
    for text in file.warnings:
        session.reporter.warn(text)
    found: Tilts | None = None
    try:
        found, _ = angles_of(session, file, Tilts(read_tilts(Path(tilts)), tilts) if tilts else None)
    except NoTiltsError:
        if need_tilts:
            raise
    lowest, highest, of_views, kind = _statistics(session, file)
    axis, counts = file.energy, sum(of_views)
    n_views, ny, nx, _ = file.shape
    return {
        "file": name,
        "size": [nx, ny, n_views],
        "pixel_A": file.pixel_A,
        "mode": None,
        "type": kind,
        "min": lowest,
        "max": highest,
        "mean": float(f"{counts / n_spectra(file) / axis.n:.7g}"),
        "origin_A": None,
        "tilt_deg": [round(float(angle), 6) for angle in found.tilt_deg] if found else None,
        "source": found.source if found else None,
        "voltage_kv": file.beam_kV,
        "spectra": {
            "channels": axis.n,
            "offset_eV": _rounded(1e3 * axis.offset_keV),
            "dispersion_eV": _rounded(1e3 * axis.step_keV),
            "last_eV": _rounded(1e3 * axis.energy_keV[-1]),
            "kind": "energy losses" if file.is_eels else "X-rays" if file.is_xray else None,
            "detector": file.detector or None,
            "fwhm_Mn_Ka_eV": _rounded(1e3 * file.fwhm_keV) if file.fwhm_keV else None,
            "counts": _rounded(counts),
            "counts_per_spectrum": _rounded(counts / n_spectra(file)),
            "counts_of_views": [_rounded(one) for one in of_views],
        },
        "history": [],
        "steps": [],
    }


def spectra_in_words(file: SpectrumImages) -> str:
    """Return size, pixel size and energies, in ASCII for the history."""
    n_views, ny, nx, n_channels = file.shape
    pixel = f" of {file.pixel_A:.7g} A" if file.pixel_A else ""
    axis = file.energy
    return (
        f"{nx} x {ny} x {n_views}{pixel}, {n_channels} channels from {1e3 * axis.offset_keV:.7g} eV in steps "
        f"of {1e3 * axis.step_keV:.7g} eV"
    )


def _statistics(session: Session, file: SpectrumImages) -> tuple[float, float, list[float], str]:
    """Return the extremes of the values, their sum in each view, and their type."""
    n_views, ny, nx, _ = file.shape
    like = TiltSeries.of(
        np.broadcast_to(np.float32(0), (n_views, ny, nx)), np.arange(float(n_views)), name=file.name
    )
    lowest, highest, kind = np.inf, -np.inf, ""
    of_views = np.zeros(n_views)
    for _, first, _, block in SpectrumSeries((file,), like).blocks(session):
        lowest, highest = min(lowest, float(block.min())), max(highest, float(block.max()))
        kind = str(block.dtype.newbyteorder("="))
        of_views[first : first + len(block)] += block.sum(axis=(1, 2, 3), dtype=np.float64)
    if not np.isfinite(of_views).all():
        raise DataError(f"{file.name}: NaN or infinite values among the spectra; correct them first")
    return lowest, highest, of_views.tolist(), kind


def _rounded(value: float) -> float:
    """Return a number to nine digits, which hides the rounding of sums and units."""
    return float(f"{value:.9g}")
