"""Tilt angles: reading and writing of their files, and the choice among several sources."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError, without_advice
from etcli.io.mdoc import Mdoc
from etcli.io.text import as_number, read_text

DISAGREEMENT_DEG = 0.05
# fewer angles, or a smaller range, may well be degrees: a focal series, a few frames
FEWEST_FOR_RADIANS, LEAST_RANGE_RAD = 8, 0.5
_COMPRESSED = (".gz", ".bz2")


class NoTiltsError(DataError):
    """Error raised where no source gives the tilt angles of the views."""


@dataclass(frozen=True)
class Tilts:
    """Tilt angles and their source.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_sections,), float64
        Degrees, in the order of the sections; nan where a view that is not needed has none.
    source : str
        Name of the file, or "the extended header".
    warnings : list of str
        Messages about other sources that disagree.
    """

    tilt_deg: NDArray[np.float64]
    source: str
    warnings: list[str] = field(default_factory=list)


TiltsFor = Callable[[int], Tilts]
"""Function of the number of sections that returns their angles."""
Source = Path | Tilts | Mdoc | NDArray[np.float64]


def read_tilts(path: Path) -> NDArray[np.float64]:
    """Read a ``.rawtlt`` or ``.tlt`` file.

    Parameters
    ----------
    path : Path
        One angle in degrees per line; empty lines and text after ``#`` are skipped.

    Returns
    -------
    ndarray of shape (n_views,), float64

    Raises
    ------
    DataError
        If a line is not one angle within ±360°, or there is none.
    """
    tilt_deg = read_number_rows(path, 1, "tilt angle")[:, 0]
    if abs(tilt_deg).max() > 360:
        raise DataError(f"{path}: {tilt_deg[abs(tilt_deg).argmax()]:g} is not a tilt angle in degrees")
    return tilt_deg


def write_tilts(path: Path, tilt_deg: ArrayLike) -> None:
    """Write a ``.rawtlt`` or ``.tlt`` file.

    Parameters
    ----------
    path : Path
        File to write or replace.
    tilt_deg : array_like of shape (n_views,)
        Degrees, written with two decimals where that is exact to 1e-4°, else with as many as that takes.
    """
    angles = np.asarray(tilt_deg, np.float64)
    decimals = next(n for n in (2, 3, 4) if n == 4 or abs(angles.round(n) - angles).max(initial=0) <= 1e-4)
    # + 0.0 turns the -0 of a rounded angle into 0.
    lines = [f"{angle:{5 + decimals}.{decimals}f}\n" for angle in angles.round(decimals) + 0.0]
    path.write_text("".join(lines), encoding="ascii", newline="\n")


def find_mdoc(path: Path) -> Path | None:
    """Return the mdoc beside an image file: ``INPUT.mdoc``, else ``STEM.mdoc``."""
    return next((file for file in _mdocs_of(path) if file.is_file()), None)


def sidecars_of(path: Path) -> list[Path]:
    """Return the paths of all files that may describe a series."""
    return [*_mdocs_of(path), *_beside(path, ".tlt"), *_beside(path, ".rawtlt")]


def find_tilts(
    path: Path | None,
    *,
    n_sections: int,
    tilts_file: Path | Tilts | None = None,
    mdoc: Mdoc | None = None,
    header_tilts: NDArray[np.float64] | None = None,
    views: Collection[int] | None = None,
) -> Tilts:
    """Find the tilt angles of a series.

    In this order: `tilts_file`, ``STEM.tlt``, `mdoc`, ``STEM.rawtlt``, `header_tilts`.

    Parameters
    ----------
    path : Path or None
        The image file; None when it comes from a stream.
    n_sections : int
        Its sections, each of which is a view.
    tilts_file : Path or Tilts, optional
        A file that the user named, or angles out of one; a single angle is that of all sections.
    mdoc : Mdoc, optional
        The mdoc from `find_mdoc`; its angles are assigned by ZValue, whatever the order of its sections.
    header_tilts : ndarray of shape (n_views,), optional
        Degrees from the extended header.
    views : collection of int, optional
        The views that are needed, from 0; all when not given. The others may lack a section in the mdoc.

    Returns
    -------
    Tilts

    Raises
    ------
    NoTiltsError
        If there are no angles.
    DataError
        If the first source does not have one angle per section.
    """
    name = str(path) if path else "-"
    needed = np.arange(n_sections) if views is None else np.array(sorted(views), np.intp)
    chosen: Tilts | None = None
    for source, origin in _sources(path, tilts_file, mdoc, header_tilts):
        try:
            tilt_deg = _angles(source, origin, n_sections, needed, name, is_given=source is tilts_file)
        except DataError as error:
            if chosen is None:
                raise
            chosen.warnings.append(
                f"{without_advice(error)} (not used: the angles are those of {chosen.source})"
            )
            continue
        if chosen is None:
            chosen = Tilts(tilt_deg, origin, radians_warning(tilt_deg[needed], origin))
            continue
        difference = abs(tilt_deg - chosen.tilt_deg)[needed]
        if difference.max(initial=0) > DISAGREEMENT_DEG:
            worst = needed[difference.argmax()]
            chosen.warnings.append(
                f"{origin} has {tilt_deg[worst]:.2f}° for section {worst + 1}, {chosen.source}, which is "
                f"used, has {chosen.tilt_deg[worst]:.2f}°"
            )
    if chosen is None:
        names = [*_beside(path, ".tlt"), *_mdocs_of(path), *_beside(path, ".rawtlt")]
        looked_for = ", ".join(str(file) for file in names if file)
        raise NoTiltsError(
            f"{name}: no tilt angles (looked for {looked_for or 'an mdoc'} and in the extended header); "
            "use --tilts"
        )
    return chosen


def read_number_rows(path: Path, n_columns: int, what: str) -> NDArray[np.float64]:
    """Read a text file of numbers in free format, a fixed count per line.

    Parameters
    ----------
    path : Path
        Numbers separated by blanks or commas; empty lines and text after ``#`` are skipped.
    n_columns : int
        Numbers per line.
    what : str
        Name of the numbers, for messages.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float64

    Raises
    ------
    DataError
        If a line is malformed, or there is none.
    """
    rows = []
    text = read_text(path)
    for line_number, line in enumerate(text.split("\n"), start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            row = [as_number(word) for word in words]
        except ValueError:
            row = []
        if len(row) != n_columns or not np.isfinite(row).all():
            numbers = "one number" if n_columns == 1 else f"{n_columns} numbers"
            raise DataError(
                f"{path}: line {line_number}: expected {what}, not {line.strip()[:40]!r}; write {numbers} "
                "per line, with decimal points"
            )
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: empty; expected {what} in each line")
    return np.array(rows, np.float64)


def _beside(path: Path | None, suffix: str) -> list[Path]:
    """Return the paths beside an image file with another suffix; ``.mrc.gz`` has two stems."""
    if path is None:
        return []
    stems = [path.stem]
    if path.suffix.lower() in _COMPRESSED:
        stems.append(Path(path.stem).stem)
    return [path.with_name(stem + suffix) for stem in stems]


def _mdocs_of(path: Path | None) -> list[Path]:
    """Return the paths that the mdoc of an image file may have."""
    return [path.with_name(f"{path.name}.mdoc"), *_beside(path, ".mdoc")] if path else []


def _sources(
    path: Path | None,
    tilts_file: Path | Tilts | None,
    mdoc: Mdoc | None,
    header_tilts: NDArray[np.float64] | None,
) -> list[tuple[Source, str]]:
    """List the possible sources of angles with their names, in the order of precedence."""
    tlt_files = [file for file in _beside(path, ".tlt") if file.is_file()]
    rawtlt_files = [file for file in _beside(path, ".rawtlt") if file.is_file()]
    named = tilts_file.source if isinstance(tilts_file, Tilts) else str(tilts_file)
    sources: list[tuple[Source, str]] = [(tilts_file, named)] if tilts_file else []
    sources += [(file, str(file)) for file in tlt_files]
    if mdoc is not None and np.isfinite(mdoc.tilt_deg).any():
        sources.append((mdoc, mdoc.name))
    sources += [(file, str(file)) for file in rawtlt_files]
    if header_tilts is not None:
        sources.append((header_tilts, "the extended header"))
    return sources


def _angles(
    source: Source, origin: str, n_sections: int, needed: NDArray[np.intp], name: str, *, is_given: bool
) -> NDArray[np.float64]:
    """Read the angles of a source, one per section."""
    if isinstance(source, Mdoc):
        source.check_sections(n_sections, stack=name, views=needed.tolist())
        tilt_deg = np.full(n_sections, np.nan)
        tilt_deg[list(source.numbers)] = source.tilt_deg
        absent = needed[np.isnan(tilt_deg[needed])]
        if absent.size:
            raise DataError(
                f"{origin}: no TiltAngle in [ZValue = {absent[0]}]; use --tilts or --exclude {absent[0] + 1}"
            )
        return tilt_deg
    if isinstance(source, Tilts):
        one_for_all = len(source.tilt_deg) == 1
        source = np.repeat(source.tilt_deg, n_sections) if one_for_all else source.tilt_deg
    tilt_deg = read_tilts(source) if isinstance(source, Path) else source
    if len(tilt_deg) != n_sections:
        advice = "give one per section" if is_given else "use --tilts"
        raise DataError(
            f"{name}: {n_sections} sections but {len(tilt_deg)} tilt angles in {origin}; {advice}"
        )
    return tilt_deg


def radians_warning(angles_deg: NDArray[np.float64], origin: str, *, largest_rad: float = 3.2) -> list[str]:
    """Return a warning where angles look like radians: many, all of them within a few degrees.

    Parameters
    ----------
    angles_deg : ndarray of shape (n,)
        What is taken for degrees.
    origin : str
        Where the angles come from.
    largest_rad : float
        Radians that no such angle exceeds.

    Returns
    -------
    list of str
        Empty where nothing is suspicious.
    """
    n = len(np.unique(angles_deg))
    lowest, highest = (angles_deg.min(initial=np.inf), angles_deg.max(initial=-np.inf))
    if n < FEWEST_FOR_RADIANS or max(-lowest, highest) > largest_rad or highest - lowest < LEAST_RANGE_RAD:
        return []
    return [f"{origin}: {n} angles from {lowest:.4g} to {highest:.4g}, taken for degrees; are they radians?"]
