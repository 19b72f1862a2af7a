import io
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from etcli.core.atoms.tracing import TraceRules, trace
from etcli.core.errors import UsageError
from etcli.core.reconstruction.cross_validation import ValidationCurve
from etcli.core.reconstruction.slab_by_slab import ErrorCurve
from etcli.core.series import Volume
from etcli.core.volume_frame import VolumeFrame
from etcli.plotting.alignment import registration, tilt_axis
from etcli.plotting.atoms import traced
from etcli.plotting.curves import fsc_curve
from etcli.plotting.gif import write_gif
from etcli.plotting.images import maximum_projection, side_by_side, sinogram
from etcli.plotting.look import Look
from etcli.plotting.montage import montage
from etcli.plotting.movie import Frame, movie
from etcli.plotting.reconstruction import ReconstructionPicture
from etcli.plotting.slices import Stacking, orthoslices
from etcli.plotting.style import contrast, save
from etcli.plotting.turning import has_corners, rotating, turning_levels
from tests.gaussians import gaussian_volume, jittered, nearest, noisy


def drawn_white(figure: Figure, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Data coordinates (x, y) of the white pixels inside axes, as rendered."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3]
    box = axes.get_window_extent()
    rows, columns = np.nonzero(pixels.min(axis=2) > 200)
    inside = (columns > box.x0) & (columns + 1 < box.x1) & (rows > box.y0) & (rows + 1 < box.y1)
    points = np.stack([columns[inside] + 0.5, rows[inside] + 0.5], axis=1)
    x, y = axes.transData.inverted().transform(points).T
    return x, y


def bright_block(shape: tuple[int, int, int], at: tuple[int, int, int]) -> np.ndarray:
    volume = np.zeros(shape, np.float32)
    volume[tuple(slice(i - 2, i + 3) for i in at)] = 1
    return volume


def test_orthoslices_show_each_voxel_at_its_place() -> None:
    figure = orthoslices(bright_block((40, 60, 50), (10, 42, 15)), pixel_A=None, at=(10, 42, 15))
    x, y, z = 15 - 24.5, 42 - 29.5, 10 - 19.5
    for axes, expected in zip(figure.axes, ((x, y), (z, y), (x, z)), strict=False):
        across, upwards = drawn_white(figure, axes)
        assert (across.mean(), upwards.mean()) == pytest.approx(expected, abs=0.3)
        assert np.ptp(across) == pytest.approx(5, abs=0.4)
    titles = [axes.get_title(loc="left") for axes in figure.axes[:3:2]]
    assert titles == ["X–Y, z 11 of 40", "X–Z, y 43 of 60"]
    assert figure.axes[1].get_title(loc="right") == "Z–Y, x 16 of 50"


def test_orthoslices_of_a_known_pixel_are_in_nanometres() -> None:
    figure = orthoslices(bright_block((40, 60, 50), (10, 42, 15)), pixel_A=4.0, at=(10, 42, 15))
    across, upwards = drawn_white(figure, figure.axes[2])
    assert (across.mean(), upwards.mean()) == pytest.approx((0.4 * -9.5, 0.4 * -9.5), abs=0.12)
    assert figure.axes[2].get_xlabel() == "x (nm)" and figure.axes[2].get_ylabel() == "z (nm)"


def test_orthoslices_join_at_one_scale() -> None:
    figure = orthoslices(bright_block((20, 60, 50), (10, 42, 15)))
    xy, zy, xz = (axes.get_window_extent() for axes in figure.axes[:3])
    assert xy.width / 50 == pytest.approx(zy.width / 20) == pytest.approx(xz.height / 20)
    assert xy.height / 60 == pytest.approx(xy.width / 50) and zy.height == pytest.approx(xy.height)
    assert xy.x0 == xz.x0 and xy.x1 < zy.x0 and xz.y1 < xy.y0
    with pytest.raises(UsageError, match="is outside"):
        orthoslices(np.zeros((3, 4, 5)), at=(3, 0, 0))


@pytest.mark.parametrize(
    ("n_px", "pixel_A", "length", "label"),
    [
        (192, 5.0, 20.0, "20 nm"),
        (192, 500.0, 2.0, "2 µm"),
        (30, 0.5, 2.0, "2 Å"),
        (80, 1.0, 2.0, "2 nm"),
        (79, 1.0, 1.0, "1 nm"),
    ],
)
def test_a_scale_bar_is_as_long_as_it_says(n_px: int, pixel_A: float, length: float, label: str) -> None:
    figure = maximum_projection(np.full((2, n_px, n_px), 0.0), pixel_A=pixel_A)
    axes = figure.axes[0]
    (bar,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert bar.get_width() == pytest.approx(length)
    assert [text.get_text() for text in axes.texts] == [label]
    axes.texts[0].remove()
    across, upwards = drawn_white(figure, axes)
    unit = length / float(label.split()[0]) * {"Å": 1, "nm": 10, "µm": 1e4}[label.split()[1]]
    assert np.ptp(across) * unit / pixel_A == pytest.approx(length * unit / pixel_A, abs=n_px / 200)
    assert axes.get_xlim()[1] - axes.get_xlim()[0] == pytest.approx(n_px * pixel_A / unit)
    assert upwards.max() < 0 < across.min()


def test_without_a_pixel_size_there_is_no_scale_bar() -> None:
    axes = maximum_projection(np.zeros((2, 20, 20))).axes[0]
    assert not axes.patches and not axes.texts and axes.get_xlabel() == "x (px)"


def test_contrast_keeps_small_particles_and_cuts_spikes() -> None:
    image = np.random.default_rng(0).normal(1, 0.01, (200, 200))
    image[:60] = 0
    image[100:108, 100:108] = 4.0
    assert contrast(image) == pytest.approx((0, 4), abs=0.03)
    image[150, 150:158] = 1000.0
    assert contrast(image) == pytest.approx((0, 4), abs=0.03)
    image[150, 100:158] = 1000.0
    assert contrast(image)[1] < 1.1


def test_contrast_of_flat_and_damaged_images() -> None:
    assert contrast(np.full((4, 4), 3.0)) == (3, 4)
    assert contrast(np.full((4, 4), np.nan)) == (0, 1)
    assert contrast([[np.nan, 1.0, 2.0, np.inf]]) == pytest.approx((1, 2), abs=0.01)


def test_a_maximum_projection_shows_the_maximum_and_the_axis() -> None:
    stack = np.zeros((3, 40, 40))
    stack[0, 4:9, 30:35] = stack[2, 4:9, 10:15] = 1
    figure = maximum_projection(stack, tilt_axis=(30.0, 6.0))
    across, upwards = drawn_white(figure, figure.axes[0])
    assert upwards.mean() == pytest.approx(6 - 19.5, abs=0.2)
    assert across[across > 0].mean() == pytest.approx(32 - 19.5, abs=0.2)
    assert across[across < 0].mean() == pytest.approx(12 - 19.5, abs=0.2)
    (line,) = figure.axes[0].lines
    (x0, y0), (x1, y1) = line.get_xy1(), line.get_xy2()
    # Turned counter-clockwise the axis leans to −x, and what was +x for the offset has turned with it.
    assert (x1 - x0, y1 - y0) == pytest.approx((-0.5, 0.75**0.5))
    assert (x0, y0) == pytest.approx((6 * 0.75**0.5, 3))


def test_a_montage_has_a_panel_a_section_from_the_top_left() -> None:
    stack = np.zeros((30, 20, 30), np.float32)
    stack[7, 15:19, 3:7] = 1
    figure = montage(stack, indices=[7, 3, 29], pixel_A=2.0)
    assert [axes.texts[0].get_text() for axes in figure.axes[:3]] == ["8", "4", "30"]
    assert len(figure.axes[0].patches) == 1 and not figure.axes[1].patches
    figure.axes[0].texts[0].remove()
    figure.axes[0].texts[0].remove()
    figure.axes[0].patches[0].remove()
    across, upwards = drawn_white(figure, figure.axes[0])
    assert (across.mean(), upwards.mean()) == pytest.approx((0.2 * -10, 0.2 * 7), abs=0.08)
    assert figure.axes[0].get_window_extent().y0 >= figure.axes[2].get_window_extent().y0
    assert len(montage(stack).axes) == 20 and len(montage(stack[:3]).axes) == 3
    with pytest.raises(UsageError, match="2 sections cannot have 1 labels"):
        montage(stack, indices=[1, 2], labels=["one"])


def test_a_sinogram_puts_every_view_at_its_angle() -> None:
    row = np.arange(12.0).reshape(3, 4)
    mesh = sinogram(row, [30.0, -20.0, 10.0], pixel_A=2.0).axes[0].collections[0]
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(3, 4), row[[1, 2, 0]])
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[:, 0, 1], [-35, -5, 20, 40])
    np.testing.assert_allclose(corners[0, :, 0], [-4, -2, 0, 2, 4])
    single = sinogram(row[:1], [5.0]).axes[0].collections[0]
    np.testing.assert_allclose(single.get_coordinates()[:, 0, 1], [4.5, 5.5])


