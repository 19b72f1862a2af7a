"""``etcli register`` of series that are wrong somewhere: right, refused, or the view named; never else."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.core.simulate.imaging import project
from etcli.core.simulate.particles import needle, particle
from tests.files import etcli, failure, mdoc_text, write_stack
from tests.series import Particles, particle_views, scattered

pytestmark = pytest.mark.usefixtures("coarse_pictures")

Views = NDArray[np.float32]
Moved = NDArray[np.float64]

SIZES = {"particle": 48, "needle": 64, "cluster": 64, "foil": 64}  # of a view; those that are cut need more
TILT_DEG = np.arange(-60.0, 61.0, 4.0)
N_VIEWS = len(TILT_DEG)
DRIFT_PX = 3.0
PEAK = 50  # counts in the brightest pixel of the median view
METHODS = ("auto", "pc", "stackreg", "com", "com-cl")
BY_LIKENESS = METHODS[:3]  # what does not need to see the whole specimen
BY_MASS = METHODS[3:]
FIRST, SOME, MIDDLE = 0, 7, N_VIEWS // 2  # views; the one in the middle, at 0°, is the reference
HALF, THIRD = 1 / 2, 1 / 3  # of the field
OUTSIDE = (0.0, SIZES["cluster"] / 2 / np.sin(np.deg2rad(60)))  # x, z at the border of the field at 60°
BESIDE = (0.95 * SIZES["cluster"], 0.0)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """With views as small as these, more threads only take more time."""
    monkeypatch.setenv("ETCLI_THREADS", "1")


def more(*case: object) -> list[object]:
    """One more case, which takes long and shows much the same."""
    return [pytest.param(*case, marks=pytest.mark.slow)]


def shape(specimen: str) -> tuple[int, int]:
    """The rows and columns of a view."""
    return SIZES[specimen], SIZES[specimen]


def drift() -> Moved:
    """How far the content of each view is moved."""
    return np.random.default_rng(2).uniform(-DRIFT_PX, DRIFT_PX, (N_VIEWS, 2))


def counted(views: NDArray[np.floating]) -> Views:
    """Count electrons."""
    brightest = np.median(views.max(axis=(1, 2)))
    return np.random.default_rng(3).poisson(np.maximum(views, 0) * (PEAK / brightest)).astype(np.float32)


def solid(specimen: str, moved: Moved, *, size: int) -> Views:
    """Views of a particle of metal on a support, or of a needle that comes in from below."""
    made = {"particle": particle, "needle": needle}[specimen](size, np.random.default_rng(0))
    places = zip(TILT_DEG, moved, strict=True)
    return counted(
        np.array([project(made, tilt, shape=(size, size), shift_px=(x, y)) for tilt, (x, y) in places])
    )


def gathered(moved: Moved, *beside: tuple[float, float]) -> Views:
    """Views of clusters of small particles, at the given x, z from the axis."""
    parts = [scattered(25, seed, (16, 23, 8)) for seed in range(len(beside))]
    place = [np.add(part.place, (x, 0, z)) for part, (x, z) in zip(parts, beside, strict=True)]
    whole = Particles(
        np.concatenate(place),
        np.concatenate([part.sigma for part in parts]),
        np.concatenate([part.height for part in parts]),
    )
    return counted(particle_views(whole, TILT_DEG, shape("cluster"), moved_px=moved))


def foil(moved: Moved) -> Views:
    """Views of a foil with particles that goes on beyond all sides."""
    reach = 3 * SIZES["foil"]
    strewn = scattered(170, 0, (reach, reach, 5), sigma=(1, 2.5))
    body = 0.5 / np.cos(np.deg2rad(TILT_DEG))[:, np.newaxis, np.newaxis]
    return counted(particle_views(strewn, TILT_DEG, shape("foil"), moved_px=moved) + body)


def views_of(specimen: str, moved: Moved) -> Views:
    """Views of a specimen by name."""
    if specimen == "foil":
        return foil(moved)
    return gathered(moved, (0, 0)) if specimen == "cluster" else solid(specimen, moved, size=SIZES[specimen])


@cache
def drifted(specimen: str) -> Views:
    """Views of a specimen with the drift alone, not to be changed."""
    views = views_of(specimen, drift())
    views.flags.writeable = False
    return views


def series(folder: Path, views: NDArray[np.floating]) -> Path:
    """Write a series with its axis upright."""
    path = write_stack(folder / "series.mrc", np.asarray(views, np.float32), 10.0)
    Path(f"{path}.mdoc").write_text(mdoc_text(TILT_DEG, axis_deg=0, pixel_A=10))
    return path


def register(folder: Path, views: Views, moved: Moved, method: str) -> tuple[list[int], float]:
    """Register; return the views that are named, counted from 0, and the largest error of the others in px.

    Motions a + b cos θ + c sin θ across the axis, and one along it, are no errors.
    """
    run = etcli("register", "--json", "--method", method, series(folder, views), folder / "out.mrc")
    numbers = json.loads(run.out)
    told = [line for line in run.err.splitlines() if line.startswith("WARNING: register - look at view")]
    listed = (
        told[0].removeprefix("WARNING: register - look at view").split(":")[0].lstrip("s ") if told else ""
    )
    assert listed == ",".join(map(str, numbers["doubtful"]))
    named = [number - 1 for number in numbers["doubtful"]]
    left = np.delete(np.array(numbers["shift_px"]) + moved, named, axis=0)
    tilt = np.deg2rad(np.delete(TILT_DEG, named))
    free = np.stack([np.ones_like(tilt), np.cos(tilt), np.sin(tilt)], axis=1)
    left -= np.stack([free @ np.linalg.lstsq(free, left[:, 0])[0], np.full_like(tilt, left[:, 1].mean())], 1)
    worst = float(np.hypot(*left.T).max())
    rms = np.sqrt(np.mean(left**2, axis=0))
    print(f"\n{method}: across {rms[0]:.2f}, along {rms[1]:.2f}, at most {worst:.2f} px; named {named}")
    return named, worst


def refusal(folder: Path, views: NDArray[np.floating], method: str) -> str:
    """Register, which must fail and leave nothing; return what is said."""
    path = series(folder, views)
    before = sorted(folder.iterdir())
    line = failure("register", "-q", "--method", method, path, folder / "out.mrc")
    assert "unexpected" not in line  # no error that nobody thought of
    assert sorted(folder.iterdir()) == before
    return line


# The bounds are for the worst view of those that are not named, in px.
@pytest.mark.parametrize(
    ("method", "limit_px"), [("match", 0.2), ("pc", 0.3), ("stackreg", 0.3), ("com", 0.3), ("com-cl", 0.3)]
)
def test_each_method_on_an_easy_series(tmp_path: Path, method: str, limit_px: float) -> None:
    named, worst = register(tmp_path, drifted("particle"), drift(), method)
    assert named == []
    assert worst < limit_px


@pytest.mark.parametrize("method", BY_LIKENESS)
def test_a_foil_beyond_all_sides(tmp_path: Path, method: str) -> None:
    named, worst = register(tmp_path, drifted("foil"), drift(), method)
    assert worst < 0.7
    assert len(named) <= 3  # at high tilt much of a view is in no other


# Correlation follows what of the specimen is still inside; matching knows the rest.
@pytest.mark.parametrize(("method", "limit_px"), [("auto", 2.0), ("pc", 2.0), ("stackreg", 1.5)])
def test_a_specimen_half_of_which_is_outside_at_high_tilts(
    tmp_path: Path, method: str, limit_px: float
) -> None:
    moved = 3 * drift()
    named, worst = register(tmp_path, gathered(moved, OUTSIDE), moved, method)
    assert worst < limit_px
    assert len(named) <= 13  # those at high tilts


@pytest.mark.parametrize("method", BY_LIKENESS)
def test_a_neighbour_that_comes_into_the_field(tmp_path: Path, method: str) -> None:
    named, worst = register(tmp_path, gathered(drift(), (0, 0), BESIDE), drift(), method)
    assert worst < 0.7
    assert len(named) <= 2


@pytest.mark.parametrize("method", BY_MASS)
def test_mass_that_is_not_all_seen_is_refused(tmp_path: Path, method: str) -> None:
    cases = {
        "foil": drifted("foil"),
        "leaving": gathered(drift(), OUTSIDE),
        "entering": gathered(drift(), (0, 0), BESIDE),
    }
    for name, views in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        assert "use --method pc or match" in refusal(folder, views, method)


@pytest.mark.parametrize(
    ("content", "method"),
    [
        *(("counts", method) for method in METHODS),
        ("noise", "auto"),
        ("constant", "auto"),
        ("constant", "com"),
    ],
)
def test_views_that_show_nothing_are_refused(tmp_path: Path, content: str, method: str) -> None:
    rng = np.random.default_rng(5)
    size = N_VIEWS, *shape("particle")
    nothing = {
        "counts": rng.poisson(20, size),
        "noise": rng.normal(size=size),
        "constant": np.full(size, 5),
    }
    said = refusal(tmp_path, nothing[content], method)
    assert any(
        words in said
        for words in ("no better than noise", "in common", "stands out", "no contrast", "mass", "common")
    )


@pytest.mark.parametrize(
    ("content", "method", "view"),
    [
        *(("zero", method, SOME) for method in METHODS),
        *more("zero", "auto", FIRST),
        *more("zero", "auto", MIDDLE),
        *(("counts", method, SOME) for method in ("auto", "pc", "com")),
    ],
)
def test_a_blank_view_is_named(tmp_path: Path, content: str, method: str, view: int) -> None:
    views = drifted("particle").copy()
    rng = np.random.default_rng(6)
    views[view] = 0 if content == "zero" else rng.poisson(views[view].mean(), views[view].shape)
    named, worst = register(tmp_path, views, drift(), method)
    assert named == [view]
    assert worst < 0.5


@pytest.mark.parametrize(
    ("specimen", "method", "view", "x", "y"),
    [
        *more("particle", "auto", SOME, HALF, 0),
        *(("particle", method, SOME, 0, -HALF) for method in METHODS),
        *more("cluster", "auto", SOME, 0, HALF),
        *more("cluster", "auto", SOME, -HALF, 0),
        ("needle", "auto", MIDDLE, 0, HALF),
        *more("needle", "auto", SOME, 0, HALF),
        *(("foil", method, SOME, HALF, 0) for method in BY_LIKENESS),
        ("foil", "auto", MIDDLE, 0, HALF),
    ],
)
def test_a_view_half_a_field_away(
    tmp_path: Path, specimen: str, method: str, view: int, x: float, y: float
) -> None:
    moved = drift()
    moved[view] += np.multiply((x, y), SIZES[specimen])
    named, worst = register(tmp_path, views_of(specimen, moved), moved, method)
    assert worst < 0.7
    assert len(set(named) - {view}) <= 3


@pytest.mark.parametrize(
    ("specimen", "method", "view", "x", "y"),
    [
        *more("particle", "auto", 12, THIRD, 0),
        *(("particle", method, 24, 0, THIRD) for method in METHODS),
        *(("foil", method, 24, THIRD, 0) for method in BY_LIKENESS),
        ("foil", "auto", 12, 0, THIRD),
    ],
)
def test_a_step_of_a_third_of_the_field(
    tmp_path: Path, specimen: str, method: str, view: int, x: float, y: float
) -> None:
    """All views from one on are displaced; without those that are named, they must be right."""
    moved = drift()
    moved[view:] += np.multiply((x, y), SIZES[specimen])
    named, worst = register(tmp_path, views_of(specimen, moved), moved, method)
    assert worst < 1.2
    assert len(named) <= 5


@pytest.mark.parametrize(
    ("specimen", "view", "x", "y"),
    [
        ("cluster", 12, -THIRD, 0),
        ("needle", 24, THIRD, 0),
        *more("needle", 12, 0, THIRD),
    ],
)
def test_a_step_after_which_the_specimen_is_half_outside(
    tmp_path: Path, specimen: str, view: int, x: float, y: float
) -> None:
    """A needle without its tip may be anywhere along itself: it cannot be right, so it is told."""
    moved = drift()
    moved[view:] += np.multiply((x, y), SIZES[specimen])
    named, _ = register(tmp_path, views_of(specimen, moved), moved, "auto")
    assert view in named


@pytest.mark.parametrize("specimen", ["particle", *more("cluster")])
def test_tilt_angles_mixed_up(tmp_path: Path, specimen: str) -> None:
    """A reconstruction from wrong angles explains the views well enough; that neighbours differ tells."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.mkdir()
    wrong.mkdir()
    path = series(wrong, drifted(specimen)[np.random.default_rng(0).permutation(N_VIEWS)])
    line = failure("register", "-q", "--strict", path, tmp_path / "again.mrc")
    assert "no more alike than others; are the tilt angles right?" in line
    run = etcli("register", "--strict", series(right, drifted(specimen)), tmp_path / "out.mrc")
    assert "alike" not in run.err


