"""Writing of the spectrum images of a tilt series: NPZ of NumPy, or hspy of HyperSpy."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli import __version__
from etcli.core.errors import DataError, UsageError

SPECTRUM_SUFFIXES = (".npz", ".hspy")


def check_spectrum_suffix(name: str) -> None:
    """Raise UsageError for a name whose ending is not that of a format of spectra that is written."""
    if not name.lower().endswith(SPECTRUM_SUFFIXES):
        raise UsageError(f"{name}: spectra are written as {' or '.join(SPECTRUM_SUFFIXES)}; end the name so")


def write_spectra(
    path: Path,
    counts: NDArray[Any],
    *,
    name: str,
    energy_keV: NDArray[np.float64],
    tilt_deg: NDArray[np.float64],
    pixel_A: float,
    beam_kV: float,
    elements: tuple[str, ...],
) -> None:
    """Write spectrum images.

    Parameters
    ----------
    path : Path
        File to write or replace.
    counts : ndarray of shape (n_views, ny, nx, n_channels)
        Row 0 is the bottom; hspy files have the top row first, as those of microscopes.
    name : str
        Name of the file, whose ending chooses the format.
    energy_keV : ndarray of shape (n_channels,), float64
        Middles of the channels, at equal distances.
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles; an hspy file needs equal distances.
    pixel_A : float
        Pixel size.
    beam_kV : float
        Accelerating voltage.
    elements : tuple of str
        Elements of the specimen.

    Raises
    ------
    UsageError
        When the tilts are not at equal distances in an hspy file.
    DataError
        When the package that writes hspy is missing.
    """
    if counts.dtype.kind == "u" and counts.max(initial=0) < 256:
        counts = counts.astype(np.uint8)
    if name.lower().endswith(".npz"):
        with path.open("wb") as file:  # a name would be given another ending
            np.savez_compressed(
                file,
                counts=counts,
                energy_keV=energy_keV,
                tilt_deg=tilt_deg,
                pixel_nm=pixel_A / 10,
                beam_kV=beam_kV,
            )
        return
    steps = np.diff(tilt_deg)
    if np.ptp(steps) > 1e-6:
        raise UsageError(f"{name}: the tilts are not at equal distances, as hspy needs them; write .npz")
    try:
        from rsciio import hspy
    except ImportError as error:
        raise DataError(f"{name}: needs the package rosettasciio (pip install etcli[readers])") from error
    axes = [
        _axis("tilt", tilt_deg, "°"),
        _axis("y", pixel_A / 10 * np.arange(counts.shape[1]), "nm"),
        _axis("x", pixel_A / 10 * np.arange(counts.shape[2]), "nm"),
        _axis("Energy", energy_keV, "keV", navigate=False),
    ]
    signal = {
        "data": np.ascontiguousarray(counts[:, ::-1]),
        "axes": axes,
        "metadata": {
            "General": {"title": Path(name).stem},
            "Signal": {"signal_type": "EDS_TEM"},
            "Sample": {"elements": list(elements)},
            "Acquisition_instrument": {"TEM": {"beam_energy": beam_kV}},
        },
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "models": {},
        "learning_results": {},
        "tmp_parameters": {},
        "package_info": {"package": "etcli", "package_version": __version__},
    }
    path.unlink()  # the writer asks before it replaces a file
    hspy.file_writer(str(path), signal, show_progressbar=False)


def _axis(name: str, values: NDArray[Any], units: str, *, navigate: bool = True) -> dict[str, Any]:
    """Return an axis as HyperSpy describes it."""
    return {
        "_type": "UniformDataAxis",
        "name": name,
        "units": units,
        "scale": float(values[1] - values[0]) if len(values) > 1 else 1.0,
        "offset": float(values[0]),
        "size": len(values),
        "navigate": navigate,
        "is_binned": not navigate,
    }