def test_side_by_side_shares_contrast_and_subtracts_the_second() -> None:
    first, second = np.zeros((6, 8)), np.full((6, 8), 2.0)
    panels = side_by_side(first, second, titles=("a", "b"), difference=True).axes[:3]
    images = [axes.images[0] for axes in panels]
    assert images[0].get_clim() == images[1].get_clim()
    np.testing.assert_array_equal(images[2].get_array(), -2)
    assert images[2].get_clim()[0] == -images[2].get_clim()[1] <= -2
    assert [axes.get_title() for axes in panels] == ["a", "b", "a − b"]
    with pytest.raises(UsageError, match="shapes"):
        side_by_side(first, second[1:])


def test_registration_sorts_views_and_names_the_doubtful_as_in_the_file() -> None:
    shifts = np.array([[3.0, -1.0], [1.0, -2.0], [2.0, -3.0]])
    figure = registration(
        [20.0, -10.0, 0.0], shifts, quality=[0.7, 0.9, 0.8], doubtful=np.array([True, False, True])
    )
    across, along = figure.axes[0].lines[:2]
    assert across.get_label() == "shift in x" and along.get_label() == "shift in y"
    np.testing.assert_array_equal(across.get_xydata(), [[-10, 1], [0, 2], [20, 3]])
    np.testing.assert_array_equal(along.get_ydata(), [-2, -3, -1])
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [0.9, 0.8, 0.7])
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[-1] == "doubtful views: 1, 3"
    assert [line.get_xdata()[0] for line in figure.axes[1].lines[1:]] == [0, 20]
    assert len(registration([0.0, 1.0], np.zeros((2, 2))).axes) == 1


