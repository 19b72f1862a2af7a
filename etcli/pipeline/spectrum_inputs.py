"""Spectrum images of a tilt series: opened, their angles found, and their counts read block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.parallel import ordered_map
from etcli.core.series import TiltSeries
from etcli.core.spectra.counts import BYTES_PER_COUNT, WITH_PARTS, SpectrumCounts, ViewCounts
from etcli.core.spectra.detector import EnergyAxis
from etcli.io.mdoc import Mdoc, read_mdoc
from etcli.io.spectrum_images import SpectrumImages, open_spectra
from etcli.io.tilts import Tilts, find_mdoc, find_tilts, read_tilts, sidecars_of
from etcli.pipeline.session import Session

SAME = 1e-3
"""Relative difference of energies and pixel sizes of files that are taken for the same."""
BLOCK_BYTES = 1 << 27
"""Size of the blocks of spectra that are read at a time."""


@dataclass(frozen=True, eq=False)
class SpectrumSeries:
    """Spectrum images of all tilts, on disk.

    Parameters
    ----------
    files : tuple of SpectrumImages
        In the order of the views.
    like : TiltSeries
        Angles and metadata of maps that are made of them; its images are zero.
    """

    files: tuple[SpectrumImages, ...]
    like: TiltSeries

    @property
    def energy(self) -> EnergyAxis:
        """Energies of the channels."""
        return self.files[0].energy

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Numbers of views, rows, columns and channels."""
        return sum(file.shape[0] for file in self.files), *self.files[0].shape[1:]

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the views in degrees, (n_views,)."""
        return self.like.tilt_deg

    @property
    def is_eels(self) -> bool:
        """Whether a file says that its spectra are energy losses."""
        return any(file.is_eels for file in self.files)

    @property
    def is_xray(self) -> bool:
        """Whether a file says that its spectra are X-rays."""
        return any(file.is_xray for file in self.files)

    def blocks(self, session: Session) -> Iterator[tuple[SpectrumImages, int, slice, NDArray[Any]]]:
        """Read all spectra, and show the progress.

        Yields
        ------
        file : SpectrumImages
        first : int
            Number of the first view of the block.
        rows : slice
        block : ndarray of shape (views, rows, columns, channels)
        """
        size = min(BLOCK_BYTES, max(session.memory // 16, 1 << 20))
        done, (n_views, ny, _, _) = 0, self.shape
        with session.reporter.progress(n_views * ny, "reading spectra") as advance:
            for file in self.files:
                for views, rows in file.blocks(size):
                    block = file.read(views, rows)
                    yield file, done + views.start, rows, block
                    advance((views.stop - views.start) * (rows.stop - rows.start))
                done += file.shape[0]

    def counts(self, session: Session) -> SpectrumCounts:
        """Read the counts, of which only those that are not 0 are kept in memory.

        Raises
        ------
        DataError
            When values are no counts.
        UsageError
            When they take more memory than is allowed.
        """
        n_views, n_channels = self.shape[0], self.shape[3]
        parts: list[list[tuple[int, ViewCounts]]] = [[] for _ in range(n_views)]
        kept = 0

        def keep(item: tuple[SpectrumImages, int, slice, NDArray[Any]]) -> list[tuple[int, int, ViewCounts]]:
            file, first, rows, block = item
            kind = np.uint16 if block.dtype.kind in "bu" and block.dtype.itemsize <= 2 else np.float64
            found = []
            for k, view in enumerate(block):
                spectra = np.ascontiguousarray(view, kind).reshape(-1, n_channels)
                where = f"{file.name}: view {first + k + 1}" if n_views > 1 else file.name
                found.append((first + k, rows.start, ViewCounts.of(spectra, where=where)))
            return found

        for found in ordered_map(keep, self.blocks(session), threads=session.threads):
            for view, row, part in found:
                parts[view].append((row, part))
                kept += BYTES_PER_COUNT * len(part.count)
            if WITH_PARTS * kept > session.memory:
                raise UsageError(
                    f"{self.files[0].name}: the counts and their parts take more than "
                    f"{WITH_PARTS * kept >> 20}M of memory; give a larger --memory, or bin or crop the "
                    "spectrum images"
                )
        views = []
        for own in parts:
            views.append(ViewCounts.joined([part for _, part in sorted(own, key=lambda one: one[0])]))
            own.clear()  # so that the blocks and the whole are not in memory together
        return SpectrumCounts(tuple(views), self.shape)

    def sums(
        self, session: Session, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Sum the values of each spectrum with weights of the channels, of any sign and kind.

        Parameters
        ----------
        session : Session
        weights : ndarray of shape (n_channels, n_maps)

        Returns
        -------
        maps : ndarray of shape (n_maps, n_views, ny, nx), float32
        total : ndarray of shape (n_channels,), float64
            The sum of all spectra.

        Raises
        ------
        DataError
            When values are not finite.
        """
        n_views, ny, nx, n_channels = self.shape
        maps = np.empty((weights.shape[1], n_views, ny, nx), np.float32)
        total = np.zeros(n_channels)
        for file, first, rows, block in self.blocks(session):
            found = np.asarray(block, np.float64) @ weights
            if not np.isfinite(found).all():
                raise DataError(f"{file.name}: NaN or infinite values among the spectra; correct them first")
            maps[:, first : first + len(block), rows] = np.moveaxis(found, -1, 0)
            total += block.sum(axis=(0, 1, 2), dtype=np.float64)
        return maps, total