@pytest.mark.parametrize(("again", "method"), [(False, "auto"), *((True, method) for method in METHODS)])
def test_a_view_at_its_neighbours_tilt(tmp_path: Path, again: bool, method: str) -> None:
    """A stage that did not turn: the same image twice, or recorded again."""
    views, moved = drifted("particle").copy(), drift()
    moved[SOME] = moved[SOME + 1]
    views[SOME] = views[SOME + 1]
    if again:
        views[SOME] = np.random.default_rng(7).poisson(views[SOME] + 1)
    named, worst = register(tmp_path, views, moved, method)
    assert worst < 0.5
    assert set(named) == (set() if again else {SOME, SOME + 1})


@pytest.mark.parametrize(
    ("specimen", "method", "view"),
    [
        *(("particle", method, SOME) for method in ("auto", "pc")),
        ("particle", "auto", MIDDLE),
        ("foil", "auto", SOME),
        *more("needle", "auto", FIRST),
        *more("needle", "auto", MIDDLE),
    ],
)
def test_a_view_of_inverse_contrast_is_named(tmp_path: Path, specimen: str, method: str, view: int) -> None:
    views = drifted(specimen).copy()
    views[view] = views[view].max() - views[view]
    named, worst = register(tmp_path, views, drift(), method)
    assert view in named
    assert len(named) <= 4
    assert worst < 0.7


