"""Dose that the specimen had received before each exposure, through all files of an assembly."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etcli.core.series import TiltSeries
from etcli.core.view_table import ViewTable
from etcli.io.mdoc import Mdoc
from etcli.io.view_columns import view_table


def prior_doses(exposures: Sequence[TiltSeries | Mdoc]) -> NDArray[np.float64] | None:
    """Doses before each section of the series in a list, whether it is used or not; None if unknown.

    Where every file counts its own dose, they are summed in the order of time, else in that of the files.

    Parameters
    ----------
    exposures : sequence of TiltSeries or Mdoc
        Files in their order. An mdoc stands for exposures without images here, which the specimen received
        all the same; it does not count if it does not state its dose.

    Returns
    -------
    ndarray of shape (n_sections,), float64, or None
        Electrons per Å², for the sections of the series only.
    """
    counted = [
        one for one in exposures if len(_table(one)) and (isinstance(one, TiltSeries) or _has_dose(one))
    ]
    tables = [_table(one) for one in counted]
    every = ViewTable.joined(tables)
    has_images = np.repeat([isinstance(one, TiltSeries) for one in counted], [len(table) for table in tables])
    if all(isinstance(one, TiltSeries) and not one.description for one in counted) or every.dose_e_A2 is None:
        return None
    if not np.isfinite(every.dose_e_A2).all():
        return None
    if _are_counted_through(tables):
        return None if every.prior_dose_e_A2 is None else every.prior_dose_e_A2[has_images]
    order = Mdoc.concatenate([mdoc_of(one) for one in counted]).time_order
    prior = np.empty(len(every))
    prior[order] = np.cumsum(every.dose_e_A2[order]) - every.dose_e_A2[order]
    return np.asarray(prior[has_images])


def without_dose(exposures: Sequence[TiltSeries | Mdoc]) -> list[str]:
    """Name the exposures without images of unknown dose, which the `prior_doses` of later views lack."""
    present = [one for one in exposures if len(_table(one))]
    counted = [_table(one) for one in present if isinstance(one, TiltSeries) or _has_dose(one)]
    if prior_doses(present) is None or _are_counted_through(counted):
        return []
    of_sections = [(one, k) for one in present for k in range(len(_table(one)))]
    order = Mdoc.concatenate([mdoc_of(one) for one in present]).time_order.tolist()
    last = max(place for place, k in enumerate(order) if isinstance(of_sections[k][0], TiltSeries))
    return [
        one.name
        for one, k in (of_sections[place] for place in order[:last])
        if isinstance(one, Mdoc) and np.isnan(one.dose_e_A2[k])
    ]


def mdoc_of(exposure: TiltSeries | Mdoc) -> Mdoc:
    """Description of the sections of a file; one without values where there is none."""
    if isinstance(exposure, Mdoc):
        return exposure
    return exposure.description if isinstance(exposure.description, Mdoc) else Mdoc.empty(len(exposure))


def _table(exposure: TiltSeries | Mdoc) -> ViewTable:
    """Return the view table of a file."""
    if isinstance(exposure, TiltSeries):
        return exposure.views
    return view_table(len(exposure.sections), exposure, None)


def _are_counted_through(tables: Sequence[ViewTable]) -> bool:
    """Check whether the microscope has counted the dose through all files: each begins with another one."""
    starts = {None if t.prior_dose_e_A2 is None else float(t.prior_dose_e_A2[0]) for t in tables}
    return len(starts) == len(tables) and None not in starts


def _has_dose(mdoc: Mdoc) -> bool:
    """Check whether all sections of an mdoc state their dose."""
    return bool(np.isfinite(mdoc.dose_e_A2).all())
