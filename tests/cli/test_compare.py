"""``etcli compare`` against NumPy and scikit-image."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import etcli as package
from tests.files import etcli, failure, write_series, write_stack

pytestmark = pytest.mark.usefixtures("coarse_pictures")

PIXEL_A = 3.0
SHAPE = (18, 24, 20)


def volumes(shape: tuple[int, ...] = SHAPE) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a smooth reference and the same with noise, scale and level that differ."""
    rng = np.random.default_rng(8)
    reference = ndimage.gaussian_filter(rng.normal(size=shape), 1.2) * 10 + 3
    image = 1.4 * reference + 0.5 + 5 * rng.normal(size=shape)
    return np.float32(image), np.float32(reference)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "a.mrc", tmp_path / "b.mrc"
    for path, data in zip(files, volumes(), strict=True):
        write_stack(path, data, PIXEL_A)
    return files


def compare(*arguments: object) -> dict[str, object]:
    return json.loads(etcli("compare", "--json", *arguments).out)


def shell_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
    """Correlate in shells, coefficient by coefficient of the full transforms."""
    n = min(a.shape)
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, a.shape), indexing="ij")))
    shell = np.rint(n * frequency).astype(int)
    a, b = (np.fft.fftn(values - values.mean()) for values in (a.astype(float), b.astype(float)))
    found = []
    for k in range(1, n // 2 + 1):
        x, y = a[shell == k], b[shell == k]
        found.append((x * y.conj()).sum().real / np.sqrt((abs(x) ** 2).sum() * (abs(y) ** 2).sum()))
    return np.arange(1, n // 2 + 1) / n, np.array(found)


def resolution_A(frequency: NDArray, correlation: NDArray, threshold: float) -> float:
    k = int(np.argmax(correlation < threshold))
    assert k > 0
    at = np.interp(threshold, correlation[[k, k - 1]], frequency[[k, k - 1]])
    return PIXEL_A / at


def test_every_metric_is_what_others_compute(pair: tuple[Path, Path]) -> None:
    image, reference = (mrcfile.read(path).astype(float) for path in pair)
    found = compare(*pair)
    spread = np.ptp(reference)
    assert found["nrmse"] == pytest.approx(np.linalg.norm(image - reference) / np.linalg.norm(reference))
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(reference, image, data_range=spread))
    similar = [
        structural_similarity(
            a, b, data_range=spread, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in zip(image, reference, strict=True)
    ]
    assert found["ssim"] == pytest.approx(np.mean(similar), abs=1e-6)
    frequency, correlation = shell_correlation(image, reference)
    np.testing.assert_allclose(found["fsc"], correlation, atol=1e-5)
    np.testing.assert_allclose(found["frequency_per_A"], frequency / PIXEL_A, rtol=1e-7)
    for threshold in (0.5, 0.143):
        expected = resolution_A(frequency, correlation, threshold)
        assert found[f"resolution_{threshold:g}_A"] == pytest.approx(expected, rel=1e-4)


def test_the_second_is_the_reference(pair: tuple[Path, Path]) -> None:
    image, reference = (mrcfile.read(path).astype(float) for path in pair)
    turned = compare("--metric", "nrmse", pair[1], pair[0])["nrmse"]
    assert turned == pytest.approx(np.linalg.norm(image - reference) / np.linalg.norm(image))


def test_fit_scale_is_least_squares(pair: tuple[Path, Path]) -> None:
    image, reference = (mrcfile.read(path).astype(float) for path in pair)
    found = compare("--fit-scale", "--metric", "nrmse", *pair)
    (scale, level), residual, *_ = np.linalg.lstsq(
        np.stack([image.ravel(), np.ones(image.size)], axis=1), reference.ravel(), rcond=None
    )
    assert found["scale"] == pytest.approx(scale, rel=1e-5) and found["level"] == pytest.approx(
        level, rel=1e-4
    )
    assert found["nrmse"] == pytest.approx(np.sqrt(residual[0]) / np.linalg.norm(reference), rel=1e-5)


def test_the_table_has_a_line_a_number(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)
    rows = [line.split() for line in etcli("compare", *pair).out.splitlines()]
    assert [name for name, _ in rows] == ["nrmse", "psnr", "ssim", "resolution_0.5_A", "resolution_0.143_A"]
    for name, value in rows:
        assert float(value) == pytest.approx(found[name], rel=1e-5)
    few = etcli("compare", "--metric", "psnr", "--metric", "nrmse", *pair).out.splitlines()
    assert sorted(line.split()[0] for line in few) == ["nrmse", "psnr"]


def test_equal_files_are_equal(pair: tuple[Path, Path]) -> None:
    found = compare(pair[0], pair[0])
    assert found["nrmse"] == 0 and found["ssim"] == pytest.approx(1) and found["psnr"] is None
    assert found["resolution_0.5_A"] == found["resolution_0.143_A"] == 2 * PIXEL_A
    np.testing.assert_allclose(found["fsc"], 1, atol=1e-6)
    table = dict(line.split() for line in etcli("compare", pair[0], pair[0]).out.splitlines())
    assert table["psnr"] == "inf" and table["resolution_0.5_A"] == "6"


def test_curves_that_begin_below_have_no_resolution(pair: tuple[Path, Path], tmp_path: Path) -> None:
    negative = write_stack(tmp_path / "n.mrc", -mrcfile.read(pair[1]), PIXEL_A)
    found = compare("--metric", "fsc", negative, pair[1])
    assert found["resolution_0.5_A"] is None and found["resolution_0.143_A"] is None
    table = dict(
        line.split() for line in etcli("compare", "--metric", "fsc", negative, pair[1]).out.splitlines()
    )
    assert set(table.values()) == {"-"}


@pytest.mark.parametrize(
    ("shape", "left_out"), [((3, 10, 24), {"ssim"}), ((3, 24, 10), {"ssim"}), ((4, 1, 24), {"ssim", "fsc"})]
)
def test_what_small_images_do_not_allow_is_left_out(
    tmp_path: Path, shape: tuple[int, ...], left_out: set[str]
) -> None:
    files = tmp_path / "a.mrc", tmp_path / "b.mrc"
    for path, data in zip(files, volumes(shape), strict=True):
        write_stack(path, data, PIXEL_A)
    run = etcli("compare", "--json", *files)
    assert {"nrmse", "psnr", "ssim", "fsc"} - set(json.loads(run.out)) == left_out
    assert {line.split()[1].rstrip(":") for line in run.err.splitlines()} == left_out
    assert "11 x 11 pixels" in failure("compare", "--metric", "ssim", *files)


def test_a_constant_reference_has_an_error_only(pair: tuple[Path, Path], tmp_path: Path) -> None:
    flat = write_stack(tmp_path / "flat.mrc", np.full(SHAPE, 7, np.float32), PIXEL_A)
    assert set(compare(pair[0], flat)) & {"nrmse", "psnr", "ssim"} == {"nrmse"}
    assert "constant" in failure("compare", "--metric", "psnr", pair[0], flat)


def test_volumes_beyond_the_memory_allowed_are_refused(pair: tuple[Path, Path]) -> None:
    volume = 4 * SHAPE[0] * SHAPE[1] * SHAPE[2]
    for metric, copies in (("nrmse", 2), ("fsc", 5)):
        options = ("compare", "--metric", metric, *pair, "--memory")
        least = -(-copies * volume // 1024)
        line = failure(*options, f"{least - 1}K", status=2)
        assert f"{pair[1]}: the work takes 1M of memory, but only 0M are allowed" in line
        etcli(*options, f"{least}K")


@pytest.mark.parametrize("shape", [(64, 64, 64), (61, 65, 67)])
@pytest.mark.parametrize("options", [{"metrics": ["fsc"]}, {"align": True}])
def test_the_memory_planned_is_that_used(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    """Five copies, whatever factors the sides have."""
    image, reference = (package.Volume(data, pixel_A=4.0) for data in volumes(shape))
    package.compare(image, reference, **options)  # imports count for nothing
    tracemalloc.start()
    package.compare(image, reference, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 4 * image.data.nbytes < peak < 5.25 * image.data.nbytes


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etcli.core.quality.nrmse", None)
    assert "no folder" in failure("compare", "--plot", tmp_path / "absent" / "p.png", *pair)


def test_one_image_is_compared_in_rings(tmp_path: Path) -> None:
    image, reference = volumes((1, 40, 36))
    files = tmp_path / "a.mrc", tmp_path / "b.mrc"
    for path, data in zip(files, (image, reference), strict=True):
        write_stack(path, data, PIXEL_A)
    _, correlation = shell_correlation(image[0], reference[0])
    np.testing.assert_allclose(compare("--metric", "fsc", *files)["fsc"], correlation, atol=1e-5)


def test_views_of_a_series_make_no_volume(tmp_path: Path) -> None:
    image, reference = volumes((4, 24, 20))
    files = tmp_path / "a.mrc", tmp_path / "b.mrc"
    for path, data in zip(files, (image, reference), strict=True):
        write_series(path, data)
    assert set(compare(*files)) == {"nrmse", "psnr", "ssim"}
    assert "fsc" in compare("--metric", "fsc", *files)


def test_pixel_sizes_that_differ_are_warned_of(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_stack(tmp_path / "c.mrc", mrcfile.read(pair[0]), 2 * PIXEL_A)
    run = etcli("compare", "--metric", "nrmse", other, pair[1])
    assert run.err == "WARNING: compare - pixels of 6 Å are compared with pixels of 3 Å one by one\n"
    assert etcli("compare", "--metric", "nrmse", *pair).err == ""


def test_the_picture_is_of_what_was_asked_for(pair: tuple[Path, Path], tmp_path: Path) -> None:
    from etcli.core.quality import fourier_shell_correlation
    from etcli.core.specimen_centre import specimen_centre
    from etcli.plotting.curves import fsc_curve
    from etcli.plotting.images import side_by_side
    from etcli.plotting.style import save

    image, reference = (mrcfile.read(path) for path in pair)
    etcli("compare", "--plot", tmp_path / "p.png", *pair)
    shown = specimen_centre(reference)[0]
    expected = side_by_side(
        image[shown],
        reference[shown],
        titles=("a.mrc", "b.mrc"),
        title=f"section {shown + 1} of 18",
        pixel_A=3.0,
        difference=True,
    )
    save(expected, tmp_path / "expected.png")
    assert (tmp_path / "p.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    etcli("compare", "--metric", "fsc", "--plot", tmp_path / "f.png", *pair)
    shells = fourier_shell_correlation(image, reference, pixel_A=1.0)
    curve = {"a.mrc against b.mrc": shells.correlation}
    save(fsc_curve(shells.frequency_per_A, curve, pixel_A=3.0), tmp_path / "expected.png")
    with Image.open(tmp_path / "f.png") as ours, Image.open(tmp_path / "expected.png") as theirs:
        np.testing.assert_allclose(np.asarray(ours, int), np.asarray(theirs, int), atol=2)


def test_what_cannot_be_compared_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    small = write_stack(tmp_path / "small.mrc", mrcfile.read(pair[0])[1:])
    line = failure("compare", pair[0], small, status=1)
    assert "a.mrc: 20 x 24 x 18 cannot be compared with the 20 x 24 x 17 of " in line
    empty = write_stack(tmp_path / "empty.mrc", np.zeros(SHAPE, np.float32), PIXEL_A)
    assert "zero everywhere" in failure("compare", pair[0], empty, status=1)
    assert "cannot tell the format" in failure("compare", "--plot", "a.doc", *pair, status=2)
    assert "'mse' is not one of" in failure("compare", "--metric", "mse", *pair, status=2)
    assert "only bin, filter, xform and stack take -" in failure("compare", "-", pair[0], status=2)
