"""Pictures and movies of a series or a volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.series import ImageStack, TiltSeries, Volume
from etcli.pipeline.inputs import read_images
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.session import Session
from etcli.pipeline.view_selection import checked_list

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 20


@dataclass(frozen=True)
class ViewRequest:
    """Options of a picture or movie, named as those of ``etcli view``; all numbers are counted from 0.

    Parameters
    ----------
    slices : bool
        Whether to draw the three slices through a point.
    at : (int, int, int) or None
        That point (x, y, z).
    views : sequence of int or None
        Views or sections of a montage.
    maximum : bool
        Whether to draw the maximum over all of them.
    sinogram : int or None
        Row of a sinogram.
    cmap : str
        Colour map of matplotlib.
    fps : float
        Frames per second of a movie.
    """

    slices: bool = False
    at: tuple[int, int, int] | None = None
    views: Sequence[int] | None = None
    maximum: bool = False
    sinogram: int | None = None
    cmap: str = "gray"
    fps: float = 10.0

    @property
    def wants_slices(self) -> bool:
        """Whether slices are requested."""
        return self.slices or self.at is not None

    def check(self, *, movie: bool) -> None:
        """Check the options; raise UsageError for contradictory ones."""
        if sum([self.wants_slices, self.views is not None, self.maximum, self.sinogram is not None]) > 1:
            raise UsageError("give one of --slices, --views, --maximum and --sinogram")
        still = self.wants_slices or self.maximum or self.sinogram is not None
        if movie and (still or self.cmap != "gray"):
            raise UsageError("a movie is grey and shows views or a rotating volume; end OUTPUT in .png")


def view_file(
    session: Session, input: str, output: str, request: ViewRequest, *, tilts: str | None = None
) -> None:
    """Draw a file as a picture, or as a movie where the output ends in ``.gif``.

    Parameters
    ----------
    session : Session
    input, output : str
    request : ViewRequest
    tilts : str, optional
        File of tilt angles that replaces all other sources.

    Raises
    ------
    UsageError
        When the request contradicts itself, or views or rows do not exist.
    """
    is_movie = output.lower().endswith(".gif")
    request.check(movie=is_movie)
    if not is_movie:
        check_picture(output)
    file = read_images(session, input, tilts=tilts)
    stack = file.images()
    if isinstance(stack, Volume) and stack.frame and stack.frame.along_y:
        stack = stack.upright()
    chosen = checked_list(request.views, len(stack), "view") if request.views else None
    with session.outputs() as outputs:
        if is_movie:
            _movie(stack, chosen, outputs.path(output), request.fps)
            return
        _check_colours(request.cmap)
        write_picture = announce_picture(outputs, output)
        if request.sinogram is not None:
            figure = _sinogram(file.series(), request.sinogram, request.cmap)
        else:
            figure = _picture(stack, chosen, request)
        write_picture(figure)


def _picture(stack: ImageStack, chosen: list[int] | None, request: ViewRequest) -> "Figure":
    """Draw the requested picture, by default slices of a volume or a montage of a series."""
    from etcli.plotting.slices import maximum_projection, orthoslices

    images, style = stack.images(), {"pixel_A": stack.pixel_A, "cmap": request.cmap}
    if request.maximum:
        return maximum_projection(images, **style)  # type: ignore[arg-type]
    if request.wants_slices or (_tilts(stack) is None and chosen is None and len(stack) > 1):
        point = request.at[::-1] if request.at else None
        return orthoslices(images, at=point, **style)  # type: ignore[arg-type]
    return _montage(stack, chosen, request.cmap)


def _check_colours(cmap: str) -> None:
    """Check that matplotlib has the colour map; raise UsageError otherwise."""
    import matplotlib

    if cmap not in matplotlib.colormaps:
        raise UsageError(f"--cmap {cmap}: matplotlib has no such colour map; try gray, viridis or inferno")


def _tilts(stack: ImageStack) -> NDArray[np.float64] | None:
    """Return the tilt angles of views, None for sections."""
    return stack.views.tilt_deg if isinstance(stack, TiltSeries) else None


def _by_tilt(stack: ImageStack) -> list[int]:
    """Return the numbers of the views in the order of their tilt angles, or those of the sections."""
    tilt_deg = _tilts(stack)
    if tilt_deg is None:
        return list(range(len(stack)))
    order: list[int] = tilt_deg.argsort(kind="stable").tolist()
    return order


def _movie(stack: ImageStack, chosen: list[int] | None, path: Path, fps: float) -> None:
    """Write a movie of the views one after the other, or of a rotating volume."""
    from etcli.plotting.movie import movie, rotating
    from etcli.plotting.style import contrast

    images = stack.images()
    if _tilts(stack) is None and chosen is None:
        # the minimum of a volume is far below its vacuum, that of its projection is not
        movie(rotating(images), path, fps=fps, limits=contrast(images.max(axis=0)))
    else:
        views = (stack.view(k) for k in chosen or _by_tilt(stack))
        movie(views, path, fps=fps, limits=contrast(images))


def _sinogram(series: TiltSeries, row: int, cmap: str) -> "Figure":
    """Draw the sinogram of one row of the views."""
    from etcli.plotting.slices import sinogram

    n_rows = series.shape[1]
    if row >= n_rows:
        raise UsageError(f"--sinogram {row + 1}: {series.name} has {n_rows} rows; count from 1")
    title = f"row {row + 1} of {n_rows}"
    return sinogram(series.images()[:, row], series.tilt_deg, title=title, pixel_A=series.pixel_A, cmap=cmap)


def _montage(stack: ImageStack, chosen: list[int] | None, cmap: str) -> "Figure":
    """Draw views or sections with their tilt angles."""
    from etcli.plotting.slices import montage

    step = -(-len(stack) // MOST_PANELS)
    chosen = chosen or _by_tilt(stack)[::step]
    labels = [str(k + 1) for k in chosen]
    if (tilt_deg := _tilts(stack)) is not None:
        angles = tilt_deg.round(1) + 0.0  # no negative zero
        labels = [f"{k + 1}: {angles[k]:.1f}°".replace("-", "−") for k in chosen]
    return montage(stack.images(), indices=chosen, labels=labels, pixel_A=stack.pixel_A, cmap=cmap)
