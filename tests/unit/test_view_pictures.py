"""Ticks, montages, slices and atoms: what stands where, and that nothing overlaps."""

import itertools
import tracemalloc

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.agreement import measure_agreement
from etcli.core.atoms.spheres import Scene, shaded
from etcli.core.specimen_centre import specimen_centre
from etcli.plotting.alignment import tilt_axis
from etcli.plotting.atom_errors import position_errors
from etcli.plotting.ball_model import ALONG_X, ALONG_Y, ball_model, oblique, turned_about_y
from etcli.plotting.curves import fsc_curve
from etcli.plotting.images import maximum_projection, side_by_side, sinogram
from etcli.plotting.look import Look
from etcli.plotting.montage import montage, thinned
from etcli.plotting.slices import Stacking, orthoslices
from etcli.plotting.style import Page

pytestmark = pytest.mark.usefixtures("coarse_pictures")

MM = 1 / 25.4


def texts(figure: Figure) -> list[Text]:
    """All texts of a figure that are drawn."""
    found = [text for text in figure.texts if text.get_text()]
    for axes in figure.axes:
        labels = [axis.label for axis in (axes.xaxis, axes.yaxis)]
        labels += [tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
        titles = [axes.title, axes._left_title, axes._right_title]
        legend = axes.get_legend()
        found += [*labels, *titles, *axes.texts, *(legend.get_texts() if legend else ())]
    return [text for text in found if text.get_visible() and text.get_text()]


def check_texts(figure: Figure) -> None:
    """Check that no text overlaps another one or leaves the figure."""
    FigureCanvasAgg(figure).draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    page = figure.bbox
    for name, box in boxes:
        inside = box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1
        assert inside and box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, name
    for (one, first), (two, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), (one, two)


@pytest.mark.parametrize(
    ("shape", "pixel_A"),
    [
        ((60, 60, 60), 10.0),
        ((60, 60, 60), None),
        ((20, 90, 60), 0.37),
        ((90, 30, 60), None),
        ((7, 64, 64), 10.0),
        ((40, 50, 300), 0.37),
        ((9, 9, 9), 0.1),
        ((40, 50, 3000), None),
    ],
)
@pytest.mark.parametrize("page", [Page(), Page(85 * MM), Page(85 * MM, 85 * MM), Page(170 * MM, 60 * MM)])
def test_labels_of_slices_do_not_collide(
    shape: tuple[int, int, int], page: Page, pixel_A: float | None
) -> None:
    volume = np.random.default_rng(0).random(shape) * 3e-4
    figure = orthoslices(volume, pixel_A=pixel_A, page=page)
    check_texts(figure)
    if page.width_in is not None:
        assert figure.get_figwidth() == pytest.approx(page.width_in, abs=0.01)
    if page.height_in is not None:
        assert figure.get_figheight() == pytest.approx(page.height_in, abs=0.01)


@pytest.mark.parametrize("shape", [(300, 60), (60, 300), (100, 100)])
@pytest.mark.parametrize(
    "names", [("a.mrc", "b.mrc"), ("needle_aligned_sirt30.mrc", "needle_tv_nonnegative.mrc")]
)
def test_names_of_images_side_by_side_do_not_collide(shape: tuple[int, int], names: tuple[str, str]) -> None:
    image = np.random.default_rng(0).random(shape)
    figure = side_by_side(image, image, titles=names, title="section 3 of 5", pixel_A=3.0, difference=True)
    check_texts(figure)
    first, second, third = (axes.get_title() for axes in figure.axes[:3])
    if names[0] == "a.mrc":
        assert (first, second, third) == ("a.mrc", "b.mrc", "a.mrc − b.mrc")
    elif shape[0] >= shape[1]:
        assert first.startswith("needle_a") and first.endswith(".mrc") and third == "left − right"


def test_a_negative_angle_in_a_title_has_a_minus() -> None:
    figure = tilt_axis([0.0], [0.0], title="tilt axis at -3.21°, -2.3 px off, a-b")
    assert figure.get_suptitle() == "tilt axis at −3.21°, −2.3 px off, a-b"


def test_coordinates_of_slices_are_those_of_the_frame_and_of_views() -> None:
    volume = np.zeros((10, 20, 30))
    figure = orthoslices(volume, pixel_A=10.0, at=(1, 2, 3), stacking=Stacking((50.0, -40.0, 30.0)))
    xy, zy, xz = figure.axes[:3]
    np.testing.assert_allclose([*xy.get_xlim(), *xy.get_ylim()], [-10, 20, -14, 6])
    np.testing.assert_allclose([*zy.get_xlim(), *xz.get_ylim()], [-2, 8, -2, 8])
    np.testing.assert_allclose([line.get_xdata()[0] for line in (xy.lines[0], zy.lines[0])], [-6.5, -0.5])
    np.testing.assert_allclose([line.get_ydata()[0] for line in (xy.lines[1], xz.lines[1])], [-11.5, -0.5])
    assert not orthoslices(volume, crosshair=False).axes[0].lines
    xy, zy, xz = orthoslices(volume, pixel_A=10.0, at=(1, 2, 3), stacking=Stacking(of_views=True)).axes[:3]
    assert zy.get_xlim() == (0.5, 10.5) and zy.lines[0].get_xdata()[0] == 2
    assert (zy.get_xlabel(), xz.get_ylabel(), xy.get_xlabel()) == ("view", "view", "x (nm)")
    assert xy.get_title(loc="left") == "X–Y, view 2 of 10"


def test_slices_say_where_they_lie_and_the_key_what_the_volume_is() -> None:
    volume = np.random.default_rng(0).random((40, 50, 60))
    figure = orthoslices(
        volume, pixel_A=8.4, at=(1, 2, 3), stacking=Stacking((0.0, 0.0, 42.0)), point="the specimen's centre"
    )
    xy, zy, xz = figure.axes[:3]
    assert xy.get_title(loc="left") == "X–Y, z 2 of 40, at −11.3 nm"
    assert (zy.get_title(loc="right"), xz.get_title(loc="left")) == (
        "Z–Y, x 4 of 60, at −22.3 nm",
        "X–Z, y 3 of 50, at −18.9 nm",
    )
    lines = [text.get_text() for axes in figure.axes for text in axes.texts][-3:]
    assert lines == [
        "60 × 50 × 40 voxels of 8.4 Å",
        "lengths from the rotation centre",
        "through the specimen's centre",
    ]
    counts = [patch for axes in figure.axes for patch in axes.patches if isinstance(patch, StepPatch)]
    assert sum(counts[0].get_data().values) == 60 * 50 + 40 * 50 + 60 * 40
    check_texts(figure)


def test_gamma_and_limits_map_values_to_greys() -> None:
    volume = np.linspace(0, 4, 1000).reshape(10, 10, 10)
    image = orthoslices(volume, look=Look(limits=(0, 4), gamma=0.5)).axes[0].images[0]
    np.testing.assert_allclose(image.norm([0, 1, 4, 9]), [0, 0.5, 1, 1])
    assert orthoslices(volume, look=Look(limits=(1, 3))).axes[0].images[0].get_clim() == (1, 3)
    assert Look(limits=(25, 75), percent=True).levels(np.arange(101.0)) == (25, 75)
    assert Look(limits=(25, 75), percent=True).levels(np.ones(4)) == (1, 2)


def test_a_colour_bar_with_gamma_says_where_its_values_are() -> None:
    figure = orthoslices(np.ones((40, 40, 40)), look=Look(limits=(0, 1.5), gamma=0.5), page=Page(85 * MM))
    FigureCanvasAgg(figure).draw()
    labels = {
        text.get_text(): at
        for text, at in zip(figure.axes[3].get_xticklabels(), figure.axes[3].get_xticks(), strict=True)
    }
    assert labels and all(float(text) == at for text, at in labels.items())


@pytest.mark.parametrize("aspect", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("n", [21, 36, 41, 61, 71, 141])
def test_a_thinned_montage_fills_its_grid(n: int, aspect: float) -> None:
    chosen = thinned(n, aspect)
    assert 12 <= len(chosen) <= 20 and chosen[0] == 0 and chosen[-1] == n - 1
    assert np.ptp(np.diff(chosen)) <= 1
    figure = montage(np.zeros((n, 20, round(20 * aspect)), np.float32), indices=chosen)
    assert len(figure.axes) == len(chosen)


def test_a_narrow_page_has_fewer_panels_and_ticks() -> None:
    page = Page(85 * MM)
    for n in (13, 21, 77, 141):
        assert 6 <= len(thinned(n, 1.0, page)) <= 12
    assert thinned(12, 1.0, page) == list(range(12))
    image = np.random.default_rng(0).normal(0, 1e4, (3, 256, 256))
    for figure in (
        maximum_projection(image, pixel_A=33.6, page=page),
        sinogram(image[:, 0], np.linspace(-76, 76, 3), pixel_A=33.6, page=page),
    ):
        check_texts(figure)
        for axes in figure.axes:
            (low, high), ticks = axes.get_ylim(), axes.get_yticks()
            assert ((low <= ticks) & (ticks <= high)).sum() <= 6


@pytest.mark.parametrize("page", [Page(), Page(85 * MM), Page(85 * MM, 60 * MM)])
def test_panels_of_a_montage_have_the_shape_of_the_images(page: Page) -> None:
    figure = montage(np.zeros((7, 20, 30), np.float32), page=page)
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert len(boxes) in (7, 8) and all(box.width / box.height == pytest.approx(1.5) for box in boxes)
    for axes in figure.axes[7:]:  # black, not white
        assert max(axes.get_facecolor()[:3]) == 0
    if page.height_in is None:
        together = (max(box.x1 for box in boxes), max(box.y1 for box in boxes))
        assert together == pytest.approx((figure.bbox.width, figure.bbox.height), abs=1)
        assert max(min(box.x0 for box in boxes), min(box.y0 for box in boxes)) < 1


@pytest.mark.parametrize("sign", [1, -1])
def test_the_specimen_is_where_its_mass_is(sign: int) -> None:
    rng = np.random.default_rng(1)
    volume = sign * rng.normal(3, 0.1, (30, 40, 50)).astype(np.float32)
    volume[4:9, 20:31, 30:45] += sign * 5
    assert specimen_centre(volume) == (6, 25, 37)
    assert specimen_centre(np.full((4, 6, 9), 2.0)) == (2, 3, 4)
    damaged = volume.copy()
    damaged[15, 3, 3] = np.nan
    assert specimen_centre(damaged) == (6, 25, 37)


def test_slices_between_particles_are_passed_over() -> None:
    volume = np.zeros((30, 40, 50), np.float32)
    volume[5:10, 5:10, 4:12] = volume[18:26, 30:38, 30:38] = 1
    z, y, x = specimen_centre(volume)  # the centre of mass is at about (16, 25.5, 26)
    assert (z, y, x) == (18, 30, 30)


def test_a_large_volume_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcli.core.specimen_centre.MOST_VOXELS", 4000)
    volume = np.zeros((61, 80, 75), np.float32)
    volume[8:31, 20:51, 30:67] = 1
    assert specimen_centre(volume) == pytest.approx((19, 35, 48), abs=1)


def test_the_nearer_sphere_hides_the_other_and_light_comes_from_the_upper_left() -> None:
    scene = Scene(
        np.array([[0.0, 0, 5], [1, 0, -5]]), np.array([2.0, 2.0]), np.array([[1.0, 0, 0], [0, 0, 1]])
    )
    picture = shaded(scene, shape=(61, 81), pixel_A=0.1)
    red, blue = picture[30, 40], picture[30, 40 + 25]
    assert red[0] > red[2] + 0.3 and blue[2] > blue[0]
    assert (picture[0, 0] == 1).all()
    behind = shaded(scene.turned(np.diag([1.0, 1, -1])), shape=(61, 81), pixel_A=0.1)
    assert behind[30, 40 + 5, 2] > behind[30, 40 + 5, 0]
    lone = shaded(Scene(np.zeros((1, 3)), np.ones(1), np.full((1, 3), 0.5)), shape=(121, 121), pixel_A=0.02)
    assert lone[90, 30].mean() > lone[30, 90].mean() + 0.2
    covered = (lone.min(axis=2) < 1).sum() * 0.02**2
    assert covered == pytest.approx(np.pi, rel=0.05)


def test_bands_of_spheres_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scene = Scene(rng.uniform(-5, 5, (60, 3)), np.full(60, 1.3), rng.random((60, 3)))
    whole = shaded(scene, shape=(41, 50), pixel_A=0.3)
    for rows in (1, 7, 40):
        monkeypatch.setattr("etcli.core.atoms.spheres.BAND_PIXELS", rows * 9 * 50)
        np.testing.assert_allclose(shaded(scene, shape=(41, 50), pixel_A=0.3), whole, atol=1e-6)


def test_large_pictures_of_atoms_are_shaded_in_little_memory() -> None:
    scene = Scene(np.zeros((1, 3)), np.array([90.0]), np.full((1, 3), 0.5))
    shaded(scene, shape=(3, 3), pixel_A=30.0)
    tracemalloc.start()
    try:
        picture = shaded(scene, shape=(600, 600), pixel_A=0.3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < picture.nbytes + 90e6  # 9 fine pixels for each of 360 000 took 600 MB at once


def test_projections_are_right_handed_and_the_volume_turns_as_in_recon() -> None:
    for matrix in (ALONG_X, ALONG_Y, oblique(), turned_about_y(30)):
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)
    x, _, z = turned_about_y(30) @ [2.0, 0.0, 1.0]
    assert (x, z) == pytest.approx((2 * 0.75**0.5 + 0.5, -1 + 0.75**0.5))


def middle_of(axes: Axes) -> tuple[float, float]:
    """Centroid of what is not white, in the coordinates of the axes."""
    image = axes.images[0]
    dark = 1 - np.asarray(image.get_array()).min(axis=2) / 255
    left, right, low, high = image.get_extent()
    ny, nx = dark.shape
    x, y = left + (np.arange(nx) + 0.5) / nx * (right - left), low + (np.arange(ny) + 0.5) / ny * (high - low)
    return float((dark.sum(axis=0) * x).sum() / dark.sum()), float((dark.sum(axis=1) * y).sum() / dark.sum())


@pytest.mark.parametrize("page", [Page(), Page(85 * MM, None, 100), Page(120 * MM, 120 * MM)])
def test_atoms_are_drawn_at_their_places(page: Page) -> None:
    atoms = Atoms(np.array([[3.0, -5.0, 8.0]]), np.array(["Au"]))
    xy, zy, xz, _ = ball_model(atoms, page=page).axes
    for axes, expected in ((xy, (3, -5)), (zy, (8, -5)), (xz, (3, 8))):
        assert middle_of(axes) == pytest.approx(expected, abs=0.15)
    rng = np.random.default_rng(0)
    many = Atoms(rng.uniform(-30, 30, (60, 3)) * [1, 0.6, 0.3], np.array(["Au", "Si", "X"] * 20))
    figure = ball_model(many, page=page)
    assert figure.axes[0].get_xlabel() == "x (Å)"  # of 6 nm, too
    check_texts(figure)
    labels = [text.get_text() for text in figure.axes[3].get_legend().get_texts()]
    assert labels == ["Si (20)", "Au (20)", "unknown (20)"]


@pytest.mark.parametrize("above", [True, False])
def test_no_legend_of_errors_lies_on_the_line_at_zero(above: bool) -> None:
    rng = np.random.default_rng(0)
    reference = Atoms(np.arange(90.0).reshape(30, 3), np.array(["Au"] * 30))
    found = Atoms(reference.position_A + rng.normal(0.1 * above, 0.01, (30, 3)), reference.species)
    figure = position_errors(measure_agreement(found, reference), reference, cutoff_A=0.75, title="a")
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[1]
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1
    check_texts(figure)


def test_slices_of_an_axis_are_named_in_the_unit_of_their_axes() -> None:
    slices = np.random.default_rng(0).random((2, 40, 50))
    figure = tilt_axis([-9.0, 0, 9], [0.1, 0, -0.1], slices=slices, slice_rows=[-63.5, 20], pixel_A=33.6)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["X–Z at y = −213 nm", "X–Z at y = 67.2 nm"]
    assert figure.axes[2].get_xlabel() == "y (nm)"
    np.testing.assert_allclose(figure.axes[2].lines[0].get_xdata(), [-30.24, 0, 30.24])


def test_names_of_thresholds_do_not_lie_on_the_curve() -> None:
    frequency = np.linspace(0, 0.5, 60)
    for curve in (np.linspace(1, 0.14, 60), np.linspace(1, 0.16, 60), np.full(60, 0.52)):
        figure = fsc_curve(frequency, {"halves": curve}, pixel_A=3.0)
        FigureCanvasAgg(figure).draw()
        axes = figure.axes[0]
        drawn = axes.transData.transform(axes.lines[0].get_xydata())
        for text in axes.texts:
            box = text.get_window_extent().padded(1)
            assert not any(box.contains(x, y) for x, y in drawn), text.get_text()
