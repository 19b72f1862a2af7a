"""Maps of counts in two random parts, drawn before the counts are interpolated."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from etcli.core.errors import DataError
from etcli.core.fusion.parts import thinned
from etcli.core.series import TiltSeries
from etcli.io.element_map import COUNTS, TEST, TRAIN, ElementMap
from etcli.io.mdoc import Mdoc
from etcli.pipeline.inputs import load_images
from etcli.pipeline.parts_beside import are_whole
from etcli.pipeline.session import Session


def parts_of_maps(session: Session, maps: Sequence[TiltSeries]) -> list[tuple[TiltSeries, TiltSeries]]:
    """Put each count of maps into one of two parts at random, and return these as series.

    Parameters
    ----------
    session : Session
    maps : sequence of TiltSeries

    Returns
    -------
    list of (TiltSeries, TiltSeries)
        80 and 20 % of the counts of each map.

    Raises
    ------
    DataError
        When a map is a part itself, or does not hold whole numbers of counts.
    """
    arrays = []
    for series in maps:
        known = ElementMap.of(series.description)
        if known.part:
            raise DataError(f"{series.name}: is a part of the counts already; leave out --parts")
        counts = load_images(session, series, copies=4 * len(maps))
        if counts.min() < 0 or not are_whole(counts):
            raise DataError(
                f"{series.name}: has values that are no whole counts, which have no parts; give maps as "
                "recorded, or leave out --parts"
            )
        arrays.append(counts)
    drawn = thinned(arrays)
    return [
        (_part(series, train, TRAIN), _part(series, test, TEST))
        for series, train, test in zip(maps, drawn.fitted, drawn.others, strict=True)
    ]


def _part(series: TiltSeries, counts: np.ndarray, part: str) -> TiltSeries:
    """Return a part of a series, whose description says so."""
    known = ElementMap.of(series.description)
    own = series.description if isinstance(series.description, Mdoc) else Mdoc.empty(len(series))
    described = replace(known, part=part, values=known.values or COUNTS).write(own)
    views = replace(series.views, section=np.arange(len(series)))
    return replace(series, data=counts, views=views, description=described)
