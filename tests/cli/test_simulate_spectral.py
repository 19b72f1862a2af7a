"""``etcli simulate spectral``: which files appear, what they hold, and what is refused."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli as package
from etcli.commands.simulate.spectral import command
from etcli.core.simulate.elemental_specimens import SPECIMENS
from tests.files import etcli, failure

SMALL = ("--size", 32, "--range", -60, 60, 10, "--seed", 2)


def simulate(folder: Path, *options: object, specimen: str = "particles") -> Path:
    etcli("simulate", "spectral", specimen, *SMALL, *options, folder / "a.mrc")
    return folder / "a.mrc"


def told(path: Path) -> dict:
    facts: dict = json.loads(etcli("info", "--json", path).out)
    return facts


def test_every_specimen_can_be_named() -> None:
    (argument,) = (param for param in command.params if param.name == "specimen")
    assert list(argument.type.choices) == list(SPECIMENS)


def test_series_maps_and_truth(tmp_path) -> None:
    truth = ("--write-truth", tmp_path / "t.mrc", "--write-truth", tmp_path / "t.json")
    output = simulate(tmp_path, "--counts", 1.5, "--shadow", 0.3, *truth)
    known = json.loads((tmp_path / "t.json").read_text())
    assert known["specimen"] == "particles"
    assert known["elements"] == ["Ni", "Co", "Pt", "Cr"]
    assert known["map_views"] == [1, 4, 7, 10, 13]
    haadf = told(output)
    assert haadf["size"] == [32, 25, 13]
    assert (haadf["axis_deg"], haadf["voltage_kv"], haadf["pixel_A"]) == (0, 200, 10)
    for element in known["elements"]:
        found = told(tmp_path / f"a_{element}.mrc")
        assert found["size"] == [32, 25, 5]
        assert found["tilt_deg"] == [-60, -30, 0, 30, 60]
        assert found["map"] == {
            "element": element,
            "sensitivity": pytest.approx(known["sensitivity"][element], rel=1e-6),
            "values": "counts",
        }
        counts, density = (
            mrcfile.read(tmp_path / f"a_{element}.mrc"),
            mrcfile.read(tmp_path / f"t_{element}.mrc"),
        )
        assert density.shape == (20, 25, 32)
        assert told(tmp_path / f"t_{element}.mrc")["map"] == {"element": element, "values": "density"}
        assert (counts % 1 == 0).all()
        expected = np.array(known["gain"]) * known["sensitivity"][element] * density.sum()
        assert (abs(counts.sum((1, 2)) - expected) < 5 * np.sqrt(expected) + 0.02 * expected).all()
    assert known["gain"][0] == pytest.approx(0.7)


def test_maps_at_chosen_tilts_of_chosen_elements(tmp_path) -> None:
    chosen = ("--maps-range", -40, 40, 20, "--maps", "Ni,Cr", "--margin", "3px")
    output = simulate(tmp_path, *chosen, "--no-noise")
    assert sorted(path.name for path in tmp_path.glob("*.mrc")) == ["a.mrc", "a_Cr.mrc", "a_Ni.mrc"]
    nickel = told(tmp_path / "a_Ni.mrc")
    assert nickel["tilt_deg"] == [-40, -20, 0, 20, 40]
    assert nickel["size"] == [38, 31, 5]
    assert nickel["map"]["values"] == "expected counts"
    assert told(output)["size"] == [38, 31, 13]


def test_true_volumes_are_as_wide_as_views(tmp_path) -> None:
    simulate(tmp_path, "--margin", "3px", "--write-truth", tmp_path / "wide.mrc")
    simulate(tmp_path, "--write-truth", tmp_path / "t.mrc")
    wide, own = (mrcfile.read(tmp_path / f"{name}_Ni.mrc") for name in ("wide", "t"))
    np.testing.assert_array_equal(wide, np.pad(own, [(0, 0), (3, 3), (3, 3)]))


def test_volumes_of_another_size_are_compared_with_the_truth(tmp_path) -> None:
    """Both have the same rotation centre, whatever margin, thickness and slices the volumes have."""
    simulate(tmp_path, "--margin", "2px", "--no-noise", "--write-truth", tmp_path / "t.mrc")
    how = (
        "--method",
        "sirt",
        "--nonnegative",
        "--background",
        "none",
        "--thickness",
        "30px",
        "--slices",
        "4-24",
    )
    etcli("recon", "-q", *how, tmp_path / "a.mrc", tmp_path / "v.mrc")
    run = etcli("compare", "--align", "--fit-scale", "--json", tmp_path / "v.mrc", tmp_path / "t_Ni.mrc")
    found = json.loads(run.out)
    assert found["part_a"]["z"] == [6, 25] and found["part_b"]["z"] == [1, 20]
    assert found["part_b"]["y"] == [4, 24]
    simulate(tmp_path, "--maps", "Ni", "--no-noise", "--counts", 50, "--maps-range", -60, 60, 10)
    etcli("recon", "-q", *how[:-2], tmp_path / "a_Ni.mrc", tmp_path / "v.mrc")
    run = etcli("compare", "--align", "--fit-scale", "--json", tmp_path / "v.mrc", tmp_path / "t_Ni.mrc")
    found = json.loads(run.out)
    assert max(abs(found[f"shift_{axis}_px"]) for axis in "xyz") < 0.1
    assert found["nrmse"] < 0.5
    # what the volume shows, also of one that was computed in memory
    shown = {"element": "Ni", "values": "counts a voxel"}
    assert told(tmp_path / "v.mrc")["map"] == shown
    volume = package.reconstruct(package.read(tmp_path / "a_Ni.mrc"), method="fbp").volume
    package.write(volume, tmp_path / "m.mrc")
    assert told(tmp_path / "m.mrc")["map"] == shown


def test_the_seed_makes_the_bytes(tmp_path) -> None:
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        simulate(
            tmp_path / name, "--drift", "2px", "--gain-spread", 0.1, "--spectra", tmp_path / name / "s.npz"
        )
    for name in ("a.mrc", "s.npz"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


@pytest.mark.parametrize("ending", ["npz", "hspy"])
def test_spectra_in_place_of_maps(tmp_path, ending) -> None:
    if ending == "hspy":
        pytest.importorskip("rsciio")
    simulate(tmp_path, "--counts", 4, "--spectra", tmp_path / f"s.{ending}", specimen="needle")
    assert not list(tmp_path.glob("a_*"))
    if ending == "npz":
        with np.load(tmp_path / "s.npz") as found:
            counts, energy_keV, tilt_deg = found["counts"], found["energy_keV"], found["tilt_deg"]
            assert found["pixel_nm"] == 1
    else:
        from rsciio.hspy import file_reader

        (signal,) = file_reader(str(tmp_path / "s.hspy"))
        counts = signal["data"][:, ::-1]
        axes = {
            axis["name"]: axis["offset"] + axis["scale"] * np.arange(axis["size"]) for axis in signal["axes"]
        }
        energy_keV, tilt_deg = axes["Energy"], axes["tilt"]
        assert signal["metadata"]["Acquisition_instrument"]["TEM"]["beam_energy"] == 200
    assert counts.dtype == np.uint8
    assert counts.shape == (5, 32, 32, 256)
    np.testing.assert_allclose(tilt_deg, [-60, -30, 0, 30, 60])
    np.testing.assert_allclose(energy_keV[[0, -1]], [0.02, 10.22])
    # the nickel particle is in the upper half, the one of cobalt and chromium in the lower half
    chromium = abs(energy_keV - 5.41) < 0.1
    assert counts[:, :16, :, chromium].sum() > 1.3 * counts[:, 16:, :, chromium].sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--maps", "Ni,Fe"), "--maps Fe: the specimen particles has Ni, Co, Pt, Cr"),
        (("--maps-range", -45, 45, 15), "--maps-range: view 1 is at -45°, and the nearest view is 2 at -50°"),
        (("--spectra", "s.txt"), "s.txt: spectra are written as .npz or .hspy"),
        (("--spectra", "s.npz", "--maps", "Ni"), "leave out --maps"),
        (("--no-noise", "--mode", 1), "--mode 1 writes counts; leave out --no-noise"),
        (("--write-truth", "t.xyz"), "--write-truth t.xyz: writes .json"),
        (("--spectra", "s.npz", "--channels", 64), "the channels end below 7 keV"),
        (("--size", 20), "a specimen of 20 px shows nothing"),
    ],
)
def test_what_cannot_be(tmp_path, options, message) -> None:
    line = failure("simulate", "spectral", "particles", *SMALL, *options, "a.mrc", status=2, cwd=tmp_path)
    assert message in line
    assert not list(tmp_path.iterdir())


def test_spectra_that_do_not_fit(tmp_path) -> None:
    line = failure(
        *("--memory", "1M", "simulate", "spectral", "needle", *SMALL, "--spectra", "s.npz", "a.mrc"),
        status=2,
        cwd=tmp_path,
    )
    assert "takes 5M of memory" in line


def test_several_outputs_of_one_name(tmp_path) -> None:
    line = failure(
        "simulate", "spectral", "film", *SMALL, "--write-truth", "a.mrc", "a.mrc", status=2, cwd=tmp_path
    )
    assert "a_Pd.mrc" in line
    assert not list(tmp_path.iterdir())
