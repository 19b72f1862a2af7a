"""Spectrum images of files: hspy, EMD, DM3, DM4 and others through rosettasciio, and NPZ of NumPy.

Spectra stay on disk until blocks of them are read. Row 0 is the bottom, as in all images here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.spectra.detector import EnergyAxis
from etcli.io.foreign import READERS, axes_of, find_entry, missing_package, signals
from etcli.io.hdf5_check import check_hdf5
from etcli.io.named_axes import Axis, pixel_on, tilts_on
from etcli.io.npz_spectra import open_npz
from etcli.io.units import plain_unit

NPZ = ".npz"
SPECTRUM_READERS = READERS.keys() - {".ser", ".emi", ".h5", ".hdf5"}
EV_PER_UNIT = {"ev": 1.0, "kev": 1e3, "mev": 1e-3}
EVEN = 1e-3
"""Largest deviation of a step of the energy axis from the others."""
FEWEST_CHANNELS = 8
NO_ENERGY = "the energy axis has no calibration; give the energy of channel 0 and the step with --energy-axis"

Read = Callable[[slice, slice], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class SpectrumImages:
    """Spectrum images of one tilt or several.

    Parameters
    ----------
    name : str
        The file.
    shape : tuple of int
        Numbers of views, rows, columns and channels.
    energy : EnergyAxis
    read : callable
        Function of slices of views and rows that returns an array (views, rows, columns, channels).
    pixel_A : float or None
    tilt_deg : ndarray of shape (n_views,), float64, or None
        As the file has them.
    is_eels, is_xray : bool
        Whether the file says that the spectra are energy losses, or X-rays.
    beam_kV, fwhm_keV : float or None
        Accelerating voltage, and resolution of the detector, where the file has them.
    detector : str
        Its type, where the file has it.
    chunk : tuple of int
        Views and rows that are stored together, and are best read together.
    from_top : bool
        Whether the file begins with the row at the top, where chunks begin then, too.
    warnings : list of str
    """

    name: str
    shape: tuple[int, int, int, int]
    energy: EnergyAxis
    read: Read
    pixel_A: float | None = None
    tilt_deg: NDArray[np.float64] | None = None
    is_eels: bool = False
    is_xray: bool = False
    beam_kV: float | None = None
    fwhm_keV: float | None = None
    detector: str = ""
    chunk: tuple[int, int] = (1, 1)
    from_top: bool = False
    warnings: list[str] = field(default_factory=list)

    def blocks(self, most_bytes: int) -> Iterator[tuple[slice, slice]]:
        """Yield the views and rows of blocks that are not larger than `most_bytes`, where chunks allow it."""
        n_views, ny, nx, n_channels = self.shape
        views, rows = min(self.chunk[0], n_views), min(self.chunk[1], ny)
        # spectra are 8 bytes a value at most
        whole = views * rows * nx * n_channels * 8
        rows = min(ny, rows * max(1, most_bytes // max(whole, 1)))
        for first in range(0, n_views, views):
            chosen = slice(first, min(first + views, n_views))
            for start in range(0, ny, rows):
                stop = min(start + rows, ny)
                yield chosen, slice(ny - stop, ny - start) if self.from_top else slice(start, stop)


def open_spectra(path: Path, *, energy_keV: tuple[float, float] | None = None) -> SpectrumImages:
    """Open spectrum images.

    Parameters
    ----------
    path : Path
        An hspy, zspy, EMD, DM3, DM4 or NPZ file.
    energy_keV : tuple of float, optional
        Energy of channel 0 and step, instead of those of the file.

    Returns
    -------
    SpectrumImages

    Raises
    ------
    DataError
        When the file cannot be read, holds no spectra, or the energy axis has no calibration.
    """
    path.open("rb").close()
    if path.suffix.lower() == NPZ:
        return _of_npz(path, energy_keV)
    if path.suffix.lower() not in READERS:
        known = ", ".join(sorted({*SPECTRUM_READERS, NPZ}))
        raise DataError(f"{path}: spectrum images are read from {known}; convert it")
    check_hdf5(path)
    try:
        found = signals(path, lazy=True)
    except ImportError as error:
        raise DataError(f"{path}: {missing_package(error)}") from error
    except Exception as error:  # each reader raises exceptions of its own
        raise DataError(f"{path}: cannot be read ({error}); is the file complete?") from error
    spectra = [one for one in found if _energy_place(axes_of(one), one["axes"]) is not None]
    if not spectra:
        shapes = ", ".join(" x ".join(map(str, np.shape(one["data"]))) for one in found) or "no data"
        raise DataError(f"{path}: holds no spectra ({shapes}); name a file with an energy axis")
    return _of_signal(path, spectra[0], energy_keV, n_found=len(spectra))


def holds_spectra(path: Path) -> bool:
    """Tell whether a file holds spectra, and no images of as many dimensions before them.

    Parameters
    ----------
    path : Path
        Of any format; only those of microscopes and NPZ are looked into.

    Returns
    -------
    bool
        Also False where the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == NPZ or suffix not in SPECTRUM_READERS or not path.is_file():
        return suffix == NPZ and path.is_file()
    check_hdf5(path)
    try:
        found = signals(path, lazy=True)
    except Exception:  # the reader of images tells what is wrong
        return False
    return bool(found) and _energy_place(axes_of(found[0]), found[0]["axes"]) is not None


