"""Pictures and movies of a series, a volume or atoms."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.series import ImageStack, TiltSeries, Volume
from etcli.io.atoms import is_atoms_file, read_atoms_file
from etcli.io.element_map import ElementMap
from etcli.io.image_file import ImageFile
from etcli.io.segmentation_step import segmentation_of
from etcli.pipeline.inputs import read_images
from etcli.pipeline.picture_output import FORMATS, announce_picture
from etcli.pipeline.session import Session
from etcli.pipeline.view_selection import checked_list

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from etcli.plotting.look import Look
    from etcli.plotting.style import Page

MOVIES = (".gif", ".mp4")
OTHER_PICTURES = (".jpg", ".jpeg", ".webp", ".bmp", ".avi", ".mov")
MM_PER_INCH = 25.4


@dataclass(frozen=True)
class ViewRequest:
    """Options of a picture or movie, named as those of ``etcli view``; all numbers are counted from 0.

    Parameters
    ----------
    slices : bool
        Whether to draw the three slices through a point, in a movie the sections one after the other.
    at : (int, int, int) or None
        That point (x, y, z); by default the centre of mass of the specimen.
    views : sequence of int or None
        Views or sections of a montage or a movie.
    maximum : bool
        Whether to draw the maximum over all of them.
    sinogram : int or None
        Row of a sinogram.
    surface : bool
        Whether to draw the surface of a volume or of labels.
    level : float or None
        Value of the surface, by default that of the edges.
    cmap : str
        Colour map of matplotlib.
    limits : (float, float, bool) or None
        Values shown as black and white, and whether they are percentiles; by default by what is shown.
    gamma : float
        Exponent of the grey level from 0 to 1.
    crosshair : bool
        Whether slices have lines through the point.
    size_mm : (float, float or None) or None
        Width and height of a picture.
    dpi : float or None
        Resolution of a picture.
    fps : float or None
        Frames per second of a movie, 10 by default.
    step : float or None
        Degrees between the frames of what turns, 10 by default, or steps between views or sections, 1.
    n_labels : int
        Largest of the labels that are drawn, each in a colour of its own; 0 for other values.
    """

    slices: bool = False
    at: tuple[int, int, int] | None = None
    views: Sequence[int] | None = None
    maximum: bool = False
    sinogram: int | None = None
    surface: bool = False
    level: float | None = None
    cmap: str = "gray"
    limits: tuple[float, float, bool] | None = None
    gamma: float = 1.0
    crosshair: bool = True
    size_mm: tuple[float, float | None] | None = None
    dpi: float | None = None
    fps: float | None = None
    step: float | None = None
    n_labels: int = 0

    @property
    def wants_slices(self) -> bool:
        """Whether slices are requested."""
        return self.slices or self.at is not None

    @cached_property
    def look(self) -> "Look":
        """Colours and contrast."""
        from etcli.plotting.look import Look

        limits, percent = (self.limits[:2], self.limits[2]) if self.limits else (None, False)
        return Look(self.cmap, limits, percent, self.gamma, self.n_labels)

    @cached_property
    def page(self) -> "Page":
        """Size and resolution of a picture."""
        from etcli.plotting.style import Page

        width_mm, height_mm = self.size_mm or (None, None)
        return Page(width_mm and width_mm / MM_PER_INCH, height_mm and height_mm / MM_PER_INCH, self.dpi)

    def check(self, *, movie: bool, atoms: bool = False) -> None:
        """Check the options; raise UsageError for those that contradict each other or have no effect."""
        kinds = (
            self.wants_slices,
            self.views is not None,
            self.maximum,
            self.sinogram is not None,
            self.surface,
        )
        if sum(kinds) > 1:
            raise UsageError("give one of --slices, --views, --maximum, --sinogram and --surface")
        if self.level is not None and not self.surface:
            raise UsageError("--level is the value of a surface; give --surface as well")
        of_images = {
            "--slices": self.slices,
            "--at": self.at is not None,
            "--views": self.views is not None,
            "--maximum": self.maximum,
            "--sinogram": self.sinogram is not None,
            "--cmap": self.cmap != "gray",
            "--limits": self.limits is not None,
            "--gamma": self.gamma != 1,
            "--no-crosshair": not self.crosshair,
        }
        of_pictures = {
            name: of_images[name] for name in ("--at", "--maximum", "--sinogram", "--no-crosshair")
        }
        of_pictures |= {"--size": self.size_mm is not None, "--dpi": self.dpi is not None}
        of_movies = {"--fps": self.fps is not None, "--step": self.step is not None}
        if atoms and self.surface:
            raise UsageError("--surface is for a volume or labels, not for atoms")
        if self.surface:
            of_grey = {name: of_images[name] for name in ("--cmap", "--limits", "--gamma", "--no-crosshair")}
            _refuse(of_grey, "a surface has no grey values")
        if atoms:
            _refuse(of_images, "atoms are drawn from four sides, and turn in a movie")
        if movie:
            _refuse(
                of_pictures, f"a picture, and OUTPUT is a movie; end it in {', '.join(FORMATS)}", "is for "
            )
        else:
            _refuse(of_movies, f"a movie; end OUTPUT in {' or '.join(MOVIES)}", "is for ")


def _refuse(given: dict[str, bool], why: str, link: str = "has no meaning: ") -> None:
    """Raise UsageError for the first option that is given."""
    for name, is_given in given.items():
        if is_given:
            raise UsageError(f"{name} {link}{why}")


def view_file(
    session: Session, input: str, output: str, request: ViewRequest, *, tilts: str | None = None
) -> None:
    """Draw a file as a picture, or as a movie where the output ends in ``.gif`` or ``.mp4``.

    Parameters
    ----------
    session : Session
    input, output : str
        The input is a series, a volume, or a file of atoms.
    request : ViewRequest
    tilts : str, optional
        File of tilt angles that replaces all other sources.

    Raises
    ------
    UsageError
        When the request contradicts itself, views or rows do not exist, or ffmpeg is missing for an ``.mp4``.
    """
    _check_input(input, output)
    ending = PurePath(output).suffix.lower()
    is_movie, is_atoms = ending in MOVIES, is_atoms_file(input)
    if not is_movie and ending not in FORMATS:
        known = ", ".join((*FORMATS, *MOVIES))
        raise UsageError(f"{output}: cannot tell the format of the picture; end its name in {known}")
    request.check(movie=is_movie, atoms=is_atoms)
    if is_atoms and tilts:
        raise UsageError("--tilts has no meaning: atoms are drawn from four sides, and turn in a movie")
    _check_colours(request.cmap)
    if is_movie:
        from etcli.pipeline.view_movie import write_movie

        write_movie(session, input, output, request, tilts=tilts)
        return
    figure: Any
    if request.surface:
        from etcli.pipeline.view_surface import surface_to_draw
        from etcli.plotting.surface_model import surface_model

        with session.outputs() as outputs:
            write_picture = announce_picture(outputs, output)
            surface = surface_to_draw(session, input, request.level)
            write_picture(surface_model(surface, page=request.page), request.page)
        return
    if is_atoms:
        from etcli.plotting.ball_model import ball_model

        session.reads(input)
        atoms = read_atoms_file(Path(input)).atoms
        with session.outputs() as outputs:
            announce_picture(outputs, output)(ball_model(atoms, page=request.page), request.page)
        return
    file = read_images(session, input, tilts=tilts)
    stack = upright(file.images())
    request = _in_colours(stack, request)
    chosen = checked_list(request.views, len(stack), "view") if request.views else None
    with session.outputs() as outputs:
        write_picture = announce_picture(outputs, output)
        if request.sinogram is not None:
            figure = _sinogram(file.series(), request.sinogram, request)
        else:
            figure = _picture(session, file, stack, chosen, request)
        write_picture(figure, request.page)


def _in_colours(stack: ImageStack, request: ViewRequest) -> ViewRequest:
    """Return a request to draw labels in colours, unless other colours or greys are asked for."""
    has_look = request.cmap != "gray" or request.limits is not None or request.gamma != 1
    if has_look or segmentation_of(stack.history) is None:
        return request
    return replace(request, n_labels=int(np.max(stack.images(), initial=0)))


def _quantity(stack: ImageStack, request: ViewRequest) -> str:
    """Return what the values are, as far as the file tells it; else empty."""
    from etcli.plotting.slices import LABEL

    return LABEL if request.n_labels else ElementMap.of(stack.description).values


def _check_input(input: str, output: str) -> None:
    """Raise UsageError for a picture as input, which is the case when the arguments are exchanged."""
    endings = PurePath(input).suffix.lower(), PurePath(output).suffix.lower()
    if endings[0] not in (*FORMATS, *MOVIES, *OTHER_PICTURES):
        return
    what = "movie" if endings[0] in (*MOVIES, *OTHER_PICTURES[-2:]) else "picture"
    if endings[1] in (*FORMATS, *MOVIES, *OTHER_PICTURES):
        raise UsageError(f"{input} is a {what}, not data; give a series, a volume or a file of atoms")
    raise UsageError(f"INPUT is first, and {input} is a {what}; did you mean etcli view {output} {input}?")


def upright(stack: ImageStack) -> ImageStack:
    """Return a volume in IMOD's orientation with its sections along z, all else as it is."""
    is_along_y = isinstance(stack, Volume) and stack.frame is not None and stack.frame.along_y
    return stack.upright() if isinstance(stack, Volume) and is_along_y else stack


