"""``etcli trace-atoms`` on volumes and views whose atoms are known."""

import csv
import json
import os
from pathlib import Path

import ase.io
import mrcfile
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from etcli.core.orientation import rotation_matrices
from etcli.io.atoms import read_atoms, read_atoms_file
from tests.files import etcli, failure, mdoc_text, write_stack
from tests.gaussians import bound_px, gaussian_volume, jittered, nearest, noisy

pytestmark = pytest.mark.usefixtures("coarse_pictures")

PIXEL_A, SIGMA_PX, NOISE = 0.4, 1.25, 0.03
SHAPE = (34, 32, 33)
PLACES = jittered(3)
WEAK = np.arange(len(PLACES)) % 3 == 0
HEIGHTS = np.where(WEAK, 0.45, 1.0)
TILTS = tuple(np.arange(-88.0, 90, 8))
N_VIEW = 36

Positions = NDArray[np.float64]


def from_centre_A(place: ArrayLike, shape: tuple[int, int, int] = SHAPE) -> Positions:
    """Places (x, y, z) given as indices, in Å from the middle of a volume."""
    return (np.asarray(place) - (np.array(shape[::-1]) - 1) / 2) * PIXEL_A


TRUE_A = from_centre_A(PLACES)


def write_volume(path: Path, height: ArrayLike = 1.0, *, noise: float = NOISE, seed: int = 0) -> Path:
    data = noisy(gaussian_volume(PLACES, SHAPE, sigma_px=SIGMA_PX, height=height), noise, seed=seed)
    return write_stack(path, data, PIXEL_A)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """With volumes as small as these, more threads only take more time."""
    monkeypatch.setenv("ETCLI_THREADS", "1")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """27 atoms of one species."""
    return write_volume(tmp_path / "v.mrc")


@pytest.fixture
def alloy(tmp_path: Path) -> Path:
    """27 atoms, every third less than half as strong."""
    return write_volume(tmp_path / "alloy.mrc", HEIGHTS)


def trace(source: Path, *options: object, name: str = "atoms.xyz") -> tuple[dict, Path]:
    """Trace into the folder of the volume; return the numbers and the file."""
    target = source.with_name(name)
    return json.loads(etcli("trace-atoms", "-q", "--json", *options, source, target).out), target


def errors_A(found: Path, true_A: Positions = TRUE_A) -> Positions:
    """How far every atom is from the nearest that was found, of which there are as many."""
    atoms = read_atoms(found)
    assert len(atoms) == len(true_A)
    return nearest(atoms.position_A, true_A)[0]


def rms(values: ArrayLike) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def write_views(
    path: Path,
    position_A: Positions,
    rotation: NDArray[np.float64],
    *,
    tilt_deg: tuple[float, ...] = TILTS,
    noise: float = 0.05,
    pixel_A: float = PIXEL_A,
    height: float = 10.0,
) -> Path:
    """Write views of round atoms, of which ``rotation`` takes positions to those in each view."""
    middle, axis = (N_VIEW - 1) / 2, np.arange(N_VIEW)
    views = np.zeros((len(rotation), N_VIEW, N_VIEW))
    for view, matrix in zip(views, rotation, strict=True):
        u, v, _ = (position_A @ matrix.T / pixel_A).T + middle
        width = 2 * (SIGMA_PX * PIXEL_A / pixel_A) ** 2
        across = np.exp(-((axis - u[:, None]) ** 2) / width)
        view += height * np.exp(-((axis - v[:, None]) ** 2) / width).T @ across
    write_stack(path, noisy(views, noise, seed=5), pixel_A)
    Path(f"{path}.mdoc").write_text(mdoc_text(tilt_deg, pixel_A=pixel_A, axis_deg=0))
    return path