def test_tilt_axis_draws_residuals_and_slices_the_right_way_up() -> None:
    slices = np.zeros((3, 30, 40), np.float32)
    slices[1, 3:8, 30:35] = 1
    y = np.array([-10.0, 0.0, 10.0])
    figure = tilt_axis(y, [0.0, 0.5, -1.0], slices=slices, slice_rows=[-9, 0, 9])
    across, upwards = drawn_white(figure, figure.axes[1])
    assert (across.mean(), upwards.mean()) == pytest.approx((32 - 19.5, 5 - 14.5), abs=0.3)
    assert figure.axes[0].get_title() == "X–Z at y = −9 px"
    np.testing.assert_allclose(figure.axes[3].lines[0].get_xydata(), [[-10, 0], [0, 0.5], [10, -1]])
    assert "0.65 px rms" in figure.axes[3].get_title()
    assert len(tilt_axis(y, y).axes) == 1
    without = tilt_axis([], [], slices=slices, slice_rows=[-9, 0, 9], title="nothing seen")
    assert len(without.axes) == 3 and without.get_suptitle() == "nothing seen"


def test_fsc_names_the_period_at_which_it_falls() -> None:
    frequency = np.linspace(0, 0.5, 6)
    axes = fsc_curve(frequency, {"halves": [1, 0.9, 0.7, 0.3, 0.1, 0.0]}, pixel_A=3.0).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [f"halves, 12 Å (0.5), {3 / 0.3785:.4g} Å (0.143)"]
    assert {text.get_text() for text in axes.texts} == {"0.5", "0.143", "12 Å", f"{3 / 0.3785:.4g} Å"}
    assert axes.get_xlabel() == "spatial frequency (1/Å)"
    assert axes.get_xlim()[1] == pytest.approx(0.5 / 3)
    flat = fsc_curve(frequency, {"same": np.ones(6)}).axes[0]
    assert [text.get_text() for text in flat.get_legend().get_texts()] == ["same"]


