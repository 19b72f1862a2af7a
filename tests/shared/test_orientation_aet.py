"""Published views at atomic resolution: they show the published atoms, and their orientations are found."""

import json

import mrcfile
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from etcli.core.binning import bin_image
from etcli.core.orientation import rotation_matrices
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.registration.orientation_refinement import align_orientations
from etcli.io.euler import read_euler


def atoms_of(path):
    return np.loadtxt(path, skiprows=2, usecols=(1, 2, 3))


def volume_of(place_px, shape, sigma_px):
    """Gaussians of height 1 at (x, y, z) from the centre."""
    volume = np.zeros(shape, np.float32)
    for place in place_px[:, ::-1] + (np.array(shape) - 1) / 2:
        low = np.clip(np.ceil(place - 4 * sigma_px).astype(int), 0, shape)
        high = np.clip(np.floor(place + 4 * sigma_px).astype(int) + 1, 0, shape)
        parts = (
            np.exp(-0.5 * ((np.arange(a, b) - p) / sigma_px) ** 2)
            for a, b, p in zip(low, high, place, strict=True)
        )
        volume[tuple(map(slice, low, high))] += np.einsum("i,j,k->ijk", *parts)
    return volume


def correlation(a, b):
    return float(np.mean([np.corrcoef(p.ravel(), q.ravel())[0, 1] for p, q in zip(a, b, strict=True)]))


def high_passed(views):
    return [ndimage.gaussian_filter(v, 1) - ndimage.gaussian_filter(v, 6) for v in views]


# The correlations are those of a projection of the atoms that was made independently.
@pytest.mark.parametrize(
    ("name", "shape", "metric"),
    [
        ("NP1_aSi_208_dose1p6e5", (127, 127, 127), "ncc_raw"),
        ("Ta_film_area24", (181, 101, 401), "ncc_highpass"),
    ],
)
def test_atoms_are_seen_where_they_are(shared_data, name, shape, metric):
    folder = shared_data / "aet" / name
    about = json.loads((folder / "meta.json").read_text())
    views = mrcfile.read(folder / "projections.mrc").astype(np.float32)
    atoms = folder / "context.xyz"
    atoms = atoms_of(atoms if atoms.exists() else folder / "truth.xyz") / about["pixel_A"]
    volume = volume_of(atoms, shape, about["verify_sigma_px"])
    rotation = rotation_matrices(read_euler(folder / "angles.csv", n_views=len(views)))
    filtered = high_passed if metric == "ncc_highpass" else np.asarray

    def match(volume, rotation, centre_px):
        projector = OrientedProjector(
            rotation, shape, views.shape[1:], centre_px=np.tile(centre_px, (len(views), 1))
        )
        return correlation(filtered(projector.forward(volume)), filtered(views))

    found = match(volume, rotation, (0, 0))
    assert found == pytest.approx(about["verify"][metric], abs=1e-3)
    for axis in np.eye(2):
        before, after = match(volume, rotation, -axis / 2), match(volume, rotation, axis / 2)
        peak_px = (before - after) / (before - 2 * found + after) / 4  # of a parabola
        print(f"\n{name}: correlation {found:.4f}, best at {peak_px:.3f} px")
        assert abs(peak_px) < 0.1
    assert match(volume[::-1].copy(), rotation, (0, 0)) < found - 0.05
    assert match(volume, rotation.transpose(0, 2, 1), (0, 0)) < found - 0.05


def error_deg(found, true):
    """Root mean square angle between orientations, the specimen turned to fit."""
    specimen = Rotation.from_matrix(true.transpose(0, 2, 1) @ found).mean().as_matrix()
    left = Rotation.from_matrix(found @ (true @ specimen).transpose(0, 2, 1)).magnitude()
    return float(np.rad2deg(np.sqrt(np.mean(left**2))))


@pytest.mark.slow
def test_wrong_angles_are_found_again(shared_data):
    folder = shared_data / "aet" / "NP1_aSi_208_dose1p6e5"
    background = 1  # count a pixel
    views = mrcfile.read(folder / "projections.mrc").astype(np.float32) - background
    views = np.array([bin_image(view, 2) for view in views])
    true = read_euler(folder / "angles.csv")
    start = true + np.random.default_rng(1).uniform(-3, 3, true.shape)
    found = align_orientations(views, start, rounds=8)
    before, after = (
        error_deg(rotation_matrices(e), rotation_matrices(true)) for e in (start, found.euler_deg)
    )
    print(f"\nangles: {before:.2f}° before, {after:.3f}° after; correlation {found.correlation.mean():.3f}")
    assert before > 2.8
    assert after < 0.3
    assert found.correlation.min() > 0.95
