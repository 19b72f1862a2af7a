"""Atoms of published series, from projections to positions, against the published models.

Liao et al., Nature (2026), doi:10.1038/s41586-025-09857-4: simulated amorphous silicon at three doses, of
which they find 95.7, 100 and 100 % of the atoms within 28.8, 17.3 and 4.2 pm. Yuan et al., Nat. Mater. 21, 95
(2022): a tantalum film.
"""

from functools import cache
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.agreement import measure_agreement
from etcli.core.atoms.gaussian_model import AtomViews
from etcli.core.atoms.match import match_atoms
from etcli.core.atoms.polynomial import polynomial_positions
from etcli.core.atoms.refine_trace import positions, refine_trace
from etcli.core.atoms.tracing import TraceRules, trace
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.io.atoms import read_atoms
from tests.files import etcli

CENTRE = np.zeros(3)
FILM = ["--method", "fista", "--prior", "none", "--nonnegative", "--iterations", "45", "--extend"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("aet")


@cache
def traced(path):
    with mrcfile.open(path) as file:
        volume, pixel_A = file.data.astype(np.float32), float(file.voxel_size.x)
    return trace(volume, pixel_A, TraceRules()), pixel_A


def judged(name, position_A, truth_A, cutoff_A):
    """Per cent found, how many are extra, and the error in pm."""
    models = [Atoms(place, np.full(len(place), "X")) for place in (position_A, truth_A)]
    total = measure_agreement(*models, cutoff_A=cutoff_A).total
    rmsd_pm = 100 * total.errors.rmsd_A
    print(f"\n{name}: {total.found_percent:.1f} % found, {total.n_extra} extra, {rmsd_pm:.2f} pm")
    return total.found_percent, total.n_extra, rmsd_pm


def silicon(shared_data, folder, dose):
    """Return the folder of a series, and its binned views and volume, made once."""
    source = shared_data / "aet" / f"NP1_aSi_208_dose{dose}"
    if not source.is_dir():
        pytest.skip(f"no series at {source}")
    binned, volume = folder / f"{dose}.mrc", folder / f"{dose}_volume.mrc"
    if not volume.exists():
        etcli("bin", "-b", "2", source / "projections.mrc", binned)
        how = ["--method", "sirt", "--iterations", "30", "--nonnegative", "--thickness", "25A"]
        etcli("recon", *how, binned, volume)
    return source, binned, volume


DOSES = [
    # found %, extra, pm from the volume and refined
    ("8p0e3", 98, 2, 20.0, 17.5),
    ("1p6e4", 100, 1, 11.5, 10.5),
    ("1p6e5", 100, 1, 4.0, 4.0),
]


@pytest.mark.parametrize(("dose", "found", "extra", "pm"), [case[:4] for case in DOSES])
def test_silicon_from_the_volume(shared_data, folder, dose, found, extra, pm):
    source, _, path = silicon(shared_data, folder, dose)
    result, pixel_A = traced(path)
    truth_A = read_atoms(source / "truth.xyz").position_A
    percent, n_extra, rmsd_pm = judged(f"{dose}, volume", positions(result, pixel_A, CENTRE), truth_A, 0.9)
    assert percent >= found and n_extra <= extra and rmsd_pm <= pm
    # what neighbours leave under an atom draws the maximum of a polynomial, not a Gaussian
    place, converged = polynomial_positions(result.volume, result.fitted[:, :3])
    middle = (np.array(result.volume.shape[::-1]) - 1) / 2
    percent, _, polynomial_pm = judged(f"{dose}, polynomials", (place - middle) * pixel_A, truth_A, 0.9)
    # and noise leaves some without a maximum, which stay where they were
    assert percent >= found and converged.mean() > 0.6 and rmsd_pm < polynomial_pm < 1.7 * rmsd_pm


@pytest.mark.parametrize(("dose", "found", "extra", "pm"), [(*case[:3], case[4]) for case in DOSES])
def test_silicon_refined_against_the_views(shared_data, folder, dose, found, extra, pm):
    source, binned, path = silicon(shared_data, folder, dose)
    result, pixel_A = traced(path)
    tilt_deg = np.loadtxt(source / "projections.rawtlt")
    data = mrcfile.read(binned).astype(np.float64)
    views = AtomViews(data, rotation_matrices(tilts_as_euler(tilt_deg)), pixel_A)
    # a background of one count a pixel, averaged over pixels
    done = refine_trace(result, views, pixel_A=pixel_A, centre_A=CENTRE, level=1.0, min_distance_A=1.6)
    truth_A = read_atoms(source / "truth.xyz").position_A
    name = f"{dose}, refined, held to {done.restraint_A:g} Å"
    percent, n_extra, rmsd_pm = judged(name, done.refined.model.position_A, truth_A, 0.9)
    assert percent >= found and n_extra <= extra and rmsd_pm <= pm
    assert done.refined.chi2 == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_a_tantalum_film_from_the_volume(shared_data, folder):
    source = shared_data / "aet" / "Ta_film_area24"
    if not source.is_dir():
        pytest.skip(f"no series at {source}")
    volume = folder / "film.mrc"
    etcli("recon", *FILM, "--euler", source / "angles.csv", source / "projections.mrc", volume)
    result, pixel_A = traced(volume)
    inner = [
        place[(abs(place[:, 0]) < 17.28) & (abs(place[:, 1]) < 9.38)]
        for place in (positions(result, pixel_A, CENTRE), read_atoms(source / "truth.xyz").position_A)
    ]
    assert len(inner[1]) == 650
    percent, n_extra, rmsd_pm = judged("tantalum", *inner, 1.0)
    assert percent >= 88 and n_extra <= 75 and rmsd_pm <= 26


@pytest.mark.slow
def test_areas_at_the_edge_of_a_film_are_traced_and_refined(shared_data, folder):
    """Few atoms, of falling brightness, in much empty volume; margins of 10 pixels."""
    counts = {"volume": np.zeros(4), "refined": np.zeros(4)}
    for area in (8, 13, 57):
        source = shared_data / "aet" / f"Ta_film_area{area}"
        if not source.is_dir():
            pytest.skip(f"no series at {source}")
        volume, euler = folder / f"area{area}.mrc", ["--euler", source / "angles.csv"]
        etcli("recon", *FILM, *euler, source / "projections.mrc", volume)
        with mrcfile.open(volume) as file:
            half_A = ((np.array(file.data.shape[:0:-1]) - 1) / 2 - 10) * float(file.voxel_size.x)
        for name, options in {
            "volume": [],
            "refined": ["--refine", source / "projections.mrc", *euler],
        }.items():
            atoms = folder / f"area{area}_{name}.xyz"
            etcli("trace-atoms", "--species", "Ta", *options, volume, atoms)
            found_A, published_A = (
                place_A[(abs(place_A[:, :2]) < half_A).all(axis=1)]
                for place_A in (read_atoms(path).position_A for path in (atoms, source / "truth.xyz"))
            )
            pairs = match_atoms(found_A, published_A, cutoff_A=1.0)
            square = ((found_A[pairs.found] - published_A[pairs.reference]) ** 2).sum()
            counts[name] += [len(published_A), len(pairs), len(found_A) - len(pairs), square]
    deviation = {}
    for name, (published, found, false, square) in counts.items():
        deviation[name] = np.sqrt(square / found)
        print(
            f"\nareas, {name}: {found / published:.2f} found, {false / published:.2f} false, "
            f"{deviation[name]:.3f} Å"
        )
        assert found > 0.7 * published and false < 0.3 * published
    assert deviation["refined"] < 1.05 * deviation["volume"]
