"""``etcli mesh``: files that other programs read, numbers, and errors."""

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from etcli import Session, Volume, mesh
from etcli.core.errors import ConvergenceError, UsageError
from tests.files import etcli, failure
from tests.surfaces import ball, faces_at_edges, read_stl, size


def write_volume(path: Path, values: np.ndarray, pixel_A: float = 20.0) -> Path:
    """Write a volume; a pixel size of 0 is none."""
    with mrcfile.new(path) as mrc:
        mrc.set_data(values)
        mrc.voxel_size = pixel_A
        mrc.set_volume()
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return the file of a ball with a radius of 8 voxels of 2 nm."""
    return write_volume(tmp_path / "ball.mrc", ball(8, 24))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Return the file of two labels that touch, 1 and 4, of 2 nm voxels."""
    values = (ball(8, 24) > 0.5).astype(np.uint16)
    values[:, :, 12:] *= 4
    return write_volume(tmp_path / "labels.mrc", values)


def test_stl_is_closed_in_nm_with_outward_normals(volume: Path, tmp_path: Path) -> None:
    """Area and volume of what is read are those printed; the centre is that of the volume."""
    numbers = json.loads(etcli("mesh", "--json", "--level", 0.5, volume, tmp_path / "o.stl").out)
    header, corners, normals = read_stl(tmp_path / "o.stl")
    assert header.endswith("unit nm")
    assert not header.startswith("solid")
    assert set(faces_at_edges(corners)) == {2}
    assert size(corners) == pytest.approx((numbers["surface_nm2"], numbers["volume_nm3"]), rel=1e-5)
    assert -0.01 < numbers["volume_nm3"] / (4 / 3 * np.pi * 16**3) - 1 < 0
    np.testing.assert_allclose(corners.mean(axis=(0, 1)), 2 * 0.3, atol=0.1)  # the offset of the ball
    assert ((corners.mean(axis=1) - 0.6) * normals).sum(axis=1).min() > 0
    assert (numbers["faces"], numbers["pieces"], numbers["open_edges"]) == (len(corners), 1, 0)


def test_reduced_ply(volume: Path, tmp_path: Path) -> None:
    """The header tells how many vertices and triangles follow, and their unit."""
    numbers = json.loads(
        etcli(
            "mesh", "--json", "--level", 0.5, "--reduce", 0.2, "--unit", "A", volume, tmp_path / "o.ply"
        ).out
    )
    raw = (tmp_path / "o.ply").read_bytes()
    end = raw.index(b"end_header\n") + len(b"end_header\n")
    lines = raw[:end].decode().splitlines()
    n_vertices, n_faces = (int(line.split()[2]) for line in lines if line.startswith("element"))
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert lines[2].endswith("unit A")
    assert (n_vertices, n_faces) == (numbers["vertices"], numbers["faces"])
    assert len(raw) == end + 12 * n_vertices + 13 * n_faces
    places = np.frombuffer(raw, "<f4", 3 * n_vertices, end).reshape(-1, 3)
    assert abs(np.linalg.norm(places - 6, axis=1) - 160).max() < 5
    assert numbers["volume_A3"] == pytest.approx(numbers["unreduced"]["volume_A3"], rel=1e-9)
    assert numbers["faces"] == pytest.approx(0.2 * numbers["unreduced"]["faces"], abs=2)


def test_ply_of_labels_has_their_colours(labels: Path, tmp_path: Path) -> None:
    """Each vertex has the colour of its label, and the label."""
    etcli("mesh", labels, tmp_path / "o.ply")
    raw = (tmp_path / "o.ply").read_bytes()
    end = raw.index(b"end_header\n") + len(b"end_header\n")
    (n,) = (int(line.split()[2]) for line in raw[:end].decode().splitlines() if "element vertex" in line)
    kind = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("colour", "u1", 3), ("label", "<i4")])
    vertices = np.frombuffer(raw, kind, n, end)
    assert set(vertices["label"].tolist()) == {1, 4}
    first, second = (np.unique(vertices["colour"][vertices["label"] == k], axis=0) for k in (1, 4))
    assert len(first) == len(second) == 1
    assert (first != second).any()
    assert vertices["x"][vertices["label"] == 1].max() < vertices["x"][vertices["label"] == 4].max()


def test_obj_has_a_group_for_each_label(labels: Path, tmp_path: Path) -> None:
    """Triangles are counted from vertex 1, and each group is closed by itself."""
    run = etcli("mesh", labels, tmp_path / "o.obj")
    assert "2 closed pieces of 2 labels" in run.out
    assert "taken for labels" in run.err
    vertices, groups = [], {}
    for line in (tmp_path / "o.obj").read_text().splitlines():
        kind, *words = line.split()
        if kind == "v":
            vertices.append([float(word) for word in words])
        elif kind == "g":
            groups[words[0]] = []
        elif kind == "f":
            groups[list(groups)[-1]].append([int(word) - 1 for word in words])
    assert list(groups) == ["label_1", "label_4"]
    for faces in groups.values():
        assert set(faces_at_edges(np.array(vertices)[faces])) == {2}


