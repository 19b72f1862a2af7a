"""``etcli recon --likelihood poisson`` on series of counts drawn from a known specimen."""

import json

import mrcfile
import numpy as np
import pytest

import etcli as package
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector, from_slab, to_slab
from tests.files import etcli, failure

TILTS = np.linspace(-66, 66, 13)
N, N_ROWS, THICKNESS = 32, 24, 20
COUNTS_A_VOXEL = 0.2


def specimen():
    """Return a ball with a hole (z, y, x), in counts a voxel."""
    size = (THICKNESS, N_ROWS, N)
    z, y, x = (grid - n / 2 for grid, n in zip(np.ogrid[tuple(map(slice, size))], size, strict=True))
    ball = (x**2 + y**2 + z**2 < 64) & ((x - 2) ** 2 + y**2 + (z + 1) ** 2 > 9)
    return (COUNTS_A_VOXEL * ball).astype(np.float32)


def expected():
    """Return the expected counts (view, y, x)."""
    projector = SlabProjector(SliceGeometry(TILTS, N, THICKNESS, N), n_slices=32)
    return from_slab(projector.forward(to_slab(specimen())), N_ROWS)


def write(path, views, dtype=np.float32):
    """Write views with a ``.tlt`` beside them."""
    with mrcfile.new(path, views.astype(dtype)) as mrc:
        mrc.set_image_stack()
        mrc.voxel_size = 10.0
    np.savetxt(path.with_suffix(".tlt"), TILTS)
    return path


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """Return a file of counts, between 0 and some 10 a pixel."""
    drawn = np.random.default_rng(1).poisson(expected())
    return write(tmp_path_factory.mktemp("counts") / "map.mrc", drawn, np.int16)


def recon(source, *options, name="rec.mrc"):
    """Reconstruct; return the volume and the numbers."""
    target = source.with_name(name)
    run = etcli("recon", "--thickness", f"{THICKNESS}px", *options, "--json", source, target)
    return mrcfile.read(target), json.loads(run.out), run.err


def error(volume, truth):
    return np.linalg.norm(volume - truth) / np.linalg.norm(truth)


def test_counts_are_reconstructed_better_than_by_least_squares(counts):
    poisson, numbers, told = recon(counts, "--likelihood", "poisson")
    squares, _, _ = recon(counts, "--method", "fista", "--nonnegative", name="squares.mrc")
    assert error(poisson, specimen()) < 0.9 * error(squares, specimen()) < 0.9 * 0.6
    assert poisson.min() == 0
    assert (numbers["method"], numbers["likelihood"], numbers["prior"]) == ("fista", "poisson", "tv")
    assert "predicts held-out counts best" in told
    # as many counts as measured, and noise of which nothing else is left
    assert poisson.sum() == pytest.approx(mrcfile.read(counts).sum() / len(TILTS), rel=0.02)
    assert numbers["unexplained"] < 0.1 < numbers["residual"]
    history = etcli("info", counts.with_name("rec.mrc")).out
    assert "Poisson likelihood 120 tv" in history


def test_weight_given_is_used(counts):
    found, numbers, _ = recon(counts, "--likelihood", "poisson", "--weight", "2.5", "--iterations", "60")
    smooth, _, _ = recon(counts, "--likelihood", "poisson", "--weight", "50", "--iterations", "60")
    assert (numbers["weight"], numbers["iterations"]) == (2.5, 60)
    variation = [np.abs(np.diff(each, axis=2)).sum() for each in (found, smooth)]
    assert variation[1] < 0.8 * variation[0]


def test_threads_do_not_matter(counts):
    how = ("--likelihood", "poisson", "--weight", "2", "--iterations", "20")
    one, two = (recon(counts, *how, "-j", str(n), name=f"j{n}.mrc")[0] for n in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_background_is_expected_and_not_subtracted(tmp_path):
    drawn = np.random.default_rng(2).poisson(expected() + 0.7)
    source = write(tmp_path / "map.mrc", drawn, np.uint16)
    found, _, _ = recon(source, "--likelihood", "poisson", "--background", "0.7")
    without, _, _ = recon(source, "--likelihood", "poisson", "--background", "none")
    assert error(found, specimen()) < 0.6 < 0.8 * error(without, specimen())
    _, numbers, told = recon(source, "--likelihood", "poisson", name="auto.mrc")  # the rim is empty
    assert numbers["background"] == pytest.approx(0.7, abs=0.1) and "is expected" in told


def test_curve_and_picture(counts, tmp_path):
    how = ("--likelihood", "poisson", "--iterations", "24", "--error-curve", tmp_path / "curve.csv")
    recon(counts, *how, "--plot", tmp_path / "picture.png", "--half-sets")
    iteration, residual = np.genfromtxt(tmp_path / "curve.csv", delimiter=",", skip_header=1)[:, :2].T
    assert iteration.tolist() == [1, 2, 5, 10, 20, 24]
    assert residual[-1] < residual[0] <= 1.01
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_arrays_on_disk_give_the_same(counts):
    """Most of the memory that is needed are volumes, which may be in files."""
    how = ("--likelihood", "poisson", "--weight", "2", "--iterations", "12", "-j", "1")
    usual, _, _ = recon(counts, *how)
    scarce, _, told = recon(counts, *how, "--memory", "400K", name="disk.mrc")
    assert "placed in files" in told
    np.testing.assert_allclose(usual, scarce, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "sirt"), "--likelihood is for --method fista"),
        (("--prior", "l1"), "--prior l1"),
        (("--prior", "none"), "--prior none"),
        (("--upper", "3"), "--upper"),
        (("--iterations", "auto"), "--iterations auto"),
        (("--contrast", "log", "--background", "9"), "--contrast log"),
        (("--kernel", "strip"), "--kernel strip"),
        (("--backend", "astra"), "--backend astra"),
        (("--x-tilt", "3"), "--x-tilt"),
        (("--background", "-1"), "--background below 0"),
        (("--device", "gpu"), "--device gpu"),
        (("--resume",), "--resume"),
    ],
)
def test_what_cannot_be_combined_is_refused(counts, options, message):
    line = failure(
        "recon", "--likelihood", "poisson", *options, counts, counts.with_name("no.mrc"), status=None
    )
    assert message in line and not counts.with_name("no.mrc").exists()


