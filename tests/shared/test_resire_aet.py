"""RESIRE at atomic resolution: the published volume of a film, and the atoms of a simulated particle."""

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from etcli.core.orientation import rotation_matrices
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.solvers.fista import fista
from etcli.core.solvers.misfit import OrientedMisfit
from etcli.core.solvers.priors import make_prior
from etcli.core.solvers.resire import extended_shape, middle, resire
from etcli.io.euler import read_euler


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def series(folder):
    views = mrcfile.read(folder / "projections.mrc").astype(np.float32)
    return views, rotation_matrices(read_euler(folder / "angles.csv", n_views=len(views)))


@pytest.mark.slow
def test_volume_of_a_film_is_that_which_was_published(shared_data):
    """Part of it along the tilt axis; its surroundings are seen in tilted views, and need their place."""
    folder = shared_data / "aet" / "Ta_film_area24"
    views, rotation = series(folder)
    rows = slice(31, 46)
    views = np.ascontiguousarray(views[:, rows])
    published = mrcfile.read(folder / "recon_resire_published.mrc")[:, rows]
    shape = published.shape
    larger = extended_shape(rotation, shape)
    assert larger[0] == 151
    assert larger[2] == 627

    def match(rotation, shape, iterations):
        projector = OrientedProjector(rotation, shape, views.shape[1:])
        return middle(resire(projector, views, iterations=iterations, relaxation=1.9), published.shape)

    found = match(rotation, larger, 30)
    alone = match(rotation, shape, 30)
    wrong = match(rotation.transpose(0, 2, 1), larger, 5)
    whole = OrientedMisfit(OrientedProjector(rotation, larger, views.shape[1:]), views)
    fast = middle(fista(whole, make_prior("none", larger, lower=0.0), iterations=20), shape)
    values = [correlation(volume, published) for volume in (found, alone, wrong, fast)]
    print(
        "\nextended {:.4f}, as wide as the views {:.4f}, turned {:.4f}, with momentum {:.4f}".format(*values)
    )
    assert values[0] > 0.92
    assert values[1] < values[0]
    assert values[2] < 0.5
    assert values[3] > 0.92
    assert 0.97 < found.sum() / published.sum() < 1.01
    assert alone.sum() / published.sum() > 1.03  # it has to hold what lies beside the views


def test_atoms_of_a_particle_are_where_they_should_be(shared_data):
    folder = shared_data / "aet" / "NP1_aSi_208_dose1p6e5"
    pixel_A, background = 0.195, 1  # count a pixel
    views, rotation = series(folder)
    projector = OrientedProjector(rotation, (127, 127, 127))
    found = resire(projector, views - background, iterations=10)
    smooth = ndimage.gaussian_filter(found, 1)
    atoms = np.loadtxt(folder / "truth.xyz", skiprows=2, usecols=(3, 2, 1)) / pixel_A + 63
    maxima = np.argwhere(ndimage.maximum_filter(smooth, 5) == smooth)
    distance = np.linalg.norm(maxima[:, None] - atoms, axis=2)
    step = maxima[distance.argmin(axis=0)] - atoms
    rms_A = pixel_A * np.sqrt((step**2).sum(axis=1).mean())
    shift_A = pixel_A * step.mean(axis=0)
    print(f"\n{len(atoms)} atoms: maxima {rms_A:.3f} Å from them, on average {np.round(shift_A, 3)}")
    assert rms_A < 0.15  # a whole voxel's place alone makes 0.1
    assert abs(shift_A).max() < 0.03
