"""The table of views, from the sections of an mdoc and into them."""

from collections.abc import Sequence
from operator import attrgetter, methodcaller

import numpy as np
from numpy.typing import NDArray

from etcli.core.view_table import ViewTable
from etcli.io.mdoc import Mdoc
from etcli.io.tilts import Tilts

Float = NDArray[np.float64]

EULER, WEIGHT, CHANNEL = "EulerAngles", "ViewWeight", "Channel"
"""Keys that SerialEM does not have."""
SAME_DEG, SAME = 5e-7, 1e-6
"""Differences that come from writing numbers as text: of angles, and of others relative to their size."""


def view_table(n_views: int, mdoc: Mdoc | None, tilts: Tilts | None) -> ViewTable:
    """Table of the views of a file.

    Parameters
    ----------
    n_views : int
        Images of the file.
    mdoc : Mdoc or None
        What describes them; a section may be missing for a view that is not needed.
    tilts : Tilts or None
        Their tilt angles. Orientations of the mdoc count only where the angles are the mdoc's, too.

    Returns
    -------
    ViewTable
    """
    section, tilt_deg = np.arange(n_views), tilts.tilt_deg if tilts else None
    if mdoc is None:
        return ViewTable(section, tilt_deg)
    place = [number for number in mdoc.numbers if number < n_views]

    def column(values: Float | None) -> Float | None:
        if values is None or not np.isfinite(values).any():
            return None
        found = np.full((n_views, *values.shape[1:]), np.nan)
        found[place] = values[: len(place)]
        return found

    euler_deg = column(_vectors(mdoc, EULER, 3))
    if tilts is None or tilts.source != mdoc.name or (euler_deg is not None and np.isnan(euler_deg).any()):
        euler_deg = None
    weight = column(mdoc.numbers_of(WEIGHT))
    channels = [section.get(CHANNEL) or "" for section in mdoc.sections]
    names = np.full(n_views, "", dtype=object)
    names[place] = channels[: len(place)]
    return ViewTable(
        section,
        tilt_deg,
        euler_deg,
        defocus_um=column(mdoc.defocus_um),
        dose_e_A2=column(mdoc.dose_e_A2),
        prior_dose_e_A2=column(mdoc.prior_dose_e_A2),
        time_s=column(mdoc.time_s),
        weight=None if weight is None else np.where(weight > 0, weight, 1.0),
        channel=names.astype(str) if any(channels) else None,
    )


def with_views(mdoc: Mdoc, views: ViewTable) -> Mdoc:
    """Write a table into the sections of an mdoc, as far as these do not say the same already.

    Parameters
    ----------
    mdoc : Mdoc
        With a section for every view, in the order of the table.
    views : ViewTable
        Values that are not known leave what is there.

    Returns
    -------
    Mdoc
    """
    for key, values, told in (
        ("TiltAngle", views.tilt_deg, attrgetter("tilt_deg")),
        ("Defocus", views.defocus_um, attrgetter("defocus_um")),
        ("ExposureDose", views.dose_e_A2, attrgetter("dose_e_A2")),
        ("PriorRecordDose", views.prior_dose_e_A2, attrgetter("prior_dose_e_A2")),  # follows from the doses
        (WEIGHT, views.weight, methodcaller("numbers_of", WEIGHT)),
    ):
        if values is not None and not _same(values, told(mdoc), is_angle=key == "TiltAngle"):
            mdoc = mdoc.with_view_values(key, _words(values))
    there = _vectors(mdoc, EULER, 3)
    if views.euler_deg is not None and not _same(views.euler_deg, there, is_angle=True):
        mdoc = mdoc.with_view_values(EULER, [list(row) for row in views.euler_deg])
    elif views.euler_deg is None and there is not None:
        mdoc = mdoc.without_view_key(EULER)  # of a table that has turned since
    if views.channel is not None:
        mdoc = mdoc.with_view_values(CHANNEL, [str(name) or None for name in views.channel])
    return mdoc


def _same(values: Float, there: Float | None, *, is_angle: bool) -> bool:
    """Tell whether all known values stand there."""
    if there is None or there.shape != values.shape:
        return False
    known = np.isfinite(values)
    rtol, atol = (0.0, SAME_DEG) if is_angle else (SAME, 1e-9)
    return bool(np.allclose(values[known], there[known], rtol=rtol, atol=atol))


def _words(values: Float) -> Sequence[float | None]:
    """Return numbers, None for those that are not known."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _vectors(mdoc: Mdoc, key: str, n: int) -> Float | None:
    """Return several numbers of every section, NaN where they are missing; None where all are."""
    rows = np.full((len(mdoc.sections), n), np.nan)
    for row, section in zip(rows, mdoc.sections, strict=True):
        words = (section.get(key) or "").split()
        try:
            row[:] = [float(word) for word in words] if len(words) == n else np.nan
        except ValueError:
            row[:] = np.nan
    return rows if np.isfinite(rows).any() else None