def test_a_reconstruction_shows_its_stages_and_curves_below_its_slices() -> None:
    volume = np.random.default_rng(0).random((10, 14, 20)).astype(np.float32)
    volume[2:5, 8:11, 12:17] += 9
    frame = VolumeFrame((90.0, 70.0, 50.0), 10.0)
    picture = ReconstructionPicture(9)
    for k in range(7):
        picture.watch((0, 7), k, volume[:, :7].swapaxes(1, 2))  # not the slab of the row
        picture.watch((7, 14), k, k * volume[:, 7:].swapaxes(1, 2))
    errors = ErrorCurve(np.arange(7), np.linspace(1, 0.1, 7))
    left_out = ValidationCurve(np.array([1.0, 10.0, 100.0]), np.array([0.3, 0.1, 0.2]), 20.0)
    whole = Volume(volume, pixel_A=10.0, frame=frame)
    figure = picture.draw(whole, errors, None, left_out)
    slices, (*stages, curve, weights) = figure.axes[:3], figure.axes[-5:]
    assert whole.middle_A == (10.0, 0.0, 0.0)
    viewed = orthoslices(volume, at=(3, 9, 14), pixel_A=10.0, stacking=Stacking(whole.middle_A))
    for ours, theirs in zip(slices, viewed.axes, strict=False):
        drawn, expected = ours.images[0].get_array(), theirs.images[0].get_array()
        np.testing.assert_array_equal(drawn, expected)
        assert ours.get_xlim() == theirs.get_xlim()
        assert [ours.get_title(loc=loc) for loc in ("left", "right")] == [
            theirs.get_title(loc=loc) for loc in ("left", "right")
        ]
        assert ours.get_position(original=True).y0 > stages[0].get_position(original=True).y1
    assert "X–Z, y 10, after so many iterations" in [text.get_text() for text in figure.texts]
    for k, axes in zip((1, 2, 5), stages, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), k * volume[:, 9], rtol=1e-6)
        assert axes.texts[0].get_text() == str(k)
    assert curve.get_lines()[0].get_xydata().tolist() == [[k, errors.residual[k]] for k in range(1, 7)]
    np.testing.assert_allclose(weights.get_lines()[0].get_xydata().T, [left_out.tried, left_out.error])
    assert weights.get_lines()[1].get_xdata() == [20.0, 20.0]


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_pictures_repeat_byte_by_byte_whatever_the_settings(form: str) -> None:
    def written() -> bytes:
        stream = io.BytesIO()
        save(montage(np.arange(48.0).reshape(3, 4, 4), pixel_A=1.0), stream, form=form)
        return stream.getvalue()

    first = written()
    with matplotlib.rc_context({"font.size": 30, "image.origin": "upper", "svg.hashsalt": "other"}):
        assert written() == first
    assert b"Date" not in first and len(first) > 1000


def test_pictures_are_1600_pixels_wide_in_the_format_of_their_suffix(tmp_path: Path) -> None:
    figure = fsc_curve([0.1, 0.2], {"a": [1.0, 0.0]})
    save(figure, tmp_path / "a.PNG")
    with Image.open(tmp_path / "a.PNG") as image:
        assert image.format == "PNG" and image.width == 1600
    save(figure, tmp_path / "a.part", form="pdf")
    assert (tmp_path / "a.part").read_bytes().startswith(b"%PDF")
    with pytest.raises(UsageError, match=r"\.png, \.pdf, \.svg"):
        save(figure, tmp_path / "a.jpg")


def test_a_turning_volume_follows_the_convention() -> None:
    volume = np.full((30, 20, 26), 0.5, np.float32)
    volume[20:23, 4:7, 8:11] = 3.0  # about (x, y, z) = (−3.5, −4.5, 6.5)
    frames = list(rotating(volume, step_deg=45))
    for frame, angle in zip(frames, np.arange(8) * np.pi / 4, strict=True):
        weight = np.clip(frame.astype(np.float64) - 1, 0, None)
        rows, columns = np.indices(frame.shape)
        p = (weight * columns).sum() / weight.sum() - (frame.shape[1] - 1) / 2
        assert p == pytest.approx(-3.5 * np.cos(angle) + 6.5 * np.sin(angle), abs=0.1)
        assert (weight * rows).sum() / weight.sum() == pytest.approx(5, abs=1e-6)
    assert min(frame.min() for frame in frames) == 0.5


def test_no_side_of_a_volume_turns_where_its_corners_are_empty() -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(1, 0.02, (40, 30, 40)).astype(np.float32)
    volume[:, 10:20] += 0.2  # what is left of it in vacuum
    volume[15:25, 8:22, 15:25] = 5
    limits = turning_levels(volume, Look())
    assert not has_corners(volume, limits)
    for frame in rotating(volume, step_deg=30, corners=False):
        assert frame.shape == (30, 40)
        shown = ((frame - limits[0]) / (limits[1] - limits[0])).clip(0, 1)
        assert shown[:8].max() < 0.02  # black, but for noise, to the sides of the frame
        assert shown[12:18, 16:24].min() > 0.8
    assert turning_levels(volume, Look(limits=(0, 2))) == (0, 2)
    volume[2, 15, 2] = 5
    assert has_corners(volume, limits)
    assert max(frame.max() for frame in rotating(volume, step_deg=45)) == pytest.approx(5, rel=0.1)
    film = np.ones((8, 30, 40), np.float32)
    film[3:5] = rng.uniform(4, 6, (2, 30, 40))  # to all sides
    assert turning_levels(film, Look()) == Look().levels(film.max(axis=0))


