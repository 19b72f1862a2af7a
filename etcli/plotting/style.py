"""Common style of all pictures, and writing of them."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import centre

Parameters = ParamSpec("Parameters")

WIDTH_IN, TALLEST_IN, DPI = 8.0, 14.0, 200
NARROW_IN, NARROW_TEXT = 5.0, 0.78
"""Width below which text is smaller, and its size then: 7 pt, as in the column of a journal."""
MOST_PIXELS = 100_000_000
LOW_PANEL = 0.12
"""Height of a panel over its width below which a scale bar and its text do not fit above each other."""
# Colours that colour-blind readers can distinguish: M. Okabe, K. Ito, Color Universal Design (2008).
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
FORMATS = ("png", "pdf", "svg")
STYLE: dict[str, Any] = {
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.prop_cycle": f"cycler('color', {[BLUE, ORANGE, GREEN, RED, GREY]})",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "image.cmap": "gray",
    "image.origin": "lower",
    "svg.hashsalt": "etcli",
    "pdf.fonttype": 42,
}


class Page(NamedTuple):
    """Size of a picture in inches and its resolution in dots per inch; None stands for the usual.

    The height follows from the content if it is None. A picture of a given width has exactly that width; by
    default it is 8 inches wide, and narrower where it would be too tall.
    """

    width_in: float | None = None
    height_in: float | None = None
    dpi: float | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether the picture is for a column of a journal, with less and smaller text."""
        return self.width_in is not None and self.width_in < NARROW_IN

    @property
    def text_scale(self) -> float:
        """Size of the text relative to that of a wide picture."""
        return NARROW_TEXT if self.is_narrow else 1.0

    @property
    def style(self) -> dict[str, Any]:
        """Settings of matplotlib for this page."""
        sizes = {name: self.text_scale * STYLE[name] for name in STYLE if name.endswith("size")}
        resolution = {name: self.dpi or STYLE[name] for name in ("figure.dpi", "savefig.dpi")}
        return STYLE | sizes | resolution

    def figure(self, width_in: float, height_in: float, **layout: Any) -> Figure:
        """Create a figure for content of this size, or with the size of the page where that is given.

        It has whole pixels, as matplotlib would round their number down.
        """
        dpi = self.style["figure.dpi"]
        across, up = round((self.width_in or width_in) * dpi), round((self.height_in or height_in) * dpi)
        if across * up > MOST_PIXELS:
            raise UsageError(f"--size and --dpi make {across} x {up} pixels; give less")
        return Figure(figsize=((across + 1e-6) / dpi, (up + 1e-6) / dpi), **layout)


