"""Simulated phase-contrast series: geometry, focus, acquisition and the area of the waves."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass

from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.simulate import hrtem
from etcli.core.simulate.acquisition import AcquisitionErrors, GroundTruth
from etcli.core.simulate.hrtem import hrtem_series, wave_cell

OPTICS = PhaseContrastOptics(300, aperture_mrad=1e3 * PhaseContrastOptics(300).wavelength_A)
NO_ERRORS = AcquisitionErrors()
CLUSTER = Atoms(
    np.array([[3.0, 5.0, -4.0], [-4.0, 2.0, 1.0], [1.0, -3.5, 3.0], [-1.0, 0.0, -6.0]]),
    np.array(["Ti", "Sr", "O", "Si"]),
)


def series(
    atoms: Atoms, tilt_deg: object, defocus_A: object, **changes: object
) -> tuple[NDArray[np.float32], GroundTruth]:
    settings: dict[str, object] = {"shape": (48, 40), "pixel_A": 0.5, "errors": NO_ERRORS, **changes}
    rng = np.random.default_rng(4)
    optics = settings.pop("optics", OPTICS)
    return hrtem_series(
        atoms, np.atleast_1d(tilt_deg), defocus_A, optics, rng=rng, debye_waller_A2=0.5, **settings
    )  # type: ignore[arg-type]


def check_same(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    """Compare images from waves of different areas: the tails of a hard aperture go on for ever."""
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 3e-4 < 0.01 < wanted.std()
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def lone(element: str, *position_A: float) -> Atoms:
    return Atoms(np.array([position_A], float), np.array([element]))


@pytest.mark.parametrize("tilt_deg", [-60.0, 0.0, 30.0, 90.0])
def test_an_atom_is_where_it_is_predicted(tilt_deg: float) -> None:
    data, _ = series(lone("Ti", 3, 5, -7), tilt_deg, 60.0)
    theta = np.deg2rad(tilt_deg)
    across = 3 * np.cos(theta) - 7 * np.sin(theta)
    contrast = np.maximum(data[0] - 1 - 0.5 * (data[0].max() - 1), 0)
    row, column = center_of_mass(contrast)
    assert row == pytest.approx(23.5 + 10, abs=0.1)
    assert column == pytest.approx(19.5 + 2 * across, abs=0.1)


def test_the_beam_goes_towards_larger_z() -> None:
    """Least contrast is at the depth of an atom, and a constant farther that is small for light atoms."""
    defocus_A = np.arange(-20.0, 21.0, 0.5)
    sharp = []
    for z in (-8.0, 0.0, 8.0):
        data, _ = series(lone("C", 0, 0, z), 0.0, defocus_A, shape=(32, 32))
        contrast = data.std(axis=(1, 2))
        k = int(contrast.argmin())
        sharp.append(
            defocus_A[k]
            - 0.25 * np.diff(contrast[k - 1 : k + 2]).sum() / np.diff(contrast[k - 1 : k + 2], 2)[0]
        )
    np.testing.assert_allclose(np.diff(sharp), 8, atol=0.1)
    assert 0 < sharp[1] < 4
    # tilted by 90°, what is at +x is deep
    turned, _ = series(lone("C", -8, 0, 0), 90.0, defocus_A, shape=(32, 32))
    assert defocus_A[turned.std(axis=(1, 2)).argmin()] == pytest.approx(8 + sharp[1], abs=0.5)


def test_tilts_and_defoci_in_turn() -> None:
    data, truth = series(CLUSTER, [10.0, -20.0], [200.0, 900.0])
    assert data.shape == (4, 48, 40) and truth.tilt_deg.tolist() == [10, 10, -20, -20]
    check_same(data[1], series(CLUSTER, 10.0, 900.0)[0][0])
    check_same(data[2], series(CLUSTER, -20.0, 200.0)[0][0])
    np.testing.assert_allclose(data[0].mean(), 1, atol=0.01)


def test_errors_of_the_acquisition() -> None:
    errors = AcquisitionErrors(drift_px=2.0, axis_deg=20.0, axis_offset_px=-3.0, tilt_error_deg=2.0)
    data, truth = series(CLUSTER, [0.0, 40.0], [300.0, 600.0], errors=errors)
    assert truth.tilt_deg[0] == truth.tilt_deg[1] and 0.01 < abs(truth.tilt_deg[2] - 40) < 8
    assert len(np.unique(truth.shift_px)) == 8 and np.abs(truth.shift_px).max() <= 2
    for k, defocus_A in enumerate((300.0, 600.0, 300.0, 600.0)):
        theta, axis = np.deg2rad(truth.tilt_deg[k]), np.deg2rad(20.0)
        x, y, z = CLUSTER.position_A.T
        across, deep = x * np.cos(theta) + z * np.sin(theta) - 1.5, z * np.cos(theta) - x * np.sin(theta)
        shift_x, shift_y = truth.shift_px[k] * 0.5
        seen = [
            across * np.cos(axis) - y * np.sin(axis) + shift_x,
            across * np.sin(axis) + y * np.cos(axis) + shift_y,
            deep,
        ]
        moved = Atoms(np.column_stack(seen), CLUSTER.species)
        check_same(data[k], series(moved, 0.0, defocus_A)[0][0])


def test_nothing_wraps_round(monkeypatch: pytest.MonkeyPatch) -> None:
    optics = PhaseContrastOptics(
        300, aperture_mrad=15.0, cs_mm=0.2, astigmatism_A=100.0, astigmatism_deg=20.0
    )
    found = series(CLUSTER, 0.0, [-800.0, 100.0], optics=optics)[0]
    monkeypatch.setattr(hrtem, "TAIL_A", 25.0)
    far = series(CLUSTER, 0.0, [-800.0, 100.0], optics=optics)[0]
    check_same(found[0], far[0])
    check_same(found[1], far[1])
    monkeypatch.setattr(hrtem, "TAIL_A", -20.0)
    assert np.abs(series(CLUSTER, 0.0, [-800.0, 100.0], optics=optics)[0] - far).max() > 5e-3


def test_threads_change_nothing() -> None:
    changes = {"dose_e_A2": 500.0, "errors": AcquisitionErrors(drift_px=1.0)}
    one, two = (series(CLUSTER, [-30.0, 0.0, 50.0], [200.0, 400.0], threads=n, **changes)[0] for n in (1, 3))
    np.testing.assert_array_equal(one, two)


def test_electrons_are_counted() -> None:
    clean, _ = series(CLUSTER, 0.0, np.full(20, 400.0))
    noisy, truth = series(CLUSTER, 0.0, np.full(20, 400.0), dose_e_A2=200.0)
    assert truth.electrons_per_unit == 50
    np.testing.assert_allclose(noisy * 50, np.round(noisy * 50), atol=1e-3)
    excess = (noisy - clean) / np.sqrt(clean / 50)
    assert abs(excess.mean()) < 0.03 and excess.std() == pytest.approx(1, abs=0.02)


def test_progress_is_told() -> None:
    steps: list[int] = []
    series(CLUSTER, [0.0, 30.0, 60.0], [100.0, 200.0], progress=steps.append)
    assert steps == [1, 1, 1]


@pytest.mark.parametrize(
    ("pixel_A", "aperture_per_A", "samples"), [(0.5, 1.0, 3), (0.25, 2.0, 2), (0.4, 1.25, 3), (2.1, 0.24, 14)]
)
def test_samples_of_a_pixel(pixel_A: float, aperture_per_A: float, samples: int) -> None:
    """1/6 Å or finer, and as fine as the intensity needs: no prime above 11, of which no size is fast."""
    optics = PhaseContrastOptics(300, aperture_mrad=1e3 * OPTICS.wavelength_A * aperture_per_A)
    cell = wave_cell((64, 65), pixel_A, (20.0, 50.0), optics)
    assert cell.samples == samples and cell.grid.pixel_A == pytest.approx(pixel_A / samples)
    pixels = np.array(cell.grid.shape) // samples
    assert (pixels % 2).tolist() == [0, 1]
    needed = np.maximum([64, 65], np.array([20, 50]) / pixel_A + np.array([32, 32.5]))
    assert (pixels >= needed).all() and (pixels < needed + 12).all()


def test_what_cannot_be_simulated() -> None:
    wide = PhaseContrastOptics(300, aperture_mrad=60.0)
    with pytest.raises(UsageError, match=r"60 mrad is larger than the 47\.25 mrad"):
        series(CLUSTER, 0.0, 200.0, optics=wide)
    with pytest.raises(UsageError, match=r"images of 24 Å over \d+ Å, .* in µm"):
        series(CLUSTER, 0.0, 2e6)
    with pytest.raises(UsageError, match="dose_e_A2"):
        series(CLUSTER, 0.0, 200.0, dose_e_A2=0.0)
    with pytest.raises(UsageError, match="no scattering factor of 'X'"):
        series(lone("X", 0, 0, 0), 0.0, 200.0)