def test_labels_with_a_level_are_a_volume(labels: Path, tmp_path: Path) -> None:
    """At 0.5 two labels that touch have one surface."""
    assert "1 closed pieces" in etcli("mesh", "--level", 0.5, labels, tmp_path / "o.stl").out


def test_bodies_of_two_levels_are_meshed_at_their_own(tmp_path: Path) -> None:
    """Without labels they get one level and a warning; with labels the areas and volumes of `measure`."""
    values = np.maximum(np.roll(ball(8, 40), -9, 2), np.float32(0.45) * np.roll(ball(7, 40), 9, 2))
    volume, labels = write_volume(tmp_path / "v.mrc", gaussian_filter(values, 1)), tmp_path / "l.mrc"
    assert "give the result as --labels" in etcli("mesh", volume, tmp_path / "o.stl").err
    etcli("segment", volume, labels)
    numbers = json.loads(etcli("mesh", "--json", "--labels", labels, volume, tmp_path / "b.ply").out)
    measured = json.loads(etcli("measure", "--json", "--csv", tmp_path / "m.csv", volume, labels).out)
    assert (numbers["labels"], numbers["pieces"], numbers["open_edges"]) == (2, 2, 0)
    assert numbers["volume_nm3"] == pytest.approx(measured["volume_nm3"], rel=1e-3)
    assert numbers["unsmoothed"]["surface_nm2"] == pytest.approx(measured["surface_nm2"], rel=1e-4)
    assert numbers["surface_nm2"] == pytest.approx(measured["surface_nm2"], rel=0.02)
    contradiction = failure("mesh", "--level", 1, "--labels", labels, volume, tmp_path / "n.stl", status=2)
    assert "leave out the level or the labels" in contradiction


def test_one_level_has_no_warning(volume: Path, tmp_path: Path) -> None:
    """Two balls that are alike."""
    values = np.maximum(np.roll(ball(8, 40), -9, 2), np.roll(ball(7, 40), 9, 2))
    alike = write_volume(tmp_path / "v.mrc", gaussian_filter(values, 1))
    assert "WARNING" not in etcli("mesh", alike, tmp_path / "o.stl").err


def test_labels_that_look_like_a_volume(tmp_path: Path) -> None:
    """Shells inside each other are grey values, unless the file is given as its own labels."""
    shells = write_volume(tmp_path / "shells.mrc", np.rint(9 * gaussian_filter(ball(9, 32), 2)))
    assert json.loads(etcli("mesh", "--json", shells, tmp_path / "a.stl").out)["labels"] is None
    own = json.loads(etcli("mesh", "--json", "--labels", shells, shells, tmp_path / "b.stl").out)
    assert own["labels"] == 9


def test_history_tells_labels(tmp_path: Path) -> None:
    """A labels file of `segment` is one, also where its values could be grey; its numbers may be large."""
    etcli("segment", "--split", "none", write_volume(tmp_path / "v.mrc", ball(8, 24)), tmp_path / "l.mrc")
    with mrcfile.mmap(tmp_path / "l.mrc", "r+") as mrc:
        mrc.data[:] = np.where(mrc.data == 0, 1, 0)  # 0 is rare now
        mrc.data[0] = 9
    numbers = json.loads(etcli("mesh", "--json", tmp_path / "l.mrc", tmp_path / "o.stl").out)
    assert numbers["labels"] == 2


def test_numbers_of_labels_may_be_large(tmp_path: Path) -> None:
    """Memory is for the labels that there are, and all digits of their numbers are kept."""
    values = (ball(8, 24) > 0.5) * np.float32(30_000_000)
    values[:, :, 12:] /= 2
    labels = write_volume(tmp_path / "l.mrc", values)
    etcli("mesh", labels, tmp_path / "o.obj")
    groups = [line for line in (tmp_path / "o.obj").read_text().splitlines() if line.startswith("g ")]
    assert groups == ["g label_15000000", "g label_30000000"]


def test_volumes_of_both_orders_of_axes_have_the_same_surface(tmp_path: Path) -> None:
    """Sections along z, or along y as IMOD has them, also where labels have the other order."""
    body = np.zeros((16, 20, 24), np.float32)
    body[3:9, 4:15, 5:18] = 1  # no two sides and distances are alike
    etcli("project", "-q", "--range", -60, 60, 10, write_volume(tmp_path / "v.mrc", body), tmp_path / "s.mrc")
    recon = ("recon", "-q", "--iterations", 5, "--thickness", "16px", tmp_path / "s.mrc")
    etcli(*recon, tmp_path / "z.mrc")
    etcli(*recon, "--orient", "imod", tmp_path / "i.mrc")
    etcli("segment", "-q", tmp_path / "z.mrc", tmp_path / "zl.mrc")
    etcli("segment", "-q", tmp_path / "i.mrc", tmp_path / "il.mrc")
    places = []
    for volume, labels in (("z", "z"), ("i", "i"), ("z", "i"), ("i", "z")):
        etcli("mesh", tmp_path / f"{volume}.mrc", tmp_path / "o.stl", "--labels", tmp_path / f"{labels}l.mrc")
        _, corners, _ = read_stl(tmp_path / "o.stl")
        places.append(np.sort(corners.reshape(-1, 3), axis=0))
    assert places[0].mean(axis=0) == pytest.approx([-1, -1, -4], abs=1.5)
    for other in places[1:]:
        np.testing.assert_allclose(other, places[0], atol=0.02)


