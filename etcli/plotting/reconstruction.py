"""Diagnostic picture of a reconstruction: slices, stages of iterations, residuals, validation curves."""

from collections.abc import Callable
from functools import partial
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter
from numpy.typing import NDArray

from etcli.plotting.slices import DENSITY, MiddleSlices
from etcli.plotting.style import GREY, ORANGE, PixelScale, contrast, outlined, show, styled

if TYPE_CHECKING:
    from etcli.core.quality import FSC
    from etcli.core.reconstruction.cross_validation import ValidationCurve
    from etcli.core.reconstruction.slab_by_slab import ErrorCurve
    from etcli.core.reconstruction.streamed_backprojection import BandWriter

Image = NDArray[Any]

THRESHOLDS = (0.143, 0.5)  # of the correlation
STAGES = (1, 2, 5, 10, 20, 50, 100, 200)  # iterations after which the slice is shown
LEFT_IN, RIGHT_IN, GAP_IN, BETWEEN_IN, WIDEST_IN = 0.72, 0.1, 0.08, 0.7, 2.5
CURVES_IN, BELOW_IN, TITLE_IN = 1.9, 0.5, 0.3
MOST_TICKS = 4


class ReconstructionPicture:
    """Picture of a reconstruction, collected while it runs: middle slices, and stages of one of them.

    Parameters
    ----------
    shape : tuple of int
        (nz, ny, nx) of the volume.
    quantity : str
        What its values are.
    """

    def __init__(self, shape: tuple[int, int, int], quantity: str = DENSITY) -> None:
        self._slices = MiddleSlices(shape, quantity)
        self._middle = shape[1] // 2
        self._stages: dict[int, Image] = {}

    def recording(self, write: "BandWriter") -> "BandWriter":
        """Return a function that writes blocks of rows and records the middle slices in them."""

        def write_and_record(y0: int, block: Image, *, z0: int = 0) -> None:
            write(y0, block, z0=z0)
            self._slices.add(y0, block, z0=z0)

        return write_and_record

    def watch(self, rows: tuple[int, int], k: int, volume: Image) -> None:
        """Record the middle slice of a slab (z, x, rows) after certain numbers of iterations."""
        if k in STAGES and rows[0] <= self._middle < rows[1]:
            self._stages[k] = volume[..., self._middle - rows[0]].copy()

    @styled
    def draw(
        self,
        errors: "ErrorCurve",
        iterations: "ValidationCurve | None",
        weights: "ValidationCurve | None",
        shells: "FSC | None" = None,
        *,
        pixel_A: float | None = None,
    ) -> Figure:
        """Draw the middle slices, the stages of X–Z, and the available curves.

        Parameters
        ----------
        errors : ErrorCurve
            The residual of the reconstruction.
        iterations, weights : ValidationCurve or None
            The error of left-out views.
        shells : FSC, optional
            Fourier shell correlation of the half-sets.
        pixel_A : float, optional
            Voxel size in Å.

        Returns
        -------
        matplotlib.figure.Figure
        """
        figure = self._slices.draw(pixel_A=pixel_A)
        if not errors.iteration.size and shells is None:
            return figure
        width = figure.get_figwidth() - LEFT_IN - RIGHT_IN
        nz, _, nx = self._slices.shape
        n = len(self._stages)
        panel = min((width - GAP_IN * (n - 1)) / max(n, 1), WIDEST_IN)
        height = panel * nz / nx if n else -TITLE_IN
        _extend_below(figure, BELOW_IN + CURVES_IN + height + 3 * TITLE_IN)
        if n:
            self._draw_stages(figure, panel, height)
        curves: list[Callable[[Axes], None]] = []
        if errors.iteration.size:
            curves.append(partial(_draw_residuals, errors=errors, left_out=iterations))
        if weights is not None:
            curves.append(partial(_draw_weights, left_out=weights))
        if shells is not None:
            curves.append(partial(_draw_shells, shells=shells, pixel_A=pixel_A))
        across = (width - BETWEEN_IN * (len(curves) - 1)) / len(curves)
        for place, draw in enumerate(curves):
            draw(_axes(figure, LEFT_IN + place * (across + BETWEEN_IN), BELOW_IN, across, CURVES_IN))
        return figure

    def _draw_stages(self, figure: Figure, panel: float, height: float) -> None:
        """Draw the middle slice as it was after some of the iterations."""
        _, size = figure.get_size_inches()
        bottom = BELOW_IN + CURVES_IN + TITLE_IN
        limits = contrast(self._slices.slices[2])
        for place, (k, image) in enumerate(self._stages.items()):
            axes = _axes(figure, LEFT_IN + place * (panel + GAP_IN), bottom, panel, height)
            show(axes, image, PixelScale.of(image.shape[1], None), limits=limits)
            axes.text(
                0.04, 0.96, str(k), transform=axes.transAxes, color="white", va="top", path_effects=outlined()
            )
        title = "X–Z after so many iterations"
        figure.text(LEFT_IN / figure.get_figwidth(), (bottom + height + 0.06) / size, title, va="bottom")


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes with a position and size in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _extend_below(figure: Figure, inches: float) -> None:
    """Make a figure taller; its present content stays at the top."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + inches)
    for axes in figure.axes:
        left, bottom, across, up = axes.get_position(original=True).bounds
        share = height / (height + inches)
        axes.set_position((left, 1 - (1 - bottom) * share, across, up * share))


def _draw_residuals(axes: Axes, *, errors: "ErrorCurve", left_out: "ValidationCurve | None") -> None:
    """Draw the residual of all views, and that of left-out views, against the iterations."""
    positive = errors.iteration > 0
    axes.loglog(
        errors.iteration[positive], errors.residual[positive], marker="o" if positive.sum() < 5 else ""
    )
    names = ["all views"]
    if left_out is not None:
        axes.loglog(left_out.tried, left_out.error)
        names.append("views left out, some rows")
    axes.legend(axes.get_lines(), names)
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    axes.set(xlabel="iterations", ylabel="residual")


def _draw_weights(axes: Axes, *, left_out: "ValidationCurve") -> None:
    """Draw the error of left-out views against the weight of the prior."""
    axes.loglog(left_out.tried, left_out.error, "o-", color=ORANGE)
    axes.axvline(left_out.best, color=GREY, linewidth=0.8)
    axes.set(xlabel="weight of the prior")
    low, high = axes.get_xlim()
    ticks = few_ticks(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    _plain_numbers(axes.yaxis)
    axes.set_title(f"{left_out.left_out}, best at {left_out.best:.3g}", loc="left")


def few_ticks(low: float, high: float) -> list[float]:
    """Return at most `MOST_TICKS` round numbers between two limits of a logarithmic axis, at least one."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{factor}e{power}") for power in decades for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= MOST_TICKS:
            break
    return ticks[:: max(1, ceil(len(ticks) / MOST_TICKS))] or [float(f"{(low * high) ** 0.5:.2g}")]


class _Plain(LogFormatter):
    """Formatter that writes 0.06 instead of 6 x 10⁻², which is too long for the margin."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, also between powers of ten if it spans only a few."""
    axis.set_major_formatter(_Plain())
    axis.set_minor_formatter(_Plain(minor_thresholds=(1, 0.5)))


def _draw_shells(axes: Axes, *, shells: "FSC", pixel_A: float | None) -> None:
    """Draw the Fourier shell correlation of two half-sets."""
    scale = PixelScale.of(10, pixel_A)
    axes.plot(shells.frequency_per_A * (pixel_A or 1.0) / scale.step, shells.correlation)
    for level in THRESHOLDS:
        axes.axhline(level, color=GREY, linewidth=0.8)
    levels = (0, *THRESHOLDS, 1)  # names of the lines, where no curve is
    axes.set_yticks(levels, [f"{level:g}" for level in levels])
    axes.set(xlabel=f"frequency (1/{scale.unit})", ylim=(min(0, shells.correlation.min()), 1.02))
    axes.set_title("correlation of half-sets", loc="left")
