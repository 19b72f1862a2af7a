"""Conversion between the table of views and the sections of an mdoc."""

from functools import partial
from operator import attrgetter, methodcaller

import numpy as np
from numpy.typing import NDArray

from etcli.core.view_table import ViewTable
from etcli.io.mdoc import Mdoc
from etcli.io.tilts import Tilts

Float = NDArray[np.float64]

EULER, WEIGHT, CHANNEL = "EulerAngles", "ViewWeight", "Channel"
"""Keys of etcli that SerialEM does not have."""
ANGLE_TOLERANCE_DEG, RELATIVE_TOLERANCE = 5e-7, 1e-6
"""Largest differences that come from writing numbers as text: of angles, and relative ones of others."""


def view_table(n_views: int, mdoc: Mdoc | None, tilts: Tilts | None) -> ViewTable:
    """Create the table of the views of a file.

    Parameters
    ----------
    n_views : int
        Images of the file.
    mdoc : Mdoc or None
        Their description; a section may be missing for a view that is not needed.
    tilts : Tilts or None
        Their tilt angles. Orientations of the mdoc are used only if the tilt angles are the mdoc's, too.

    Returns
    -------
    ViewTable
    """
    section, tilt_deg = np.arange(n_views), tilts.tilt_deg if tilts else None
    if mdoc is None:
        return ViewTable(section, tilt_deg)
    described = [number for number in mdoc.numbers if number < n_views]

    def column(values: Float | None) -> Float | None:
        if values is None or not np.isfinite(values).any():
            return None
        of_views = np.full((n_views, *values.shape[1:]), np.nan)
        of_views[described] = values[: len(described)]
        return of_views

    euler_deg = column(_vectors(mdoc, EULER, 3))
    if tilts is None or tilts.source != mdoc.name:
        euler_deg = None
    weight = column(mdoc.numbers_of(WEIGHT))
    channels = [section.get(CHANNEL) or "" for section in mdoc.sections]
    names = np.full(n_views, "", dtype=object)
    names[described] = channels[: len(described)]
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
    """Write a view table into the sections of an mdoc; entries that agree already are left as they are.

    Parameters
    ----------
    mdoc : Mdoc
        With a section for every view, in the order of the table.
    views : ViewTable
        A column that is not known at all is removed from the mdoc, except the tilt angles.

    Returns
    -------
    Mdoc
    """
    for key, values, read_from in (
        ("TiltAngle", views.tilt_deg, attrgetter("tilt_deg")),
        ("Defocus", views.defocus_um, attrgetter("defocus_um")),
        ("ExposureDose", views.dose_e_A2, attrgetter("dose_e_A2")),
        ("PriorRecordDose", views.prior_dose_e_A2, attrgetter("prior_dose_e_A2")),  # follows from the doses
        (WEIGHT, views.weight, methodcaller("numbers_of", WEIGHT)),
        (EULER, views.euler_deg, partial(_vectors, key=EULER, n=3)),
    ):
        in_mdoc = read_from(mdoc)
        if values is None:
            if in_mdoc is not None and np.isfinite(in_mdoc).any() and key != "TiltAngle":
                mdoc = mdoc.without_view_key(key)  # outdated: the table has lost it on the way
        elif not _agree(values, in_mdoc, is_angle=key in ("TiltAngle", EULER)):
            mdoc = mdoc.with_view_values(key, [_nan_as_none(value) for value in values])
    if views.channel is not None:
        mdoc = mdoc.with_view_values(CHANNEL, [str(name) or None for name in views.channel])
    return mdoc


def _agree(values: Float, in_mdoc: Float | None, *, is_angle: bool) -> bool:
    """Check whether all known values agree with those in an mdoc."""
    if in_mdoc is None or in_mdoc.shape != values.shape:
        return False
    known = np.isfinite(values)
    rtol, atol = (0.0, ANGLE_TOLERANCE_DEG) if is_angle else (RELATIVE_TOLERANCE, 1e-9)
    return bool(np.allclose(values[known], in_mdoc[known], rtol=rtol, atol=atol))


def _nan_as_none(value: Float | float) -> float | list[float] | None:
    """Return a number, or several numbers of one view as a list; None if they are not known."""
    if not np.isfinite(value).all():
        return None
    return list(value) if isinstance(value, np.ndarray) else float(value)


def _vectors(mdoc: Mdoc, key: str, n: int) -> Float | None:
    """Return ``n`` numbers of every section, NaN where they are missing; None if no section has them."""
    rows = np.full((len(mdoc.sections), n), np.nan)
    for row, section in zip(rows, mdoc.sections, strict=True):
        words = (section.get(key) or "").split()
        try:
            row[:] = [float(word) for word in words] if len(words) == n else np.nan
        except ValueError:
            row[:] = np.nan
    return rows if np.isfinite(rows).any() else None
