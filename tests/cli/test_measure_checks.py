"""``etcli measure``: files that do not belong together, and errors that tell it where labels are doubtful."""

import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

import etcli as package
from etcli.core.measurement import label_shapes
from etcli.core.measurement.crofton import crofton_surfaces
from etcli.io.segmentation_step import global_threshold_of
from etcli.pipeline import inputs as inputs_module
from etcli.pipeline import measure as measure_module
from etcli.pipeline.volume_origin import volume_origin
from tests.bodies import ball
from tests.files import etcli

SHAPE = (24, 40, 48)
BALLS = ((12.2, 11.9, 12.3, 6, 1.0), (11.3, 20.2, 32.6, 7, 0.5), (12, 33, 13, 5, 1.0))
RECON = "etcli recon 0.1: {}, nonnegative, 9 views\n  input: ts.mrc, 1 bytes, 8 x 8 x 9 of 5 A, {} to {} deg"
SEGMENT = "etcli segment 0.1: {}, split 0.75 px, 3 labels"


def specimen() -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    volume, labels = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.uint16)
    for label, (z, y, x, radius, density) in enumerate(BALLS, 1):
        body = ball(SHAPE, (z, y, x), radius)
        volume += np.float32(density) * body
        labels[body > 0.5] = label
    return volume, labels


def volume_of(data: Any, *history: str) -> package.Volume:
    return package.Volume(data, pixel_A=10.0, history=history)


@pytest.mark.parametrize(("scale", "offset"), [(255, 0), (1, 40)])
def test_the_threshold_of_another_volume_is_not_used(scale: float, offset: float) -> None:
    volume, labels = specimen()
    with pytest.warns(package.EtcliWarning, match=r"0\.3 of its history is not between .* 3 of 3 labels"):
        found = package.measure(
            volume_of(volume * np.float32(scale) + np.float32(offset)),
            volume_of(labels, SEGMENT.format("edge, threshold 0.3")),
        )
    own = package.measure(volume_of(volume), labels)
    np.testing.assert_allclose(found.columns["surface_nm2"], own.columns["surface_nm2"], rtol=1e-3)
    np.testing.assert_allclose(found.columns["threshold"], own.columns["threshold"] * scale + offset)


@pytest.mark.parametrize(
    ("words", "threshold"),
    [
        ("edge, threshold 0.52", 0.52),
        ("hysteresis, threshold 0.3, 0.6", 0.3),
        ("hysteresis, threshold 0.3, 0.6, split 0.75 px, inverted, 2 labels", 0.6),
        ("given, threshold 0.4, inverted", 0.4),
        ("local half, found by otsu above 0.3", None),
    ],
)
def test_the_level_at_which_labels_end(words: str, threshold: float | None) -> None:
    assert global_threshold_of([SEGMENT.format(words)]) == threshold


def test_one_threshold_for_two_densities_has_wide_errors() -> None:
    """The ball of half the density is a third too small, by ten times what its surface makes unsure."""
    volume, _ = specimen()
    volume = ndimage.gaussian_filter(volume, 1.5)
    labels = ndimage.label(volume > 0.4)[0].astype(np.uint16)
    with pytest.warns(package.EtcliWarning, match="1 of 3 labels end far from half"):
        found = package.measure(volume_of(volume), volume_of(labels, SEGMENT.format("edge, threshold 0.4")))
    row = np.argmin(found.columns["density_core"])
    error = found.columns["volume_nm3"][row] - 4 / 3 * np.pi * 7**3
    assert error < -200 and abs(error) < 2 * found.columns["sigma_volume_nm3"][row]
    assert found.totals["sigma_volume_nm3"] > abs(error) / 2
    assert found.columns["flag"][row].split()[-1] == "threshold"


def test_contacts_are_no_surface_of_the_sum() -> None:
    body = ball((40, 40, 40), (19.5, 19.5, 19.5), 13).astype(np.float32)
    one = (body > 0.5).astype(np.uint16)
    two = one * np.where(np.arange(40) < 20, 1, 2).astype(np.uint16)
    sigma_one, sigma_two = (
        package.measure(volume_of(body), labels).totals["sigma_volume_nm3"] for labels in (one, two)
    )
    assert sigma_two == pytest.approx(sigma_one, rel=0.06)


