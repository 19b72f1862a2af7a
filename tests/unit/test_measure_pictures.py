"""Pictures of measures and pores: only panels that show something."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from etcli.plotting.measurement import LabelPicture, LabelSlice, measurement_figure
from etcli.plotting.pores import PorePicture, pore_figure

IMAGE = np.random.default_rng(0).random((20, 20)).astype(np.float32)
LABELS = np.zeros((20, 20), np.int32)
LABELS[4:9, 4:9] = 1


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def labels_shown(n: int, **others: Any) -> Figure:
    region = np.zeros((20, 20), bool)
    region[2:12, 2:12] = True
    slices = tuple(LabelSlice(IMAGE, LABELS, region, name) for name in ("X–Y", "X–Z"))
    size = np.linspace(5, 9, n)
    shown = {"sphericity": size / 9, "angle_z_deg": 10 * size} | others
    return measurement_figure(
        LabelPicture(slices, 10.0, "nm", size, size / 90, mean=7.0, sigma_mean=0.123, **shown)
    )


def test_few_bodies_are_shown_by_two_slices_and_no_empty_panel() -> None:
    none, one = (titles(labels_shown(n)) for n in (0, 1))
    assert none == one == ["X–Y", "X–Z"]
    two = titles(labels_shown(2))
    assert two == ["X–Y", "X–Z", "2 whole bodies, mean 7.00 ± 0.12 nm", "sphericity of 2 large bodies"]
    assert len(titles(labels_shown(5))) == 4 and "X–Z" not in titles(labels_shown(5))
    unknown = titles(labels_shown(5, sphericity=np.full(5, np.nan), angle_z_deg=np.full(5, np.nan)))
    assert unknown == ["X–Y", "5 whole bodies, mean 7.00 ± 0.12 nm"]


def test_the_region_has_an_outline() -> None:
    lines = [one for one in labels_shown(0).axes[0].collections if len(one.get_paths())]
    x, y = lines[0].get_paths()[0].vertices.T
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((-8, 2, -8, 2))  # from the middle


def test_no_pores_leave_no_empty_panels() -> None:
    nothing = {kind: (LABELS > 1, np.zeros(0)) for kind in ("closed", "open")}
    values = np.linspace(1, 4, 50, dtype=np.float32)
    parts = {"solid": values, "pores": values[:0]}
    bare = pore_figure(PorePicture(IMAGE, 3, 10.0, "nm", nothing, None, {}))
    assert titles(bare) == ["no pore found; section 3"]
    thick = pore_figure(PorePicture(IMAGE, 3, 10.0, "nm", nothing, LABELS.astype(np.float32), parts))
    shown = [title for title in titles(thick) if title]
    assert shown == ["thickness on section 3", "distribution of thickness"]
    unknown = pore_figure(
        PorePicture(IMAGE, 3, 10.0, "nm", nothing, LABELS.astype(np.float32), {"solid": values * np.nan})
    )
    assert titles(unknown) == ["no pore found; section 3"]
    assert thick.axes[1].get_xlim()[0] == 0