def about_y(tilt_deg: ArrayLike) -> NDArray[np.float64]:
    """Matrices after which the first coordinate is x cos θ + z sin θ and the second y."""
    matrices = []
    for angle in np.deg2rad(tilt_deg):
        c, s = np.cos(angle), np.sin(angle)
        matrices.append([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array(matrices)


def reconstructed(folder: Path, position_A: Positions, *options: str) -> tuple[Path, Path]:
    """Views of atoms, one every four degrees, and their volume."""
    tilts = tuple(np.arange(-90.0, 90, 4))
    views = write_views(folder / "views.mrc", position_A, about_y(tilts), tilt_deg=tilts)
    etcli("recon", "-q", "--nonnegative", *options, views, folder / "v.mrc")
    return views, folder / "v.mrc"


def test_atoms_are_where_they_are(volume: Path) -> None:
    numbers, target = trace(volume)
    errors = errors_A(target)
    least = bound_px(NOISE, SIGMA_PX) * PIXEL_A
    assert rms(errors) < 1.5 * least
    atoms = read_atoms(target)
    assert set(atoms.columns) == {
        "intensity", "sigma_A", "score", "probability", "error_x_A", "error_y_A", "error_z_A"
    }  # fmt: skip
    said = [atoms.columns[f"error_{axis}_A"] for axis in "xyz"]
    assert rms(said) == pytest.approx(rms(errors), rel=0.5)
    np.testing.assert_allclose(atoms.columns["sigma_A"], SIGMA_PX * PIXEL_A, rtol=0.08)
    whole = (2 * np.pi) ** 1.5 * (SIGMA_PX * PIXEL_A) ** 3
    np.testing.assert_allclose(atoms.columns["intensity"], whole, rtol=0.15)
    assert atoms.columns["probability"].min() > 0.7
    assert numbers["n_atoms"] == 27 and numbers["species"] == {"X": 27}
    assert numbers["sigma_A"] == pytest.approx(SIGMA_PX * PIXEL_A, rel=0.02)
    assert numbers["snr"] == pytest.approx(1 / NOISE, rel=0.2)
    assert 0.5 < numbers["cut"] < 1 and len(numbers["class_scores"]) == 1
    assert {"rule", "count"} == set(numbers["removed"][0])


def test_others_open_the_file(volume: Path) -> None:
    _, target = trace(volume, "--species", "Si")
    found = ase.io.read(target)
    assert found.get_chemical_symbols() == ["Si"] * 27
    np.testing.assert_allclose(found.positions, read_atoms(target).position_A)
    np.testing.assert_allclose(found.arrays["score"], read_atoms(target).columns["score"])
    np.testing.assert_allclose(np.diag(found.cell), np.array(SHAPE[::-1]) * PIXEL_A)
    assert not found.pbc.any()


def test_the_file_says_where_it_comes_from(volume: Path) -> None:
    _, target = trace(volume, "--species", "Si")
    file = read_atoms_file(target)
    assert file.history[-1].startswith("etcli trace-atoms ") and "27 atoms" in file.history[-1]
    np.testing.assert_allclose(file.box.origin_A, -np.array(SHAPE[::-1]) * PIXEL_A / 2)


@pytest.mark.parametrize("ending", [".plain.xyz", ".extxyz", ".pdb", ".cif"])
def test_the_ending_tells_the_format(volume: Path, ending: str) -> None:
    _, target = trace(volume, "--species", "Si", name=f"a{ending}")
    assert np.abs(errors_A(target)).max() < 0.06
    assert set(read_atoms(target).species.tolist()) == {"Si"}


def test_the_brighter_is_the_heavier(alloy: Path) -> None:
    numbers, target = trace(alloy, "--species", "Pt,Co")
    assert numbers["species"] == {"Co": 9, "Pt": 18}
    atoms = read_atoms(target)
    which = np.linalg.norm(atoms.position_A[None] - TRUE_A[:, None], axis=2).argmin(axis=1)
    assert (atoms.species[which] == np.where(WEAK, "Co", "Pt")).all()
    assert "class" not in atoms.columns
    np.testing.assert_allclose(numbers["class_scores"], [0.45, 1], rtol=0.1)


@pytest.mark.parametrize("species", ["2", "auto"])
def test_species_without_names_are_numbered(alloy: Path, species: str) -> None:
    numbers, target = trace(alloy, "--species", species)
    atoms = read_atoms(target)
    assert numbers["species"] == {"X": 27} and set(atoms.species.tolist()) == {"X"}
    which = np.linalg.norm(atoms.position_A[None] - TRUE_A[:, None], axis=2).argmin(axis=1)
    np.testing.assert_array_equal(atoms.columns["class"][which], np.where(WEAK, 1, 2))


def test_the_number_or_the_least_score_may_be_given(alloy: Path) -> None:
    numbers, target = trace(alloy, "--expected", 18, "--species", "Pt")
    assert numbers["n_atoms"] == 18
    assert nearest(read_atoms(target).position_A, TRUE_A[~WEAK])[1].max() < 0.1
    numbers, _ = trace(alloy, "--threshold", 0.7, "--species", "Pt")
    assert (numbers["n_atoms"], numbers["cut"]) == (18, 0.7)


@pytest.mark.parametrize(
    "options",
    [
        "--fit shared",
        "--fit elliptical",
        "--fit polynomial",
        "--detect dog",
        "--smooth 0",
        "--smooth 1px",
        "--sigma 0.6A --min-distance 2.0 --merge-distance 1.5",
        "--correct-depth --min-neighbours 3",
    ],
)
def test_other_ways_find_the_same_atoms(volume: Path, options: str) -> None:
    _, target = trace(volume, "--species", "Si", *options.split())
    # splines draw the maxima of polynomials to voxels, and four times the variance comes with the noise
    assert rms(errors_A(target)) < (5 if "polynomial" in options else 2) * bound_px(NOISE, SIGMA_PX) * PIXEL_A
    columns = read_atoms(target).columns
    assert ("sigma_x_A" in columns) == ("elliptical" in options)


def test_smoothing_is_told_and_not_counted_as_width(volume: Path) -> None:
    numbers, target = trace(volume, "--smooth", "1px")
    assert numbers["smoothing_A"] == pytest.approx(PIXEL_A)
    assert np.median(read_atoms(target).columns["sigma_A"]) == pytest.approx(SIGMA_PX * PIXEL_A, rel=0.03)


def test_half_sets_tell_the_errors(volume: Path) -> None:
    halves = [write_volume(volume.with_name(f"{k}.mrc"), noise=2**0.5 * NOISE, seed=k) for k in (1, 2)]
    numbers, target = trace(volume, "--halves", *halves)
    columns = read_atoms(target).columns
    by_axis = [rms(columns[f"half_{axis}_A"]) for axis in "xyz"]
    np.testing.assert_allclose(numbers["half_set_rms_A"], by_axis, rtol=1e-4)
    assert rms(by_axis) == pytest.approx(bound_px(NOISE, SIGMA_PX) * PIXEL_A, rel=0.4)


def test_a_report_of_the_structure(volume: Path) -> None:
    trace(volume, "--report", volume.with_name("structure"))
    with (volume.with_name("structure") / "summary.csv").open() as file:
        (row, *_) = list(csv.DictReader(file))
    assert float(row["atoms"]) == 27
    assert float(row["nearest_neighbour_A"]) == pytest.approx(7.5 * PIXEL_A, rel=0.1)
    assert (volume.with_name("structure") / "bonds.png").stat().st_size > 5000


@pytest.mark.parametrize("species", ["Co,Pt", "2"])
def test_a_picture_is_drawn(alloy: Path, species: str) -> None:
    picture = alloy.with_name("p.svg")
    trace(alloy, "--species", species, "--plot", picture)
    text = picture.read_text()
    for name in ("Co", "Pt") if species == "Co,Pt" else ("class 1", "class 2"):
        assert f"<!-- {name} -->" in text
    assert "<!-- 27 atoms -->" in text


def test_the_same_bytes_each_time_and_whatever_the_threads(alloy: Path) -> None:
    first = trace(alloy, "--species", "Co,Pt", "--threads", 1)[1].read_bytes()
    assert trace(alloy, "--species", "Co,Pt", "--threads", 1)[1].read_bytes() == first
    one = read_atoms(alloy.with_name("atoms.xyz"))
    other = read_atoms(trace(alloy, "--species", "Co,Pt", "--threads", 2)[1])
    np.testing.assert_allclose(other.position_A, one.position_A, atol=1e-4)
    np.testing.assert_array_equal(other.species, one.species)


def test_messages_go_to_stderr_and_quiet_is_quiet(volume: Path) -> None:
    run = etcli("trace-atoms", volume, volume.with_name("a.xyz"))
    assert run.out == "" and run.err.splitlines()[-1] == "27 atoms (27 X)"
    assert etcli("trace-atoms", "-q", volume, volume.with_name("a.xyz")).err == ""


def test_views_make_positions_better(tmp_path: Path) -> None:
    noise = 0.15
    volume = write_volume(tmp_path / "v.mrc", noise=noise)
    views = write_views(tmp_path / "views.mrc", TRUE_A, about_y(TILTS))
    plain = rms(errors_A(trace(volume)[1]))
    numbers, target = trace(volume, "--refine", views)
    assert rms(errors_A(target)) < 0.5 * plain
    columns = read_atoms(target).columns
    np.testing.assert_allclose(columns["amplitude"], 10 * 2 * np.pi * SIGMA_PX**2, rtol=0.02)
    assert numbers["added"] == 0 and numbers["r_factor"] < 0.2
    assert numbers["expected_false"] == pytest.approx(len(TRUE_A) - columns["probability"].sum(), abs=1e-6)
    assert numbers["hold_A"] in numbers["hold_tried_A"]
    assert len(numbers["hold_misfit"]) == len(numbers["hold_tried_A"])
    (b_factor,) = numbers["b_factor_A2"]
    assert b_factor == pytest.approx(8 * np.pi**2 * (SIGMA_PX * PIXEL_A) ** 2, rel=0.1)
    assert read_atoms_file(target).history[-1].split("\n")[0].endswith("refined against views")
    given, _ = trace(volume, "--refine", views, "--hold", "0.2px")
    assert given["hold_A"] == pytest.approx(0.2 * PIXEL_A) and given["hold_tried_A"] is None


def test_views_show_atoms_that_the_volume_does_not(tmp_path: Path) -> None:
    height = np.ones(len(PLACES))
    height[13] = 0.0
    volume = write_volume(tmp_path / "v.mrc", height)
    views = write_views(tmp_path / "views.mrc", TRUE_A, about_y(TILTS))
    numbers, target = trace(volume, "--refine", views)
    assert (numbers["n_atoms"], numbers["added"]) == (27, 1)
    removed = sum(rule["count"] for rule in numbers["removed"])
    assert numbers["n_maxima"] == numbers["n_atoms"] - numbers["added"] + removed
    assert np.abs(errors_A(target)).max() < 0.1
    atoms = read_atoms(target)
    new = np.isnan(atoms.columns["score"])
    assert new.sum() == 1 and np.linalg.norm(atoms.position_A[new] - TRUE_A[13]) < 0.1
    assert np.isfinite(atoms.columns["error_x_A"]).all()


def test_views_of_any_orientation(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    angles = np.stack([rng.uniform(0, 360, 24), rng.uniform(-80, 80, 24), rng.uniform(-80, 80, 24)], axis=1)
    table = tmp_path / "angles.csv"
    np.savetxt(table, angles, delimiter=",", header="phi,theta,psi", comments="", fmt="%.4f")
    views = write_views(
        tmp_path / "views.mrc", TRUE_A, rotation_matrices(np.round(angles, 4)), tilt_deg=tuple(range(24))
    )
    volume = write_volume(tmp_path / "v.mrc", noise=0.15)
    numbers, target = trace(volume, "--refine", views, "--euler", table)
    assert numbers["r_factor"] < 0.2 and rms(errors_A(target)) < 0.02


@pytest.mark.parametrize("options", ["", "--slices 5-30", "--z-offset 3 --thickness 33", "--width 33"])
def test_parts_of_a_reconstruction_are_where_they_were(tmp_path: Path, options: str) -> None:
    """Of a particle beside the middle, so that any other frame would show."""
    true_A = TRUE_A * [0.8, 0.9, 0.8] + [0.6, -0.4, 0.9]
    views, volume = reconstructed(tmp_path, true_A, *options.split())
    first = 4 if "slices" in options else 0
    for more, error_A in (([], 0.04), (["--refine", views], 0.02)):
        target = trace(volume, *more)[1]
        assert rms(errors_A(target, true_A)) < error_A
        corner_A = read_atoms_file(target).box.origin_A
        assert corner_A[1] == pytest.approx((first - N_VIEW / 2) * PIXEL_A, abs=1e-4)


def test_what_views_show_beyond_a_slab_draws_no_atoms(tmp_path: Path) -> None:
    """Of three layers across the tilt axis, a slab that ends above the lowest."""
    true_A = TRUE_A * 0.8 + [0.6, -0.4, 0.9]
    views, volume = reconstructed(tmp_path, true_A, "--slices", "14-36")
    inside = true_A[true_A[:, 1] > -2]
    assert len(inside) == 18
    found = read_atoms(trace(volume, "--refine", views)[1])
    assert len(found) == 18
    assert rms(nearest(found.position_A, inside)[0]) < 0.03


def test_a_volume_about_an_axis_beside_the_middle_counts_from_the_axis(tmp_path: Path) -> None:
    moved_A = TRUE_A * 0.8 + [3 * PIXEL_A, 0, 0]
    views = write_views(tmp_path / "views.mrc", TRUE_A * 0.8, about_y(TILTS))
    with mrcfile.mmap(views, "r+") as mrc:
        mrc.data[:] = np.roll(mrc.data, 3, axis=2)
    volume = tmp_path / "v.mrc"
    etcli("recon", "-q", "--nonnegative", "--axis-offset", 3, views, volume)
    assert rms(errors_A(trace(volume)[1], TRUE_A * 0.8)) < 0.04
    assert rms(errors_A(trace(volume)[1], moved_A)) > 0.5
    assert rms(errors_A(trace(volume, "--refine", views)[1], TRUE_A * 0.8)) < 0.03


def test_atoms_of_cropped_views_are_where_those_of_the_whole_are(tmp_path: Path) -> None:
    true_A = TRUE_A * 0.8 + [1.2, 1.2, 0]
    write_views(tmp_path / "whole.mrc", true_A, about_y(TILTS))
    views, volume = tmp_path / "views.mrc", tmp_path / "v.mrc"
    etcli("stack", "-q", "--crop", "4-36,4-36", tmp_path / "whole.mrc", views)
    etcli("recon", "-q", "--nonnegative", views, volume)
    assert rms(errors_A(trace(volume)[1], true_A)) < 0.05
    assert rms(errors_A(trace(volume, "--refine", views)[1], true_A)) < 0.03


def test_a_volume_turned_about_x_is_refined_as_it_lies(tmp_path: Path) -> None:
    true_A = TRUE_A * 0.8 + [0.6, -0.4, 0.9]
    views, volume = reconstructed(tmp_path, true_A, "--x-tilt", "12")
    c, s = np.cos(np.deg2rad(12)), np.sin(np.deg2rad(12))
    turned_A = true_A @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    numbers, target = trace(volume, "--refine", views)
    assert numbers["r_factor"] < 0.25 and rms(errors_A(target, turned_A)) < 0.02


def test_a_volume_along_y_counts_along_its_own_axes_and_is_not_refined(tmp_path: Path) -> None:
    true_A = TRUE_A * 0.8 + [0.6, -0.4, 0.9]
    part = ["--slices", "5-30", "--thickness", "33", "--z-offset", "2"]
    views, volume = reconstructed(tmp_path, true_A, "--orient", "imod", *part)
    x, y, z = true_A.T
    assert rms(errors_A(trace(volume)[1], np.stack([x, -z, y], axis=1))) < 0.04
    assert trouble(volume, "--refine", views.name, status=2) == (
        "v.mrc: has its sections along y, which --refine does not support; leave --orient imod out of recon"
    )


@pytest.mark.parametrize("change", ["binned", "voxels corrected", "another program"])
def test_where_the_rotation_centre_is_not_known_positions_are_from_the_middle(tmp_path, change) -> None:
    true_A = TRUE_A * 0.8 + [0.6, -0.4, 0.9]
    _, volume = reconstructed(tmp_path, true_A, "--slices", "5-30")
    again = tmp_path / "again.mrc"
    # the middle of rows 5 to 30 is a row below that of 36
    middle_A, scale, warning = [0, PIXEL_A, 0], 1.0, "so its rotation centre is not known"
    if change == "binned":
        etcli("bin", "-q", "-b", "1.5", "--dims", 3, volume, again)
        middle_A, warning = [0, 0, 0], ""
    else:
        again = volume.rename(again)
        with mrcfile.open(again, "r+") as mrc:
            if change == "voxels corrected":
                mrc.voxel_size = PIXEL_A * 1.1
                scale, warning = 1.1, "has voxels of 0.44 Å, but was reconstructed with 0.4 Å"
            else:
                mrc.add_label("clip: rotx")
    run = etcli("trace-atoms", again, tmp_path / "a.xyz")
    assert (warning in run.err) if warning else ("WARNING" not in run.err)
    assert rms(errors_A(tmp_path / "a.xyz", (true_A + middle_A) * scale)) < (0.04 if warning else 0.08)


def test_views_that_the_volume_was_made_without_are_told_of(tmp_path: Path) -> None:
    views, volume = reconstructed(tmp_path, TRUE_A * 0.8, "--exclude", "3")
    run = etcli("trace-atoms", "--refine", views, volume, tmp_path / "a.xyz")
    assert (
        f"WARNING: trace-atoms - {volume} was made of 44 views, {views} has 45, and atoms are refined "
        "against all of them; etcli stack --exclude leaves bad ones out"
    ) in run.err.splitlines()


def test_atoms_that_views_do_not_show_go_and_many_are_warned_of(volume: Path) -> None:
    views = write_views(volume.with_name("views.mrc"), TRUE_A[:24], about_y(TILTS))
    target = volume.with_name("a.xyz")
    run = etcli("trace-atoms", "--refine", views, volume, target)
    assert (
        f"WARNING: trace-atoms - {views}: shows only 24 of the 27 atoms of the volume; make sure that the "
        "volume was reconstructed from it (--orient zyx)"
    ) in run.err.splitlines()
    assert rms(errors_A(target, TRUE_A[:24])) < 0.02


def test_species_that_the_scores_do_not_tell_apart_are_warned_of(volume: Path, alloy: Path) -> None:
    overlap, fewer = "scores of the species overlap", "the scores show 1 species, not 2"
    said = etcli("trace-atoms", "--species", "2", volume, volume.with_name("a.xyz")).err
    assert overlap in said and fewer in said
    said = etcli("trace-atoms", "--species", "2", alloy, alloy.with_name("a.xyz")).err
    assert "WARNING" not in said


def test_as_many_as_expected_that_are_apart(tmp_path: Path) -> None:
    """Where two of four are too close to be two, the next strongest counts."""
    places = np.array([[8.0, 8, 8], [10.9, 8, 8], [20, 20, 8], [8, 20, 20]])
    data = gaussian_volume(places, SHAPE, sigma_px=1.0, height=[1.0, 0.9, 0.8, 0.7])
    volume = write_stack(tmp_path / "v.mrc", noisy(data, NOISE, seed=1), PIXEL_A)
    numbers, target = trace(volume, "--expected", 3)
    assert numbers["n_atoms"] == 3
    assert np.abs(errors_A(target, from_centre_A(places[[0, 2, 3]]))).max() < 0.2


def bad(path: Path, data: NDArray[np.floating], pixel_A: float = PIXEL_A) -> Path:
    return write_stack(path, np.float32(data), pixel_A)


def trouble(source: Path, *options: object, status: int = 1, name: str = "atoms.xyz") -> str:
    """The one line that a run fails with, which leaves nothing behind."""
    folder = source.parent
    before = sorted(folder.iterdir())
    line = failure("trace-atoms", "-q", *options, source.name, name, status=status, cwd=folder)
    assert sorted(folder.iterdir()) == before
    assert line.startswith("ERROR: trace-atoms - ")
    return line.removeprefix("ERROR: trace-atoms - ")


def test_the_size_of_voxels_must_be_known(volume: Path) -> None:
    data = mrcfile.read(volume)
    unknown = bad(volume.with_name("u.mrc"), data, 0)
    assert trouble(unknown) == (
        "u.mrc: does not say how large its voxels are; reconstruct it from a series that does"
    )
    flat = bad(volume.with_name("f.mrc"), data)
    with mrcfile.open(flat, "r+") as mrc:
        mrc.voxel_size = (0.4, 0.4, 0.8)
    assert trouble(flat) == (
        "f.mrc: voxels of 0.4 x 0.4 x 0.8 Å are not cubic, as tracing needs them; resample it"
    )
    assert trouble(bad(volume.with_name("n.mrc"), data, 0.04)) == (
        "n.mrc: voxels of 0.04 Å are too fine for atoms (0.3 to 0.5 Å is usual); bin the volume, or is the "
        "pixel size in nm?"
    )
    assert trouble(bad(volume.with_name("c.mrc"), data, 4)) == (
        "c.mrc: voxels of 4 Å are too coarse for atoms (0.3 to 0.5 Å is usual); is the pixel size "
        "really in Å?"
    )
    assert trouble(bad(volume.with_name("thin.mrc"), data[:2])) == (
        "thin.mrc: 33 x 32 x 2 voxels are too flat to hold atoms; is it a volume?"
    )


def test_what_holds_no_atoms_is_refused(volume: Path) -> None:
    data = mrcfile.read(volume).copy()
    assert trouble(bad(volume.with_name("c.mrc"), np.full(SHAPE, 2.5))) == (
        "c.mrc: every voxel is 2.5, so there is nothing to find; is it the right file?"
    )
    noise = np.random.default_rng(0).normal(size=SHAPE)
    assert trouble(bad(volume.with_name("noise.mrc"), noise)).startswith("noise.mrc: ")
    assert trouble(bad(volume.with_name("positive.mrc"), np.abs(noise))).startswith("positive.mrc: ")
    assert trouble(bad(volume.with_name("level.mrc"), data + 20)).startswith("level.mrc: half of the volume")
    holed = bad(volume.with_name("nan.mrc"), data)
    with mrcfile.mmap(holed, "r+") as mrc:
        mrc.data[5, 6, 7] = np.nan
    assert trouble(holed) == "nan.mrc: NaN or infinite values in section 6; leave it out or correct it first"


def test_a_tilt_series_is_no_volume(tmp_path: Path) -> None:
    views = write_views(tmp_path / "views.mrc", TRUE_A, about_y(TILTS))
    assert trouble(views) == (
        "views.mrc: is a tilt series, where a volume is needed; reconstruct it with recon"
    )


def test_views_must_be_those_of_the_volume(volume: Path) -> None:
    folder = volume.parent
    assert trouble(volume, "--refine", volume.name) == (
        "v.mrc: no tilt angles beside it or in it; put them into v.tlt, or give --euler"
    )
    unknown = write_views(folder / "unknown.mrc", TRUE_A, about_y(TILTS))
    with mrcfile.open(unknown, "r+") as mrc:
        mrc.voxel_size = 0
    Path(f"{unknown}.mdoc").unlink()
    np.savetxt(unknown.with_suffix(".tlt"), TILTS)
    assert trouble(volume, "--refine", unknown.name) == (
        "unknown.mrc: does not say how large its pixels are; so atoms cannot be placed in it"
    )
    elsewhere = np.random.default_rng(3).uniform(-5, 5, TRUE_A.shape)
    other = write_views(folder / "other.mrc", elsewhere, about_y(TILTS))
    line = trouble(volume, "--refine", other.name)
    assert line.startswith("other.mrc: ") and " of the 27 atoms of the volume; " in line
    assert line.endswith("is it the series that was reconstructed, with the same angles?")
    (folder / "few.csv").write_text("phi,theta,psi\n0,0,0\n")
    assert "few.csv" in trouble(volume, "--refine", other.name, "--euler", "few.csv")


def test_half_volumes_must_be_alike(volume: Path) -> None:
    small = bad(volume.with_name("small.mrc"), mrcfile.read(volume)[:, :-1])
    assert trouble(volume, "--halves", volume.name, small.name) == (
        "small.mrc: 33 x 31 x 34 voxels, but v.mrc has 33 x 32 x 34; reconstruct both alike"
    )
    other = bad(volume.with_name("other.mrc"), mrcfile.read(volume), 0.5)
    assert trouble(volume, "--halves", other.name, volume.name) == (
        "other.mrc: voxels of 0.5 Å, but v.mrc has 0.4 Å; reconstruct both alike"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--threshold 0.5 --expected 20",
            "--threshold and --expected decide the same; leave one of them out",
        ),
        ("--species Si,Xx", "--species Si,Xx: 'Xx' is no element; write symbols, as in Si,O"),
        ("--species Si,Si", "--species Si,Si: name 1 to 4 different elements"),
        ("--species 5", "--species 5: 1 to 4 species can be told apart"),
        ("--hold 0.1", "--euler and --hold are for --refine SERIES; name the series"),
        ("--euler a.csv", "--euler and --hold are for --refine SERIES; name the series"),
        (
            "--refine v.mrc --fit polynomial",
            "--fit polynomial is for positions from the volume; leave it or --refine out",
        ),
        ("--refine v.mrc --hold 0", "--hold 0A is no length; give one above 0"),
        ("--min-distance 0px", "--min-distance 0px is no length; give one above 0"),
        ("--smooth -1", "--smooth -1A is no length; give 0 or more"),
        ("--threshold nan", "--threshold nan is no density; give one above 0"),
        ("--threshold -1", "--threshold -1 is no density; give one above 0"),
        ("--width-range 1.6,0.5", "--width-range 1.6,0.5: write two numbers about 1, as in 0.5,1.6"),
        ("--plot p.bmp", "p.bmp: cannot tell the format of the picture; end its name in .png, .pdf, .svg"),
    ],
)
def test_wrong_wishes_are_said_in_one_line(volume: Path, options: str, message: str) -> None:
    assert trouble(volume, *options.split(), status=2) == message


def test_more_atoms_than_maxima_cannot_be_expected(volume: Path) -> None:
    line = trouble(volume, "--expected", 5000)
    assert line.startswith("v.mrc: only ") and line.endswith(", fewer than the 5000 atoms expected")
    assert trouble(volume, "--threshold", 50).startswith("v.mrc: none of the maxima is an atom by the rules")


def test_outputs_that_cannot_be(volume: Path) -> None:
    ending = "cannot tell the format of the atoms; end its name in .xyz, .extxyz, .cif, .pdb, .plain.xyz"
    assert trouble(volume, status=2, name="atoms.dat") == f"atoms.dat: {ending}"
    assert trouble(volume, status=2, name="v.mrc") == f"v.mrc: {ending}"
    assert "cannot write to a stream" in trouble(volume, status=2, name="-")
    assert "nowhere" in trouble(volume, name="nowhere/atoms.xyz")
    volume.with_name("old.xyz").write_text("kept")
    assert "old.xyz" in trouble(volume, "--no-clobber", status=2, name="old.xyz")
    assert volume.with_name("old.xyz").read_text() == "kept"
    if os.geteuid():
        volume.parent.chmod(0o555)
        assert trouble(volume)
