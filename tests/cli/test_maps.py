"""Maps of counts in xform, stack, bin and info: transforms by tilt angle, linear interpolation, metadata."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.io.transforms import read_tilts_beside
from tests.files import etcli, failure, write_stack

HAADF_DEG = np.arange(-60.0, 61.0, 10.0)
NICKEL = {"element": "Ni", "line": "K", "sensitivity": 0.25}
MAPS_DEG = HAADF_DEG[2::3]  # -40, -10, 20, 50


def write_map(path: Path, tilt_deg=MAPS_DEG, *, element: str = "Ni", seed: int = 1, more: str = "") -> Path:
    """Write a map of few counts, empty near its rim, with a description as decompose writes it."""
    data = np.zeros((len(tilt_deg), 24, 20), np.float32)
    rng = np.random.default_rng(seed)
    data[:, 8:16, 6:14] = rng.poisson(1.5, (len(tilt_deg), 8, 8))
    path.unlink(missing_ok=True)
    write_stack(path, data)
    views = "".join(f"\n[ZValue = {k}]\nTiltAngle = {angle:g}\n" for k, angle in enumerate(tilt_deg))
    head = f"Element = {element}\nLine = K\nSensitivity = 0.25\n{more}" if element else more
    Path(f"{path}.mdoc").write_text(f"PixelSpacing = 2.5\n{head}{views}")
    return path


def write_xf(path: Path, shifts, tilt_deg=None) -> Path:
    path.write_text("".join(f"1 0 0 1 {x:g} {y:g}\n" for x, y in shifts))
    if tilt_deg is not None:
        path.with_suffix(".rawtlt").write_text("".join(f"{angle:g}\n" for angle in tilt_deg))
    return path


@pytest.fixture
def shifts() -> np.ndarray:
    """Whole pixels that differ from view to view, so that a wrong line is seen."""
    k = np.arange(len(HAADF_DEG))
    return np.stack([k % 5 - 2, k % 4 - 1], axis=1)


def moved(data: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return the views shifted by whole pixels; there is nothing near the rim."""
    return np.stack([np.roll(v, (int(y), int(x)), (0, 1)) for v, (x, y) in zip(data, shifts, strict=True)])


def told(path: Path) -> dict | None:
    """Return what info tells of a map."""
    known: dict | None = json.loads(etcli("info", "--json", path).out)["map"]
    return known


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_transforms_are_found_by_tilt_angle(tmp_path, shifts, order) -> None:
    series = write_map(tmp_path / "Ni.mrc", MAPS_DEG[order] + 0.04)
    xf = write_xf(tmp_path / "h.xf", shifts, HAADF_DEG)
    run = etcli("xform", "--linear", "--xf", xf, series, tmp_path / "out.mrc")
    assert "4 of 13 transforms" in run.err
    lines = [int(np.argmin(abs(HAADF_DEG - angle))) for angle in MAPS_DEG[order]]
    expected = moved(mrcfile.read(series), shifts[lines])
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "out.mrc"), expected)


def test_register_keeps_the_angles_for_it(tmp_path) -> None:
    """Its own series may be elsewhere: the angles are beside the transforms."""
    views = np.zeros((13, 48, 40), np.float32)
    for k in range(13):
        views[k, 20 + k % 3 : 30 + k % 3, 14 + k % 4 : 26 + k % 4] = 100 + np.add.outer(
            np.arange(10), np.arange(12)
        )
    write_stack(tmp_path / "h.mrc", views)
    (tmp_path / "h.rawtlt").write_text("".join(f"{angle:g}\n" for angle in HAADF_DEG))
    files = tmp_path / "far.xf", tmp_path / "h.mrc", tmp_path / "r.mrc"
    etcli("-q", "register", "--method", "pc", "--background", 0, "--write-xf", *files)
    write_map(tmp_path / "Ni.mrc")
    etcli("-q", "xform", "--linear", "--xf", tmp_path / "far.xf", tmp_path / "Ni.mrc", tmp_path / "a.mrc")
    (tmp_path / "four.xf").write_text("".join((tmp_path / "far.xf").read_text().splitlines(True)[2::3]))
    etcli("-q", "xform", "--linear", "--xf", tmp_path / "four.xf", tmp_path / "Ni.mrc", tmp_path / "b.mrc")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "a.mrc"), mrcfile.read(tmp_path / "b.mrc"))
    # tiltalign takes them in the same way, and keeps the angles of its own series
    given = ("--angle", 0, "--prexf", tmp_path / "far.xf", "--write-xf", tmp_path / "t.xf")
    etcli("-q", "tiltalign", *given, tmp_path / "Ni.mrc", tmp_path / "t.mrc")
    kept = read_tilts_beside(tmp_path / "t.xf")
    assert kept is not None
    assert kept.tolist() == MAPS_DEG.tolist()