def report_volume(session: Session, file: ImageFile) -> None:
    """Report that a file is taken for a volume, if only for lack of tilt angles."""
    if file.tilts is None and not file.is_volume:
        session.reporter.report(
            f"{file.name}: no tilt angles, so taken for a volume; --tilts FILE makes it a series"
        )


def tilts_of(stack: ImageStack) -> NDArray[np.float64] | None:
    """Return the tilt angles of views, None for sections."""
    return stack.views.tilt_deg if isinstance(stack, TiltSeries) else None


def by_tilt(stack: ImageStack) -> list[int]:
    """Return the numbers of the views in the order of their tilt angles, or those of the sections."""
    tilt_deg = tilts_of(stack)
    if tilt_deg is None:
        return list(range(len(stack)))
    order: list[int] = tilt_deg.argsort(kind="stable").tolist()
    return order


def angle_label(tilt_deg: float) -> str:
    """Return a tilt angle as text."""
    return f"{round(tilt_deg, 1) + 0.0:.1f}°".replace("-", "−")  # no negative zero


def _picture(
    session: Session, file: ImageFile, stack: ImageStack, chosen: list[int] | None, request: ViewRequest
) -> "Figure":
    """Draw the requested picture, by default slices of a volume or a montage of a series."""
    from etcli.plotting.images import maximum_projection

    if request.maximum:
        return maximum_projection(stack.images(), pixel_A=stack.pixel_A, look=request.look, page=request.page)
    if request.wants_slices or (tilts_of(stack) is None and chosen is None and len(stack) > 1):
        report_volume(session, file)
        return _slices(session, stack, request)
    return _montage(stack, chosen, request)