USUAL = Page()


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Decorate a drawing function so that it uses etcli's style, whatever the caller's settings.

    The style is that of its argument ``page``, if it has one.

    Parameters
    ----------
    draw : callable
        Function that returns a figure.

    Returns
    -------
    callable
        Function that draws the same with that style.
    """

    @wraps(draw)
    def inner(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        page = kwargs.get("page")
        with matplotlib.rc_context(page.style if isinstance(page, Page) else STYLE):
            return draw(*args, **kwargs)

    return inner


class PixelScale(NamedTuple):
    """Length of a pixel, in a unit that suits the size of a picture."""

    step: float
    unit: str

    @classmethod
    def of(cls, n_px: int, pixel_A: float | None) -> "PixelScale":
        """Choose the unit for a picture ``n_px`` wide: px when the pixel is unknown, else Å, nm or µm."""
        if pixel_A is None:
            return cls(1.0, "px")
        for unit, in_A in (("µm", 1e4), ("nm", 10.0)):
            if n_px * pixel_A >= 2 * in_A:
                return cls(pixel_A / in_A, unit)
        return cls(pixel_A, "Å")

    def extent(self, n: int, middle: float = 0.0) -> tuple[float, float]:
        """Return the coordinates at which ``n`` pixels begin and end, if their centre is at ``middle``."""
        return middle - (centre(n) + 0.5) * self.step, middle + (centre(n) + 0.5) * self.step


def contrast(images: ArrayLike) -> tuple[float, float]:
    """Return the values that a picture shows as black and as white.

    Parameters
    ----------
    images : array_like
        Values; those that are not finite are ignored, large arrays are sampled.

    Returns
    -------
    tuple of float
        Black and white level; they differ, also for a constant image.

    Notes
    -----
    Black is the percentile 0.5. White is the percentile 99.95, so that few and small bright particles
    keep their grey, unless that is more than five times as far from black as the percentile 99.5 is:
    then the brightest values are spikes, and the percentile 99.5 is white.
    """
    values = np.asarray(images)
    values = values.reshape(-1)[:: max(1, values.size // 1_000_000)]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    black, usual, rare = (float(level) for level in np.percentile(values, [0.5, 99.5, 99.95]))
    white = rare if rare - black <= 5 * (usual - black) else usual
    if white <= black:
        black, white = float(values.min()), float(values.max())
    return black, white if white > black else black + 1.0


def show(
    axes: Axes,
    image: NDArray[Any],
    scale: PixelScale,
    *,
    limits: tuple[float, float],
    labels: tuple[str, str] | None = None,
    cmap: str | Colormap = "gray",
    gamma: float = 1.0,
    middle: tuple[float, float] = (0.0, 0.0),
) -> Any:
    """Draw an image with row 0 at the bottom.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Axes to draw in.
    image : ndarray of shape (ny, nx)
        Grey levels.
    scale : PixelScale
        Length of a pixel.
    limits : tuple of float
        Black and white level.
    labels : tuple of str, optional
        Names of the horizontal and the vertical direction; without them the axes have no ticks.
    cmap : str or matplotlib.colors.Colormap
        Colour map.
    gamma : float
        Exponent of the grey level from 0 to 1.
    middle : tuple of float
        Coordinates (horizontal, vertical) of the centre of the image, in units of `scale`.

    Returns
    -------
    matplotlib.image.AxesImage
        The drawn image, for a colour bar.
    """
    ny, nx = image.shape
    drawn = axes.imshow(
        image,
        cmap=cmap,
        extent=(*scale.extent(nx, middle[0]), *scale.extent(ny, middle[1])),
        interpolation_stage="data",
        **grey_levels(limits, gamma),
    )
    axes.spines[:].set_visible(False)
    if labels is None:
        axes.set(xticks=[], yticks=[])
    else:
        axes.set(xlabel=f"{labels[0]} ({scale.unit})", ylabel=f"{labels[1]} ({scale.unit})")
    return drawn


def grey_levels(limits: tuple[float, float], gamma: float) -> dict[str, Any]:
    """Return the arguments with which matplotlib maps values between two limits to grey levels."""
    if gamma == 1:
        return {"vmin": limits[0], "vmax": limits[1]}
    return {"norm": PowerNorm(gamma, *limits, clip=True)}


def scale_bar(
    axes: Axes, nx: int, scale: PixelScale, *, size_pt: float | None = None, on_white: bool = False
) -> None:
    """Draw a bar of 1, 2 or 5 units, a fifth of the image or a little less, at the lower right.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Axes with an image drawn by `show`.
    nx : int
        Width of the image in pixels.
    scale : PixelScale
        Length of a pixel; nothing is drawn if its unit is the pixel.
    size_pt : float, optional
        Size of the text in points.
    on_white : bool
        Whether the bar and its text are black, without an outline.
    """
    if scale.unit == "px":
        return
    width = nx * scale.step
    length = bar_length(width)
    low, high = axes.get_ylim()
    right, bottom = axes.get_xlim()[1] - 0.04 * width, low + 0.04 * width
    is_low = high - low < LOW_PANEL * width
    if is_low:  # the text is beside the bar, both half way up
        bottom = (low + high - 0.014 * width) / 2
    axes.add_patch(
        Rectangle(
            (right - length, bottom),
            length,
            0.014 * width,
            facecolor="black" if on_white else "white",
            edgecolor="black",
            linewidth=0.4,
        )
    )
    axes.text(
        right - is_low * (length + 0.02 * width),
        bottom + (0.007 if is_low else 0.025) * width,
        f"{length:g} {scale.unit}",
        color="black" if on_white else "white",
        ha="right",
        va="center" if is_low else "bottom",
        size=size_pt,
        path_effects=None if on_white else outlined(),
    )


def bar_length(width: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten up to a quarter of the width."""
    decade = float(10.0 ** np.floor(np.log10(width / 4)))
    return decade * max(factor for factor in (1, 2, 5) if factor * decade <= width / 4 * (1 + 1e-9))


def outlined() -> list[Any]:
    """Return the path effect that keeps white text readable on any grey.

    Returns
    -------
    list
        Path effects of matplotlib.
    """
    return [withStroke(linewidth=1.5, foreground="black")]


def save(figure: Figure, target: Path | BinaryIO, *, form: str | None = None, page: Page = USUAL) -> None:
    """Write a figure; the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    target : Path or binary file
        File to write.
    form : {"png", "pdf", "svg"}, optional
        Format; by default that of the suffix of the path.
    page : Page
        The page that the figure was drawn for.

    Raises
    ------
    UsageError
        When the format is none of these.
    """
    if form is None:
        form = target.suffix[1:].lower() if isinstance(target, Path) else ""
    if form not in FORMATS:
        raise UsageError(f"cannot draw a picture of format {form!r}; end its name in .{', .'.join(FORMATS)}")
    varying_key = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}[form]
    with matplotlib.rc_context(page.style):
        figure.savefig(target, format=form, metadata={varying_key: None})
