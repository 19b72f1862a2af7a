"""``etcli fuse`` on maps of which everything is known, and on what is no map."""

import json
import shutil
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli as package
from etcli.core.errors import DataError
from tests.files import etcli, failure
from tests.unit.test_fusion_haadf import HAADF_TILTS, SCALES, TILTS, measured, specimen

PIXEL_A = 10.0


def write(path: Path, views: np.ndarray, tilt_deg: np.ndarray, pixel_A: float = PIXEL_A) -> Path:
    """Write views with their angles beside them."""
    with (
        warnings.catch_warnings(action="ignore"),  # of NaN
        mrcfile.new(path, np.float32(views), overwrite=True) as mrc,
    ):
        mrc.set_image_stack()
        mrc.voxel_size = pixel_A
    np.savetxt(path.with_suffix(".rawtlt"), tilt_deg, fmt="%.4f")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Maps and HAADF views of two elements."""
    path = tmp_path_factory.mktemp("maps")
    maps = measured(specimen())
    for name, counts in zip(maps.names, maps.counts, strict=True):
        write(path / f"map_{name}.mrc", counts, TILTS)
    write(path / "haadf.mrc", maps.haadf_views, HAADF_TILTS)
    return path


@pytest.fixture
def maps(folder: Path, tmp_path: Path) -> list[Path]:
    """Copies of the maps, and of HAADF, to spoil."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return [tmp_path / name for name in ("map_Ni.mrc", "map_Pt.mrc", "haadf.mrc")]


@pytest.fixture(scope="module")
def fused(folder: Path) -> tuple[Path, dict, str]:
    """A run with all outputs: its folder, numbers and messages."""
    out = folder / "out"
    out.mkdir()
    run = etcli(
        *(
            "fuse",
            "--json",
            "-v",
            "--haadf",
            folder / "haadf.mrc",
            "--fractions",
            "--k-factors",
            "Ni=2,Pt=2.5",
        ),
        *("--plot", out / "elements.png", folder / "map_Ni.mrc", folder / "map_Pt.mrc", out / "vol.mrc"),
    )
    return out, json.loads(run.out), run.err


def test_volumes_are_counts_of_the_elements(fused):
    out, numbers, _ = fused
    true = specimen()
    for c, name in enumerate(("Ni", "Pt")):
        with mrcfile.open(out / f"vol_{name}.mrc") as mrc:
            assert mrc.is_volume()
            assert mrc.voxel_size.x == PIXEL_A
            label = mrc.get_labels()[-1]
            found = mrc.data.copy()
        assert f"{name}, counts a voxel" in label
        assert "13 views" in label
        assert np.linalg.norm(found - SCALES[c] * true[c]) < 0.35 * np.linalg.norm(SCALES[c] * true[c])
        assert numbers["elements"][name]["counts"] > 0
    assert numbers["haadf"]["kept"]
    assert numbers["size"] == [24, 20, 24]
    assert len(numbers["gains"]) == 13


def test_fractions_are_of_atoms(fused):
    out, *_ = fused
    nickel, platinum = (mrcfile.read(out / f"vol_{name}_fraction.mrc") for name in ("Ni", "Pt"))
    assert nickel[11:13, 9:11, 12:14].max() < 0.2  # the core
    assert platinum[7, 6:14, 7:15].max() < 0.2
    solid = nickel + platinum > 0
    assert (nickel + platinum)[solid] == pytest.approx(1)
    assert not solid[0].any()


def test_info_tells_what_a_volume_shows(fused):
    out, *_ = fused
    told = etcli("info", out / "vol_Ni.mrc", out / "vol_Ni_fraction.mrc").out
    assert "shows        Ni, counts a voxel" in told and "shows        Ni, atomic fraction" in told
    found = json.loads(etcli("info", "--json", out / "vol_Pt.mrc").out)
    assert found["map"] == {"element": "Pt", "values": "counts a voxel"}


def test_it_says_what_it_chose_and_why(fused):
    out, numbers, said = fused
    assert "HAADF is used, weight" in said
    assert "with it; its signal per count, and share: Ni" in said
    few = abs(numbers["better_nats"]["tie"]) < 2 * numbers["chance_nats"]["tie"]
    assert few == ("the counts are too few to tell whether HAADF fits them" in said)
    assert "without a map" in said
    assert "the joint prior of Ni and Pt" in said
    assert "gains of the views from" in said
    assert (out / "elements.png").stat().st_size > 10_000
    assert (out / "vol_rest.mrc").exists() == numbers["rest"]