@pytest.mark.parametrize("kind", ["ball", "noise", "labels"])
def test_memory_is_that_which_is_told(kind: str) -> None:
    """What is refused would need nearly that much; what is allowed takes no more."""
    n = 48
    values = np.random.default_rng(0).normal(size=(n, n, n)).astype(np.float32)
    values = ball(15, n) if kind == "ball" else gaussian_filter(values, 1.5)
    if kind == "labels":
        values = label(values > 0.1)[0].astype(np.int32)
    level = None if kind == "labels" else float(values.std() / 4)
    mesh(Volume(ball(5, 16), pixel_A=10), level=0.5)  # what is imported is not counted
    with pytest.raises(UsageError, match=r"triangles takes \d+M of memory") as refusal:
        mesh(Volume(values, pixel_A=10), level=level, session=Session(memory=8 * 4 * n**3))
    (told,) = re.findall(r"takes (\d+)M", str(refusal.value))
    high = int(told) << 20
    tracemalloc.start()
    mesh(Volume(values, pixel_A=10), level=level, session=Session(memory=high))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.4 * high < peak < high


def test_level_of_the_edges_is_the_default(volume: Path, tmp_path: Path) -> None:
    """It is printed, and half of the contrast for a sharp ball."""
    run = etcli("mesh", "--json", volume, tmp_path / "o.stl")
    assert 0.4 < json.loads(run.out)["level"] < 0.6
    assert "the level of its edges" in run.err


def test_open_surface_has_no_volume(tmp_path: Path) -> None:
    """A rod through the volume is open at its ends, and closed by default."""
    rod = write_volume(tmp_path / "rod.mrc", np.repeat(ball(6, 20)[10:11], 12, axis=0))
    run = etcli("mesh", "--open", "--level", 0.5, rod, tmp_path / "o.stl")
    assert "open at" in run.out
    assert "volume" not in run.out
    numbers = json.loads(etcli("mesh", "--json", "--open", "--level", 0.5, rod, tmp_path / "o.stl").out)
    assert numbers["volume_nm3"] is None
    assert numbers["open_edges"] > 0
    closed = json.loads(etcli("mesh", "--json", "--level", 0.5, rod, tmp_path / "o.stl").out)
    assert closed["open_edges"] == 0
    cylinder = np.pi * 12**2 * 24
    assert -0.02 < closed["volume_nm3"] / cylinder - 1 < 0.001


def test_unknown_pixel_size(tmp_path: Path) -> None:
    """Lengths are pixels, with a warning; a unit cannot be had."""
    volume = write_volume(tmp_path / "v.mrc", ball(8, 24), 0.0)
    run = etcli("mesh", "--level", 0.5, volume, tmp_path / "o.stl")
    assert "px²" in run.out
    assert "pixel size is not known; lengths are in pixels" in run.err
    assert "give px" in failure("mesh", "--level", 0.5, "--unit", "nm", volume, tmp_path / "o.stl", status=2)


def test_errors_say_what_to_do(volume: Path, labels: Path, tmp_path: Path) -> None:
    """One line each, and no file."""
    out = tmp_path / "none.stl"
    assert "nothing is brighter than 3" in failure("mesh", "--level", 3, volume, out, status=2)
    assert "everything is brighter than -1" in failure("mesh", "--level", -1, volume, out, status=2)
    assert "end its name in .stl" in failure("mesh", volume, tmp_path / "none.vtk", status=2)
    constant = write_volume(tmp_path / "constant.mrc", np.ones((8, 8, 8), np.float32))
    assert "all values are 1" in failure("mesh", constant, out)
    holes = ball(8, 24)
    holes[3, 3, 3] = np.nan
    with pytest.warns(RuntimeWarning, match="NaN"):
        with_holes = write_volume(tmp_path / "nan.mrc", holes)
    assert "NaN" in failure("mesh", with_holes, out)
    assert "steps of voxels" in etcli("mesh", "--smooth", 0, labels, tmp_path / "o.stl").err
    assert not out.exists()


@pytest.mark.parametrize(("reduce", "advice"), [(None, "give --smooth 0"), (0.5, "leave out --reduce")])
def test_advice_for_open_surfaces(reduce: float | None, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was given can be left out."""
    torn = lambda surface, _: replace(surface, faces=surface.faces[1:])  # noqa: E731
    monkeypatch.setattr("etcli.pipeline.mesh.smoothed", torn)
    with pytest.raises(ConvergenceError, match=advice):
        mesh(Volume(ball(5, 16), pixel_A=10), level=0.5, reduce=reduce)