@pytest.fixture
def with_parts(counts, tmp_path):
    """Return a map of interpolated counts, with two parts beside it."""
    (tmp_path / "half.xf").write_text("1 0 0 1 0.5 0.5\n" * len(TILTS))
    etcli("xform", "--linear", "--parts", "--xf", tmp_path / "half.xf", counts, tmp_path / "map.mrc")
    return tmp_path / "map.mrc"


def test_parts_beside_the_map_set_the_weight(counts, with_parts):
    _, numbers, told = recon(with_parts, "-v", "--likelihood", "poisson", "--slices", "3-20")
    assert "held-out counts are those of the parts beside the map" in told
    _, whole, _ = recon(counts, "--likelihood", "poisson", "--slices", "3-20")
    assert numbers["weight"] == pytest.approx(whole["weight"], rel=0.9)
    steps = etcli("info", "--history", with_parts.with_name("rec.mrc")).out
    assert "map_train.mrc" in steps and "map_test.mrc" in steps
    # in memory, with the same views left out; a weight that is given needs no parts
    series, *parts = (
        package.read(with_parts.with_name(name)) for name in ("map.mrc", "map_train.mrc", "map_test.mrc")
    )
    result = package.reconstruct(
        series, method="fista", likelihood="poisson", thickness=f"{THICKNESS}px", iterations=20, parts=parts
    )
    _, numbers, _ = recon(with_parts, "--likelihood", "poisson", "--iterations", "20")
    assert result.parameters.weight == pytest.approx(numbers["weight"])
    with pytest.raises(package.UsageError, match="parts are of counts"):
        package.reconstruct(series, parts=parts)


def test_parts_of_other_counts_are_refused(with_parts):
    def refused(part):
        with mrcfile.open(with_parts.with_name("map_test.mrc"), "r+") as mrc:
            mrc.set_data(part)
        return failure("recon", "-q", "--likelihood", "poisson", with_parts, with_parts.with_name("no.mrc"))

    part = mrcfile.read(with_parts.with_name("map_test.mrc"))
    assert "counts, but" in refused(2 * part)
    assert "other counts, or at other places" in refused(np.roll(part, 8, axis=2))
    assert "views of" in refused(part[:, :, :-2])
    recon(with_parts, "--likelihood", "poisson", "--weight", "1", "--iterations", "2")


def test_values_that_are_no_counts_are_refused(tmp_path):
    views = expected()
    cases = (
        ("fractions.mrc", views, (), "fractions of counts"),
        ("negative.mrc", views - 1, (), "negative"),
        ("negative2.mrc", views - 1, ("--weight", "1"), "negative"),
        ("empty.mrc", 0 * views, (), "no counts"),
    )
    for name, values, options, message in cases:
        source = write(tmp_path / name, values)
        line = failure(
            "recon", "-q", "--likelihood", "poisson", "--background", "none", *options, source,
            tmp_path / "no.mrc",
        )  # fmt: skip
        assert message in line, line
    # fractions do with a weight: interpolated counts
    found, _, _ = recon(tmp_path / "fractions.mrc", "--likelihood", "poisson", "--weight", "0.3")
    assert error(found, specimen()) < 0.3


def test_weights_of_views_are_refused(counts, tmp_path):
    np.savetxt(tmp_path / "weights.txt", np.ones(len(TILTS)))
    line = failure(
        "recon", "--likelihood", "poisson", "--view-weights", tmp_path / "weights.txt", counts,
        tmp_path / "no.mrc", status=None,
    )  # fmt: skip
    assert "--view-weights" in line