def open_series(
    session: Session,
    names: Sequence[str],
    *,
    tilts: str | None = None,
    energy_keV: tuple[float, float] | None = None,
) -> SpectrumSeries:
    """Open the spectrum images of a tilt series.

    Parameters
    ----------
    session : Session
    names : sequence of str
        One file for all tilts, or one for each.
    tilts : str, optional
        File of the angles of all views, instead of those in and beside the files.
    energy_keV : tuple of float, optional
        Energy of channel 0 and step, instead of those of the files.

    Returns
    -------
    SpectrumSeries

    Raises
    ------
    DataError
        When a file cannot be read, files differ, or there are no angles.
    """
    session.reads(*names, tilts)
    files = [open_spectra(Path(name), energy_keV=energy_keV) for name in names]
    for file in files:
        for text in file.warnings:
            session.reporter.warn(text)
        _check_same(files[0], file)
    n_views = sum(file.shape[0] for file in files)
    given = _given_angles(tilts, n_views, [file.shape[0] for file in files])
    found, mdocs = [], []
    for file, angles in zip(files, given, strict=True):
        own, mdoc = angles_of(session, file, angles)
        found.append(own)
        mdocs.append(mdoc)
    sources = [own.source for own in found]
    session.reporter.note(f"{n_views} views of spectra, tilt angles from {', '.join(dict.fromkeys(sources))}")
    _, ny, nx, _ = files[0].shape
    like = TiltSeries.of(
        np.broadcast_to(np.float32(0), (n_views, ny, nx)),
        np.concatenate([own.tilt_deg for own in found]),
        name=names[0],
        pixel_A=files[0].pixel_A,
        voltage_kv=files[0].beam_kV,
        tilts_source=sources[0],
        description=Mdoc.concatenate([one for one in mdocs if one]) if all(mdocs) else None,
    )
    return SpectrumSeries(tuple(files), like)


def angles_of(session: Session, file: SpectrumImages, given: Tilts | None) -> tuple[Tilts, Mdoc | None]:
    """Find the angles of the views of a file, and its mdoc if there is one."""
    path = Path(file.name)
    session.reads(*(beside for beside in sidecars_of(path) if beside.is_file()))
    mdoc_path = find_mdoc(path)
    mdoc = read_mdoc(mdoc_path).for_images(file.shape[0]) if mdoc_path else None
    found = find_tilts(
        path,
        n_sections=file.shape[0],
        tilts_file=given,
        mdoc=mdoc,
        header_tilts=_own_angles(file),
    )
    for text in found.warnings:
        session.reporter.warn(text)
    in_file = found.source == "the extended header"
    return (replace(found, source=file.name) if in_file else found), mdoc


