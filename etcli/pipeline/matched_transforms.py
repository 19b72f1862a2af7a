"""Choice of transforms for the views of a series by tilt angle, as EDX maps have fewer tilts than HAADF."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.registration.transforms import Transforms
from etcli.core.registration.views_by_tilt import SAME_TILT_DEG, views_by_tilt
from etcli.core.series import TiltSeries
from etcli.io.image_file import open_images
from etcli.io.mdoc import read_mdoc
from etcli.io.tilts import Tilts, read_tilts
from etcli.io.transforms import axis_file, read_tilts_beside
from etcli.io.writers import MRC_SUFFIXES, TIFF_SUFFIXES
from etcli.pipeline.session import Session
from etcli.pipeline.transform_pixels import was_moved

LINE = "line"


def of_views(
    session: Session, xf: str, transforms: Transforms, series: TiltSeries, tilts_file: str | None = None
) -> Transforms:
    """Return one transform for each view of a series.

    Parameters
    ----------
    session : Session
    xf : str
        File of the transforms.
    transforms : Transforms
        All of them.
    series : TiltSeries
    tilts_file : str, optional
        Tilt angles at which they were found: a file of angles, an mdoc or a series. By default those that
        register and tiltalign keep beside the file, else those of a series of its name.

    Returns
    -------
    Transforms
        By tilt angle where both series have these; in the order of the views only where there are as many
        transforms.

    Raises
    ------
    DataError
        When a view has no transform, or several.
    """
    found = (
        _given_tilts(session, tilts_file) if tilts_file else _tilts_beside(session, xf, transforms.n_views)
    )
    if found is not None and len(found.tilt_deg) != transforms.n_views:
        raise DataError(
            f"{found.source}: {len(found.tilt_deg)} tilt angles for the {transforms.n_views} transforms of "
            f"{xf}; give that of each line"
        )
    as_many = transforms.n_views == len(series)
    if found is None or not series.has_tilts:
        if as_many and not tilts_file:
            return transforms
        lacking, advice = f"{xf} has none", "give those of its lines with --xf-tilts"
        if not series.has_tilts:
            rawtlt = Path(series.name).with_suffix(".rawtlt")
            lacking, advice = f"{series.name} has none", f"write them to {rawtlt}"
        raise DataError(
            f"{xf}: {transforms.n_views} transforms for the {len(series)} views of {series.name}, to be "
            f"matched by tilt angle, but {lacking}; {advice}"
        )
    if as_many and abs(found.tilt_deg - series.tilt_deg).max() <= SAME_TILT_DEG:
        return transforms
    try:
        chosen = views_by_tilt(series.tilt_deg, found.tilt_deg, others=LINE)
    except DataError as error:
        where = f"{xf}: {series.name}: {error} (by {found.source})"
        if not as_many or tilts_file:
            raise DataError(f"{where}; correct the angles, or leave the view out") from None
        session.reporter.warn(f"{where}; the transforms are taken in the order of the views")
        return transforms
    session.reporter.report(f"{xf}: {len(series)} of {transforms.n_views} transforms are used, by tilt angle")
    return transforms.select(chosen)


def _given_tilts(session: Session, name: str) -> Tilts:
    """Read tilt angles from the file that the user named."""
    session.reads(name)
    path = Path(name)
    if path.suffix.lower() == ".mdoc":
        return Tilts(_all_known(read_mdoc(path).tilt_deg, name), name)
    if path.suffix.lower() in (*MRC_SUFFIXES, *TIFF_SUFFIXES):
        tilts = open_images(name).tilts
        if tilts is None:
            raise DataError(f"{name}: no tilt angles; give a file of them, one per line of the transforms")
        return Tilts(tilts.tilt_deg, name)
    return Tilts(read_tilts(path), name)


def _all_known(tilt_deg: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return the angles of an mdoc; raise DataError where one is missing."""
    if not tilt_deg.size or not np.isfinite(tilt_deg).all():
        raise DataError(f"{name}: lacks the TiltAngle of a view; give a file of angles, one per line")
    return tilt_deg


def _tilts_beside(session: Session, xf: str, n: int) -> Tilts | None:
    """Find the tilt angles of transforms beside their file.

    Nominal angles come first: those of a ``.tlt`` may have been refined, and differ from a map's by more than
    a reading.
    """
    own = read_tilts_beside(xf)
    if own is not None and len(own) == n:
        return Tilts(own, str(axis_file(xf)))
    path = Path(xf)
    mdocs = [path.with_name(f"{path.stem}{ending}.mdoc") for ending in (*MRC_SUFFIXES, "")]
    for file in (path.with_suffix(".rawtlt"), *mdocs, path.with_suffix(".tlt")):
        tilt_deg = _tilts_in(file) if file.is_file() and file != path else None
        if tilt_deg is not None and len(tilt_deg) == n and np.isfinite(tilt_deg).all():
            session.reads(file)
            return Tilts(tilt_deg, str(file))
    return None


def _tilts_in(file: Path) -> NDArray[np.float64] | None:
    """Read tilt angles beside transforms; None of a file that they made, or without angles."""
    try:
        if file.suffix != ".mdoc":
            return read_tilts(file)
        mdoc = read_mdoc(file)
    except DataError:
        return None
    return None if was_moved(mdoc.titles) else mdoc.tilt_deg