def _of_signal(
    path: Path, signal: dict[str, Any], energy_keV: tuple[float, float] | None, *, n_found: int
) -> SpectrumImages:
    """Return the spectrum images of a signal of rosettasciio, whose rows are from the top."""
    axes, data = axes_of(signal), signal["data"]
    place = _energy_place(axes, signal["axes"])
    assert place is not None
    others = [k for k in range(data.ndim) if k != place]
    tilted = [k for k in others if axes[k].is_tilt]
    if data.ndim not in (3, 4) or (data.ndim == 4 and len(tilted) > 1):
        listed = ", ".join(map(str, axes))
        raise DataError(f"{path}: spectra with the axes {listed}; rows, columns and at most tilts are needed")
    views = tilted[0] if data.ndim == 4 and tilted else others[0]
    plane = [k for k in others if k != views] if data.ndim == 4 else others
    if [axes[k].name.strip().lower() for k in plane] == ["x", "y"]:
        plane.reverse()
    warnings = [f"{path}: holds {n_found} sets of spectra; the first is read"] if n_found > 1 else []
    axis, more = _energy_axis(path, axes[place], energy_keV)
    pixel_A, about_pixels = pixel_on(axes[plane[0]], axes[plane[1]])
    metadata, original = signal.get("metadata", {}), signal.get("original_metadata", {})
    tilt_deg = tilts_on(axes[views]) if data.ndim == 4 else _stage_tilt(metadata, original)
    array = (
        data.transpose([views, *plane, place]) if data.ndim == 4 else data.transpose([*plane, place])[None]
    )
    n_views, ny, nx, n_channels = array.shape

    def read(chosen: slice, rows: slice) -> NDArray[Any]:
        part = array[chosen, ny - rows.stop : ny - rows.start]
        if hasattr(part, "compute"):
            part = part.compute(scheduler="synchronous")
        return np.asarray(part)[:, ::-1]

    chunks = getattr(array, "chunks", None)
    kind = str(find_entry(metadata, "signal_type") or "")
    resolution = find_entry(metadata, "energy_resolution_MnKa")
    return SpectrumImages(
        str(path),
        (n_views, ny, nx, n_channels),
        axis,
        read,
        pixel_A,
        tilt_deg,
        is_eels=kind == "EELS",
        is_xray=kind.startswith("EDS"),
        beam_kV=_number(find_entry(metadata, "beam_energy")),
        fwhm_keV=1e-3 * resolution if (resolution := _number(resolution)) else None,
        detector=str(find_entry(metadata, "detector_type") or ""),
        chunk=(max(chunks[0]), max(chunks[1])) if chunks else (1, 1),
        from_top=True,
        warnings=[*warnings, *more, *about_pixels],
    )


