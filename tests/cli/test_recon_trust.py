"""What ``etcli recon`` says of how far its volume can be trusted."""

import json
import re
from pathlib import Path
from unittest.mock import Mock

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.core.reconstruction.slab_by_slab import ErrorCurve
from etcli.core.solvers.methods import MethodParameters
from etcli.pipeline.explained_views import report_explained
from etcli.pipeline.session import Session
from tests.files import etcli, failure, mdoc_text, write_series, write_stack

TILTS = np.arange(-69, 70, 4.6)
RODS = (9.3, 4.4, 5.0), (-13.1, -6.7, 6.0), (1.0, 14.0, 4.0)
"""x, z and radius of rods along y, of density 1."""
METHODS = (
    "sirt",
    "sart",
    "mlem",
    "cgls",
    "fista --prior none",
    "fista --weight 0.01",
    "resire",
    "dart --levels 2",
    "fbp",
)
LINE = re.compile(r"the volume leaves (\S+) % of the views unexplained, (\S+) % without noise")


def rod_views() -> NDArray[np.float64]:
    """Views of the rods: chords of their circles, averaged over each pixel."""
    tilt = np.deg2rad(TILTS)[:, None]
    p = (np.arange(48 * 8) + 0.5) / 8 - 24
    line = np.zeros((len(TILTS), p.size))
    for x, z, radius in RODS:
        along = x * np.cos(tilt) + z * np.sin(tilt)
        line += 2 * np.sqrt(np.maximum(radius**2 - (p - along) ** 2, 0))
    return np.repeat(line.reshape(len(TILTS), 1, 48, 8).mean(axis=3), 24, axis=1)


def write(path: Path, views: NDArray[np.floating], pixel_A: float = 2.5) -> Path:
    write_stack(path, views.astype(np.float32), pixel_A=pixel_A)
    np.savetxt(path.with_suffix(".tlt"), TILTS, fmt="%.4f")
    return path


@pytest.fixture(scope="module")
def views() -> NDArray[np.float64]:
    return rod_views()


@pytest.fixture(scope="module")
def aligned(views: NDArray[np.float64], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("aligned") / "a.mrc", views)


@pytest.fixture(scope="module")
def shuffled(views: NDArray[np.float64], tmp_path_factory: pytest.TempPathFactory) -> Path:
    order = np.random.default_rng(0).permutation(len(views))
    return write(tmp_path_factory.mktemp("shuffled") / "s.mrc", views[order])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tells_how_much_it_explains(method: str, aligned: Path, shuffled: Path) -> None:
    good, bad = (
        etcli("recon", "--method", *method.split(), path, path.with_name("rec.mrc")).err
        for path in (aligned, shuffled)
    )
    assert LINE.search(good) and "WARNING" not in good
    assert LINE.search(bad) and "views of an aligned series are explained better" in bad


def test_few_iterations_come_before_the_alignment(aligned: Path, tmp_path: Path) -> None:
    said = etcli("recon", "--iterations", 3, aligned, tmp_path / "rec.mrc").err
    assert "3 iterations may be too few for that, give more first; else check alignment" in said


def test_a_volume_that_explains_nothing_points_at_the_contrast() -> None:
    numbers = {"residual": 5.1, "unexplained": 11.0, "unexplained_noise": 0.01, "border": 1.0}
    errors = ErrorCurve(np.array([30]), np.array([5.1])).with_numbers(**numbers)
    session = Session(reporter=Mock())
    report_explained(session, "bf", MethodParameters("sirt"), errors, thin=False, n_tilts=30)
    session.reporter.report.assert_called_once_with("the volume explains nothing of the views")
    assert "for bright-field views give --contrast log" in session.reporter.warn.call_args.args[0]


def test_back_projection_says_why_it_explains_little(aligned: Path) -> None:
    run = etcli("recon", "--method", "bp", aligned, aligned.with_name("bp.mrc"))
    assert "as plain back-projection blurs" in run.err and "WARNING" not in run.err


def test_the_numbers_are_those_of_the_projected_volume(aligned: Path, tmp_path: Path) -> None:
    volume, projected = tmp_path / "rec.mrc", tmp_path / "p.mrc"
    found = json.loads(etcli("recon", "--json", "--background", "none", aligned, volume).out)
    etcli("project", "--tilts", aligned.with_suffix(".tlt"), volume, projected)
    views = mrcfile.read(aligned).astype(float)
    rows = slice(*(lambda first: (first, first + 16))(np.argmax(_power_of_16_rows(views))))
    difference = (mrcfile.read(projected) - views)[:, rows]
    expected = np.linalg.norm(difference) / np.linalg.norm(views[:, rows])
    assert found["residual"] == pytest.approx(expected, rel=0.02)
    assert 0 < found["unexplained"] <= found["residual"]