def test_views_to_one_side_only() -> None:
    origin = volume_origin([RECON.format("SIRT 30", 0, 60)])
    assert origin.reach_deg == 30 and origin.least_side_deg == 0
    volume, labels = specimen()
    with pytest.warns(package.EtcliWarning, match="tilted from 0 to 60° only"):
        found = package.measure(volume_of(volume, RECON.format("SIRT 30", 0, 60)), labels)
    assert found.totals["expected_elongation"] == pytest.approx(3.24, abs=0.01)
    assert volume_origin([RECON.format("SIRT 30, --euler", -60, 60)]).reach_deg is None


@pytest.mark.parametrize(
    "words",
    ["SIRT 30, logarithm from 900", "SIRT 30\n  command: etcli recon --contrast log ts.mrc v.mrc"],
)
def test_views_that_are_no_projections(words: str) -> None:
    volume, labels = specimen()
    views = package.project(volume_of(volume), np.arange(-60, 61, 15.0))
    with pytest.raises(package.UsageError, match=r"by log, .* leave out --series"):
        package.measure(volume_of(volume, RECON.format(words, -60, 60)), labels, series=views)


def test_views_of_another_specimen(tmp_path: Path) -> None:
    volume, labels = specimen()
    tilts = np.arange(-60, 61, 15.0)
    views = package.project(volume_of(np.ascontiguousarray(volume[:, ::-1])), tilts)
    with pytest.raises(package.DataError, match="its views correlate"):
        package.measure(volume_of(volume), labels, series=views)
    views = package.project(volume_of(volume), tilts)
    rng = np.random.default_rng(1)
    noisy = package.TiltSeries.of(
        np.asarray(views.images()) + rng.normal(0, 1, views.shape).astype(np.float32), tilts, pixel_A=10.0
    )
    found = package.measure(volume_of(volume), labels, series=noisy)
    np.testing.assert_allclose(found.columns["density_lsq"], [1, 0.5, 1], rtol=0.1)
    for name, what in (("v.mrc", volume_of(volume)), ("l.mrc", volume_of(labels))):
        package.write(what, tmp_path / name)
    package.write(volume_of(np.asarray(views.images())), tmp_path / "views.mrc")  # without angles
    (tmp_path / "a.tlt").write_text("\n".join(map(str, tilts)))
    names = tmp_path / "v.mrc", tmp_path / "l.mrc"
    options = "--series", tmp_path / "views.mrc", "--tilts", tmp_path / "a.tlt"
    etcli("measure", *options, "--csv", tmp_path / "out.csv", *names)


@pytest.mark.parametrize("move", [lambda at: at[:, ::-1], lambda at: np.roll(at, 12, 2)])
def test_labels_of_another_place(move: Any) -> None:
    volume, labels = specimen()
    with (
        warnings.catch_warnings(),
        pytest.raises(package.DataError, match="of another volume, mirrored or shifted"),
    ):
        warnings.simplefilter("ignore")
        package.measure(volume_of(volume), move(labels))


def test_files_that_are_swapped() -> None:
    volume, labels = specimen()
    segmented = volume_of(labels, SEGMENT.format("edge, threshold 0.3"))
    with pytest.raises(package.DataError, match="IN is a file of labels by segment; the files are swapped"):
        package.measure(segmented, volume_of(volume))
    with pytest.raises(package.DataError, match="give the volume they are from"):
        package.measure(segmented, segmented)
    with pytest.raises(package.DataError, match=r"there is 0\.\d+ at voxel \d+, \d+, \d+; .* swapped"):
        package.measure(volume_of(labels), volume)
    rng = np.random.default_rng(0)
    grey = np.rint(99 * volume + rng.normal(30, 3, SHAPE)).astype(np.uint8)
    with pytest.raises(package.DataError, match="as grey levels do"):
        package.measure(volume_of(labels), grey)


def test_halves_that_are_none() -> None:
    volume, labels = specimen()
    rng = np.random.default_rng(0)
    odd, even = (volume + rng.normal(0, 0.1, SHAPE).astype(np.float32) for _ in range(2))
    whole = volume_of((odd + even) / 2, RECON.format("SIRT 30", -70, 70))
    for halves, said in [
        ((odd, odd), "is the same as odd half"),
        ((whole.data, even), "odd half: is the same as"),
        ((odd, rng.normal(0, 1, SHAPE).astype(np.float32)), "correlates with"),
        ((odd, volume_of(even, RECON.format("FISTA 9 tv 1", -70, 70))), "by fista, but .* by sirt"),
    ]:
        with pytest.raises(package.DataError, match=said):
            package.measure(whole, labels, halves=halves)
    with pytest.raises(package.UsageError, match="two volumes, of the odd"):
        package.measure(whole, labels, halves=(odd,))
    assert package.measure(whole, labels, halves=(odd, even)).measures.sigma_half.min() > 0