def _of_npz(path: Path, energy_keV: tuple[float, float] | None) -> SpectrumImages:
    """Return the spectrum images of an NPZ file, whose row 0 is the bottom."""
    file = open_npz(path)
    ny, nx, n_channels = file.shape[-3:]
    n_views = file.shape[0] if len(file.shape) == 4 else 1
    warnings: list[str] = []
    if energy_keV is None and file.energy_keV is None:
        raise DataError(f"{path}: {NO_ENERGY}, or as the array energy_keV")
    if energy_keV is None:
        axis, warnings = _energy_axis(path, Axis("energy", "keV", np.asarray(file.energy_keV)), None)
        if axis.n != n_channels:
            raise DataError(f"{path}: {n_channels} channels but {axis.n} energies; correct energy_keV")
    else:
        axis = EnergyAxis(*energy_keV, n_channels)
    return SpectrumImages(
        str(path),
        (n_views, ny, nx, n_channels),
        axis,
        file.read,
        file.pixel_A,
        file.tilt_deg,
        beam_kV=file.beam_kV,
        warnings=warnings,
    )


def _energy_place(axes: list[Axis], raw: list[dict[str, Any]]) -> int | None:
    """Return which axis is that of the energy: by its name or unit, else the only one of the signal."""
    if len(axes) not in (3, 4):
        return None
    named = [k for k, axis in enumerate(axes) if "energy" in axis.name.lower() or _ev(axis.unit)]
    if named:
        return named[0]
    unnamed = [k for k, axis in enumerate(raw) if axis.get("navigate") is False]
    return unnamed[0] if len(unnamed) == 1 and len(axes[unnamed[0]].values) >= FEWEST_CHANNELS else None


def _ev(unit: str) -> float | None:
    return EV_PER_UNIT.get(plain_unit(unit))


def _energy_axis(
    path: Path, axis: Axis, energy_keV: tuple[float, float] | None
) -> tuple[EnergyAxis, list[str]]:
    """Return the energies of channels, in keV, and warnings."""
    n = len(axis.values)
    if energy_keV is not None:
        return EnergyAxis(*energy_keV, n), []
    steps = np.diff(axis.values)
    unit_eV, warnings = _ev(axis.unit), []
    if unit_eV is None:
        if n < 2 or (axis.values[0] == 0 and steps[0] == 1):  # what readers put where there is nothing
            raise DataError(f"{path}: {NO_ENERGY}")
        unit_eV = 1.0 if axis.values[-1] > 400 else 1e3
        unit = "eV" if unit_eV == 1 else "keV"
        warnings.append(
            f"{path}: energies from {axis.values[0]:g} to {axis.values[-1]:g} are taken for {unit}"
        )
    if not np.isfinite(steps).all() or np.ptp(steps) > EVEN * abs(steps.mean()) or steps.mean() <= 0:
        raise DataError(f"{path}: the energies of channels are not evenly spaced; resample the spectra")
    scale = 1e-3 * unit_eV
    return EnergyAxis(float(axis.values[0]) * scale, float(steps.mean()) * scale, n), warnings


def _stage_tilt(metadata: Any, original: Any) -> NDArray[np.float64] | None:
    """Return the tilt of the stage for spectra of one tilt, None where it is not known."""
    for tree, name in ((metadata, "tilt_alpha"), (original, "Stage Alpha")):
        value = _number(find_entry(tree, name)) if tree else None
        if value is not None:
            return np.full(1, value)
    return None


def _number(value: Any) -> float | None:
    """Return a value of metadata as a number, None where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def n_spectra(images: SpectrumImages) -> int:
    """Return the number of spectra."""
    return prod(images.shape[:3])
