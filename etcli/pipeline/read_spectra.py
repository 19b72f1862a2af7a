"""Spectrum images from files, for the Python interface."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from etcli.pipeline.session import Session
from etcli.pipeline.spectrum_inputs import SpectrumSeries, open_series


def read_spectra(
    names: str | Path | Sequence[str | Path],
    *,
    tilts: str | Path | None = None,
    energy_keV: tuple[float, float] | None = None,
    session: Session | None = None,
) -> SpectrumSeries:
    """Read the spectrum images of a tilt series with their metadata; spectra are loaded on use.

    Parameters
    ----------
    names : str or Path, or sequence of these
        One file for all tilts, or one for each: hspy, EMD, DM3, DM4 or NPZ.
    tilts : str or Path, optional
        File of the tilt angles of all views, instead of those in and beside the files.
    energy_keV : tuple of float, optional
        Energy of channel 0 and width of a channel, instead of those of the files.
    session : Session, optional
        Its reporter receives warnings; `Session()` by default, which issues Python warnings.

    Returns
    -------
    SpectrumSeries
        For `etcli.decompose`.

    Raises
    ------
    DataError
        When a file cannot be read or holds no spectra, files differ, or there are no angles.
    OSError
        When a file does not exist.

    Examples
    --------
    >>> import etcli
    >>> spectra = etcli.read_spectra("sample_data/alloy_si.npz")
    >>> spectra.shape, len(spectra.tilt_deg), round(spectra.energy.step_keV, 6)
    ((13, 37, 46, 256), 13, 0.04)
    """
    own = replace(session or Session(), inputs=[])
    listed = [names] if isinstance(names, (str, Path)) else names
    return open_series(
        own, [str(name) for name in listed], tilts=str(tilts) if tilts else None, energy_keV=energy_keV
    )