def test_the_function_gives_the_same(folder, fused):
    out, numbers, _ = fused
    series = {name: package.read(folder / f"map_{name}.mrc") for name in ("Ni", "Pt")}
    with pytest.warns(package.EtcliWarning, match="too few to tell whether HAADF fits them"):
        haadf = package.read(folder / "haadf.mrc")
        result = package.fuse(series, haadf=haadf, k_factors={"Ni": 2.0, "Pt": 2.5})
    assert result.volumes["Ni"].images() == pytest.approx(mrcfile.read(out / "vol_Ni.mrc"), abs=1e-6)
    assert result.fractions["Pt"].images() == pytest.approx(
        mrcfile.read(out / "vol_Pt_fraction.mrc"), abs=1e-5
    )
    assert result.numbers["better_nats"] == pytest.approx(numbers["better_nats"])
    assert (result.rest is not None) == numbers["rest"]
    assert result.volumes["Ni"].frame.n_views == 13


def test_fractions_without_factors_are_said_to_be_standardless(maps):
    *elements, _ = maps
    run = etcli("fuse", "--prior", "tv", "--fractions", *elements, maps[0].with_name("v.mrc"))
    assert "as if all elements were equally sensitive; give --k-factors" in run.err


def test_inputs_that_contradict_each_other_are_refused(maps):
    nickel = maps[0]
    line = failure("fuse", "--haadf", nickel, nickel, nickel.with_name("v.mrc"), status=2)
    assert "is one of the maps; --haadf is for the dark-field series" in line
    series = package.read(nickel)
    with pytest.raises(package.UsageError, match="no maps of elements"):
        package.fuse({})
    with pytest.raises(package.UsageError, match="Ni: give a map and both parts of every element"):
        package.fuse({"Ni": series, "Co": series}, parts={"Co": (series, series)})


def test_parts_beside_the_maps_are_used(maps):
    nickel = maps[0]
    counts = mrcfile.read(nickel)
    for part, share in (("train", 0.75), ("test", 0.25)):
        write(nickel.with_name(f"map_Ni_{part}.mrc"), share * counts, TILTS)
    write(nickel, 1.01 * counts, TILTS)  # fitted: no whole numbers
    run = etcli("fuse", "-v", "--prior", "tv", nickel, nickel.with_name("v.mrc"))
    assert "held-out counts are those of the parts beside the maps" in run.err
    write(nickel, 2 * counts, TILTS)
    assert "in its parts _train and _test; write them anew" in failure(
        "fuse", nickel, nickel.with_name("v.mrc")
    )


def test_interpolated_counts_hold_out_views(maps):
    nickel = maps[0]
    nickel.with_suffix(".xf").write_text("1 0 0 1 0.3 0.2\n" * len(TILTS))
    moved = nickel.with_name("moved_Ni.mrc")
    etcli("xform", "--linear", "--xf", nickel.with_suffix(".xf"), nickel, moved)
    run = etcli("fuse", "--prior", "tv", moved, nickel.with_name("v.mrc"))
    assert "every sixth view is held out" in run.err


def refused(said: str, *arguments: object, status: int = 1) -> None:
    """Check that a run fails in one line that says this, and leaves nothing."""
    output = Path(str(arguments[-1]))
    before = set(output.parent.iterdir())
    assert said in failure("fuse", *arguments, status=status)
    assert set(output.parent.iterdir()) == before


def test_other_shapes_tilts_and_pixels(maps):
    nickel, platinum, haadf = maps
    target = nickel.with_name("v.mrc")
    counts = mrcfile.read(platinum)
    write(platinum, counts[:, 1:], TILTS)
    refused("views of 24 x 19 pixels, but 24 x 20 in", nickel, platinum, target)
    write(platinum, counts, TILTS + 0.5)
    refused("view 1 is at -59.5°, but at -60° in", nickel, platinum, target)
    write(platinum, counts[1:], TILTS[1:])
    refused("12 views, but 13 in", nickel, platinum, target)
    write(platinum, counts, TILTS, pixel_A=20)
    refused("pixels of 20 Å, but 10 Å in", nickel, platinum, target)
    write(haadf, mrcfile.read(haadf), HAADF_TILTS, pixel_A=5)
    refused("pixels of 5 Å, but 10 Å in", "--haadf", haadf, nickel, target)
    write(haadf, mrcfile.read(haadf)[:, :, :-1], HAADF_TILTS)
    refused("views of 23 x 20 pixels, but 24 x 20 in", "--haadf", haadf, nickel, target)


def test_other_orientations(maps):
    nickel = package.read(maps[0])
    euler_deg = np.zeros((len(TILTS), 3))
    euler_deg[:, 0] = 10
    with pytest.raises(DataError, match="but fuse takes one vertical tilt axis"):
        package.fuse({"Ni": nickel.with_orientations(euler_deg, "test")})