def test_arrays_of_other_kinds_and_the_table_in_python(tmp_path: Path) -> None:
    volume, labels = specimen()
    with pytest.warns(package.EtcliWarning, match="no pixel size"):
        found = package.measure(volume.tolist(), labels.tolist())
    package.write(found, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("label,volume_px3,")
    with pytest.raises(package.UsageError, match=r"name in \.csv"):
        package.write(found, tmp_path / "out.mrc")
    with pytest.raises(package.UsageError, match="labels must be a Volume or an array of numbers"):
        package.measure(volume, [[1]])


def test_memory_of_contacts_of_many_labels() -> None:
    """Cubes of 4 voxels without gaps between them: listed at once, their crossings are 40 times as large."""
    at = np.arange(64) // 4
    numbers = (1 + at[:, None, None] * 256 + at[:, None] * 16 + at).astype(np.int32)
    crofton_surfaces(numbers[:8], 4096)
    tracemalloc.start()
    _, contacts = crofton_surfaces(numbers, 4096)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(contacts.rows) == 3 * 15 * 256 + 6 * 15 * 15 * 16 + 4 * 15**3
    assert used < 30 * numbers.nbytes


@pytest.mark.filterwarnings("ignore:the tortuosity of the pores is left blank")
@pytest.mark.parametrize(
    "options", [{}, {"pores": True, "envelope": 3}, {"thickness": True}, {"tortuosity": "x"}]
)
def test_memory_of_a_network(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """What is checked before the work is what the work takes, also where one label is everywhere."""
    noise = np.random.default_rng(0).standard_normal((72, 72, 72)).astype(np.float32)
    volume = (np.clip(ndimage.gaussian_filter(noise, 3) * 100, -1, 1) / 2 + 0.5).astype(np.float32)
    labels = (volume > 0.5).astype(np.uint16)
    for module in (label_shapes, measure_module):
        monkeypatch.setattr(module, "SLAB_VOXELS", 20_000)
    told: list[int] = []
    monkeypatch.setattr(inputs_module, "check_images_fit", lambda _, stack, copies: told.append(copies))
    package.measure(volume_of(volume), labels, **options)  # functions are compiled
    told.clear()
    tracemalloc.start()
    package.measure(volume_of(volume), labels, **options)
    used = tracemalloc.get_traced_memory()[1] / volume.nbytes
    tracemalloc.stop()
    assert used < max(told) < 1.6 * used


def test_surfaces_in_slabs_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    volume, labels = specimen()
    whole = package.measure(volume_of(volume), labels).columns
    monkeypatch.setattr(label_shapes, "SLAB_VOXELS", 1)
    parts = package.measure(volume_of(volume), labels).columns
    for name in ("surface_nm2", "gap_nm"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-4)


def test_specks_are_only_flagged() -> None:
    """A speck of noise barely above the threshold of a large body is in the table, and not warned of."""
    volume, labels = np.zeros((40, 40, 40), np.float32), np.zeros((40, 40, 40), np.uint16)
    volume += ball(volume.shape, (24, 24, 24), 12)
    labels[volume > 0.5] = 1
    labels[3:6, 3:6, 3:6], volume[3:6, 3:6, 3:6] = 2, 0.51
    found = package.measure(volume_of(volume), volume_of(labels, SEGMENT.format("edge, threshold 0.5")))
    assert found.columns["threshold"].tolist() == [0.5, 0.5]
    assert found.columns["flag"][0] == "" and "threshold" in found.columns["flag"][1]


def test_views_about_two_axes() -> None:
    volume, labels = specimen()
    views = package.project(volume_of(volume), np.arange(-60, 61, 15.0))
    euler_deg = np.stack([np.zeros(len(views)), views.tilt_deg, np.zeros(len(views))], axis=1)
    with pytest.raises(package.UsageError, match="from views about more than one axis"):
        package.measure(volume_of(volume), labels, series=views.with_orientations(euler_deg, "given"))