def _power_of_16_rows(views: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.convolve((views**2).sum(axis=(0, 2)), np.ones(16), mode="valid")


def test_noise_of_aligned_views_is_no_reason_to_warn(views: NDArray[np.float64], tmp_path: Path) -> None:
    noisy = views + np.random.default_rng(1).normal(0, 0.15 * views.max(), views.shape)
    run = etcli("recon", write(tmp_path / "n.mrc", noisy), tmp_path / "rec.mrc")
    match = LINE.search(run.err)
    assert match and float(match[1]) > 20 and float(match[2]) < 15 and "WARNING" not in run.err


def test_garbage_is_warned_of(views: NDArray[np.float64], tmp_path: Path) -> None:
    noise = np.random.default_rng(2).normal(0, 1, views.shape)
    run = etcli("recon", write(tmp_path / "g.mrc", noise), tmp_path / "rec.mrc")
    assert "hold so much noise" in run.err
    smooth = np.cumsum(np.cumsum(noise, axis=1), axis=2)
    run = etcli("recon", "--background", "none", write(tmp_path / "h.mrc", smooth), tmp_path / "rec.mrc")
    assert "explained better" in run.err


def test_views_of_any_orientation_are_compared_as_well(aligned: Path, shuffled: Path, tmp_path: Path) -> None:
    euler = tmp_path / "e.csv"
    euler.write_text("phi,theta,psi\n" + "".join(f"0,{-tilt:.4f},0\n" for tilt in TILTS))
    options = "--euler", euler
    good, bad = (etcli("recon", *options, path, tmp_path / "r.mrc").err for path in (aligned, shuffled))
    assert LINE.search(good) and "WARNING" not in good
    assert "explained better" in bad


def test_a_bare_thickness_of_few_pixels_is_warned_of(aligned: Path, tmp_path: Path) -> None:
    said = etcli("recon", "--thickness", 25, aligned, tmp_path / "r.mrc").err
    assert (
        "WARNING: recon - --thickness 25 Å is only 10 px; a bare number is in Å, so write 25px or 25nm"
        in said
    )
    assert "only" not in etcli("recon", "--thickness", "10px", aligned, tmp_path / "r.mrc").err
    assert "only" not in etcli("recon", "--thickness", 100, aligned, tmp_path / "r.mrc").err


@pytest.mark.parametrize("method", ["sirt", "fista --prior none", "mlem"])
def test_a_volume_thinner_than_the_specimen_is_warned_of(method: str, aligned: Path, tmp_path: Path) -> None:
    """The rods reach from z = -13 to 18."""
    said = {
        thickness: etcli(
            "recon", "--method", *method.split(), "--thickness", thickness, aligned, tmp_path / "r.mrc"
        ).err
        for thickness in ("40px", "20px")
    }
    assert "thicker than the volume" in said["20px"] and "thicker than the volume" not in said["40px"]


def test_an_axis_offset_is_told_in_both_units(aligned: Path, tmp_path: Path) -> None:
    said = etcli("recon", "--axis-offset", 3, aligned, tmp_path / "r.mrc").err
    assert "tilt axis +3 px (+7.5 Å) from the middle of the views" in said and "outside" not in said
    said = etcli("recon", "--axis-offset", -30, aligned, tmp_path / "r.mrc").err
    assert (
        "the tilt axis is outside the views, which are 48 px wide; a bare --axis-offset is in pixels" in said
    )


@pytest.mark.parametrize("orient", ["zyx", "imod"])
def test_recon_and_compare_agree_about_half_sets(
    orient: str, views: NDArray[np.float64], tmp_path: Path
) -> None:
    noisy = views + np.random.default_rng(3).normal(0, 0.3 * views.max(), views.shape)
    source, volume = write(tmp_path / "n.mrc", noisy), tmp_path / "v.mrc"
    run = etcli("recon", "--json", "--half-sets", "--orient", orient, source, volume)
    numbers, said = json.loads(run.out), run.err
    halves = [tmp_path / f"v_{half}.mrc" for half in ("odd", "even")]
    compared = etcli("compare", "--json", "--metric", "fsc", *halves)
    again = json.loads(compared.out)
    for key in ("resolution_0.5_A", "resolution_0.143_A"):
        assert again[key] == pytest.approx(numbers[key], rel=1e-4)
    np.testing.assert_allclose(again["fsc"], numbers["fsc"], atol=1e-4)
    line = next(line for line in said.splitlines() if line.startswith("half-sets agree to"))
    assert "outside the missing wedge of 42°, faded out at the sides" in line and line in compared.err
    turned = [half.with_name(f"turned_{half.name}") for half in halves]
    for half, to in zip(halves, turned, strict=True):
        etcli("stack", "-q", "--turn", "swapyz", half, to, status=0)
    again = json.loads(etcli("compare", "-q", "--json", "--metric", "fsc", *turned).out)
    np.testing.assert_allclose(again["fsc"], numbers["fsc"], atol=1e-4)
    # volumes that are no half-sets are compared as they are
    plain = etcli("compare", "--json", "--metric", "fsc", halves[0], volume)
    assert "half-sets" not in plain.err


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        ("--method sirt", None),
        ("--method sirt --nonnegative --upper 2", "densities above zero and --upper"),
        ("--method fista --weight 0.1 --iterations 3", "--prior tv"),
        ("--method fista --prior none --iterations 3", None),
        ("--method mlem", "densities above zero"),
    ],
)
def test_what_makes_half_sets_agree_better_is_told(
    options: str, shared: str | None, aligned: Path, tmp_path: Path
) -> None:
    said = etcli("recon", "--half-sets", *options.split(), aligned, tmp_path / "v.mrc").err
    assert ("agree better than the views do" in said) == (shared is not None)
    assert shared is None or f"they share {shared}, so that" in said