def _slices(session: Session, stack: ImageStack, request: ViewRequest) -> "Figure":
    """Draw the slices through a point, by default the centre of mass of the specimen."""
    from etcli.core.specimen_centre import specimen_centre
    from etcli.plotting.slices import SPECIMEN, Stacking, orthoslices

    images = stack.images()
    point = request.at[::-1] if request.at else specimen_centre(images)
    has_contrast = not request.at and any(
        one.min() < one.max() for one in (images.take(index, axis) for axis, index in enumerate(point))
    )
    if not request.at:
        x, y, z = (index + 1 for index in point[::-1])
        what = "the centre of mass of the specimen" if has_contrast else "the middle"
        session.reporter.report(f"slices through {what}, --at {x} {y} {z}")
    middle_A = stack.middle_A if isinstance(stack, Volume) else None
    return orthoslices(
        images,
        at=point,
        pixel_A=stack.pixel_A,
        look=request.look,
        crosshair=request.crosshair,
        stacking=Stacking(middle_A, of_views=tilts_of(stack) is not None),
        quantity=_quantity(stack, request),
        point=SPECIMEN if has_contrast else "",
        page=request.page,
    )


def _check_colours(cmap: str) -> None:
    """Check that matplotlib has the colour map; raise UsageError otherwise."""
    import matplotlib

    if cmap not in matplotlib.colormaps:
        raise UsageError(f"--cmap {cmap}: matplotlib has no such colour map; try gray, viridis or inferno")


def _sinogram(series: TiltSeries, row: int, request: ViewRequest) -> "Figure":
    """Draw the sinogram of one row of the views."""
    from etcli.plotting.images import sinogram

    n_rows = series.shape[1]
    if row >= n_rows:
        raise UsageError(f"--sinogram {row + 1}: {series.name} has {n_rows} rows; count from 1")
    return sinogram(
        series.images()[:, row],
        series.tilt_deg,
        title=f"row {row + 1} of {n_rows}",
        pixel_A=series.pixel_A,
        look=request.look,
        page=request.page,
    )


def _montage(stack: ImageStack, chosen: list[int] | None, request: ViewRequest) -> "Figure":
    """Draw views or sections with their tilt angles."""
    from etcli.plotting.montage import montage, thinned

    if not chosen:
        order = by_tilt(stack)
        chosen = [order[k] for k in thinned(len(stack), stack.shape[2] / stack.shape[1], request.page)]
    labels = [str(k + 1) for k in chosen]
    if (tilt_deg := tilts_of(stack)) is not None:
        labels = [f"{k + 1}: {angle_label(tilt_deg[k])}" for k in chosen]
    return montage(
        stack.images(),
        indices=chosen,
        labels=labels,
        pixel_A=stack.pixel_A,
        look=request.look,
        page=request.page,
    )