def test_a_gif_is_written_frame_by_frame() -> None:
    """What is in memory does not grow with the number of frames, and each frame is shown as it is."""
    alive, shown = [], []

    def pictures() -> Iterator[Image.Image]:
        for k in range(7):
            levels = np.full((30, 40), 100, np.uint8)
            levels[5 : 5 + 2 * k, 7:20] = 10 * k
            shown.append(levels)
            picture = Image.fromarray(levels)
            alive.append(weakref.ref(picture))
            assert sum(other() is not None for other in alive) <= 2
            yield picture
            del picture

    stream = io.BytesIO()
    write_gif(pictures(), stream, fps=20)
    with Image.open(stream) as image:
        assert image.n_frames == 7 and image.info["duration"] == 50 and image.info["loop"] == 0
        for k, levels in enumerate(shown):
            image.seek(k)
            np.testing.assert_array_equal(np.asarray(image.convert("L")), levels)


def test_the_colours_of_a_gif_are_those_of_all_samples() -> None:
    red, green = (np.zeros((40, 40, 3), np.float32) for _ in range(2))
    red[..., 0] = green[..., 1] = 1
    stream = io.BytesIO()
    movie([Frame(red), Frame(green)], stream, samples=[Frame(green)])
    with Image.open(stream) as image:
        for k, colour in enumerate(([255, 0, 0], [0, 255, 0])):
            image.seek(k)
            assert np.asarray(image.convert("RGB"))[200, 200].tolist() == colour


def test_a_large_volume_is_binned_about_its_centre_to_turn() -> None:
    volume = np.zeros((5, 601, 7), np.float32)
    volume[:, 300, :] = 9.0
    frame = next(rotating(volume))
    assert frame.shape[0] == 200 and frame[99].max() == 0
    assert frame.argmax(axis=0).max() == 100 and frame.max() == pytest.approx(3)


def test_a_movie_has_its_frames_the_right_way_up() -> None:
    frames = np.zeros((3, 40, 60), np.float32)
    for index in range(3):
        frames[index, :10, index * 20 : index * 20 + 20] = 5.0
    stream = io.BytesIO()
    movie(map(Frame, frames), stream, fps=4, limits=(0.0, 5.0))
    with Image.open(stream) as image:
        assert image.n_frames == 3 and image.info["duration"] == 250 and image.info["loop"] == 0
        scale = image.width // 60
        assert image.size == (60 * scale, 40 * scale) and image.width >= 384
        for index in range(3):
            image.seek(index)
            grey = np.asarray(image.convert("L"))[scale // 2 :: scale, scale // 2 :: scale]
            np.testing.assert_array_equal(grey, frames[index, ::-1] * 51)
    again = io.BytesIO()
    movie([Frame(frame) for frame in frames], again, fps=4, limits=(0.0, 5.0))
    assert again.getvalue() == stream.getvalue()


def test_a_movie_without_frames_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one frame"):
        movie([], io.BytesIO())


def test_plotting_never_touches_pyplot() -> None:
    code = (
        "import sys, numpy, etcli.plotting.alignment, etcli.plotting.curves, etcli.plotting.movie\n"
        "from etcli.plotting.slices import orthoslices\n"
        "from etcli.plotting.style import save\n"
        "import io; save(orthoslices(numpy.zeros((4, 4, 4))), io.BytesIO(), form='png')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sections_of_traced_atoms_keep_to_the_volume_and_its_place() -> None:
    place, shape = jittered(3), (34, 32, 60)
    found = trace(noisy(gaussian_volume(place, shape), 0.02), 0.4, TraceRules())
    middle_A = np.array([10.0, 20.0, 30.0])
    *sections, scores = traced(found, pixel_A=0.4, names=("Si",), centre_A=middle_A).axes
    size_A = 0.4 * np.array(shape[::-1])
    for axes, across in zip(sections, ([0, 1], [0, 2], [1, 2]), strict=True):
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        np.testing.assert_allclose([right - left, high - low], size_A[across])
        np.testing.assert_allclose([right + left, high + low], 2 * middle_A[across])
        assert axes.images[0].get_extent() == pytest.approx([left, right, low, high])
        (marks,) = axes.lines
        assert len(marks.get_xdata()) >= 5
        true_A = ((place - (np.array(shape[::-1]) - 1) / 2) * 0.4 + middle_A)[:, across]
        _, apart = nearest(true_A, np.stack(marks.get_data(), axis=1))
        assert apart.max() < 0.1
    names = [text.get_text() for text in scores.get_legend().get_texts()]
    assert names[:3] == ["27 maxima", "no atoms", "Si"]