@pytest.mark.parametrize(
    "how", [("sirt", "--iterations", 1), ("fbp",), ("fista", "--iterations", 1, "--weight", 1)]
)
def test_the_rows_that_are_compared_are_part_of_the_memory_plan(tmp_path, how) -> None:
    """So much is allowed as the refusal asks for, and no more than that is needed."""
    views = np.random.default_rng(0).random((3, 32, 256), np.float32)
    write_series(tmp_path / "a.mrc", views, [-50, 0, 50])
    words = ("recon", "-q", "-j", 1, "--axis", 0, "--background", "none", "--method", *how)
    files = tmp_path / "a.mrc", tmp_path / "v.mrc"
    line = failure(*words, "--memory", "1M", *files, status=2)
    needed = int(re.search(r"takes (\d+)M of memory", line)[1])
    assert f"takes {needed}M" in failure(*words, "--memory", f"{needed - 1}M", *files, status=2)
    etcli(*words, "--memory", f"{needed}M", *files)
    assert (tmp_path / "v.mrc").exists()


@pytest.mark.parametrize("axis_deg", [90.0, -87.0])
def test_an_axis_along_x_is_refused_with_the_remedy(axis_deg: float, aligned: Path, tmp_path: Path) -> None:
    lying = tmp_path / "lying.mrc"
    lying.write_bytes(aligned.read_bytes())
    lying.with_suffix(".mrc.mdoc").write_text(mdoc_text(TILTS.tolist(), axis_deg=axis_deg))
    line = failure("recon", lying, tmp_path / "rec.mrc", status=1)
    assert (
        f"lying.mrc: the tilt axis is at {axis_deg:g}° by its description, along x; turn the views with"
        in line
    )
    assert "tiltalign, or give --axis 0 where they are upright" in line
    given = failure("recon", "--axis", axis_deg, aligned, tmp_path / "rec.mrc", status=1)
    assert f"the tilt axis is at {axis_deg:g}° as given, along x" in given
    assert not (tmp_path / "rec.mrc").exists()
    run = etcli("recon", "--axis", 0, lying, tmp_path / "rec.mrc")
    assert "tilt axis is at" not in run.err
    etcli("recon", aligned, tmp_path / "same.mrc")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "rec.mrc"), mrcfile.read(tmp_path / "same.mrc"))


def test_an_axis_a_little_off_is_warned_of(aligned: Path, tmp_path: Path) -> None:
    oblique = tmp_path / "oblique.mrc"
    oblique.write_bytes(aligned.read_bytes())
    oblique.with_suffix(".mrc.mdoc").write_text(mdoc_text(TILTS.tolist(), axis_deg=12))
    said = etcli("recon", oblique, tmp_path / "rec.mrc").err
    assert "the tilt axis is at 12° by its description, not vertical; use tiltalign first" in said


@pytest.mark.parametrize("n", [3, 9, 10])
def test_few_views_prove_nothing(n: int, views: NDArray[np.float64], tmp_path: Path) -> None:
    chosen = np.linspace(0, len(views) - 1, n).astype(int)
    few = write_stack(tmp_path / "few.mrc", views[chosen].astype(np.float32))
    np.savetxt(few.with_suffix(".tlt"), TILTS[chosen], fmt="%.4f")
    said = etcli("recon", few, tmp_path / "rec.mrc").err
    assert (f"few.mrc: {n} tilt angles only; a volume explains so few views" in said) == (n < 10)


def test_the_history_keeps_the_resolution_of_half_sets(aligned: Path, tmp_path: Path) -> None:
    run = etcli("recon", "--json", "--half-sets", "--iterations", 5, aligned, tmp_path / "v.mrc")
    told = re.search(r"half-sets agree to (.*?) \(", run.err)
    assert told
    last = json.loads(etcli("info", "--json", tmp_path / "v.mrc").out)["history"][-1]
    assert last.endswith(f", half-sets agree to {told[1].replace('Å', 'A')}")
    for half in ("odd", "even"):
        steps = json.loads(etcli("info", "--json", tmp_path / f"v_{half}.mrc").out)["history"]
        assert "half-sets" not in steps[-1]


def test_the_limit_of_the_field_is_not_called_the_best(aligned: Path) -> None:
    """Half-sets of a narrower specimen are better than that."""
    assert "for a specimen as wide as the view (--diameter for a narrower one)" in etcli("info", aligned).out
    assert "for a specimen of 40 Å" in etcli("info", "--diameter", 40, aligned).out
