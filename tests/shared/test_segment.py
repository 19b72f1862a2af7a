"""``etcli segment`` of reconstructions whose truth is known: bodies of one material, particles of two."""

import csv
import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli as library
from tests.files import etcli

SIRT = ("--method", "sirt", "--iterations", "30", "--nonnegative")


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    found = shared_data / "measure"
    if not found.is_dir():
        pytest.skip(f"no shared data at {found}")
    return found


def test_bodies_of_one_material_have_their_volume_within_1_percent_and_within_0_7_by_a_twin(
    folder: Path, tmp_path: Path
) -> None:
    true = json.loads((folder / "network_truth.json").read_text())["solid_volume_nm3"]
    series, volume = folder / "network_ts.mrc", tmp_path / "volume.mrc"
    etcli("recon", *SIRT, series, volume)
    errors = {}
    for name, options in {
        "otsu": ("--method", "otsu", "--global"),
        "default": (),
        "twin": ("--series", series),
    }.items():
        labels = tmp_path / f"{name}.mrc"
        numbers = json.loads(etcli("segment", "--split", "none", "--json", *options, volume, labels).out)
        errors[name] = 100 * (numbers["volume_nm3"] / true - 1)
    assert errors["otsu"] > 5  # why there are other rules
    assert abs(errors["default"]) < 1
    assert abs(errors["twin"]) < 0.7


def test_particles_of_two_densities_are_all_found_parted_and_measured(folder: Path, tmp_path: Path) -> None:
    volume, labels = tmp_path / "volume.mrc", tmp_path / "labels.mrc"
    etcli("recon", *SIRT, "--thickness", "80px", folder / "particles_ts.mrc", volume)
    numbers = json.loads(etcli("segment", "--json", volume, labels).out)
    with (folder / "particles_truth.csv").open() as file:
        truth = list(csv.DictReader(file))
    assert numbers["n_labels"] == len(truth) == 56
    assert numbers["n_border"] == sum(row["border"] in ("1", "True") for row in truth)
    with mrcfile.open(folder / "particles_labels.mrc.gz", permissive=True) as file:
        true_labels = np.asarray(file.data, np.int64)
    found = library.read(labels, kind="volume").images().astype(np.int64)
    shared = np.bincount((true_labels * 57 + found).ravel(), minlength=57 * 57).reshape(57, 57)
    best = shared[1:, 1:].argmax(axis=1) + 1
    assert len(set(best)) == 56  # one to one: nothing merged, nothing split
    volumes = np.array([float(row["volume_nm3"]) for row in truth])
    diameters = np.array([float(row["eq_diameter_nm"]) for row in truth])
    whole = np.array([row["border"] in ("0", "False") for row in truth])
    counts = np.bincount(found.ravel())[best]
    errors = 100 * (counts / volumes - 1)
    assert abs(100 * (counts[whole].sum() / volumes[whole].sum() - 1)) < 1
    assert np.sqrt(np.mean(errors[whole & (diameters >= 10)] ** 2)) < 5
    assert np.sqrt(np.mean(errors[whole & (diameters < 10)] ** 2)) < 8


def test_the_particles_own_labels_as_a_mask_make_them_less_long(folder: Path, tmp_path: Path) -> None:
    """The labels of the ideal particles and their film, as those of the reconstruction lack the film."""
    ideal, mask = folder / "particles.mrc", tmp_path / "mask.mrc"
    etcli("segment", "--method", "0.05", "--split", "none", "--mask-out", mask, ideal, tmp_path / "l.mrc")
    spread = {}
    for name, options in {"free": (), "masked": ("--mask", mask)}.items():
        volume = tmp_path / f"{name}.mrc"
        etcli("recon", "--nonnegative", "--thickness", "80px", *options, folder / "particles_ts.mrc", volume)
        found = library.segment(library.read(volume, kind="volume"))
        largest = np.argwhere(found.labels.images() == 1)
        spread[name] = largest[:, 0].std() / largest[:, 2].std()
    assert spread["masked"] < spread["free"] - 0.05