def test_the_chain_of_views_breaks_where_one_is_inverted(tmp_path: Path) -> None:
    """Least squares from view to view have nothing that could make up for it, so it is told."""
    views = solid("particle", drift(), size=64)
    views[SOME] = views[SOME].max() - views[SOME]
    path = series(tmp_path, views)
    run = etcli("register", "--json", "--method", "stackreg", path, tmp_path / "out.mrc")
    assert SOME + 1 in json.loads(run.out)["doubtful"]
    assert "px; look at --plot before going on" in run.err


@pytest.mark.parametrize(
    ("specimen", "method"),
    [
        *(("particle", method) for method in BY_LIKENESS),
        *more("needle", "auto"),
        *more("cluster", "auto"),
    ],
)
def test_a_series_of_inverse_contrast(tmp_path: Path, specimen: str, method: str) -> None:
    views = drifted(specimen)
    named, worst = register(tmp_path, views.max() - views, drift(), method)
    assert named == []
    assert worst < 0.7


@pytest.mark.parametrize("method", BY_MASS)
def test_mass_of_inverse_contrast_is_refused(tmp_path: Path, method: str) -> None:
    views = drifted("particle")
    assert "use --method pc or match" in refusal(tmp_path, views.max() - views, method)


def test_a_residual_above_the_limit(tmp_path: Path) -> None:
    """It is a warning, and with --strict a failure that leaves nothing behind."""
    path = series(tmp_path, drifted("particle"))
    before = sorted(tmp_path.iterdir())
    files = ("--write-xf", tmp_path / "r.xf", "--plot", tmp_path / "p.png", path, tmp_path / "out.mrc")
    outputs = ("--method", "pc", *files)
    # A pixel is 10 Å.
    for limit, limit_px in (("0.001px", "0.001"), ("0.02A", "0.002")):
        line = failure("register", "-q", "--strict", "--max-residual", limit, *outputs)
        assert f"above the limit of {limit_px} px" in line
        assert sorted(tmp_path.iterdir()) == before
    run = etcli("register", "--max-residual", "0.001px", *outputs)
    assert "WARNING: register - residual 0.0" in run.err
    assert "is above 0.001 px" in run.err
    assert (tmp_path / "out.mrc").exists()
    assert "WARNING" not in etcli("register", "--strict", *outputs).err


@pytest.mark.parametrize("method", [*more("auto"), "pc", "com"])
def test_a_hopeless_series_is_refused_when_strict(tmp_path: Path, method: str) -> None:
    """Each view shows another specimen."""
    specimens = (scattered(25, seed, (19, 23, 19)) for seed in range(N_VIEWS))
    views = np.array([particle_views(each, [0.0], shape("cluster"))[0] for each in specimens])
    path = series(tmp_path, counted(views))
    before = sorted(tmp_path.iterdir())
    how = ("--method", method, "--strict", "--max-residual", "0.5px", "--write-xf", tmp_path / "r.xf")
    failure("register", "-q", *how, path, tmp_path / "out.mrc")
    assert sorted(tmp_path.iterdir()) == before