def test_what_is_no_count(maps):
    nickel, target = maps[0], maps[0].with_name("v.mrc")
    counts = mrcfile.read(nickel)
    for value, said in (
        (-1, "-1 in view 4, but counts are never negative; give them as recorded"),
        (0.5, "0.5 is no number of counts of Ni; give maps as recorded"),
        (np.nan, "NaN or infinite values in view 4"),
    ):
        spoilt = counts.copy()
        spoilt[3, 10, 12] = value
        write(nickel, spoilt, TILTS)
        refused(said, nickel, target)
    write(nickel, 0 * counts, TILTS)
    refused("no counts of Ni; nothing can be reconstructed", nickel, target)
    write(nickel, counts[3:10], TILTS[3:10])
    refused("7 views; elements are reconstructed from 8 or more", nickel, target)


def test_elements_and_views_without_counts(maps):
    nickel, platinum, _ = maps
    target = nickel.with_name("v.mrc")
    counts = mrcfile.read(nickel)
    write(platinum.with_name("map_Cr.mrc"), 0 * counts, TILTS)
    spoilt = counts.copy()
    spoilt[4] = 0
    write(nickel, spoilt, TILTS)
    run = etcli(
        "fuse", "--json", "--prior", "tv", "--k-factors", "Ni=1,Pt=1,Cr=1", nickel, platinum,
        platinum.with_name("map_Cr.mrc"), target,
    )  # fmt: skip
    numbers = json.loads(run.out)
    assert "no counts of Cr in any view; left out, without a volume" in run.err
    assert "no counts of Ni in view 5, at -20°" in run.err
    assert list(numbers["elements"]) == ["Ni", "Pt"] and numbers["n_views"] == 12
    assert (np.array(numbers["gains"]) > 0.5).all()
    assert not target.with_name("v_Cr.mrc").exists()
    spoilt[:6] = 0
    write(nickel, spoilt, TILTS)
    refused("7 views with counts; elements are reconstructed from 8 or more", nickel, platinum, target)


def test_haadf_at_other_tilts(maps):
    nickel, _, haadf = maps
    write(haadf, mrcfile.read(haadf), HAADF_TILTS + 1.1)
    refused("have no tilt in common; check the angles", "--haadf", haadf, nickel, nickel.with_name("v.mrc"))


def test_names_of_elements(maps):
    nickel, platinum, _ = maps
    target = nickel.with_name("v.mrc")
    other = nickel.with_name("other.mrc")
    shutil.copy(nickel, other)
    shutil.copy(nickel.with_suffix(".rawtlt"), other.with_suffix(".rawtlt"))
    refused("does not tell its element; name the elements", other, platinum, target, status=2)
    refused("'Xy' is no element", "--elements", "Xy,Pt", other, platinum, target, status=2)
    refused("names 1 elements for 2 maps", "--elements", "Ni", other, platinum, target, status=2)
    refused("are both of Pt; name the elements", "--elements", "Pt,Pt", other, platinum, target, status=2)
    part = nickel.with_name("map_Ni_train.mrc")
    shutil.copy(nickel, part)
    shutil.copy(nickel.with_suffix(".rawtlt"), part.with_suffix(".rawtlt"))
    refused("is a part of a map; give the whole one", part, target, status=2)


def test_k_factors(maps):
    nickel, platinum, _ = maps
    target = nickel.with_name("v.mrc")
    given = ("--fractions", "--k-factors")
    refused(
        "no factor of Pt; give one for each of Ni, Pt", *given, "Ni=1", nickel, platinum, target, status=2
    )
    refused("no map of Co", *given, "Ni=1,Co=1", nickel, target, status=2)
    refused("'Ni=0' is not an element and its factor", *given, "Ni=0", nickel, target, status=2)


def test_too_little_memory_and_existing_files(maps):
    nickel, target = maps[0], maps[0].with_name("v.mrc")
    little = ("--memory", "1M", "--width", "80px")
    refused("of memory, but only 1M are allowed; allow more", *little, nickel, target, status=2)
    write(target.with_name("v_Ni.mrc"), np.zeros((2, 3, 4)), TILTS[:2])
    refused("was not written by etcli", nickel, target, status=2)
    refused("end its name in .png", "--plot", "p.jpg", nickel, target, status=2)


def test_a_film_that_fills_the_views_is_named(maps):
    nickel = maps[0]
    counts = np.random.default_rng(0).poisson(2, (len(TILTS), 16, 24))
    write(nickel, counts, TILTS)
    said = etcli("fuse", "--prior", "tv", "--thickness", "8px", nickel, nickel.with_name("v.mrc")).err
    assert "the specimen goes on beyond the views" in said
    assert "give a larger --width, up to 62px, and --haadf" in said


def test_python_checks_too():
    counts = np.full((10, 16, 16), 0.5, np.float32)
    series = package.TiltSeries.of(counts, np.linspace(-60, 60, 10))
    with pytest.raises(DataError, match=r"0.5 is no number of counts of Ni"):
        package.fuse({"Ni": series})
