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

from etcli.core.specimen_centre import specimen_centre
from etcli.plotting.curves import CUTOFFS, draw_correlation
from etcli.plotting.slices import DENSITY, SPECIMEN, Stacking, orthoslices
from etcli.plotting.style import GREY, ORANGE, PixelScale, contrast, outlined, show, styled

if TYPE_CHECKING:
    from etcli.core.quality import FSC
    from etcli.core.reconstruction.cross_validation import ValidationCurve
    from etcli.core.reconstruction.slab_by_slab import ErrorCurve
    from etcli.core.series import Volume

Image = NDArray[Any]

STAGES = (1, 2, 5, 10, 20, 50, 100, 200)  # iterations after which the slice is shown
LEFT_IN, RIGHT_IN, GAP_IN, BETWEEN_IN, WIDEST_IN = 0.72, 0.2, 0.08, 0.7, 2.5
CURVES_IN, BELOW_IN, TITLE_IN = 1.9, 0.5, 0.3
MOST_TICKS = 4


class ReconstructionPicture:
    """Picture of a reconstruction: slices of the volume, and stages of an X–Z slice collected while it runs.

    Parameters
    ----------
    row : int
        Row of the volume whose slice is collected, through the specimen as the views show it.
    quantity : str
        What the values are.
    """

    def __init__(self, row: int, quantity: str = DENSITY) -> None:
        self._row, self._quantity = row, quantity
        self._stages: dict[int, Image] = {}

    def watch(self, rows: tuple[int, int], k: int, volume: Image) -> None:
        """Record the slice out of a slab (z, x, rows) after certain numbers of iterations."""
        if k in STAGES and rows[0] <= self._row < rows[1]:
            self._stages[k] = volume[..., self._row - rows[0]].copy()

    @styled
    def draw(
        self,
        volume: "Volume",
        errors: "ErrorCurve",
        iterations: "ValidationCurve | None",
        weights: "ValidationCurve | None",
        shells: "FSC | None" = None,
    ) -> Figure:
        """Draw the slices through the specimen, the stages of X–Z, and the available curves.

        Parameters
        ----------
        volume : Volume
            Finished; of a memory map little is read.
        errors : ErrorCurve
            The residual of the reconstruction.
        iterations, weights : ValidationCurve or None
            The error of left-out views.
        shells : FSC, optional
            Fourier shell correlation of the half-sets.

        Returns
        -------
        matplotlib.figure.Figure
        """
        images, pixel_A = volume.images(), volume.pixel_A
        figure = orthoslices(
            images,
            at=specimen_centre(images),
            pixel_A=pixel_A,
            stacking=Stacking(volume.middle_A),
            quantity=self._quantity,
            point=SPECIMEN,
        )
        if not errors.iteration.size and shells is None:
            return figure
        width = figure.get_figwidth() - LEFT_IN - RIGHT_IN
        nz, _, nx = images.shape
        n = len(self._stages)
        panel = min((width - GAP_IN * (n - 1)) / max(n, 1), WIDEST_IN)
        height = panel * nz / nx if n else -TITLE_IN
        _extend_below(figure, BELOW_IN + CURVES_IN + height + 2 * TITLE_IN)
        if n:
            self._draw_stages(figure, panel, height, contrast(images[:, self._row]))
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

    def _draw_stages(self, figure: Figure, panel: float, height: float, limits: tuple[float, float]) -> None:
        """Draw the slice as it was after some of the iterations."""
        _, size = figure.get_size_inches()
        bottom = BELOW_IN + CURVES_IN + TITLE_IN
        for place, (k, image) in enumerate(self._stages.items()):
            axes = _axes(figure, LEFT_IN + place * (panel + GAP_IN), bottom, panel, height)
            show(axes, image, PixelScale.of(image.shape[1], None), limits=limits)
            axes.text(
                0.04, 0.96, str(k), transform=axes.transAxes, color="white", va="top", path_effects=outlined()
            )
        title = f"X–Z, y {self._row + 1}, after so many iterations"
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
    draw_correlation(axes, shells.frequency_per_A * (pixel_A or 1.0), shells.correlation, pixel_A=pixel_A)
    levels = (0, *CUTOFFS, 1)  # names of the lines, where no curve is
    axes.set_yticks(levels, [f"{level:g}" for level in levels])
    axes.set(ylim=(min(0, shells.correlation.min()), 1.02))
    axes.set_title("correlation of half-sets", loc="left")