@pytest.mark.parametrize("kind", ["txt", "mdoc", "mrc"])
def test_angles_of_the_lines_may_be_named(tmp_path, shifts, kind) -> None:
    xf = write_xf(tmp_path / "h.xf", shifts)
    write_map(tmp_path / "haadf.mrc", HAADF_DEG, element="")
    named = {"mdoc": tmp_path / "haadf.mrc.mdoc", "mrc": tmp_path / "haadf.mrc"}.get(kind, tmp_path / "t.txt")
    (tmp_path / "t.txt").write_text("\n".join(f"{angle:g}" for angle in HAADF_DEG))
    series = write_map(tmp_path / "Ni.mrc")
    etcli("xform", "--linear", "--xf", xf, "--xf-tilts", named, series, tmp_path / "out.mrc")
    np.testing.assert_array_equal(
        mrcfile.read(tmp_path / "out.mrc"), moved(mrcfile.read(series), shifts[2::3])
    )


@pytest.mark.parametrize(
    ("of_lines", "of_views", "message"),
    [
        (HAADF_DEG, [-40, -10, 25, 50], "view 3 is at 25°, and the nearest line is 9 at 20°"),
        ([*HAADF_DEG[:-1], 20.05], MAPS_DEG, "view 3 is at 20°, and so are lines 9 and 13"),
        (None, MAPS_DEG, "13 transforms for the 4 views"),
        (HAADF_DEG, None, "write them to"),
    ],
)
def test_missing_and_ambiguous_angles(tmp_path, shifts, of_lines, of_views, message) -> None:
    xf = write_xf(tmp_path / "h.xf", shifts, of_lines)
    series = write_map(tmp_path / "Ni.mrc", MAPS_DEG if of_views is None else of_views)
    if of_views is None:
        Path(f"{series}.mdoc").unlink()
    line = failure("xform", "--linear", "--xf", xf, series, tmp_path / "out.mrc")
    assert message in line
    assert str(xf) in line
    assert not (tmp_path / "out.mrc").exists()


def test_as_many_transforms_of_other_tilts_are_doubtful(tmp_path, shifts) -> None:
    """They are taken by place, as ever, but not in silence."""
    xf = write_xf(tmp_path / "h.xf", shifts[:4], HAADF_DEG[:4])
    series = write_map(tmp_path / "Ni.mrc")
    run = etcli("xform", "--linear", "--xf", xf, series, tmp_path / "out.mrc")
    assert "WARNING: xform - " in run.err
    assert "in the order of the views" in run.err
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "out.mrc"), moved(mrcfile.read(series), shifts[:4]))
    (tmp_path / "t.txt").write_text("-60\n-50\n-40\n-30\n")
    options = "--xf", xf, "--xf-tilts", tmp_path / "t.txt"
    assert "view 2 is at -10°" in failure("xform", "--linear", *options, series, tmp_path / "out.mrc")


def test_counts_stay_positive_and_are_kept(tmp_path) -> None:
    series = write_map(tmp_path / "Ni.mrc", more="Values = counts\n")
    turned = "0.9986295 0.052336 -0.052336 0.9986295 1.3 -0.4\n" * 4  # 3 deg
    (tmp_path / "h.xf").write_text(turned)
    run = etcli("xform", "--linear", "--xf", tmp_path / "h.xf", series, tmp_path / "linear.mrc")
    assert "WARNING" not in run.err
    before, after = mrcfile.read(series), mrcfile.read(tmp_path / "linear.mrc")
    assert after.min() == 0
    assert after.sum() == pytest.approx(before.sum(), rel=0.01)
    run = etcli("xform", "--xf", tmp_path / "h.xf", series, tmp_path / "cubic.mrc")
    assert "WARNING: xform - " in run.err
    assert "--linear" in run.err
    assert mrcfile.read(tmp_path / "cubic.mrc").min() < 0
    for name in ("linear.mrc", "cubic.mrc"):
        assert told(tmp_path / name) == NICKEL | {"values": "interpolated counts"}


def test_all_maps_of_a_specimen_at_once(tmp_path, shifts) -> None:
    xf = write_xf(tmp_path / "h.xf", shifts, HAADF_DEG)
    parts = {"Ni": "", "Ni_train": "Part = train\n", "Co": ""}
    names = [
        write_map(tmp_path / f"a_{name}.mrc", element=name[:2], seed=k, more=more)
        for k, (name, more) in enumerate(parts.items())
    ]
    total = write_map(tmp_path / "a_sum.mrc", element="", seed=9, more="Values = counts\n")
    run = etcli("xform", "--linear", "--xf", xf, *names, total, tmp_path / "out.mrc")
    assert run.err.count("4 of 13 transforms are used, by tilt angle") == 1
    for source, name in zip([*names, total], [*parts, "sum"], strict=True):
        found = tmp_path / f"out_{name}.mrc"
        np.testing.assert_array_equal(mrcfile.read(found), moved(mrcfile.read(source), shifts[2::3]))
        assert Path(f"{found}.mdoc").is_file()
    train = NICKEL | {"part": "train", "values": "interpolated counts"}
    assert told(tmp_path / "out_Ni_train.mrc") == train
    assert told(tmp_path / "out_sum.mrc") == {"values": "interpolated counts"}
    # one of them cannot be transformed: none appears
    write_map(names[2], [0, 5], element="Co")
    assert "view 2 is at 5°" in failure("-q", "xform", "--xf", xf, "--linear", *names, tmp_path / "no.mrc")
    assert not list(tmp_path.glob("no*"))


