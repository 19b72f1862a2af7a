"""The picture of a reconstruction where there is little space: thin volumes, few views."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from etcli.core.reconstruction.cross_validation import ValidationCurve
from etcli.core.reconstruction.slab_by_slab import ErrorCurve
from etcli.core.series import Volume
from etcli.plotting.reconstruction import MOST_TICKS, ReconstructionPicture, few_ticks

ERRORS = ErrorCurve(np.arange(1, 6), np.array([0.8, 0.6, 0.5, 0.45, 0.4]))


def picture(shape: tuple[int, int, int], tried: tuple[float, ...]) -> Figure:
    volume = Volume(np.ones(shape, np.float32), pixel_A=33.6)
    weights = ValidationCurve(np.array(tried), np.linspace(0.6, 0.5, len(tried)), tried[-1])
    figure = ReconstructionPicture(shape[1] // 2).draw(volume, ERRORS, None, weights)
    FigureCanvasAgg(figure).draw()
    return figure


def axes_with(figure: Figure, label: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_xlabel() == label)


@pytest.mark.parametrize("tried", [(2400.0, 7000.0, 29300.0), (1e-5, 1e-3, 40.0), (1.1e-4, 1.3e-4)])
def test_labels_of_weights_do_not_overprint(tried: tuple[float, ...]) -> None:
    axes = axes_with(picture((64, 64, 64), tried), "weight of the prior")
    labels = [*axes.get_xticklabels(), *axes.get_xticklabels(minor=True)]
    boxes = [label.get_window_extent() for label in labels if label.get_text()]
    assert boxes
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


@pytest.mark.parametrize("ratio", [1.0001, 1.5, 3, 10, 1e3, 1e9])
def test_ticks_are_few_and_within(ratio: float) -> None:
    for low in 10.0 ** np.arange(-6, 6, 0.37):
        ticks = few_ticks(low, low * ratio)
        assert 1 <= len(ticks) <= MOST_TICKS
        assert ratio < 1.5 or all(low <= tick <= low * ratio for tick in ticks)


@pytest.mark.parametrize("rows", [4, 8, 20, 256])
def test_the_scale_bar_is_inside_its_panel(rows: int) -> None:
    figure = picture((20, rows, 256), (1.0, 10.0))
    axes = figure.axes[0]
    (bar,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    panel, box = axes.get_window_extent(), bar.get_window_extent()
    assert panel.y0 <= box.y0 and box.y1 <= panel.y1
    (text,) = [text for text in axes.texts if "nm" in text.get_text()]
    words = text.get_window_extent()
    assert not words.overlaps(box)
    # a panel that is lower than a line of text has it across
    assert rows < 8 or (panel.y0 <= words.y0 and words.y1 <= panel.y1)
