"""The picture of depth sectioning shows what there is, with its numbers at their places."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure

from etcli.core.atomic_model import Atoms
from etcli.core.depth.atom_columns import atoms_of_columns
from etcli.core.depth.column_depths import MeasuredDepths
from etcli.core.depth.column_fit import ColumnFit
from etcli.core.depth.counting import count_by_library, count_by_mixture
from etcli.core.depth.cross_section_mixture import fit_mixtures, local_minima
from etcli.core.depth.focal_images import FocalImages
from etcli.core.depth.focal_profiles import fit_depths
from etcli.core.depth.sectioning_result import Sectioning
from etcli.core.registration.shifts import Shifts
from etcli.core.series import TiltSeries
from etcli.pipeline.depth_section import depth_section
from etcli.pipeline.depth_section_files import depth_picture
from etcli.plotting.depth_curves import component_curves, shown_profiles
from etcli.plotting.depth_section import depth_section_figure

pytestmark = pytest.mark.usefixtures("coarse_pictures")

PIXEL_A = 0.4
FOCUS_A = np.arange(-100.0, 101, 10)
LIBRARY_A2 = 0.02 * np.arange(1, 8)
COUNT = np.array([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1])
DEPTH_A = np.linspace(-8, 14, 12)
NONE = np.zeros(12, bool)
SHIFTS = Shifts(np.zeros((21, 2)), np.ones(21), np.arange(21) == 4, 0.1)


def columns(*, n_sections: int = 21, dose: float | None = 5000.0) -> Sectioning:
    """Twelve columns of known cross-sections in an image of 24 rows and 32 columns of pixels."""
    x, y = (values.reshape(-1) for values in np.meshgrid([4.0, 12, 20, 28], [4.0, 12, 20]))
    none, width = np.zeros(12), np.full(12, 1.2)
    height = 0.02 * COUNT / (2 * np.pi * (1.2 * PIXEL_A) ** 2)
    fit = ColumnFit(
        x_px=x, y_px=y, width_px=width, height=height, background=0.0,
        position_error_px=np.zeros((12, 2)), width_error_px=none, height_error=0.01 * height,
        height_width_covariance=none, background_error=0.0, bad=NONE, box=3.0, sum_of_squares=0.0,
        n_iterations=1, converged=True,
    )  # fmt: skip
    image = fit.image((24, 32))
    drift = np.outer(np.linspace(-1, 1, n_sections) if n_sections > 1 else [0.0], [1.0, -0.5])
    sections = np.repeat(image[np.newaxis].astype(np.float32), n_sections, axis=0)
    images = FocalImages(sections, FOCUS_A[:n_sections], PIXEL_A, drift, dose)
    return Sectioning(images, np.arange(min(8, n_sections)) + 3 * (n_sections > 1), image, fit)


def counted(**options: object) -> Sectioning:
    start = columns(**options)  # type: ignore[arg-type]
    counts = count_by_library(start.cross_section_A2, LIBRARY_A2, error=start.cross_section_error_A2)
    return replace(start, counts=counts)


def with_depths(**options: object) -> Sectioning:
    found = counted(**options)
    profile = 0.02 * COUNT * np.exp(-((FOCUS_A[:, np.newaxis] - DEPTH_A) ** 2) / (2 * 40**2))
    profile += 1e-4 * np.random.default_rng(0).normal(size=profile.shape)
    profile[10, 5] += 0.02  # the one that fits worst
    variance = None if found.images.electrons is None else np.full_like(profile, 1e-8)
    fit = fit_depths(profile, FOCUS_A, COUNT, None, method="gaussian", window_A=60, variance=variance)
    return replace(found, depths=MeasuredDepths(fit, profile, variance))


def draw(found: Sectioning, **options: object) -> Figure:
    flagged = options.pop("flagged", NONE)
    return depth_section_figure(found, flagged=flagged, title="a series", **options)  # type: ignore[arg-type]


def names(figure: Figure) -> list[str]:
    """Names of the panels, as a reader finds them."""
    return [name_of(axes) for axes in figure.axes]


def name_of(axes: Axes) -> str:
    legend = axes.get_legend()
    return axes.get_title(loc="left") if legend is None else legend.get_title().get_text()


def panel(figure: Figure, name: str) -> Axes:
    return next(axes for axes in figure.axes if name_of(axes).startswith(name))


def discs(axes: Axes) -> EllipseCollection:
    return next(item for item in axes.collections if isinstance(item, EllipseCollection))


def test_columns_alone_have_an_image_and_a_histogram() -> None:
    assert names(draw(columns(n_sections=1))) == ["12 columns on the image", "cross-sections"]
    figure = draw(columns(), shifts=SHIFTS)
    assert names(figure) == ["12 columns on the mean of 8 sections", "cross-sections", "drift"]


def test_there_are_panels_for_each_stage() -> None:
    assert names(draw(counted(n_sections=1))) == [
        "12 columns on the image, coloured by\ncount",
        "counts: 42 atoms",
        "cross-sections",
    ]
    figure = draw(with_depths(), shifts=SHIFTS, column_bound_A=np.linspace(1, 0.5, 7), atoms=model())
    assert names(figure)[1:6] == [
        "counts: 42 atoms",
        "measured depths",
        "cross-sections",
        "drift",
        "precision of depths",
    ]
    assert len(figure.axes) == 6 + 6 + 3
    assert [axes.get_xlabel() for axes in figure.axes[-3:]] == ["x (Å)", "x (Å)", "y (Å)"]
    assert [axes.get_ylabel() for axes in figure.axes[-3:]] == ["y (Å)", "z (Å)", "z (Å)"]


def test_columns_are_drawn_on_their_pixels() -> None:
    found = counted()
    flagged = np.arange(12) == 7
    axes = panel(draw(found, flagged=flagged), "12 columns")
    image = axes.images[0]
    left, right, bottom, top = image.get_extent()
    ny, nx = image.get_array().shape
    for (x_A, y_A), x_px, y_px in zip(discs(axes).get_offsets(), found.fit.x_px, found.fit.y_px, strict=True):
        assert (x_A - left) / (right - left) * nx - 0.5 == pytest.approx(x_px)
        assert (y_A - bottom) / (top - bottom) * ny - 0.5 == pytest.approx(y_px)
    np.testing.assert_array_equal(image.get_array(), found.average)
    crossed = next(line for line in axes.lines if line.get_marker() == "x")
    np.testing.assert_allclose(crossed.get_xydata(), discs(axes).get_offsets()[flagged])


def test_colours_are_those_of_the_bar_and_flagged_columns_are_hollow() -> None:
    found = with_depths()
    flagged = np.arange(12) == 7
    figure = draw(found, flagged=flagged)
    assert found.depths is not None and found.count is not None
    for name, values in (("counts", found.count), ("measured depths", found.depths.fit.depth_A)):
        axes = panel(figure, name)
        bar = axes.child_axes[0]._colorbar
        expected = bar.mappable.to_rgba(values)
        np.testing.assert_allclose(discs(axes).get_edgecolor(), expected)
        np.testing.assert_allclose(discs(axes).get_facecolor()[~flagged], expected[~flagged])
        assert (discs(axes).get_facecolor()[flagged] == 0).all()
    assert len({tuple(colour) for colour in discs(panel(figure, "counts")).get_edgecolor()}) == 6


def test_depths_of_flagged_columns_do_not_stretch_the_colours() -> None:
    found = with_depths()
    assert found.depths is not None
    depth = found.depths.fit.depth_A.copy()
    depth[3], depth[4] = 500.0, np.nan
    found = replace(found, depths=replace(found.depths, fit=replace(found.depths.fit, depth_A=depth)))
    axes = panel(draw(found, flagged=np.isin(np.arange(12), (3, 4))), "measured depths")
    bar = axes.child_axes[0]._colorbar
    assert (bar.vmin, bar.vmax) == pytest.approx((depth[0], depth[-1])) and bar.extend == "max"
    assert "not known" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_histogram_holds_all_columns_and_the_library() -> None:
    found = counted()
    axes = panel(draw(found), "cross-sections")
    assert found.counts is not None
    assert axes.patches[0].get_data().values.sum() == 12
    lines = [line.get_xdata()[0] for line in axes.lines]
    np.testing.assert_allclose(lines, LIBRARY_A2[:6])
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [
        (str(k), pytest.approx(0.02 * k)) for k in range(1, 7)
    ]
    assert axes.get_xlabel() == "cross-section (Å²)"
    unknown = panel(draw(counted(dose=None)), "cross-sections")
    assert unknown.get_xlabel() == "cross-section (Å² × unit of the image)"


def test_crowded_counts_are_marked_where_there_is_room() -> None:
    found = counted()
    crowded = count_by_library(found.cross_section_A2, 0.0012 * np.arange(1, 120))
    axes = panel(draw(replace(found, counts=crowded)), "cross-sections")
    marks = np.array([line.get_xdata()[0] for line in axes.lines])
    assert 10 < len(marks) == len(axes.texts) <= 20
    np.testing.assert_allclose(marks, [0.0012 * int(text.get_text()) for text in axes.texts])


def test_a_free_mixture_has_components_and_criteria() -> None:
    start = columns(n_sections=1)
    value = np.repeat(LIBRARY_A2[:6], 2) + 1e-3 * np.random.default_rng(1).normal(size=12)
    fits = fit_mixtures(value, most_components=8, error=start.cross_section_error_A2)
    found = replace(start, counts=count_by_mixture(fits[5]), mixtures=fits)
    figure = draw(found)
    axes = panel(figure, "number of components")
    curves = {line.get_label(): line for line in axes.lines}
    for name in ("ICL", "BIC", "AIC"):
        values = [getattr(fit, name.lower()) for fit in fits]
        np.testing.assert_allclose(curves[name].get_ydata(), values)
        ring = axes.lines[axes.lines.index(curves[name]) + 1]
        assert tuple(ring.get_xdata()) == local_minima(values)
    assert curves["taken: 6"].get_xdata()[0] == 6
    components = panel(figure, "cross-sections").lines
    assert len(components) == 6 + 1
    peaks = [line.get_xdata()[np.argmax(line.get_ydata())] for line in components[:6]]
    np.testing.assert_allclose(peaks, fits[5].means, atol=5e-4)


def test_components_have_the_area_of_their_columns() -> None:
    counts = count_by_library([0.02, 0.02, 0.04, 0.06], LIBRARY_A2)
    counts = replace(counts, sigma=0.003, weights=np.array([0, 0.5, 0.25, 0.25, 0, 0, 0, 0]))
    at, curves = component_curves(counts, np.full(4, 0.004), np.linspace(-0.1, 0.2, 61))
    np.testing.assert_allclose(np.trapezoid(curves, at) / 0.005, 4 * counts.weights, atol=1e-6)
    mean = np.trapezoid(curves[1] * at, at) / np.trapezoid(curves[1], at)
    variance = np.trapezoid(curves[1] * (at - mean) ** 2, at) / np.trapezoid(curves[1], at)
    assert (mean, variance**0.5) == (pytest.approx(0.02, abs=1e-6), pytest.approx(0.005, rel=1e-3))


def test_profiles_are_those_measured_with_the_worst_last() -> None:
    found = with_depths()
    assert found.depths is not None
    shown = shown_profiles(found, NONE)
    assert len(set(shown)) == 6 and shown[-1] == 5 == found.depths.fit.chi2.argmax()
    assert list(COUNT[shown[:-1]]) == sorted(COUNT[shown[:-1]])
    assert (COUNT[shown[0]], COUNT[shown[-2]]) == (1, 6)
    figure = draw(found)
    panels = figure.axes[-6:]
    for axes, column in zip(panels, shown, strict=True):
        assert axes.get_title(loc="left").startswith(f"column {column}")
        used = found.depths.fit.used[:, column]
        window, outside = (axes.containers[k].lines[0].get_xydata() for k in (0, 1))
        np.testing.assert_allclose(
            window, np.stack([FOCUS_A, 100 * found.depths.profile[:, column]], 1)[used]
        )
        assert len(outside) == (~used).sum() > 0
        fit = next(line for line in axes.lines if line.get_label() == "fit")
        np.testing.assert_allclose(fit.get_ydata(), 100 * found.depths.fit.model[used, column])
        peak = next(line for line in axes.lines if line.get_label() == "depth of the peak")
        assert peak.get_xdata()[0] == pytest.approx(DEPTH_A[column], abs=4)
    assert "worst fit" in panels[-1].get_title(loc="left") and "χ²" in panels[0].get_title(loc="left")


def test_profiles_without_a_dose_have_no_chi_square() -> None:
    found = with_depths(dose=None)
    assert found.depths is not None
    assert shown_profiles(found, NONE)[-1] == found.depths.fit.sigma_A.argmax()
    panels = draw(found).axes[-6:]
    assert "largest error" in panels[-1].get_title(loc="left") and "χ²" not in panels[0].get_title(loc="left")
    assert panels[0].get_ylabel() == "intensity"


def test_few_columns_have_few_profiles() -> None:
    found = with_depths()
    assert found.depths is not None
    no_fit = np.arange(12) > 2
    fit = replace(found.depths.fit, no_fit=no_fit)
    assert sorted(shown_profiles(replace(found, depths=replace(found.depths, fit=fit)), NONE)) == [0, 1, 2]
    fit = replace(fit, no_fit=np.ones(12, bool))
    none = replace(found, depths=replace(found.depths, fit=fit))
    assert shown_profiles(none, NONE) == []
    assert len(draw(none).axes) == 4


def test_drift_and_precision_have_their_numbers() -> None:
    found = with_depths()
    bound = np.linspace(1, 0.5, 7)
    figure = draw(found, shifts=SHIFTS, column_bound_A=bound)
    lines = {line.get_label(): line for line in panel(figure, "drift").lines}
    np.testing.assert_allclose(lines["x"].get_ydata(), PIXEL_A * found.images.displacement_px[:, 0])
    np.testing.assert_allclose(lines["y"].get_ydata(), PIXEL_A * found.images.displacement_px[:, 1])
    assert list(lines["doubtful"].get_xdata()) == [5]
    assert found.depths is not None
    lines = {line.get_label(): line for line in panel(figure, "precision").lines}
    np.testing.assert_allclose(lines["lower bound"].get_xydata(), np.stack([np.arange(1, 7), bound[:6]], 1))
    np.testing.assert_allclose(lines["columns"].get_xydata(), np.stack([COUNT, found.depths.fit.sigma_A], 1))


def test_the_picture_of_a_result_has_its_name_and_numbers() -> None:
    found = columns(n_sections=1)
    series = TiltSeries.of(found.average[np.newaxis], [0], pixel_A=PIXEL_A, name="folder/a.mrc")
    result = depth_section(series, stop_after="count", count_method="icl", components=6)
    figure = depth_picture(result)
    assert figure.get_suptitle().startswith(f"a.mrc: 12 columns, {result.found.count.sum()} atoms, ")
    assert names(figure)[-2:] == ["cross-sections", "number of components"]
    assert f"{sum(map(bool, result.flags))} flagged" in figure.get_suptitle()


def model() -> Atoms:
    place = np.stack(np.meshgrid([-3.0, 0, 3], [-2.0, 2]), axis=-1).reshape(-1, 2)
    count = np.array([2, 3, 2, 4, 3, 2])
    atoms = atoms_of_columns(place, count, np.zeros(6), 4.0, "Au")
    return atoms.with_columns(surface=(np.abs(atoms.position_A[:, 2]) > 3).astype(float))


def test_the_model_has_one_scale_and_lighter_surfaces() -> None:
    figure = draw(with_depths(), atoms=model())
    FigureCanvasAgg(figure).draw()
    panels = figure.axes[-3:]
    scales = []
    for axes, (across, up) in zip(panels, ((0, 1), (0, 2), (1, 2)), strict=True):
        box, (left, right), (bottom, top) = axes.get_window_extent(), axes.get_xlim(), axes.get_ylim()
        scales += [box.width / (right - left), box.height / (top - bottom)]
        drawn, light = np.asarray(discs(axes).get_offsets()), discs(axes).get_facecolor()[:, 0] > 0.3
        assert left < drawn[:, 0].min() and top > drawn[:, 1].max()
        assert (np.diff(light.astype(int)) <= 0).all()  # drawn first, under the others
        inside = model().columns["surface"] == 0
        everywhere, dark = (
            {tuple(place) for place in model().position_A[mask][:, [across, up]].round(3)}
            for mask in (slice(None), inside)
        )
        assert {tuple(place) for place in drawn.round(3)} == everywhere and len(drawn) == len(everywhere)
        assert {tuple(place) for place in drawn[~light].round(3)} == dark
    np.testing.assert_allclose(scales, scales[0], rtol=0.01)


@pytest.mark.parametrize("rows", [24, 6])
def test_names_and_labels_do_not_overlap(rows: int) -> None:
    found = with_depths()
    sections = found.images.sections[:, :rows]
    found = replace(found, images=replace(found.images, sections=sections), average=found.average[:rows])
    figure = depth_section_figure(
        found, flagged=np.arange(12) == 7, title="long " * 60, shifts=SHIFTS,
        column_bound_A=np.linspace(1, 0.5, 7), atoms=model(),
    )  # fmt: skip
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [axes.get_tightbbox(canvas.get_renderer()) for axes in figure.axes]
    for bar in (axes.child_axes[0] for axes in figure.axes[1:3]):
        assert bar.yaxis.label.get_window_extent().height <= 1.4 * bar.get_window_extent().height
    width, height = figure.bbox.size
    for k, box in enumerate(boxes):
        assert box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1
        for other in boxes[:k]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            up = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 1 or up <= 1, names(figure)[k]
    heading = figure._suptitle.get_window_extent()
    assert heading.x1 <= width and heading.y0 >= max(box.y1 for box in boxes) - 1
