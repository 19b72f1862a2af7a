"""Transforms of whole views for crops of them, and the other way round."""

import numpy as np

from etcli.core.registration.image_place import CENTRAL_PX
from etcli.core.registration.transforms import Transforms
from etcli.core.series import TiltSeries
from etcli.io.transforms import read_place
from etcli.pipeline.session import Session


def about_their_middle(
    session: Session, xf: str, transforms: Transforms, series: TiltSeries, ratio: float = 1.0
) -> Transforms:
    """Return transforms of a file for the views of a series, which may be crops of those of the file.

    Parameters
    ----------
    session : Session
        Gets a warning where the views are of another size, and their place in the others is not known.
    xf : str
        File of the transforms.
    transforms : Transforms
        What it holds, with shifts in pixels of the series.
    series : TiltSeries
    ratio : float
        Size of the pixels of the file over that of the series.

    Returns
    -------
    Transforms
        They turn the views about the middle of the images that they were found on.
    """
    place = read_place(xf)
    if place is None:
        return transforms
    nx, ny = (ratio * n for n in place.size)
    resized = abs(nx - series.shape[2]) >= 1 or abs(ny - series.shape[1]) >= 1
    if series.pixel_A and (series.centre_A is not None or (resized and any(place.centre_px))):
        x, y = np.subtract(series.centre_px, np.multiply(ratio, place.centre_px)).round(3).tolist()
        if max(abs(x), abs(y)) < CENTRAL_PX:
            return transforms
        session.reporter.report(
            f"{xf}: was found on views whose middle is {x:+g}, {y:+g} px (x, y) from that of {series.name}, "
            "and turns about it"
        )
        return transforms.about((x, y))
    only_shifts = transforms.centres_axis is False and np.allclose(transforms.matrix, np.eye(2), atol=1e-6)
    if resized and not only_shifts:
        session.reporter.warn(
            f"{xf}: was found on views of {nx:.0f} x {ny:.0f} pixels, but those of {series.name} have "
            f"{series.shape[2]} x {series.shape[1]}, and their place in the others is unknown; turned "
            "about their own middle"
        )
    return transforms
