"""Maps and views without any counts, which are left out of a joint reconstruction."""

from dataclasses import replace

import numpy as np

from etcli.core.arguments import listed
from etcli.core.errors import DataError
from etcli.pipeline.fuse_inputs import FEWEST_VIEWS, FusionInputs
from etcli.pipeline.session import Session

IMPOSSIBLE = 20.0
"""Counts of a typical view of a map from which on a view without any was not recorded."""


def without_empty(session: Session, inputs: FusionInputs) -> FusionInputs:
    """Leave out elements without counts, and views that are empty in a map whose other views are not.

    Parameters
    ----------
    session : Session
    inputs : FusionInputs

    Returns
    -------
    FusionInputs
        Of the other elements and views; both are told as warnings.

    Raises
    ------
    DataError
        When nothing, or too few views, remain.

    Notes
    -----
    A view that is missing in one map would be taken for a shadow on all of them, so it is left out of all.
    """
    sums = {
        name: np.array([series.view(k).sum(dtype=np.float64) for k in range(len(series))])
        for name, series in inputs.maps.items()
    }
    nothing = [name for name, of_views in sums.items() if not of_views.any()]
    if len(nothing) == len(sums):
        files = ", ".join(series.name for series in inputs.maps.values())
        raise DataError(f"{files}: no counts of {listed(nothing)}; nothing can be reconstructed")
    said = []
    if nothing:
        said.append(f"no counts of {listed(nothing)} in any view; left out, without a volume")
        inputs = replace(
            inputs,
            maps={name: series for name, series in inputs.maps.items() if name not in nothing},
            parts={name: pair for name, pair in inputs.parts.items() if name not in nothing},
        )
    empty = np.zeros(len(inputs.first), bool)
    for name, series in inputs.maps.items():
        typical = float(np.median(sums[name]))
        for k in np.flatnonzero(sums[name] == 0) if typical >= IMPOSSIBLE else ():
            empty[k] = True
            said.append(
                f"{series.name}: no counts of {name} in view {k + 1}, at {series.tilt_deg[k]:.4g}°, but "
                f"{typical:.0f} in others; that view is left out of all maps"
            )
    if empty.any():
        inputs = _of_views(inputs, np.flatnonzero(~empty))
    for words in said:
        session.reporter.warn(words)
    return inputs


def _of_views(inputs: FusionInputs, kept: np.ndarray) -> FusionInputs:
    """Return some views of all maps and parts."""
    if len(kept) < FEWEST_VIEWS:
        raise DataError(
            f"{inputs.first.name}: {len(kept)} views with counts; elements are reconstructed from "
            f"{FEWEST_VIEWS} or more"
        )
    return replace(
        inputs,
        maps={name: series.select(kept) for name, series in inputs.maps.items()},
        parts={name: (train.select(kept), test.select(kept)) for name, (train, test) in inputs.parts.items()},
    )