def test_parts_of_counts_are_drawn_before_interpolation(tmp_path) -> None:
    """They add up to the map in every pixel, as interpolation is linear, and are independent."""
    names = [write_map(tmp_path / f"a_{element}.mrc", element=element) for element in ("Ni", "Co")]
    (tmp_path / "h.xf").write_text("0.9986295 0.052336 -0.052336 0.9986295 1.3 -0.4\n" * 4)
    xf = ("--linear", "--xf", tmp_path / "h.xf")
    etcli("xform", *xf, "--parts", *names, tmp_path / "b.mrc")
    for element in ("Ni", "Co"):
        whole, train, test = (
            mrcfile.read(tmp_path / f"b_{element}{part}.mrc") for part in ("", "_train", "_test")
        )
        np.testing.assert_allclose(train + test, whole, atol=1e-5)
        assert train.sum() == pytest.approx(0.8 * whole.sum(), rel=0.08)  # of 367 counts
        assert told(tmp_path / f"b_{element}_test.mrc") == NICKEL | {
            "element": element,
            "part": "test",
            "values": "interpolated counts",
        }
    # both maps have the same counts here, but not the same parts
    parts = [mrcfile.read(tmp_path / f"b_{element}_train.mrc") for element in ("Ni", "Co")]
    assert (parts[0] != parts[1]).any()
    one = tmp_path / "b_Ni.mrc"
    assert "no whole counts" in failure("xform", *xf, "--parts", one, tmp_path / "c.mrc")
    part = write_map(tmp_path / "p.mrc", more="Part = train\n")
    assert "is a part of the counts already" in failure("xform", *xf, "--parts", part, tmp_path / "c.mrc")
    line = failure("xform", *xf[1:], "--parts", names[0], tmp_path / "c.mrc", status=2)
    assert "which need --linear" in line
    line = failure("xform", *xf, "--mode", 1, names[0], tmp_path / "c.mrc", status=2)
    assert "--mode 1 would round interpolated counts" in line


def test_names_that_cannot_be_told_apart(tmp_path, shifts) -> None:
    xf = write_xf(tmp_path / "h.xf", shifts, HAADF_DEG)
    (tmp_path / "b").mkdir()
    pair = write_map(tmp_path / "Ni.mrc"), write_map(tmp_path / "b" / "Ni.mrc")
    out = tmp_path / "out.mrc"
    assert "would both become" in failure("xform", "--linear", "--xf", xf, *pair, out, status=2)
    assert "streams" in failure("xform", "--linear", "--xf", xf, *pair, "-", status=2)


def test_stack_and_bin_sum_counts(tmp_path) -> None:
    """As few counts remain few counts; what else there is to know of a map stays with it."""
    twice = write_map(tmp_path / "Ni.mrc", [*MAPS_DEG, MAPS_DEG[0]], more="Values = counts\n")
    run = etcli("stack", "--crop", "3-18,1-24", twice, tmp_path / "s.mrc")
    assert "sum of frames" in run.err
    before, joined = mrcfile.read(twice), mrcfile.read(tmp_path / "s.mrc")
    np.testing.assert_array_equal(joined[0], (before[0] + before[4])[:, 2:18])
    etcli("bin", tmp_path / "s.mrc", tmp_path / "b.mrc")
    np.testing.assert_array_equal(
        mrcfile.read(tmp_path / "b.mrc"), joined.reshape(4, 12, 2, 8, 2).sum((2, 4))
    )
    assert told(tmp_path / "b.mrc") == NICKEL | {"values": "counts"}
    assert "map          Ni, K, counts, sensitivity 0.25" in etcli("info", tmp_path / "b.mrc").out
    etcli("bin", "--method", "mean", tmp_path / "s.mrc", tmp_path / "m.mrc")
    assert told(tmp_path / "m.mrc") == NICKEL | {"values": "mean of counts per pixel"}
    etcli("filter", tmp_path / "s.mrc", tmp_path / "f.mrc")
    assert told(tmp_path / "f.mrc") == NICKEL | {"values": "counts, filtered"}
    etcli("stack", "--scale", "0,9", tmp_path / "s.mrc", tmp_path / "i.mrc")
    assert told(tmp_path / "i.mrc") == NICKEL | {"values": "counts, scaled"}
    cobalt = write_map(tmp_path / "Co.mrc", element="Co")
    assert "is a map of Co, but" in failure("stack", tmp_path / "m.mrc", cobalt, tmp_path / "no.mrc")
    part = write_map(tmp_path / "Ni_train.mrc", more="Part = train\n")
    assert "is a map of Ni train, but" in failure("stack", tmp_path / "m.mrc", part, tmp_path / "no.mrc")


def test_images_that_are_no_maps_are_as_before(tmp_path) -> None:
    series = write_map(tmp_path / "a.mrc", element="")
    etcli("bin", series, tmp_path / "b.mrc")
    expected = mrcfile.read(series).reshape(4, 12, 2, 10, 2).mean((2, 4))
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "b.mrc"), expected)
    assert told(tmp_path / "b.mrc") is None