def _own_angles(file: SpectrumImages) -> NDArray[np.float64] | None:
    """Return the angles in a file, None where it has none; raise DataError for another number of them."""
    if file.tilt_deg is not None and len(file.tilt_deg) != file.shape[0]:
        raise DataError(
            f"{file.name}: {file.shape[0]} views but {len(file.tilt_deg)} tilt angles in it; correct the file"
        )
    return file.tilt_deg


def _check_same(first: SpectrumImages, other: SpectrumImages) -> None:
    """Raise DataError where spectra of two files cannot be those of one series."""
    for what, values in (
        ("rows x columns", [f"{file.shape[1]} x {file.shape[2]}" for file in (first, other)]),
        ("channels", [str(file.shape[3]) for file in (first, other)]),
    ):
        if values[0] != values[1]:
            raise DataError(
                f"{other.name}: {values[1]} {what}, but {values[0]} in {first.name}; give files of one series"
            )
    axes = [np.array([file.energy.offset_keV, file.energy.step_keV]) for file in (first, other)]
    if abs(axes[0] - axes[1]).max() > SAME * axes[0][1]:
        low, step = axes[1]
        raise DataError(
            f"{other.name}: energies from {low:g} keV in steps of {step:g}, unlike {first.name}; give files "
            "of one series, or --energy-axis for all"
        )
    sizes = (first.pixel_A, other.pixel_A)
    if all(sizes) and abs(other.pixel_A / first.pixel_A - 1) > SAME:  # type: ignore[operator]
        raise DataError(f"{other.name}: pixels of {sizes[1]:g} Å, but {sizes[0]:g} Å in {first.name}")


def _given_angles(tilts: str | None, n_views: int, of_files: list[int]) -> list[Tilts | None]:
    """Return the part of a file of angles that belongs to each of the files."""
    if tilts is None:
        return [None] * len(of_files)
    tilt_deg = read_tilts(Path(tilts))
    if len(tilt_deg) != n_views:
        raise DataError(
            f"{tilts}: {len(tilt_deg)} tilt angles for {n_views} views of spectra; give one for each"
        )
    return [Tilts(part, tilts) for part in np.split(tilt_deg, np.cumsum(of_files)[:-1])]


def memory_series(
    spectra: NDArray[Any], energy_keV: NDArray[np.float64], like: TiltSeries, *, is_eels: bool = False
) -> SpectrumSeries:
    """Return spectra in memory as a series.

    Parameters
    ----------
    spectra : ndarray of shape (n_views, ny, nx, n_channels)
    energy_keV : ndarray of shape (n_channels,)
        Evenly spaced.
    like : TiltSeries
    is_eels : bool

    Returns
    -------
    SpectrumSeries
    """
    steps = np.diff(energy_keV)
    if (
        spectra.ndim != 4
        or energy_keV.shape != spectra.shape[-1:]
        or np.ptp(steps) > SAME * abs(steps.mean())
    ):
        raise DataError(
            f"spectra of shape {spectra.shape} and {energy_keV.size} energies: they need the shape (views, "
            "rows, columns, channels), and evenly spaced energies of the channels"
        )
    n_views, ny, nx, n_channels = spectra.shape
    axis = EnergyAxis(float(energy_keV[0]), float(steps.mean()), n_channels)
    file = SpectrumImages(
        like.name,
        (n_views, ny, nx, n_channels),
        axis,
        lambda views, rows: np.asarray(spectra[views, rows]),
        is_eels=is_eels,
        beam_kV=like.voltage_kv,
    )
    return SpectrumSeries((file,), replace(like, data=np.broadcast_to(np.float32(0), (n_views, ny, nx))))
