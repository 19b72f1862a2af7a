"""Inputs of the joint reconstruction of elements: maps, their parts, HAADF; checked against each other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.elements import SYMBOLS
from etcli.core.errors import DataError, UsageError
from etcli.core.series import TiltSeries
from etcli.io.element_map import TEST, TRAIN, ElementMap
from etcli.io.frame_label import OURS
from etcli.pipeline.inputs import SAME_PIXEL, read_series
from etcli.pipeline.parts_beside import are_whole, files_of_parts
from etcli.pipeline.session import Session

Array = NDArray[np.float32]

FEWEST_VIEWS = 8
SAME_TILT_DEG = 0.05
"""Difference of the tilt angles of maps that were recorded together."""
COMPONENT = re.compile(r"c?\d{1,2}")
"""Name of a component that is no element."""


@dataclass(frozen=True, eq=False)
class FusionInputs:
    """Series of the elements, in order.

    Parameters
    ----------
    maps : mapping of str to TiltSeries
        Maps of counts by their elements.
    parts : mapping of str to (TiltSeries, TiltSeries)
        The same counts in two parts, to fit and to predict; empty where there are none.
    haadf : TiltSeries or None
    """

    maps: Mapping[str, TiltSeries]
    parts: Mapping[str, tuple[TiltSeries, TiltSeries]] = field(default_factory=dict)
    haadf: TiltSeries | None = None

    @property
    def first(self) -> TiltSeries:
        """The map of the first element, whose views and pixels all share."""
        return next(iter(self.maps.values()))

    def check(self) -> None:
        """Check that all are of the same views and pixels; raise DataError otherwise."""
        if not self.maps:
            raise UsageError("no maps of elements are given")
        odd = [name for name in self.parts if name not in self.maps]
        odd += [name for name in self.maps if self.parts and name not in self.parts]
        if odd:
            raise UsageError(f"{odd[0]}: give a map and both parts of every element, or no parts")
        first = self.first
        if len(first) < FEWEST_VIEWS:
            raise DataError(
                f"{first.name}: {len(first)} views; elements are reconstructed from {FEWEST_VIEWS} or more"
            )
        for series in (first, *filter(None, [self.haadf])):
            series.views.check_one_focus(series.name)
            if series.views.rotations() is not None:
                raise DataError(
                    f"{series.name}: views of any orientation, but fuse takes one vertical tilt axis; align "
                    "with tiltalign first"
                )
        for series in (*self.maps.values(), *(part for pair in self.parts.values() for part in pair)):
            check_same_views(first, series)
        if self.haadf is not None:
            _check_same_pixels(first, self.haadf)


def read_inputs(
    session: Session, names: Sequence[str], *, elements: Sequence[str] = (), haadf: str | None = None
) -> FusionInputs:
    """Open maps, their parts that lie beside them, and the HAADF series.

    Parameters
    ----------
    session : Session
    names : sequence of str
        Files of the maps.
    elements : sequence of str
        Their elements, where the files do not tell, or tell something else.
    haadf : str, optional
        File of the HAADF series.

    Returns
    -------
    FusionInputs

    Raises
    ------
    DataError
        When a map has no name or no parts, but others have.
    UsageError
        When names of elements are unknown, given twice, or not one for each map.
    """
    if elements and len(elements) != len(names):
        raise UsageError(
            f"--elements names {len(elements)} elements for {len(names)} maps; name one for each"
        )
    series = [read_series(session, name) for name in names]
    found = [_checked_name(name) for name in elements] or [_element_of(one) for one in series]
    twice = next((name for k, name in enumerate(found) if name in found[:k]), None)
    if twice:
        both = [one.name for one, name in zip(series, found, strict=True) if name == twice]
        raise UsageError(f"{both[0]} and {both[1]} are both of {twice}; name the elements with --elements")
    parts = {
        name: (read_series(session, files[0]), read_series(session, files[1]))
        for name, one in zip(found, series, strict=True)
        if (files := files_of_parts(one.name))
    }
    if parts and len(parts) < len(found):
        without = next(one.name for one, name in zip(series, found, strict=True) if name not in parts)
        raise DataError(f"{without}: has no parts _{TRAIN} and _{TEST}, as other maps have; write them, too")
    if haadf and any(Path(haadf).resolve() == Path(name).resolve() for name in names):
        raise UsageError(f"{haadf}: is one of the maps; --haadf is for the dark-field series of the specimen")
    of_haadf = read_series(session, haadf) if haadf else None
    return FusionInputs(dict(zip(found, series, strict=True)), parts, of_haadf)


def checked_counts(name: str, series: TiltSeries) -> Array:
    """Load a map of counts.

    Parameters
    ----------
    name : str
        The element.
    series : TiltSeries

    Returns
    -------
    ndarray of shape (n_views, ny, nx), float32

    Raises
    ------
    DataError
        When values are negative or not finite.
    """
    counts = np.empty(series.shape, np.float32)
    for k in range(len(series)):
        counts[k] = series.view(k)
        if counts[k].min() < 0:
            raise DataError(
                f"{series.name}: {counts[k].min():.4g} in view {k + 1}, but counts are never negative; give "
                "them as recorded, with no background subtracted"
            )
    return counts


def check_fractional(name: str, series: TiltSeries, counts: Array) -> None:
    """Check that values that are no whole numbers are made of counts; raise DataError otherwise."""
    known = ElementMap.of(series.description)
    if (are_whole(counts) and known.may_be_raw) or is_interpolated(series) or known.holds_counts:
        return
    fractional = counts[counts != np.rint(counts)]
    value = f"{fractional[0]:.4g}" if fractional.size else f"a value of {known.values}"
    raise DataError(
        f"{series.name}: {value} is no number of counts of {name}; give maps as recorded, or those of "
        "decompose and xform --linear, which are known to be made of counts"
    )


def is_interpolated(series: TiltSeries) -> bool:
    """Whether a map was interpolated linearly by its history, which blurs it."""
    return any(step.startswith(f"{OURS}xform") and "linear" in step for step in series.history)


def _element_of(series: TiltSeries) -> str:
    """Return the element of a map: that of its mdoc, else the ending of its file name."""
    known = ElementMap.of(series.description)
    ending = Path(series.name).stem.rpartition("_")[2]
    if known.part or ending in (TRAIN, TEST):
        raise UsageError(f"{series.name}: is a part of a map; give the whole one, beside which its parts are")
    if known.element:
        return _checked_name(known.element)
    if ending not in SYMBOLS[1:] and not COMPONENT.fullmatch(ending):
        raise UsageError(
            f"{series.name}: does not tell its element; name the elements of all maps with --elements Ni,Co"
        )
    return ending


def _checked_name(name: str) -> str:
    """Return the name of an element or a component; raise UsageError for another one."""
    symbol = name.strip()
    if COMPONENT.fullmatch(symbol) or (symbol in SYMBOLS[1:]):
        return symbol
    raise UsageError(f"{name!r} is no element; write symbols, as in --elements Ni,Co")


def check_same_views(first: TiltSeries, series: TiltSeries) -> None:
    """Check that a series has the tilt angles and the pixels of the first one; raise DataError otherwise."""
    _check_same_pixels(first, series)
    if len(series) != len(first):
        raise DataError(
            f"{series.name}: {len(series)} views, but {len(first)} in {first.name}; maps need the same tilts"
        )
    away = np.abs(series.tilt_deg - first.tilt_deg)
    if (away > SAME_TILT_DEG).any():
        k = int(away.argmax())
        raise DataError(
            f"{series.name}: view {k + 1} is at {series.tilt_deg[k]:.4g}°, but at "
            f"{first.tilt_deg[k]:.4g}° in {first.name}; maps need the same tilts in the same order"
        )


def _check_same_pixels(first: TiltSeries, series: TiltSeries) -> None:
    """Check the shape of the views and the pixel size; raise DataError where they differ."""
    if series.shape[1:] != first.shape[1:]:
        sizes = [f"{nx} x {ny}" for _, ny, nx in (series.shape, first.shape)]
        raise DataError(
            f"{series.name}: views of {sizes[0]} pixels, but {sizes[1]} in {first.name}; bin or crop "
            "them alike"
        )
    if series.pixel_A and first.pixel_A and abs(series.pixel_A / first.pixel_A - 1) > SAME_PIXEL:
        raise DataError(
            f"{series.name}: pixels of {series.pixel_A:.5g} Å, but {first.pixel_A:.5g} Å in {first.name}; "
            "bin one of them, or correct its pixel size"
        )
